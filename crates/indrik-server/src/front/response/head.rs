//! The head of a response: what the application gave, checked before a byte of it is sent.

use std::sync::OnceLock;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, SERVER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use hyper::ext::ReasonPhrase;
use indrik_ring::{Headers, ResponseHead};

use super::invalid::Invalid;

/// Fields that the front adds to a response: Server, Connection.
const OWN_FIELDS: usize = 2;
const SERVER_NAME: HeaderValue = HeaderValue::from_static("indrik");
/// The `Server` header, if it is not [`SERVER_NAME`]; none inside for no such header.
static SERVER_HEADER: OnceLock<Option<HeaderValue>> = OnceLock::new();

/// Sends another `Server` header, or none when it is empty. Once, before the first response.
pub fn set_server_header(text: Option<&str>) {
    let Some(text) = text else { return };
    let value = HeaderValue::from_str(text).ok().filter(|value| !value.is_empty());
    // Set already by an earlier start in this process, which only tests have.
    let _ = SERVER_HEADER.set(value);
}

/// The head of a response, as the application gave it; `payload` holds it in its first bytes.
/// `map` is an empty one that may be used.
pub(crate) fn head<B>(
    payload: &Bytes,
    head_len: usize,
    body: B,
    closes: bool,
    map: HeaderMap,
) -> Result<Response<B>, Invalid> {
    let invalid = |what: &str| Invalid(format!("the worker sent a response with {what}"));
    let head = ResponseHead::decode(&payload[..head_len]).map_err(|_| invalid("a broken head"))?;
    let mut response = Response::new(body);
    *response.status_mut() = match StatusCode::from_u16(head.status) {
        Ok(status) if status.as_u16() >= 200 => status,
        Ok(_) | Err(_) => return Err(invalid(&format!("the status {}", head.status))),
    };
    *response.headers_mut() = map;
    copy_headers(payload, head.headers, response.headers_mut())?;
    // Without a reason of its own, a status that has none gets none (hyper would write one).
    let usual = response.status().canonical_reason().map(str::as_bytes);
    if usual.is_none() || !head.reason.is_empty() && usual != Some(head.reason) {
        let reason = ReasonPhrase::try_from(head.reason);
        let reason = reason.map_err(|_| invalid("an invalid reason phrase"))?;
        response.extensions_mut().insert(reason);
    }
    let bodiless = [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED];
    if bodiless.contains(&response.status()) {
        // Whatever the version of HTTP: with a 304 it may be sent and need not, with the others it
        // may not say anything but 0.
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    let headers = response.headers_mut();
    if !has(headers, &SERVER)
        && let Some(name) = SERVER_HEADER.get_or_init(|| Some(SERVER_NAME))
    {
        headers.insert(SERVER, name.clone());
    }
    if closes {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Copies fields; their values stay in `payload`.
pub(crate) fn copy_headers(
    payload: &Bytes,
    fields: Headers<'_>,
    into: &mut HeaderMap,
) -> Result<(), Invalid> {
    into.reserve(fields.count() + OWN_FIELDS);
    for (name, value) in fields {
        let shown = || String::from_utf8_lossy(name);
        let Ok(field) = HeaderName::from_bytes(name) else {
            return Err(Invalid(format!("the response has an invalid header name {:?}", shown())));
        };
        let Ok(value) = HeaderValue::from_maybe_shared(payload.slice_ref(value)) else {
            let text = format!("the response's header {:?} has a control character", shown());
            return Err(Invalid(text));
        };
        if field == CONTENT_LENGTH {
            check_length(&value, into)?;
        }
        into.append(field, value);
    }
    Ok(())
}

/// Whether a field is there. Of the few that a response has, looking at each is cheaper than a hash.
fn has(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.keys().any(|other| other == name)
}

fn check_length(value: &HeaderValue, before: &HeaderMap) -> Result<(), Invalid> {
    let plain = !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    if plain && !has(before, &CONTENT_LENGTH) {
        return Ok(());
    }
    Err(Invalid(format!("the response's Content-Length {value:?} is invalid or not the only one")))
}

/// To a client of HTTP/1.0: where the end of the body is the end of the connection, the answer says so;
/// and where it says that the connection closes, nothing else is said beside it. hyper would promise
/// to keep it open (it takes a version of its own in the answer for the server's wish to close).
pub(crate) fn close_for_http_1_0<B: http_body::Body>(response: &mut Response<B>, is_head: bool) {
    let has_no_body = is_head
        || response.status() == StatusCode::NO_CONTENT
        || response.status() == StatusCode::NOT_MODIFIED;
    let has_length = response.headers().contains_key(CONTENT_LENGTH)
        || response.body().size_hint().exact().is_some();
    let closes = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"close");
    if response.headers().get(CONNECTION).is_some_and(closes) || !(has_no_body || has_length) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        *response.version_mut() = Version::HTTP_10;
    }
}

#[cfg(test)]
mod tests {
    use super::super::body::Body;
    use super::*;

    #[test]
    fn an_answer_to_http_1_0_closes_when_nothing_else_ends_it_or_when_it_says_so() {
        let closes = |build: &dyn Fn(&mut Response<Body>), is_head| {
            let mut response = Response::new(Body::full(Bytes::from_static(b"a")));
            build(&mut response);
            close_for_http_1_0(&mut response, is_head);
            response.version() == Version::HTTP_10 && response.headers()[CONNECTION] == "close"
        };
        assert!(!closes(&|_| {}, false));
        let close = |response: &mut Response<Body>| {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        };
        assert!(closes(&close, false) && closes(&close, true));
    }
}
