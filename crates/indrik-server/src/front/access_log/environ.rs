//! `%({name}e)s`: the variables of the WSGI environ that the front knows, as the application saw
//! them. What the application puts into its environ stays in the worker.

use std::borrow::Cow;

use http::HeaderMap;
use http::request::Parts;
use indrik_core::settings::Config;

use super::super::forwarding::Via;
use super::super::request::target;

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
pub(super) struct Places {
    /// Host and port of each listener; a Unix socket has no port.
    servers: Vec<(String, Option<u16>)>,
    script_name: String,
    url_scheme: &'static str,
}

impl Places {
    pub(super) fn new(config: &Config, servers: Vec<(String, Option<u16>)>) -> Self {
        let script_name = std::env::var("SCRIPT_NAME").unwrap_or_default();
        Self { servers, script_name, url_scheme: config.url_scheme() }
    }
}

/// One request, as far as its variables need it.
pub(super) struct Seen<'a> {
    pub(super) places: &'a Places,
    pub(super) parts: &'a Parts,
    pub(super) protocol: &'static str,
    pub(super) listener: u16,
    pub(super) client: &'a str,
    pub(super) port: u16,
}

impl Seen<'_> {
    /// The variable's value; `None` when the request has none.
    pub(super) fn value(&self, variable: &Variable) -> Option<Cow<'_, str>> {
        Some(match variable {
            Variable::UrlScheme => Cow::Borrowed(match self.via().and_then(|via| via.secure) {
                Some(true) => "https",
                Some(false) => "http",
                None => self.places.url_scheme,
            }),
            Variable::RequestMethod => Cow::Borrowed(self.parts.method.as_str()),
            Variable::PathInfo => self.path_info(),
            Variable::QueryString => Cow::Borrowed(self.parts.uri.query().unwrap_or("")),
            Variable::RawUri => target(self.parts),
            Variable::ServerProtocol => Cow::Borrowed(self.protocol),
            Variable::RemoteAddr => Cow::Borrowed(self.client),
            Variable::RemotePort if self.port == 0 => return None,
            Variable::RemotePort => Cow::Owned(self.port.to_string()),
            Variable::ServerName => self.server().0,
            Variable::ServerPort => self.server().1,
            Variable::ScriptName => self.script_name(),
            Variable::Header(name) => joined(&self.parts.headers, name)?,
        })
    }

    fn path_info(&self) -> Cow<'_, str> {
        let path = self.parts.uri.path();
        percent_decoded(path.strip_prefix(&*self.script_name()).unwrap_or(path))
    }

    fn via(&self) -> Option<&Via> {
        Via::of(self.parts)
    }

    fn script_name(&self) -> Cow<'_, str> {
        match self.via().map(|via| via.prefix.as_slice()) {
            None | Some([]) => Cow::Borrowed(self.places.script_name.as_str()),
            Some(prefix) => String::from_utf8_lossy(prefix),
        }
    }

    fn server(&self) -> (Cow<'_, str>, Cow<'_, str>) {
        let host = self.parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
        match (self.places.servers.get(usize::from(self.listener)), host) {
            (Some((name, Some(port))), _) => {
                (Cow::Borrowed(name.as_str()), Cow::Owned(port.to_string()))
            }
            // On a Unix socket only the client can say under which name it reached us.
            (_, Some(host)) => {
                let (name, port) = match host.rsplit_once(':') {
                    Some((name, port)) if !port.contains(']') => (name, port),
                    _ => (host, "80"),
                };
                (Cow::Borrowed(name), Cow::Borrowed(port))
            }
            (Some((name, None)), None) => (Cow::Borrowed(name.as_str()), Cow::Borrowed("")),
            (None, None) => (Cow::Borrowed(""), Cow::Borrowed("")),
        }
    }
}

/// The bytes of a path as the latin-1 characters that WSGI makes of them.
fn percent_decoded(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let bytes = path.as_bytes();
    let mut decoded = String::with_capacity(path.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let pair =
            (byte == b'%').then(|| Some((digit(bytes.get(at + 1))?, digit(bytes.get(at + 2))?)));
        match pair.flatten().and_then(|(high, low)| char::from_u32(high << 4 | low)) {
            Some(character) => {
                decoded.push(character);
                at += 3;
            }
            None => {
                decoded.push(char::from(byte));
                at += 1;
            }
        }
    }
    Cow::Owned(decoded)
}

/// A header's values, joined as in the environ.
fn joined<'a>(headers: &'a HeaderMap, name: &str) -> Option<Cow<'a, str>> {
    let mut values = headers.get_all(name).iter();
    let first = String::from_utf8_lossy(values.next()?.as_bytes());
    let joiner = if name == "cookie" { "; " } else { "," };
    Some(values.fold(first, |mut all, value| {
        all.to_mut().push_str(joiner);
        all.to_mut().push_str(&String::from_utf8_lossy(value.as_bytes()));
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
        let places = Places { servers, script_name: "/base".to_owned(), url_scheme: "http" };
        let (name, listener) = name.strip_prefix("unix ").map_or((name, 0), |name| (name, 1));
        let seen = Seen {
            places: &places,
            parts: &parts,
            protocol: "HTTP/1.1",
            listener,
            client: "10.0.0.1",
            port: 5000,
        };
        seen.value(&Variable::named(name)?).map(Cow::into_owned)
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
