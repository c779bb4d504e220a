//! What of a request is not for whoever reads a recording.

/// What stands for a value.
pub(super) const HIDDEN: &str = "*";
/// What has one of these in its name is a secret.
const SECRET_WORDS: [&str; 12] = [
    "auth",
    "cookie",
    "token",
    "key",
    "secret",
    "passw",
    "session",
    "credential",
    "signature",
    "csrf",
    "jwt",
    "iban",
];
/// Fields of forms and JSON whose name is one of these are secrets: the words stand in too many others.
const SECRET_NAMES: [&str; 9] =
    ["pwd", "pin", "otp", "ssn", "cvc", "cvv", "card", "card_number", "cardnumber"];
/// Headers whose values are addresses with queries of their own.
const ADDRESSES: [&str; 2] = ["referer", "origin"];
/// Headers that say whose client it is.
const PERSONAL: [&str; 7] = [
    "x-forwarded-for",
    "forwarded",
    "x-real-ip",
    "from",
    "true-client-ip",
    "cf-connecting-ip",
    "x-client-ip",
];

/// Whether what has this name is a secret; `more`: names that are it beside the usual ones, in small letters.
pub(super) fn is_secret(name: &str, more: &[String]) -> bool {
    let name = name.to_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
        || SECRET_NAMES.contains(&name.as_str())
        || more.iter().any(|secret| secret.eq_ignore_ascii_case(&name))
}

/// The value of a header, as it is recorded; `more`: names that are secret beside the usual ones.
#[must_use]
pub fn field(name: &str, value: &[u8], more: &[String]) -> Vec<u8> {
    let name = name.to_ascii_lowercase();
    let is_hidden = is_secret(&name, more) || PERSONAL.contains(&name.as_str());
    if is_hidden {
        HIDDEN.into()
    } else if ADDRESSES.contains(&name.as_str()) {
        target(value)
    } else {
        value.to_vec()
    }
}

/// A target or an address, as it is recorded: names of the query stay, their values do not.
#[must_use]
pub fn target(target: &[u8]) -> Vec<u8> {
    let at = target.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(target.len());
    let (path, rest) = target.split_at(at);
    let mut shown = without_user(path);
    let Some((b'?', query)) = rest.split_first() else { return shown };
    shown.push(b'?');
    let query = query.split(|byte| *byte == b'#').next().unwrap_or_default();
    for (number, part) in query.split(|byte| matches!(byte, b'&' | b';')).enumerate() {
        if number != 0 {
            shown.push(b'&');
        }
        // What has no name may be a secret as a whole.
        if let Some(end) = part.iter().position(|byte| *byte == b'=') {
            shown.extend_from_slice(&part[..=end]);
        }
        if !part.is_empty() {
            shown.extend_from_slice(HIDDEN.as_bytes());
        }
    }
    shown
}

/// `http://user:password@host/path` without the user.
fn without_user(path: &[u8]) -> Vec<u8> {
    let Some(start) = path.windows(3).position(|it| it == b"://").map(|at| at + 3) else {
        return path.to_vec();
    };
    let end =
        path[start..].iter().position(|byte| *byte == b'/').map_or(path.len(), |at| start + at);
    match path[start..end].iter().rposition(|byte| *byte == b'@') {
        Some(at) => [&path[..start], &path[start + at + 1..]].concat(),
        None => path.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        String::from_utf8(target(text.as_bytes())).unwrap()
    }

    #[test]
    fn values_of_a_query_are_hidden_and_names_stay() {
        assert_eq!(shown("/a?user=7&token=x=y&flag&=v&&q="), "/a?user=*&token=*&*&=*&&q=*");
        assert_eq!(shown("/a;b"), "/a;b");
        assert_eq!(shown("/a?"), "/a?");
        assert_eq!(shown("/a?b=1#secret"), "/a?b=*");
        assert_eq!(shown("http://me:pw@host:80/a?b=1"), "http://host:80/a?b=*");
        assert_eq!(shown("http://host/a@b"), "http://host/a@b");
    }

    #[test]
    fn secrets_and_clients_are_hidden_whatever_their_names_case() {
        for name in [
            "Authorization",
            "COOKIE",
            "Set-Cookie",
            "X-Api-Key",
            "x-csrf-token",
            "X-Forwarded-For",
        ] {
            assert_eq!(field(name, b"it", &[]), b"*", "{name}");
        }
        assert_eq!(field("accept", b"text/html", &[]), b"text/html");
        assert_eq!(field("X-Kunde", b"7", &["x-kunde".to_owned()]), b"*");
        assert_eq!(field("Referer", b"https://host/?session=1", &[]), b"https://host/?session=*");
    }

    proptest! {
        #[test]
        fn no_value_of_a_query_is_shown(values in prop::collection::vec("[A-Z]{4,8}", 1..6)) {
            let query: Vec<String> = values.iter().map(|value| format!("name={value}")).collect();
            let shown = shown(&format!("/path?{}", query.join("&")));
            prop_assert!(values.iter().all(|value| !shown.contains(value)));
        }
    }
}
