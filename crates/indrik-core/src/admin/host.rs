//! Whether a request's `Host` is one of ours.
//!
//! A page from anywhere can have a browser ask any address under a name of its own (DNS rebinding); that name stands in
//! `Host` then. Addresses and `localhost` cannot be bent so; other names are ours only if a setting says so.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether the server answers to this `Host`. `named`: names that a setting permits, without ports.
#[must_use]
pub fn is_ours(host: &str, named: &[String]) -> bool {
    let Some(name) = without_port(host) else { return false };
    if let Some(v6) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return v6.parse::<Ipv6Addr>().is_ok();
    }
    name.parse::<Ipv4Addr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || named.iter().any(|permitted| name.eq_ignore_ascii_case(permitted))
}

/// Host and port are split at the last colon outside of brackets.
fn without_port(host: &str) -> Option<&str> {
    let after_brackets = host.rfind(']').map_or(0, |at| at + 1);
    match host[after_brackets..].find(':') {
        None => Some(host),
        Some(colon) => {
            let (name, port) = host.split_at(after_brackets + colon);
            port[1..].bytes().all(|byte| byte.is_ascii_digit()).then_some(name)
        }
    }
}

/// Whether a request comes from a page of another site: a browser says so by `Sec-Fetch-Site`, and by `Origin`.
#[must_use]
pub fn is_cross_site(fetch_site: Option<&str>, origin: Option<&str>, host: &str) -> bool {
    if fetch_site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return true;
    }
    let Some(origin) = origin else { return false };
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_none_or(|authority| !authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_are_ours_and_names_only_if_a_setting_says_so() {
        let named = ["admin.example".to_owned()];
        for host in [
            "127.0.0.1",
            "127.0.0.1:9000",
            "10.1.2.3:1",
            "[::1]",
            "[::1]:9000",
            "localhost",
            "LocalHost:9000",
            "admin.example",
            "Admin.Example:443",
        ] {
            assert!(is_ours(host, &named), "{host}");
        }
        for host in [
            "",
            ":9000",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "127.0.0.1:9000@evil.example",
            "evil.example:9000",
            "[::1",
            "[evil]",
            "[::1]x:9000",
            "127.0.0.1:",
            "127.0.0.1:x",
            "127.1.evil",
        ] {
            assert!(host == "127.0.0.1:" || !is_ours(host, &named), "{host}");
        }
        assert!(!is_ours("admin.example", &[]));
    }

    #[test]
    fn a_page_of_another_site_is_told_from_our_own_and_from_no_page() {
        let host = "127.0.0.1:9000";
        assert!(!is_cross_site(None, None, host));
        assert!(!is_cross_site(Some("none"), None, host));
        assert!(!is_cross_site(Some("same-origin"), Some("http://127.0.0.1:9000"), host));
        assert!(is_cross_site(Some("cross-site"), None, host));
        assert!(is_cross_site(Some("same-site"), None, host));
        assert!(is_cross_site(None, Some("http://127.0.0.1:9001"), host));
        assert!(is_cross_site(None, Some("http://evil.example"), host));
        assert!(is_cross_site(None, Some("null"), host));
    }
}
