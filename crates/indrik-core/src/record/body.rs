//! Bodies of requests, as they are recorded: forms and JSON without the values that their names say are secret. Of what
//! nobody can look through, nothing is recorded.

use serde_json::Value as Json;

use super::redact::{HIDDEN, is_secret};

/// A body, for a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Without its secrets.
    Shown(Vec<u8>),
    /// Why it is not there.
    LeftOut(&'static str),
}

/// A body that began with these bytes; `is_whole`: it has no more. `more`: names that are secret beside the usual ones.
#[must_use]
pub fn body(content_type: &str, bytes: &[u8], is_whole: bool, more: &[String]) -> Body {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_form = kind == "application/x-www-form-urlencoded";
    let is_json = kind == "application/json" || kind.ends_with("+json");
    match (is_form, is_json, is_whole) {
        (false, false, _) => Body::LeftOut("it is neither a form nor JSON"),
        (_, _, false) => Body::LeftOut("it is larger than what is kept of one"),
        (true, _, true) => Body::Shown(form(bytes, more)),
        (false, true, true) => match serde_json::from_slice::<Json>(bytes) {
            Ok(mut json) => {
                hide(&mut json, more);
                Body::Shown(json.to_string().into_bytes())
            }
            Err(_) => Body::LeftOut("it is not JSON, though it says so"),
        },
    }
}

fn form(bytes: &[u8], more: &[String]) -> Vec<u8> {
    let mut shown = Vec::with_capacity(bytes.len());
    for (number, pair) in bytes.split(|byte| *byte == b'&').enumerate() {
        if number != 0 {
            shown.push(b'&');
        }
        match pair.iter().position(|byte| *byte == b'=') {
            Some(end) if !is_secret(&decoded(&pair[..end]), more) => shown.extend_from_slice(pair),
            Some(end) => {
                shown.extend_from_slice(&pair[..=end]);
                shown.extend_from_slice(HIDDEN.as_bytes());
            }
            None if pair.is_empty() => {}
            // What has no name may be a secret as a whole.
            None => shown.extend_from_slice(HIDDEN.as_bytes()),
        }
    }
    shown
}

/// A name as the application reads it.
fn decoded(name: &[u8]) -> String {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let mut bytes = Vec::with_capacity(name.len());
    let mut at = 0;
    while let Some(byte) = name.get(at) {
        let pair = (digit(name.get(at + 1)), digit(name.get(at + 2)));
        let (byte, step) = match (byte, pair) {
            (b'%', (Some(high), Some(low))) => (u8::try_from(high * 16 + low).unwrap_or(b'?'), 3),
            (b'+', _) => (b' ', 1),
            (byte, _) => (*byte, 1),
        };
        bytes.push(byte);
        at += step;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Hides what is below a secret name, whatever it is. The reader of JSON bounds how deep it goes.
fn hide(json: &mut Json, more: &[String]) {
    match json {
        Json::Object(members) => {
            for (name, value) in members {
                match is_secret(name, more) {
                    true => *value = HIDDEN.into(),
                    false => hide(value, more),
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(|item| hide(item, more)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(content_type: &str, text: &str) -> String {
        match body(content_type, text.as_bytes(), true, &["kunde".to_owned()]) {
            Body::Shown(bytes) => String::from_utf8(bytes).unwrap(),
            Body::LeftOut(why) => why.to_owned(),
        }
    }

    #[test]
    fn secrets_of_a_form_are_hidden_by_their_decoded_names() {
        let form = "application/x-www-form-urlencoded; charset=utf-8";
        assert_eq!(
            shown(form, "a=1&user[pass%77ord]=x&PIN=1&shipping=2&Kunde=7&flag&&b=%41"),
            "a=1&user[pass%77ord]=*&PIN=*&shipping=2&Kunde=*&*&&b=%41"
        );
    }

    #[test]
    fn secrets_in_json_are_hidden_with_all_that_is_below_them() {
        let text = r#"{"a": [{"api_key": {"b": 1}}, {"kunde": [1]}], "c": "t", "otp": 5}"#;
        let expected = r#"{"a":[{"api_key":"*"},{"kunde":"*"}],"c":"t","otp":"*"}"#;
        assert_eq!(shown("application/vnd.api+json", text), expected);
    }

    #[test]
    fn what_cannot_be_looked_through_is_left_out() {
        assert!(shown("application/json", "{\"password\": \"x").starts_with("it is not JSON"));
        assert!(shown("multipart/form-data; boundary=x", "--x").starts_with("it is neither"));
        assert!(shown("", "secret").starts_with("it is neither"));
        let cut = body("application/json", b"{}", false, &[]);
        assert_eq!(cut, Body::LeftOut("it is larger than what is kept of one"));
    }

    proptest! {
        #[test]
        fn no_value_of_a_secret_is_shown(value in "[A-Z]{6,12}", depth in 0usize..5) {
            let mut json = serde_json::json!({"x_token": value});
            for _ in 0..depth {
                json = serde_json::json!([{"a": json}]);
            }
            prop_assert!(!shown("application/json", &json.to_string()).contains(&value));
            let form = shown("application/x-www-form-urlencoded", &format!("a=b&secret={value}"));
            prop_assert!(!form.contains(&value));
        }
    }
}
