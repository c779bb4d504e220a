//! What must hold for every input, and examples of the forms.

use proptest::prelude::*;

use super::access_format::{Atom, Format, Padding, Part};
use super::json::Object;
use super::level::Level;
use super::metric::{Value, Wire};
use super::syslog::Kind;
use super::{escape, syslog};

fn escaped(bytes: &[u8]) -> String {
    let mut line = Vec::new();
    escape::text(bytes, &mut line);
    String::from_utf8(line).expect("UTF-8")
}

#[test]
fn text_of_a_client_cannot_end_a_quoted_part_or_begin_a_line() {
    for (from, to) in [
        (&b"a\" 200"[..], "a\\\" 200"),
        (b"\r\n\0\x1b[2J", "\\x0d\\x0a\\x00\\x1b[2J"),
        (b"back\\x0aslash", "back\\\\x0aslash"),
        (b"\xe9", "\\xe9"),
        ("é\u{85}\u{2028}\u{202e}".as_bytes(), "é\\u0085\\u2028\\u202e"),
        (b"plain", "plain"),
    ] {
        assert_eq!(escaped(from), to);
    }
}

#[test]
fn a_block_keeps_its_lines() {
    let mut line = Vec::new();
    escape::block("one \"two\"\n\tthree\u{1b}[0m", &mut line);
    assert_eq!(line, b"one \"two\"\n\tthree\\x1b[0m");
}

fn parse(format: &str) -> Vec<Part> {
    Format::parse(format).0
}

fn atom(atom: Atom) -> Part {
    Part::Atom(atom, None)
}

#[test]
fn a_format_is_split_into_text_and_atoms() {
    assert_eq!(
        parse("%(h)s \"%(r)s\" 100%% %({X-Id}i)s %({wsgi.url_scheme}E)s %(zz)s %x"),
        [
            atom(Atom::Client),
            Part::Text(" \"".into()),
            atom(Atom::RequestLine),
            Part::Text("\" 100% ".into()),
            atom(Atom::RequestHeader("x-id".into())),
            Part::Text(" ".into()),
            atom(Atom::Variable("wsgi.url_scheme".into())),
            Part::Text(" ".into()),
            atom(Atom::Absent),
            Part::Text(" %x".into()),
        ]
    );
}

#[test]
fn what_is_no_atom_stays() {
    for text in ["%(h", "%(h)", "%(h)q", "%(h)-", "%", "%()", "%(h)1é"] {
        assert_eq!(parse(text), [Part::Text(text.to_owned())], "{text}");
    }
}

fn padded(format: &str, value: &str) -> String {
    let Part::Atom(_, padding) = &parse(format)[0] else { panic!("an atom") };
    let mut line = value.as_bytes().to_vec();
    if let Some(padding) = padding {
        Padding::apply(padding, &mut line, 0);
    }
    String::from_utf8(line).expect("UTF-8")
}

#[test]
fn values_are_padded_as_in_python() {
    for (format, value, expected) in [
        ("%(h)6s", "abc", "   abc"),
        ("%(h)-6s|", "abc", "abc   "),
        ("%(h).2s", "äöü", "äö"),
        ("%(h)-4.2s", "äöü", "äö  "),
        ("%(D)06d", "42", "000042"),
        ("%(D)6.4d", "42", "  0042"),
        ("%(D)-6d", "42", "42    "),
        ("%(D)d", "42", "42"),
    ] {
        assert_eq!(padded(format, value), expected, "{format}");
    }
}

#[test]
fn metrics_have_gunicorns_form() {
    let wire = Wire::new("app.", "env:test,a:b");
    let text = |name, value| String::from_utf8(wire.datagram(name, value)).expect("UTF-8");
    assert_eq!(
        text("gunicorn.requests", Value::Count(1)),
        "app.gunicorn.requests:1|c|@1.0|#env:test,a:b"
    );
    assert_eq!(text("gunicorn.workers", Value::Gauge(3)), "app.gunicorn.workers:3|g|#env:test,a:b");
    let plain = Wire::new("", "");
    for (micros, shown) in [(1_234, "1.234"), (500, "0.5"), (3_000, "3.0"), (12, "0.012")] {
        let datagram = plain.datagram("d", Value::Duration(micros));
        assert_eq!(datagram, format!("d:{shown}|ms").into_bytes());
    }
    assert_eq!(plain.datagram("b", Value::Sample(7)), b"b:7|h");
}

#[test]
fn a_syslog_message_has_priority_and_tag() {
    let message = |kind| syslog::message(1, Level::Error, "gunicorn.app.error", "[7] a\nb", kind);
    assert_eq!(message(Kind::Datagram), b"<11>gunicorn.app.error: [7] a\nb\0");
    assert_eq!(message(Kind::Stream), b"<11>gunicorn.app.error: [7] a#012b\n");
    assert_eq!((syslog::facility("LOCAL7"), syslog::facility("security")), (Some(23), Some(4)));
    assert_eq!((syslog::facility("nonsense"), syslog::facility("")), (None, None));
}

proptest! {
    #[test]
    fn no_byte_of_a_client_does_anything_in_a_line(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let line = escaped(&bytes);
        prop_assert!(!line.chars().any(escape::is_active));
        let quoted = line.replace("\\\\", "").replace("\\\"", "");
        prop_assert!(!quoted.contains('"'));
    }

    #[test]
    fn escaping_loses_nothing(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let other = { let mut other = bytes.clone(); other.push(b'x'); other };
        prop_assert_ne!(escaped(&bytes), escaped(&other));
        if let Ok(text) = std::str::from_utf8(&bytes) && text.chars().all(|c| c.is_alphanumeric()) {
            prop_assert_eq!(escaped(&bytes), text);
        }
    }

    #[test]
    fn json_is_valid_for_any_bytes(
        bytes in prop::collection::vec(any::<u8>(), 0..64),
        name in "\\PC{0,8}",
        number: u64,
    ) {
        let mut line = Vec::new();
        let mut object = Object::begin(&mut line);
        object.text("bytes", &bytes);
        object.optional("none", None);
        object.number("number", number);
        object.object("inner", |inner| inner.text(&name, &bytes));
        object.end();
        prop_assert!(!line.contains(&b'\n'));
        let text = String::from_utf8(line).expect("UTF-8");
        prop_assert!(!text.chars().any(escape::is_active));
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        prop_assert_eq!(value["bytes"].as_str(), Some(shown.as_str()));
        prop_assert_eq!(value["inner"][&name].as_str(), Some(shown.as_str()));
        prop_assert_eq!(value["number"].as_u64(), Some(number));
        prop_assert!(value["none"].is_null());
    }

    #[test]
    fn any_format_can_be_read(format in "[%(){}hsd0-9. -]{0,24}") {
        let text: usize = parse(&format).len();
        prop_assert!(text <= format.len());
    }

    #[test]
    fn padding_keeps_text_whole(value in "\\PC{0,12}", width in 0usize..20, cut in 0usize..12) {
        let shown = padded(&format!("%(h){width}.{cut}s"), &value);
        let kept: String = value.chars().take(cut).collect();
        prop_assert!(shown.ends_with(&kept));
        prop_assert_eq!(shown.chars().count(), kept.chars().count().max(width));
    }

    #[test]
    fn a_syslog_message_in_a_stream_is_one_line(text in "(?s).{0,64}") {
        let message = syslog::message(1, Level::Info, "tag", &text, Kind::Stream);
        let (last, rest) = message.split_last().expect("not empty");
        prop_assert_eq!(*last, b'\n');
        prop_assert!(rest.iter().all(|byte| *byte >= b' '));
    }
}

#[test]
fn colours_are_for_terminals_and_for_who_asks() {
    use super::entry::wants_colour;
    assert!(wants_colour(true, Some("xterm"), None, None));
    assert!(!wants_colour(false, Some("xterm"), None, None));
    assert!(!wants_colour(true, Some("dumb"), None, None));
    assert!(!wants_colour(true, Some("xterm"), Some("1"), Some("1")));
    assert!(wants_colour(true, Some("xterm"), Some(""), None));
    assert!(wants_colour(false, None, None, Some("1")));
    assert!(!wants_colour(false, None, None, Some("0")));
}
