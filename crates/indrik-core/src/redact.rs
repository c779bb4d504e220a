//! What of a target is not for whoever may look at the server: decided once, for spans, for `/requests` and for the
//! dashboard. Recordings, which leave the machine as files, hide every value (`record`).

use crate::percent::decoded;

/// What stands for a value: the word of OpenTelemetry's conventions.
const HIDDEN: &str = "REDACTED";
/// A parameter with one of these in its name is a secret.
const WORDS: [&str; 13] = [
    "accesskeyid",
    "auth",
    "cookie",
    "credential",
    "csrf",
    "iban",
    "jwt",
    "key",
    "passw",
    "secret",
    "session",
    "signature",
    "token",
];
/// A parameter whose name is one of these is one: the words stand in too many others.
const NAMES: [&str; 9] = ["code", "cvc", "cvv", "otp", "pin", "pwd", "sid", "sig", "ssn"];

/// Whether a parameter of this name is a secret; the name as it stands in a query.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    let name = decoded(name).to_lowercase();
    NAMES.contains(&name.as_str()) || WORDS.iter().any(|word| name.contains(word))
}

/// A query without the values of parameters whose names say that they are secret.
#[must_use]
pub fn query(query: &str) -> String {
    let mut shown = String::with_capacity(query.len());
    for pair in query.split_inclusive(['&', ';']) {
        let end = pair.ends_with(['&', ';']);
        let (text, mark) = pair.split_at(pair.len() - usize::from(end));
        match text.split_once('=') {
            Some((name, _)) if is_secret(name) => {
                shown.push_str(name);
                shown.push('=');
                shown.push_str(HIDDEN);
            }
            _ => shown.push_str(text),
        }
        shown.push_str(mark);
    }
    shown
}

/// A target whose query is without them.
#[must_use]
pub fn target(target: &str) -> String {
    match target.split_once('?') {
        Some((path, asked)) => format!("{path}?{}", query(asked)),
        None => target.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_query_keeps_secret_is_not_told() {
        for (said, told) in [
            (
                "a=1&api_key=x&Signature=y=z&sig=&b&token",
                "a=1&api_key=REDACTED&Signature=REDACTED&sig=REDACTED&b&token",
            ),
            ("X-Amz-Security-Token=t;a=b", "X-Amz-Security-Token=REDACTED;a=b"),
            ("%74oken=x&s%65ssion=y", "%74oken=REDACTED&s%65ssion=REDACTED"),
            ("code=7&postcode=8", "code=REDACTED&postcode=8"),
            (
                "jwt=x&Auth=y&csrf_t=z&cookie=",
                "jwt=REDACTED&Auth=REDACTED&csrf_t=REDACTED&cookie=REDACTED",
            ),
            ("", ""),
        ] {
            assert_eq!(query(said), told);
            assert_eq!(target(&format!("/a?{said}")), format!("/a?{told}"));
        }
        assert_eq!(target("/token=x"), "/token=x");
    }
}
