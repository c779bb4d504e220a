//! The head of a response: what the application gave, checked before a byte of it is sent.

use std::sync::OnceLock;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, SERVER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use hyper::ext::ReasonPhrase;
use indrik_ring::{Headers, ResponseHead};

use super::body::Body;
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
pub(in crate::front) fn head(
    payload: &Bytes,
    head_len: usize,
    body: Body,
    closes: bool,
    map: HeaderMap,
) -> Result<Response<Body>, Invalid> {
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
    if !headers.contains_key(SERVER)
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
pub(in crate::front) fn copy_headers(
    payload: &Bytes,
    fields: Headers<'_>,
    into: &mut HeaderMap,
) -> Result<(), Invalid> {
    into.reserve(fields.count() + OWN_FIELDS);
    for (name, value) in fields {
        let shown = String::from_utf8_lossy(name);
        let Ok(field) = HeaderName::from_bytes(name) else {
            return Err(Invalid(format!("the response has an invalid header name {shown:?}")));
        };
        let Ok(value) = HeaderValue::from_maybe_shared(payload.slice_ref(value)) else {
            let text = format!("the response's header {shown:?} has a control character");
            return Err(Invalid(text));
        };
        if field == CONTENT_LENGTH {
            check_length(&value, into)?;
        }
        into.append(field, value);
    }
    Ok(())
}

fn check_length(value: &HeaderValue, before: &HeaderMap) -> Result<(), Invalid> {
    let plain = !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    if plain && !before.contains_key(CONTENT_LENGTH) {
        return Ok(());
    }
    Err(Invalid(format!("the response's Content-Length {value:?} is invalid or not the only one")))
}
