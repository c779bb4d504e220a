//! Flags of other servers, and of settings that have none here: what to write instead.

use indrik_core::settings::{Kind, Setting};

/// Flags of Uvicorn, Granian, Hypercorn, Waitress and uWSGI that none of ours is like.
const FOREIGN: [(&str, &str); 42] = [
    ("--host", "write --bind HOST:PORT"),
    ("--port", "write --bind HOST:PORT"),
    ("--listen", "write --bind HOST:PORT"),
    ("--http-socket", "write --bind HOST:PORT"),
    ("--socket", "write --bind HOST:PORT or --bind unix:PATH"),
    ("--unix-socket", "write --bind unix:PATH"),
    ("--uds", "write --bind unix:PATH"),
    ("--fd", "write --bind fd://N"),
    ("--insecure-bind", "write --bind HOST:PORT; TLS is for all addresses, or none"),
    ("--quic-bind", "HTTP/3 is not spoken here: leave it out"),
    ("--ssl-keyfile", "write --keyfile FILE"),
    ("--ssl-certfile", "write --certfile FILE"),
    ("--ssl-certificate", "write --certfile FILE"),
    ("--ssl-ca-certs", "write --ca-certs FILE"),
    ("--ssl-cert-reqs", "write --cert-reqs N"),
    ("--ssl-ciphers", "write --ciphers NAMES"),
    ("--app-dir", "write --chdir DIRECTORY, or --pythonpath DIRECTORY"),
    ("--working-dir", "write --chdir DIRECTORY"),
    ("--module", "write the application without a flag, as in: indrik main:app"),
    ("--wsgi-file", "write the application without a flag, as in: indrik main:app"),
    ("--callable", "write the application without a flag, as in: indrik main:app"),
    ("--factory", "write the call into the application's name, as in: indrik 'main:create_app()'"),
    ("--interface", "leave it out: WSGI and ASGI are told apart by the application"),
    ("--loop", "write --asgi-loop asyncio or --asgi-loop uvloop"),
    ("--lifespan", "write --asgi-lifespan auto, on or off"),
    ("--http", "leave it out, or write --http-protocols h2,h1"),
    ("--http2", "write --http-protocols h2,h1"),
    ("--ws", "leave it out: WebSockets need no package here"),
    ("--ws-max-size", "write --websocket-max-message-size BYTES"),
    ("--proxy-headers", "write --forwarded-allow-ips ADDRESSES, those of the proxy"),
    ("--timeout-keep-alive", "write --keep-alive SECONDS"),
    ("--timeout-graceful-shutdown", "write --graceful-timeout SECONDS"),
    ("--workers-kill-timeout", "write --graceful-timeout SECONDS"),
    ("--workers-lifetime", "write --max-worker-age TIME"),
    ("--harakiri", "write --request-timeout SECONDS"),
    ("--limit-concurrency", "write --queue-requests-max N: how many requests may wait"),
    ("--limit-max-requests", "write --max-requests N"),
    (
        "--h11-max-incomplete-event-size",
        "write --limit-request-line and --limit-request-field-size",
    ),
    ("--blocking-threads", "write --threads N"),
    ("--runtime-threads", "write --io-threads N"),
    (
        "--reload-dir",
        "leave it out: what the application imports is watched; others by --reload-extra-file",
    ),
    ("--log-config-file", "write --log-config FILE"),
];

/// What to write instead of a flag that there is not.
pub(crate) fn hint(flag: &str) -> Option<String> {
    let known = FOREIGN.iter().find(|(name, _)| *name == flag);
    known.map(|(_, hint)| (*hint).to_owned()).or_else(|| without_flag(flag))
}

/// A setting that the command line does not know, by its name.
fn without_flag(flag: &str) -> Option<String> {
    let name = flag.strip_prefix("--")?.replace('-', "_");
    let setting = Setting::find(&name).filter(|setting| setting.flags.is_empty())?;
    let name = setting.name;
    let place = match setting.kind {
        Kind::Hook => "write it as a function in gunicorn.conf.py".to_owned(),
        Kind::Dict => "write it into indrik.toml or gunicorn.conf.py".to_owned(),
        _ => {
            let variable = name.to_uppercase();
            format!("write it into indrik.toml or gunicorn.conf.py, or set INDRIK_{variable}")
        }
    };
    Some(format!("{name} has no flag: {place}"))
}

#[cfg(test)]
mod tests {
    use indrik_core::settings::SETTINGS;

    use super::*;

    fn flags() -> impl Iterator<Item = &'static str> {
        SETTINGS.iter().flat_map(|setting| setting.flags.iter().copied())
    }

    #[test]
    fn what_is_written_instead_is_a_flag_of_ours_and_the_other_one_is_not() {
        for (foreign, hint) in FOREIGN {
            assert!(!flags().any(|flag| flag == foreign), "{foreign}");
            let named = hint.split([' ', ',', ';', ':']).filter(|word| word.starts_with("--"));
            for flag in named {
                assert!(flags().any(|ours| ours == flag), "{foreign}: {flag}");
            }
        }
    }

    #[test]
    fn a_setting_without_a_flag_is_told_with_the_places_it_has() {
        let told = hint("--tmp-upload-dir").unwrap_or_default();
        assert!(told.contains("INDRIK_TMP_UPLOAD_DIR"), "{told}");
        assert_eq!(hint("--nope"), None);
        assert_eq!(hint("--workers"), None);
    }
}
