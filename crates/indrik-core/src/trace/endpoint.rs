//! The address of a collector.

use std::fmt;

use crate::logs::escape::quoted;

/// Where a collector listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Over TLS.
    pub secure: bool,
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path, with the slash that it begins with.
    pub path: String,
}

/// Why a text is no address of a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadEndpoint(&'static str);

impl Endpoint {
    /// Reads `http://host[:port][/path]`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, BadEndpoint> {
        let (secure, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return Err(BadEndpoint("does not begin with http:// or https://")),
        };
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) || rest.contains(['?', '#']) {
            return Err(BadEndpoint("has a space, a query or a fragment"));
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(BadEndpoint("has a user in it: give what is asked for as a header"));
        }
        let (host, port) =
            split(authority).ok_or(BadEndpoint("has no host, or a port that is none"))?;
        let port = port.unwrap_or(if secure { 443 } else { 80 });
        Ok(Self { secure, host: host.to_owned(), port, path: path.to_owned() })
    }

    /// The same, where a query may stand behind the path.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse_with_query(text: &str) -> Result<Self, BadEndpoint> {
        let Some((address, query)) = text.split_once('?') else { return Self::parse(text) };
        if !query.bytes().all(|byte| byte.is_ascii_graphic()) || query.contains('#') {
            return Err(BadEndpoint("has a space or a fragment"));
        }
        let mut endpoint = Self::parse(address)?;
        if endpoint.path.is_empty() {
            endpoint.path.push('/');
        }
        endpoint.path.push('?');
        endpoint.path.push_str(query);
        Ok(endpoint)
    }

    /// The same with a path behind its own.
    #[must_use]
    pub fn below(mut self, path: &str) -> Self {
        self.path.truncate(self.path.trim_end_matches('/').len());
        self.path.push_str(path);
        self
    }

    /// What stands in `Host`.
    #[must_use]
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// An address in a message. A user and a password in it are for the collector only, and so is what is asked with.
#[must_use]
pub fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 200;
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), text),
    };
    let shown = match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}...@{host}"),
        None => format!("{scheme}{rest}"),
    };
    format!("\"{}\"", quoted(&shown, CHARS_MAX))
}

/// Host and port; an IPv6 address stands in brackets.
fn split(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, rest) = match authority.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port = match rest {
        "" => None,
        rest => Some(rest.strip_prefix(':')?.parse::<u16>().ok().filter(|port| *port != 0)?),
    };
    (!host.is_empty()).then_some((host, port))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

impl fmt::Display for BadEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_shown() {
        for (text, shown) in [
            ("http://collector", "http://collector:80"),
            ("https://a.example/otlp/", "https://a.example:443/otlp/"),
            ("http://[::1]:4318", "http://[::1]:4318"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/"),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), shown);
        }
        let below = |text| Endpoint::parse(text).unwrap().below("/v1/traces").path;
        assert_eq!(below("http://a"), "/v1/traces");
        assert_eq!(below("http://a/otlp/"), "/otlp/v1/traces");
    }

    #[test]
    fn a_query_stays_behind_the_path_where_one_may_be() {
        let path = |text| Endpoint::parse_with_query(text).map(|it| it.path);
        assert_eq!(path("https://a/b?c=d&e"), Ok("/b?c=d&e".to_owned()));
        assert_eq!(path("https://a?c"), Ok("/?c".to_owned()));
        assert_eq!(path("https://a/b"), Ok("/b".to_owned()));
        assert!(path("https://a/b?c d").is_err() && path("https://a/b?c#d").is_err());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "",
            "collector:4318",
            "grpc://a",
            "http://",
            "http://:80",
            "http://a:0",
            "http://a:x",
            "http://a:70000",
            "http://a b",
            "http://[::1",
            "http://u:p@a",
            "http://a/?x",
            "http://[::1]x",
            "http://a\r\nb",
        ] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }
}
