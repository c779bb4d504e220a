//! Which of the running servers is meant: by address, directory or application, as their users know them.

use std::path::PathBuf;

use serde_json::Value as Json;

/// What a server is known by. What is not said fits all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// It listens there, as `--bind` writes it.
    pub bind: Option<String>,
    /// It runs there.
    pub directory: Option<PathBuf>,
    /// It runs this application.
    pub application: Option<String>,
}

impl Marks {
    /// Whether all servers fit.
    #[must_use]
    pub fn are_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether they are those of the server that told this of itself (`show look`).
    pub(super) fn fit(&self, server: &Json) -> bool {
        let text = |name: &str| server.get(name).and_then(Json::as_str).unwrap_or_default();
        let mut addresses = server
            .get("addresses")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
            .filter_map(Json::as_str);
        let listens = |bind: &String| addresses.any(|address| is_same_address(bind, address));
        self.bind.as_ref().is_none_or(listens)
            && self
                .directory
                .as_ref()
                .is_none_or(|directory| directory.as_os_str() == text("directory"))
            && self
                .application
                .as_ref()
                .is_none_or(|name| name == text("application") || name == text("title"))
    }
}

/// A name for people: number, application, addresses and directory.
pub(super) fn described(pid: u32, server: &Json) -> String {
    let text = |name: &str| server.get(name).and_then(Json::as_str).unwrap_or("?");
    let addresses = server.get("addresses").and_then(Json::as_array);
    let addresses = addresses.into_iter().flatten().filter_map(Json::as_str).collect::<Vec<_>>();
    format!("{pid}: {} at {} in {}", text("application"), addresses.join(", "), text("directory"))
}

/// `:8000`, `localhost:8000`, `unix:/run/x` and how the server writes them.
fn is_same_address(asked: &str, has: &str) -> bool {
    let plain = |text: &str| {
        let text = text.trim_start_matches("unix://").trim_start_matches("unix:");
        let text = text.rsplit_once("://").map_or(text, |(_, rest)| rest);
        text.replace("localhost:", "127.0.0.1:")
    };
    let (asked, has) = (plain(asked), plain(has));
    let port_only =
        asked.strip_prefix(':').or_else(|| asked.parse::<u16>().is_ok().then_some(asked.as_str()));
    match port_only {
        Some(port) => has.rsplit_once(':').is_some_and(|(_, other)| other == port),
        None => asked == has,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_server_is_known_by_all_that_is_said_of_it() {
        let server = json!({"application": "main:app", "title": "shop", "directory": "/srv/a",
            "addresses": ["http://127.0.0.1:8000", "unix:/run/a.sock"]});
        let marks = |bind: &str, directory: &str, application: &str| {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            Marks {
                bind: some(bind),
                directory: some(directory).map(PathBuf::from),
                application: some(application),
            }
        };
        for (bind, directory, application, fits) in [
            ("", "", "", true),
            ("127.0.0.1:8000", "/srv/a", "main:app", true),
            (":8000", "", "shop", true),
            ("8000", "", "", true),
            ("localhost:8000", "", "", true),
            ("unix:/run/a.sock", "", "", true),
            ("127.0.0.1:800", "", "", false),
            (":80", "", "", false),
            ("", "/srv", "", false),
            ("", "", "main", false),
            (":8000", "/srv/b", "", false),
        ] {
            assert_eq!(
                marks(bind, directory, application).fit(&server),
                fits,
                "{bind} {directory} {application}"
            );
        }
        assert_eq!(
            described(7, &server),
            "7: main:app at http://127.0.0.1:8000, unix:/run/a.sock in /srv/a"
        );
    }
}
