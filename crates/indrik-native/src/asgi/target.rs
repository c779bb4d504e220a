//! The request target, taken apart: pure functions.

use std::borrow::Cow;

/// A target's path and query, still percent-encoded.
///
/// The absolute form (`http://host/path`) is reduced to its path.
pub(super) fn split(target: &[u8]) -> (&[u8], &[u8]) {
    let target = if target.first() == Some(&b'/') { target } else { strip_authority(target) };
    match target.iter().position(|byte| *byte == b'?') {
        Some(at) => (&target[..at], &target[at + 1..]),
        None => (target, b""),
    }
}

#[cold]
fn strip_authority(target: &[u8]) -> &[u8] {
    let Some(scheme) = target.windows(3).position(|window| window == b"://") else {
        return target;
    };
    let rest = &target[scheme + 3..];
    match rest.iter().position(|byte| matches!(byte, b'/' | b'?')) {
        Some(at) if rest[at] == b'/' => &rest[at..],
        // No path at all: the root. A query behind the authority is too odd to keep its path apart.
        _ => b"/",
    }
}

/// Undoes percent-encoding. Broken escapes stay as they are.
pub(super) fn percent_decode(path: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = path.iter().position(|byte| *byte == b'%') else {
        return Cow::Borrowed(path);
    };
    let mut out = Vec::with_capacity(path.len());
    out.extend_from_slice(&path[..first]);
    let mut rest = &path[first..];
    while let Some((&byte, tail)) = rest.split_first() {
        let escape = if byte == b'%' { tail.first_chunk::<2>() } else { None };
        let value = escape.and_then(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
        if let Some(value) = value {
            out.push(value);
            rest = &tail[2..];
        } else {
            out.push(byte);
            rest = tail;
        }
    }
    Cow::Owned(out)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::{percent_decode, split};

    #[test]
    fn a_target_is_split_at_the_first_question_mark() {
        assert_eq!(split(b"/a/b?x=1?y"), (&b"/a/b"[..], &b"x=1?y"[..]));
        assert_eq!(split(b"/a"), (&b"/a"[..], &b""[..]));
        assert_eq!(split(b"*"), (&b"*"[..], &b""[..]));
    }

    #[test]
    fn an_absolute_target_is_reduced_to_its_path() {
        assert_eq!(split(b"http://host:80/a?b"), (&b"/a"[..], &b"b"[..]));
        assert_eq!(split(b"http://host"), (&b"/"[..], &b""[..]));
    }

    #[test]
    fn percent_escapes_are_decoded_and_broken_ones_kept() {
        assert_eq!(&*percent_decode(b"/a%20b%C3%A9"), "/a bé".as_bytes());
        assert_eq!(&*percent_decode(b"/100%/%zz%4"), b"/100%/%zz%4");
        assert_eq!(&*percent_decode(b"/plain"), b"/plain");
    }
}
