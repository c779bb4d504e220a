//! Why a request is refused before the table of routes is asked.

use super::explain::read_url;
use crate::http1::{Host, Limits, Screen, is_conventional_method};
use crate::settings::Config;

/// What stands in `Host` where the request to be explained names none.
const ANY_HOST: &str = "localhost";

/// The status and the reason with which the server refuses a request for its method or its URL alone. The checks
/// are the server's own.
#[must_use]
pub fn refusal(config: &Config, method: &str, url: &str) -> Option<(u16, String)> {
    let (host, _) = read_url(url)?;
    let host = if host.is_empty() { ANY_HOST } else { host };
    let head = format!("{method} {} HTTP/1.1\r\nHost: {host}\r\n\r\n", target(url));
    if let Err(broken) = Screen::new(Limits::NONE).read(head.as_bytes()) {
        return Some((400, broken.to_string()));
    }
    if method == "CONNECT" {
        return Some((501, "this server is no proxy".to_owned()));
    }
    if !config.permit_unconventional_http_method && !is_conventional_method(method) {
        let why = "the method is not a conventional one (permit_unconventional_http_method)";
        return Some((400, why.to_owned()));
    }
    Host::parse(host.as_bytes()).is_none().then(|| (400, "the Host header is malformed".to_owned()))
}

/// A URL as a request's target: without scheme, host and fragment.
fn target(url: &str) -> String {
    let url = url.split('#').next().unwrap_or_default();
    let rest = url.split_once("://").map(|(_, rest)| rest);
    let target = match rest {
        Some(rest) => rest.find(['/', '?']).map_or("", |at| &rest[at..]),
        None => url,
    };
    if target.starts_with('/') { target.to_owned() } else { format!("/{target}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::config_for_tests;

    fn refused(method: &str, url: &str) -> Option<u16> {
        refusal(&config_for_tests(""), method, url).map(|(status, _)| status)
    }

    #[test]
    fn a_request_is_refused_for_what_the_server_refuses_it_for() {
        assert_eq!(refused("GET", "/x?a=1"), None);
        assert_eq!(refused("GET", "http://a.org:80/x#f"), None);
        assert_eq!(refused("get", "/x"), Some(400));
        assert_eq!(refused("F", "/x"), Some(400));
        assert_eq!(refused("GE T", "/x"), Some(400));
        assert_eq!(refused("GET", "http://a%/x"), Some(400));
        assert_eq!(refused("GET", "/x y"), Some(400));
        assert_eq!(refused("CONNECT", "/x"), Some(400));
    }

    #[test]
    fn methods_of_any_name_pass_where_that_is_permitted() {
        let config = config_for_tests("permit_unconventional_http_method = true");
        assert_eq!(refusal(&config, "get", "/x"), None);
    }
}
