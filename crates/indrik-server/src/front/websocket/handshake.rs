//! The opening handshake (RFC 6455 section 4.2): is this request a WebSocket one, is it right, and
//! what is answered.
//!
//! [`Handshake::read`] judges the request; the application then accepts ([`Handshake::response`])
//! or denies it (with a response of its own, to which nothing here applies).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{
    CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
use indrik_core::http1::is_token_byte;
use sha1::{Digest as _, Sha1};

use super::negotiation::{self, Deflate, DeflatePolicy};

/// Appended to the client's key before hashing (RFC 6455 section 1.3).
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The only version of the protocol.
const VERSION: &str = "13";

/// A good WebSocket request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The subprotocols the client offers, in its order of preference.
    pub subprotocols: Vec<String>,
    /// permessage-deflate, if both sides want it; for [`super::Connection::new`].
    pub deflate: Option<Deflate>,
    /// The answer to the client's key, which HTTP/2 has not.
    accept_key: Option<HeaderValue>,
}

/// A bad WebSocket request: what to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadHandshake {
    /// 400, or 426 when another version (or any upgrade at all) would do.
    pub status: StatusCode,
    /// What is wrong, for the response's body.
    pub reason: &'static str,
}

/// The application accepted in a way that cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadAccept {
    /// A subprotocol the client did not offer: the client would fail the connection.
    Subprotocol(String),
    /// A header that belongs to the handshake.
    Header(String),
}

impl std::fmt::Display for BadAccept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Subprotocol(name) => write!(
                f,
                "websocket.accept: subprotocol {name:?} was not offered by the client; choose one \
                 of scope[\"subprotocols\"] or none"
            ),
            Self::Header(name) => write!(
                f,
                "websocket.accept: header {name:?} is the server's; use \"subprotocol\" for the \
                 subprotocol and leave the others out"
            ),
        }
    }
}

impl std::error::Error for BadAccept {}

/// Whether a request asks for WebSocket, rightly or wrongly: `Upgrade` names it and `Connection`
/// names `Upgrade`, among other things perhaps (Firefox sends `keep-alive, Upgrade`).
pub fn is_requested(version: Version, headers: &HeaderMap) -> bool {
    version == Version::HTTP_11
        && has_token(headers, &UPGRADE, "websocket")
        && has_token(headers, &CONNECTION, "upgrade")
}

impl Handshake {
    /// Judges a request for which [`is_requested`] holds. `deflate`: how to compress, or `None` for
    /// not at all.
    ///
    /// # Errors
    /// What to answer a request that breaks RFC 6455 section 4.2.1.
    pub fn read(
        method: &Method,
        version: Version,
        headers: &HeaderMap,
        deflate: Option<&DeflatePolicy>,
    ) -> Result<Self, BadHandshake> {
        if method != Method::GET {
            return Err(bad_request("a WebSocket handshake must be a GET request"));
        }
        if !is_requested(version, headers) {
            let reason = "this address speaks WebSocket: Upgrade: websocket is needed";
            return Err(BadHandshake { status: StatusCode::UPGRADE_REQUIRED, reason });
        }
        // Frames follow the request's head; a body there would be read as frames, or hide some.
        let empty = headers.get_all(CONTENT_LENGTH).iter().all(|value| value == "0");
        if !empty || headers.contains_key(TRANSFER_ENCODING) {
            return Err(bad_request("a WebSocket handshake must not have a body"));
        }
        version_13(headers, StatusCode::UPGRADE_REQUIRED)?;
        let Some(key) = single(headers, SEC_WEBSOCKET_KEY.as_str()) else {
            return Err(bad_request("Sec-WebSocket-Key must be given once"));
        };
        let accept_key = accept_key(key)
            .ok_or_else(|| bad_request("Sec-WebSocket-Key must be 16 bytes in base64"))?;
        Self::negotiate(headers, deflate, Some(accept_key))
    }

    /// Judges a request for a tunnel of HTTP/2 (RFC 8441 section 5): it has no key, as nothing else could take it
    /// for a WebSocket.
    ///
    /// # Errors
    /// What to answer a request that breaks the rules.
    pub fn read_tunnel(
        headers: &HeaderMap,
        deflate: Option<&DeflatePolicy>,
    ) -> Result<Self, BadHandshake> {
        version_13(headers, StatusCode::BAD_REQUEST)?;
        Self::negotiate(headers, deflate, None)
    }

    fn negotiate(
        headers: &HeaderMap,
        deflate: Option<&DeflatePolicy>,
        accept_key: Option<HeaderValue>,
    ) -> Result<Self, BadHandshake> {
        let subprotocols = read_subprotocols(headers).ok_or_else(|| {
            bad_request("Sec-WebSocket-Protocol must be a list of different tokens")
        })?;
        let deflate = match deflate {
            Some(policy) => read_extensions(headers, policy).ok_or_else(|| {
                bad_request("Sec-WebSocket-Extensions does not fit RFC 6455 section 9.1")
            })?,
            None => None,
        };
        Ok(Self { subprotocols, deflate, accept_key })
    }

    /// The `101` (`200` for a tunnel) that accepts, with the application's subprotocol and further headers.
    ///
    /// # Errors
    /// [`BadAccept`]: the application's mistake, to be raised there.
    pub fn response(
        &self,
        subprotocol: Option<&str>,
        extra: HeaderMap,
    ) -> Result<Response<()>, BadAccept> {
        for name in extra.keys() {
            let reserved = [&CONNECTION, &UPGRADE, &CONTENT_LENGTH, &TRANSFER_ENCODING];
            if reserved.contains(&name) || name.as_str().starts_with("sec-websocket-") {
                return Err(BadAccept::Header(name.to_string()));
            }
        }
        let mut headers = extra;
        if let Some(key) = &self.accept_key {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(SEC_WEBSOCKET_ACCEPT, key.clone());
        }
        if let Some(name) = subprotocol {
            let value = self.subprotocols.iter().find(|offered| *offered == name);
            let value = value.and_then(|name| HeaderValue::from_str(name).ok());
            let value = value.ok_or_else(|| BadAccept::Subprotocol(name.to_owned()))?;
            headers.insert(SEC_WEBSOCKET_PROTOCOL, value);
        }
        if let Some(deflate) = &self.deflate
            && let Ok(value) = HeaderValue::from_str(&deflate.header)
        {
            headers.insert(SEC_WEBSOCKET_EXTENSIONS, value);
        }
        let mut response = Response::new(());
        *response.status_mut() = match self.accept_key {
            Some(_) => StatusCode::SWITCHING_PROTOCOLS,
            None => StatusCode::OK,
        };
        *response.headers_mut() = headers;
        Ok(response)
    }
}

impl BadHandshake {
    /// The refusal, with the headers its status needs and the reason as its text.
    pub fn response(&self) -> Response<&'static str> {
        let mut response = Response::new(self.reason);
        *response.status_mut() = self.status;
        if self.status == StatusCode::UPGRADE_REQUIRED {
            let headers = response.headers_mut();
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
        }
        response
    }
}

fn bad_request(reason: &'static str) -> BadHandshake {
    BadHandshake { status: StatusCode::BAD_REQUEST, reason }
}

/// The only version that is spoken; `other`: the status for another one.
fn version_13(headers: &HeaderMap, other: StatusCode) -> Result<(), BadHandshake> {
    match single(headers, SEC_WEBSOCKET_VERSION.as_str()) {
        Some(version) if version == VERSION => Ok(()),
        Some(_) => {
            let reason = "only version 13 of WebSocket is spoken here";
            Err(BadHandshake { status: other, reason })
        }
        None => Err(bad_request("Sec-WebSocket-Version must be given once")),
    }
}

/// The value of a header that must be there once.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?.trim();
    values.next().is_none().then_some(value)
}

fn has_token(headers: &HeaderMap, name: &http::HeaderName, token: &str) -> bool {
    headers.get_all(name).iter().any(|value| {
        value
            .to_str()
            .is_ok_and(|value| value.split(',').any(|item| item.trim().eq_ignore_ascii_case(token)))
    })
}

/// What a client looks for in the answer; `None` if its key is malformed.
pub fn expected_accept(headers: &HeaderMap) -> Option<HeaderValue> {
    single(headers, SEC_WEBSOCKET_KEY.as_str()).and_then(accept_key)
}

fn accept_key(key: &str) -> Option<HeaderValue> {
    if BASE64.decode(key).ok()?.len() != 16 {
        return None;
    }
    let hash = Sha1::new().chain_update(key).chain_update(KEY_SUFFIX).finalize();
    HeaderValue::from_str(&BASE64.encode(hash)).ok()
}

fn read_subprotocols(headers: &HeaderMap) -> Option<Vec<String>> {
    let mut offered: Vec<String> = Vec::new();
    for value in headers.get_all(SEC_WEBSOCKET_PROTOCOL) {
        for item in value.to_str().ok()?.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            if !item.bytes().all(is_token_byte) || offered.iter().any(|known| known == item) {
                return None;
            }
            offered.push(item.to_owned());
        }
    }
    Some(offered)
}

fn read_extensions(headers: &HeaderMap, policy: &DeflatePolicy) -> Option<Option<Deflate>> {
    let values: Result<Vec<&str>, _> =
        headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter().map(HeaderValue::to_str).collect();
    negotiation::negotiate(values.ok()?, policy).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn request(changes: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", KEY),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        for (name, value) in changes {
            headers.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn read(headers: &HeaderMap) -> Result<Handshake, BadHandshake> {
        let policy = DeflatePolicy::default();
        Handshake::read(&Method::GET, Version::HTTP_11, headers, Some(&policy))
    }

    #[test]
    fn the_rfc_example_key_gets_the_rfc_example_answer() {
        let response = read(&request(&[])).unwrap().response(None, HeaderMap::new()).unwrap();
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(!response.headers().contains_key("sec-websocket-extensions"));
    }

    #[test]
    fn another_version_is_426_and_names_ours() {
        let refusal = read(&request(&[("sec-websocket-version", "8")])).unwrap_err().response();
        assert_eq!(refusal.status(), 426);
        assert_eq!(refusal.headers()["sec-websocket-version"], "13");
    }

    #[test]
    fn a_request_without_upgrade_is_426() {
        assert_eq!(read(&request(&[("upgrade", "h2c")])).unwrap_err().status, 426);
        assert_eq!(read(&request(&[("connection", "close")])).unwrap_err().status, 426);
        let headers = request(&[]);
        let old = Handshake::read(&Method::GET, Version::HTTP_10, &headers, None);
        assert_eq!(old.unwrap_err().status, 426);
    }

    #[test]
    fn broken_requests_are_400() {
        for change in [
            ("sec-websocket-key", ""),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ"),
            ("sec-websocket-key", "c2hvcnQ="),
            ("sec-websocket-protocol", "chat, chat"),
            ("sec-websocket-protocol", "a b"),
            ("sec-websocket-extensions", "permessage-deflate;"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
        ] {
            assert_eq!(read(&request(&[change])).unwrap_err().status, 400, "{change:?}");
        }
        let mut twice = request(&[]);
        twice.append("sec-websocket-key", HeaderValue::from_static(KEY));
        assert_eq!(read(&twice).unwrap_err().status, 400);
        let post = Handshake::read(&Method::POST, Version::HTTP_11, &request(&[]), None);
        assert_eq!(post.unwrap_err().status, 400);
    }

    #[test]
    fn an_offered_subprotocol_may_be_chosen_and_no_other() {
        let handshake = read(&request(&[("sec-websocket-protocol", "chat, superchat")])).unwrap();
        assert_eq!(handshake.subprotocols, ["chat", "superchat"]);
        let response = handshake.response(Some("superchat"), HeaderMap::new()).unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "superchat");
        let error = handshake.response(Some("other"), HeaderMap::new()).unwrap_err();
        assert_eq!(error, BadAccept::Subprotocol("other".into()));
    }

    #[test]
    fn the_application_may_add_headers_but_not_the_handshakes() {
        let handshake = read(&request(&[])).unwrap();
        let mut extra = HeaderMap::new();
        extra.insert("set-cookie", HeaderValue::from_static("a=b"));
        let response = handshake.response(None, extra.clone()).unwrap();
        assert_eq!(response.headers()["set-cookie"], "a=b");
        extra.insert("sec-websocket-accept", HeaderValue::from_static("x"));
        assert!(matches!(handshake.response(None, extra), Err(BadAccept::Header(_))));
    }

    #[test]
    fn compression_is_agreed_on_unless_it_is_off() {
        let headers = request(&[("sec-websocket-extensions", "permessage-deflate")]);
        let handshake = read(&headers).unwrap();
        assert!(handshake.deflate.is_some());
        let response = handshake.response(None, HeaderMap::new()).unwrap();
        assert!(response.headers().contains_key("sec-websocket-extensions"));
        let off = Handshake::read(&Method::GET, Version::HTTP_11, &headers, None).unwrap();
        assert!(off.deflate.is_none());
    }
}
