//! The head of a response as HTTP/2 has it.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TE, TRANSFER_ENCODING, UPGRADE};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// The head of a response as it is sent; `len`: of its body, if that is known.
pub(crate) fn http2_head(mut head: Parts, len: Option<u64>) -> Response<()> {
    let headers = &mut head.headers;
    strip_connection_fields(headers);
    if !headers.contains_key(DATE) {
        headers.insert(DATE, date());
    }
    if let Some(len) = len
        && !headers.contains_key(CONTENT_LENGTH)
    {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
    }
    // What an extension says is for HTTP/1.1 only: the reason phrase.
    head.extensions.clear();
    Response::from_parts(head, ())
}

/// Takes out what says something of an HTTP/1.1 connection (RFC 9113 section 8.2.2), and what `Connection` names.
pub(crate) fn strip_connection_fields(headers: &mut HeaderMap) {
    let named = headers.remove(CONNECTION);
    for name in [KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    let named = named.as_ref().and_then(|named| named.to_str().ok()).unwrap_or("");
    for name in named.split(',').map(str::trim) {
        headers.remove(name);
    }
}

thread_local! {
    static LAST: RefCell<(u64, HeaderValue)> =
        const { RefCell::new((0, HeaderValue::from_static(""))) };
}

/// `Date`, made once in a second.
fn date() -> HeaderValue {
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    LAST.with_borrow_mut(|(made_in, value)| {
        if *made_in != second || value.is_empty() {
            *made_in = second;
            let text = httpdate::fmt_http_date(now);
            // A date is printable.
            *value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
        }
        value.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&'static str, &'static str)], len: Option<u64>) -> HeaderMap {
        let mut response = Response::builder();
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let parts = response.body(()).unwrap().into_parts().0;
        http2_head(parts, len).into_parts().0.headers
    }

    #[test]
    fn fields_of_an_http_1_connection_are_not_sent() {
        let headers = head(
            &[
                ("connection", "close, X-Hop"),
                ("keep-alive", "5"),
                ("x-hop", "1"),
                ("x", "1"),
                ("te", "gzip"),
            ],
            None,
        );
        assert_eq!(headers.len(), 2, "{headers:?}");
        assert_eq!(headers["x"], "1");
        assert!(headers[DATE].to_str().unwrap().ends_with(" GMT"));
    }

    #[test]
    fn a_length_that_is_known_is_sent_unless_the_application_says_one() {
        assert_eq!(head(&[], Some(7))[CONTENT_LENGTH], "7");
        assert_eq!(head(&[("content-length", "5")], Some(7))[CONTENT_LENGTH], "5");
        assert_eq!(head(&[("date", "then")], None)[DATE], "then");
    }
}
