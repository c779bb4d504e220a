//! From a request target to `PATH_INFO` and `QUERY_STRING`.

use std::borrow::Cow;

/// The parts of a request target that an application sees.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    /// Percent-decoded; the bytes of a latin-1 `str`.
    pub(crate) path: Cow<'a, [u8]>,
    /// As sent.
    pub(crate) query: &'a [u8],
}

/// Splits a request target. The fragment is dropped. Of an absolute form (`http://host/path`) the
/// path and query remain, as with Gunicorn; `*` stays; a second leading slash stays.
pub(crate) fn split_target(target: &[u8]) -> Target<'_> {
    let local = if target.first() == Some(&b'/') { target } else { without_authority(target) };
    let local = &local[..position(local, b'#')];
    let end = position(local, b'?');
    let query = local.get(end + 1..).unwrap_or_default();
    Target { path: percent_decode(&local[..end]), query }
}

fn position(bytes: &[u8], byte: u8) -> usize {
    bytes.iter().position(|b| *b == byte).unwrap_or(bytes.len())
}

/// What follows scheme and authority; all of it when there are none.
fn without_authority(target: &[u8]) -> &[u8] {
    let Some(colon) = target.windows(3).position(|w| w == b"://") else {
        return target;
    };
    let scheme = &target[..colon];
    let is_scheme = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    if !scheme.first().is_some_and(u8::is_ascii_alphabetic) || !scheme.iter().all(is_scheme) {
        return target;
    }
    let rest = &target[colon + 3..];
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    &rest[end..]
}

/// Decodes `%XX`; what is no such thing stays as it is.
fn percent_decode(bytes: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = bytes.iter().position(|b| *b == b'%') else {
        return Cow::Borrowed(bytes);
    };
    let mut decoded = Vec::with_capacity(bytes.len());
    decoded.extend_from_slice(&bytes[..first]);
    let mut rest = &bytes[first..];
    while let Some((byte, tail)) = rest.split_first() {
        let pair = if *byte == b'%' { hex_pair(tail) } else { None };
        decoded.push(pair.unwrap_or(*byte));
        rest = if pair.is_some() { &tail[2..] } else { tail };
    }
    Cow::Owned(decoded)
}

fn hex_pair(bytes: &[u8]) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some(digit(*bytes.first()?)? << 4 | digit(*bytes.get(1)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(target: &str) -> (String, String) {
        let target = split_target(target.as_bytes());
        let latin1 = |bytes: &[u8]| bytes.iter().map(|b| char::from(*b)).collect::<String>();
        (latin1(&target.path), latin1(target.query))
    }

    fn pair(path: &str, query: &str) -> (String, String) {
        (path.to_owned(), query.to_owned())
    }

    #[test]
    fn path_and_query_are_split_and_the_fragment_is_dropped() {
        assert_eq!(split("/a/b?x=1&y=%20"), pair("/a/b", "x=1&y=%20"));
        assert_eq!(split("/a#frag?no"), pair("/a", ""));
        assert_eq!(split("/a?q#frag"), pair("/a", "q"));
        assert_eq!(split("/a?"), pair("/a", ""));
        assert_eq!(split("/a?b?c"), pair("/a", "b?c"));
    }

    #[test]
    fn the_path_is_percent_decoded_to_latin_1_and_broken_escapes_stay() {
        assert_eq!(split("/caf%C3%A9"), pair("/caf\u{c3}\u{a9}", ""));
        assert_eq!(split("/%2F%2f%"), pair("///%", ""));
        assert_eq!(split("/%zz%4"), pair("/%zz%4", ""));
        assert_eq!(split("/%25%32%35"), pair("/%25", ""));
    }

    #[test]
    fn two_leading_slashes_are_no_authority() {
        assert_eq!(split("//host/path"), pair("//host/path", ""));
    }

    #[test]
    fn of_an_absolute_form_the_path_and_query_remain() {
        assert_eq!(split("http://host:80/a?b"), pair("/a", "b"));
        assert_eq!(split("http://host"), pair("", ""));
        assert_eq!(split("http://host?b"), pair("", "b"));
        assert_eq!(split("*"), pair("*", ""));
    }
}
