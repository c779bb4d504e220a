//! What scrapers are sent, byte by byte.

use proptest::prelude::*;

use super::super::family::{Distribution, Exemplar, Label, Labels, Native};
use super::*;

fn labels(pairs: &[(&'static str, &'static str)]) -> Labels {
    pairs.iter().map(|(name, value)| (Label::from(*name), Label::from(*value))).collect()
}

fn number(pairs: &[(&'static str, &'static str)], number: f64) -> Sample {
    Sample { labels: labels(pairs), value: Value::Number(number) }
}

fn family(name: &'static str, kind: Kind, samples: Vec<Sample>) -> Family {
    Family {
        name: name.into(),
        help: "It says \"so\".\nReally \\o/".into(),
        kind,
        unit: "".into(),
        samples,
    }
}

fn shown(families: Vec<Family>, format: Format) -> String {
    String::from_utf8(expose(families, format).body).expect("text")
}

fn times() -> Family {
    let it = Distribution {
        bounds: vec![0.5, 1.0],
        counts: vec![3, 0, 2],
        sum: 7.25,
        native: Some(Native {
            schema: 3,
            zero_threshold: 0.0,
            zero_count: 1,
            buckets: vec![(-9, 2), (8, 1), (9, 1)],
        }),
        exemplars: vec![Exemplar { labels: labels(&[("trace_id", "ab")]), value: 0.25, at: 1.5 }],
    };
    let value = Value::Distribution(Box::new(it));
    let sample = Sample { labels: labels(&[("route", "/")]), value };
    Family { unit: "seconds".into(), ..family("t_seconds", Kind::Histogram, vec![sample]) }
}

#[test]
fn text_has_each_name_once_sorted_and_escaped() {
    let counter = family(
        "b",
        Kind::Counter,
        vec![number(&[("path", "z")], 2.0), number(&[("path", "a\"\\\nb")], 1.0)],
    );
    let gauge = family("a", Kind::Gauge, vec![number(&[], f64::NAN)]);
    assert_eq!(
        shown(vec![counter, gauge], Format::Text),
        "# HELP a It says \"so\".\\nReally \\\\o/\n# TYPE a gauge\na NaN\n\
         # HELP b_total It says \"so\".\\nReally \\\\o/\n# TYPE b_total counter\n\
         b_total{path=\"a\\\"\\\\\\nb\"} 1\nb_total{path=\"z\"} 2\n"
    );
}

#[test]
fn openmetrics_has_units_exemplars_and_an_end() {
    assert_eq!(
        shown(vec![times()], Format::OpenMetrics),
        "# HELP t_seconds It says \\\"so\\\".\\nReally \\\\o/\n# TYPE t_seconds histogram\n\
         # UNIT t_seconds seconds\n\
         t_seconds_bucket{route=\"/\",le=\"0.5\"} 3 # {trace_id=\"ab\"} 0.25 1.500\n\
         t_seconds_bucket{route=\"/\",le=\"1.0\"} 3\n\
         t_seconds_bucket{route=\"/\",le=\"+Inf\"} 5\n\
         t_seconds_count{route=\"/\"} 5\nt_seconds_sum{route=\"/\"} 7.25\n# EOF\n"
    );
}

#[test]
fn an_info_is_a_gauge_for_those_who_do_not_know_infos() {
    let info = || family("x", Kind::Info, vec![number(&[("version", "1")], 1.0)]);
    assert!(
        shown(vec![info()], Format::Text)
            .ends_with("# TYPE x_info gauge\nx_info{version=\"1\"} 1\n")
    );
    let text = shown(vec![info()], Format::OpenMetrics);
    assert!(text.ends_with("# TYPE x info\nx_info{version=\"1\"} 1\n# EOF\n"), "{text}");
}

#[test]
fn protobuf_has_native_buckets_as_spans_and_differences() {
    let body = expose(vec![times()], Format::Protobuf).body;
    let len = usize::from(body[0] & 0x7f) | usize::from(body[1]) << 7;
    assert_eq!(len, body.len() - 2);
    let has = |bytes: &[u8]| body.windows(bytes.len()).any(|window| window == bytes);
    // schema 3, and one zero
    assert!(has(&[5 << 3, 6]) && has(&[7 << 3, 1]));
    // from -9 on one bucket, 16 left out, then two
    assert!(has(&[12 << 3 | 2, 4, 1 << 3, 17, 2 << 3, 1, 12 << 3 | 2, 4, 1 << 3, 32, 2 << 3, 2]));
    assert!(has(&[13 << 3 | 2, 3, 4, 1, 0]));
}

#[test]
fn of_two_families_with_one_name_the_first_stays() {
    let gauge = |name, value| family(name, Kind::Gauge, vec![number(&[], value)]);
    let counter = family("a", Kind::Counter, vec![number(&[], 3.0)]);
    let exposed = expose(vec![counter, gauge("a_total", 4.0), gauge("a", 5.0)], Format::Text);
    assert_eq!(exposed.left_out, 2);
    let text = String::from_utf8(exposed.body).expect("text");
    assert!(text.ends_with("a_total 3\n"), "{text}");
}

#[test]
fn the_time_of_a_counters_begin_has_a_name_that_no_other_family_may_have() {
    let counter = family("a", Kind::Counter, vec![number(&[], 3.0)]);
    let other = family("a_created", Kind::Counter, vec![number(&[], 4.0)]);
    assert_eq!(expose(vec![counter, other], Format::OpenMetrics).left_out, 1);
}

#[test]
fn what_no_scraper_can_read_is_left_out_and_counted() {
    let wrong = vec![
        number(&[("a-b", "")], 1.0),
        number(&[("a", ""), ("a", "")], 1.0),
        number(&[("__name__", "")], 1.0),
        Sample { labels: Vec::new(), value: Value::Sum { count: 1, sum: 1.0 } },
        number(&[("a", "1")], 1.0),
        number(&[("a", "1")], 2.0),
    ];
    let exposed = expose(
        vec![family("a", Kind::Gauge, wrong), family("0", Kind::Gauge, vec![])],
        Format::Text,
    );
    assert_eq!(exposed.left_out, 6);
    let text = String::from_utf8(exposed.body).expect("text");
    assert!(text.ends_with("gauge\na{a=\"1\"} 1\n"), "{text}");
}

proptest! {
    #[test]
    fn no_value_of_a_label_breaks_a_line(value in ".{0,40}", any in "[\"\\\\\n\r]{0,8}", help in ".{0,20}") {
        let value = format!("{value}{any}");
        let sample = Sample {
            labels: vec![("a".into(), value.clone().into())],
            value: Value::Number(1.0),
        };
        let family = Family { help: help.into(), ..family("m", Kind::Gauge, vec![sample]) };
        let text = shown(vec![family], Format::Text);
        let lines: Vec<&str> = text.split('\n').collect();
        prop_assert_eq!(lines.len(), 4);
        let quoted = lines[2].strip_prefix("m{a=\"").and_then(|rest| rest.strip_suffix("\"} 1"));
        let quoted = quoted.expect("a sample");
        let (mut back, mut escaped) = (String::new(), false);
        for char in quoted.chars() {
            match (escaped, char) {
                (false, '\\') => escaped = true,
                (false, char) => {
                    prop_assert_ne!(char, '"');
                    back.push(char);
                }
                (true, char) => {
                    back.push(if char == 'n' { '\n' } else { char });
                    escaped = false;
                }
            }
        }
        prop_assert_eq!(back, value);
    }

    #[test]
    fn every_number_can_be_read_again(number in any::<f64>()) {
        let sample = Sample { labels: Vec::new(), value: Value::Number(number) };
        let text = shown(vec![family("m", Kind::Gauge, vec![sample])], Format::Text);
        let word = text.trim_end().rsplit(' ').next().expect("a number");
        let back: f64 = word.trim_start_matches('+').parse().expect(word);
        prop_assert!(back == number || back.is_nan() && number.is_nan());
    }
}
