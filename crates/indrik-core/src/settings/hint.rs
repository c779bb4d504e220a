//! What to write instead, where the setting says more than its type does.

use serde_json::Value as Json;

use super::table::{Kind, Setting};

pub(super) const ADDRESS: &str =
    "write 127.0.0.1:8000, [::1]:8000, :8000 (all interfaces), unix:/run/app.sock or fd://3";
pub(super) const NETWORK: &str = "write 10.0.0.1, 10.0.0.0/8, ::1 or * (everyone)";
pub(super) const RLIMIT: &str = "write nofile=4096, as=2GiB, core=0 or nofile=1024:4096";
pub(super) const STATSD: &str = "write localhost:8125 or unix:///run/statsd.sock";
pub(super) const SYSLOG: &str = "write udp://localhost:514, tcp://localhost:514 or unix:///dev/log";

/// More entries of a table than these are not written out as they would be in a list.
const ENTRIES_SHOWN_MAX: usize = 3;

/// What to write instead of a value that Python has as another type; `None` where the type says it all.
pub(super) fn of_its_own(setting: &Setting, json: &Json) -> Option<String> {
    match setting.kind {
        Kind::Addresses => Some(match json.as_u64().and_then(|port| u16::try_from(port).ok()) {
            Some(port) => format!("write ':{port}' for all interfaces, or '127.0.0.1:{port}'"),
            None => ADDRESS.to_owned(),
        }),
        Kind::Networks => Some(NETWORK.to_owned()),
        Kind::Rlimits => as_list(json).or_else(|| Some(RLIMIT.to_owned())),
        Kind::Pairs | Kind::List if setting.placeholder.contains('=') => {
            as_list(json).or_else(|| Some(format!("write ['{}', …]", setting.placeholder)))
        }
        Kind::List => {
            let one = setting.placeholder.split(',').next().filter(|one| !one.is_empty())?;
            Some(format!("write ['{one}', …]"))
        }
        Kind::StatsD => Some(STATSD.to_owned()),
        Kind::Syslog => Some(SYSLOG.to_owned()),
        Kind::Choice => Some(format!("write '{}'", setting.choices.join("', '"))),
        Kind::Pairs
        | Kind::Int
        | Kind::Mode
        | Kind::NameOrNumber
        | Kind::Share
        | Kind::Percent
        | Kind::Class
        | Kind::Bool
        | Kind::Text
        | Kind::Path
        | Kind::Log
        | Kind::Duration
        | Kind::Size
        | Kind::Memory
        | Kind::Texts
        | Kind::Dict
        | Kind::Hook => None,
    }
}

/// A table as the list of `NAME=VALUE` that is wanted.
fn as_list(json: &Json) -> Option<String> {
    let table = json.as_object().filter(|table| !table.is_empty())?;
    let mut entries = Vec::new();
    for (name, value) in table.iter().take(ENTRIES_SHOWN_MAX) {
        let value = match value {
            Json::String(text) => text.clone(),
            Json::Number(number) => number.to_string(),
            Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => return None,
        };
        entries.push(format!("'{}'", format!("{name}={value}").escape_debug()));
    }
    let more = if table.len() > ENTRIES_SHOWN_MAX { ", …" } else { "" };
    Some(format!("write [{}{more}]", entries.join(", ")))
}

/// What is meant by a name that other servers know as something else than a class of workers.
pub(super) fn instead_of_class(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    match name.as_str() {
        "uvloop" | "asyncio" => Some(format!(
            "that is an event loop: leave the class out and set asgi_loop to {name} (--asgi-loop {name})"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::settings::tests::{file, launch, mistakes, with_flags};

    #[test]
    fn a_value_of_another_type_is_answered_with_what_that_setting_takes() {
        for (name, value, hint) in [
            ("bind", json!(8000), "write ':8000' for all interfaces, or '127.0.0.1:8000'"),
            ("bind", json!({"port": 8000}), "write 127.0.0.1:8000, [::1]:8000"),
            ("raw_env", json!({"A": 1, "B": "x y"}), "write ['A=1', 'B=x y']"),
            ("raw_env", json!(7), "write ['NAME=VALUE', …]"),
            ("raw_env", json!({"A": 1, "B": 2, "C": 3, "D": 4}), "write ['A=1', 'B=2', 'C=3', …]"),
            ("request_timeout_paths", json!({"/reports": 120}), "write ['/reports=120']"),
            ("worker_rlimits", json!({"nofile": 4096}), "write ['nofile=4096']"),
            ("worker_rlimits", json!({"nofile": [1, 2]}), "write nofile=4096, as=2GiB"),
            ("forwarded_allow_ips", json!(127), "write 10.0.0.1, 10.0.0.0/8"),
            ("reload_extra_files", json!(3), "write ['FILE', …]"),
            ("statsd_host", json!(8125), "write localhost:8125"),
            ("loglevel", json!(10), "write 'debug', 'info'"),
        ] {
            let told = mistakes(&launch(), Some(&file(&[(name, value.clone())])));
            assert!(told[0].contains(&format!("hint: {hint}")), "{name} = {value}: {told:?}");
        }
    }

    #[test]
    fn an_event_loop_is_no_class_of_workers_and_the_setting_for_it_is_named() {
        let told = mistakes(&with_flags(&[("worker_class", &["uvloop"])]), None);
        assert!(told[0].contains("(--asgi-loop uvloop)"), "{told:?}");
    }
}
