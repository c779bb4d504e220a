//! `%({name}e)s`: the variables of the WSGI environ that the front knows, as the application saw
//! them. What the application puts into its environ stays in the worker.

use std::borrow::Cow;

use http::request::Parts;
use http::{HeaderMap, Version};
use indrik_core::settings::Config;

use super::super::pipeline::forwarding::Via;
use super::super::pipeline::target;

/// A variable of the environ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    UrlScheme,
    RequestMethod,
    PathInfo,
    QueryString,
    RawUri,
    ServerProtocol,
    RemoteAddr,
    RemotePort,
    ServerName,
    ServerPort,
    ScriptName,
    /// `HTTP_*`, `CONTENT_TYPE` and `CONTENT_LENGTH`: this header.
    Header(String),
}

impl Variable {
    /// The variable of this name, in any case, as Gunicorn's formats have it.
    pub(super) fn named(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        Some(match name.as_str() {
            "wsgi.url_scheme" => Self::UrlScheme,
            "request_method" => Self::RequestMethod,
            "path_info" => Self::PathInfo,
            "query_string" => Self::QueryString,
            "raw_uri" => Self::RawUri,
            "server_protocol" => Self::ServerProtocol,
            "remote_addr" => Self::RemoteAddr,
            "remote_port" => Self::RemotePort,
            "server_name" => Self::ServerName,
            "server_port" => Self::ServerPort,
            "script_name" => Self::ScriptName,
            "content_type" | "content_length" => Self::Header(name.replace('_', "-")),
            _ => Self::Header(name.strip_prefix("http_")?.replace('_', "-")),
        })
    }
}

/// What all requests have in common.
#[derive(Debug, Default)]
pub(super) struct Common {
    /// Host and port of each listener; a Unix socket has no port.
    servers: Vec<(String, Option<u16>)>,
    script_name: String,
    url_scheme: &'static str,
}

impl Common {
    pub(super) fn new(config: &Config, servers: Vec<(String, Option<u16>)>) -> Self {
        let script_name = std::env::var("SCRIPT_NAME").unwrap_or_default();
        Self { servers, script_name, url_scheme: config.url_scheme() }
    }
}

/// One request, as far as its variables need it.
pub(super) struct Seen<'a> {
    pub(super) common: &'a Common,
    pub(super) parts: &'a Parts,
    pub(super) listener: u16,
    pub(super) client: &'a str,
    pub(super) port: u16,
}

impl<'a> Seen<'a> {
    /// The variable's value; `None` when the request has none.
    pub(super) fn value(&self, variable: &Variable) -> Option<Cow<'a, [u8]>> {
        let parts: &'a Parts = self.parts;
        let bytes = |text: Cow<'a, str>| match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        let text = |text: &'a str| Cow::Borrowed(text.as_bytes());
        Some(match variable {
            Variable::UrlScheme => text(match self.via().and_then(|via| via.secure) {
                Some(true) => "https",
                Some(false) => "http",
                None => self.common.url_scheme,
            }),
            Variable::RequestMethod => text(parts.method.as_str()),
            Variable::PathInfo => self.path_info(),
            Variable::QueryString => bytes(target::query(parts)),
            Variable::RawUri => bytes(target::target(parts)),
            Variable::ServerProtocol => text(self.protocol()),
            Variable::RemoteAddr => text(self.client),
            Variable::RemotePort if self.port == 0 => return None,
            Variable::RemotePort => Cow::Owned(self.port.to_string().into_bytes()),
            Variable::ServerName => self.server().0,
            Variable::ServerPort => self.server().1,
            Variable::ScriptName => Cow::Borrowed(self.script_name()),
            Variable::Header(name) => joined(&parts.headers, name)?,
        })
    }

    pub(super) fn protocol(&self) -> &'static str {
        match self.parts.version {
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2.0",
            _ => "HTTP/1.1",
        }
    }

    fn path_info(&self) -> Cow<'a, [u8]> {
        let prefix = std::str::from_utf8(self.script_name()).unwrap_or("");
        match target::path(self.parts) {
            Cow::Borrowed(path) => percent_decoded(path.strip_prefix(prefix).unwrap_or(path)),
            Cow::Owned(path) => {
                Cow::Owned(percent_decoded(path.strip_prefix(prefix).unwrap_or(&path)).into_owned())
            }
        }
    }

    fn via(&self) -> Option<&'a Via> {
        Via::of(self.parts)
    }

    fn script_name(&self) -> &'a [u8] {
        match self.via().map(|via| via.prefix.as_slice()) {
            None | Some([]) => self.common.script_name.as_bytes(),
            Some(prefix) => prefix,
        }
    }

    fn server(&self) -> (Cow<'a, [u8]>, Cow<'a, [u8]>) {
        let text = |text: &'a str| Cow::Borrowed(text.as_bytes());
        let host = self.parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
        match (self.common.servers.get(usize::from(self.listener)), host) {
            (Some((name, Some(port))), _) => {
                (text(name.as_str()), Cow::Owned(port.to_string().into_bytes()))
            }
            // On a Unix socket only the client can say under which name it reached us.
            (_, Some(host)) => match host.rsplit_once(':') {
                Some((name, port)) if !port.contains(']') => (text(name), text(port)),
                _ => (text(host), text("80")),
            },
            (Some((name, None)), None) => (text(name.as_str()), text("")),
            (None, None) => (text(""), text("")),
        }
    }
}

/// The bytes that a path stands for.
fn percent_decoded(path: &str) -> Cow<'_, [u8]> {
    let bytes = path.as_bytes();
    if !bytes.contains(&b'%') {
        return Cow::Borrowed(bytes);
    }
    let digit = |at: usize| {
        let digit = char::from(*bytes.get(at)?).to_digit(16)?;
        u8::try_from(digit).ok()
    };
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte == b'%').then(|| Some(digit(at + 1)? << 4 | digit(at + 2)?)).flatten() {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(decoded)
}

/// A header's values, joined as in the environ.
fn joined<'a>(headers: &'a HeaderMap, name: &str) -> Option<Cow<'a, [u8]>> {
    let mut values = headers.get_all(name).iter();
    let first = Cow::Borrowed(values.next()?.as_bytes());
    let joiner: &[u8] = if name == "cookie" { b"; " } else { b"," };
    Some(values.fold(first, |mut all, value| {
        all.to_mut().extend_from_slice(joiner);
        all.to_mut().extend_from_slice(value.as_bytes());
        all
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str) -> Option<String> {
        let request = http::Request::builder()
            .method("PUT")
            .uri("/base/a%20b?x=1")
            .header("host", "example.org:81")
            .header("x-id", "1")
            .header("x-id", "2")
            .header("content-type", "text/plain");
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let servers = vec![("127.0.0.1".to_owned(), Some(8000)), ("/run/app".to_owned(), None)];
        let common = Common { servers, script_name: "/base".to_owned(), url_scheme: "http" };
        let (name, listener) = name.strip_prefix("unix ").map_or((name, 0), |name| (name, 1));
        let seen =
            Seen { common: &common, parts: &parts, listener, client: "10.0.0.1", port: 5000 };
        let value = seen.value(&Variable::named(name)?)?;
        Some(String::from_utf8_lossy(&value).into_owned())
    }

    #[test]
    fn variables_are_what_the_application_sees() {
        for (name, expected) in [
            ("wsgi.url_scheme", "http"),
            ("REQUEST_METHOD", "PUT"),
            ("PATH_INFO", "/a b"),
            ("QUERY_STRING", "x=1"),
            ("RAW_URI", "/base/a%20b?x=1"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("REMOTE_ADDR", "10.0.0.1"),
            ("REMOTE_PORT", "5000"),
            ("SERVER_NAME", "127.0.0.1"),
            ("SERVER_PORT", "8000"),
            ("unix SERVER_NAME", "example.org"),
            ("unix SERVER_PORT", "81"),
            ("SCRIPT_NAME", "/base"),
            ("CONTENT_TYPE", "text/plain"),
            ("HTTP_X_ID", "1,2"),
        ] {
            assert_eq!(value(name).as_deref(), Some(expected), "{name}");
        }
    }

    #[test]
    fn what_the_request_or_the_front_does_not_have_is_absent() {
        for name in ["HTTP_COOKIE", "CONTENT_LENGTH", "myapp.user", "wsgi.input"] {
            assert_eq!(value(name), None, "{name}");
        }
    }
}
