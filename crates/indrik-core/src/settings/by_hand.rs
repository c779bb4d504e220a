//! Settings that an operator changes while the server runs: which, and whether they would be valid.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value as Json;

use super::launch::{ConfigFileValues, Launch};
use super::layers::{Entry, Layer, Origin, Raw};
use super::problem::Problem;
use super::resolve::{Merged, merge, resolve};
use super::suggest;
use super::table::{SETTINGS, Setting, Status};

/// Changes in one go.
pub const CHANGES_MAX: usize = 64;

/// A change that would be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The setting.
    pub name: &'static str,
    /// Its value now, as users write it.
    pub before: String,
    /// Its value then.
    pub after: String,
}

/// Why a change cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Where in what was sent (RFC 6901); empty: the settings together.
    pub pointer: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What changes come to.
#[derive(Clone, Debug)]
pub struct Plan {
    /// All that is set by hand then.
    pub layer: Layer,
    /// What becomes different.
    pub differences: Vec<Difference>,
}

/// Decides changes: a value for each setting, null for what the files say.
///
/// # Errors
/// All mistakes at once; nothing is changed then.
pub fn plan(
    launch: &Launch,
    file: Option<&ConfigFileValues>,
    changes: &BTreeMap<String, Json>,
    who: &str,
) -> Result<Plan, Vec<Refusal>> {
    if changes.is_empty() || changes.len() > CHANGES_MAX {
        let problem = format!("changes has {} settings, and not 1 to {CHANGES_MAX}", changes.len());
        return Err(vec![Refusal { pointer: "/changes".to_owned(), problem, hint: None }]);
    }
    let mut refusals = Vec::new();
    let mut settings = Vec::new();
    for (name, value) in changes {
        match changeable(name) {
            Ok(setting) => settings.push((setting, value)),
            Err((problem, hint)) => {
                refusals.push(Refusal { pointer: pointer(name), problem, hint });
            }
        }
    }
    let layer = layer(&launch.by_hand, &settings, who);
    let changed = Launch { by_hand: layer.clone(), ..launch.clone() };
    let (before, after) = (merge(launch, file), merge(&changed, file));
    refusals.extend(after.problems.iter().map(|problem| refusal(problem, changes)));
    if refusals.is_empty()
        && let Err(problems) = resolve(&changed, file)
    {
        refusals.extend(problems.iter().map(|problem| refusal(problem, changes)));
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let differences =
        settings.iter().filter_map(|(setting, _)| difference(setting, &before, &after));
    Ok(Plan { layer, differences: differences.collect() })
}

/// A setting that an operator may change, or why not.
fn changeable(name: &str) -> Result<&'static Setting, (String, Option<String>)> {
    let Some(setting) = Setting::find(name) else {
        let near = suggest::nearest(name, SETTINGS.iter().map(|setting| setting.name));
        let hint = near.map(|near| format!("did you mean {near}?"));
        return Err(("there is no such setting".to_owned(), hint));
    };
    let why = match (setting.status, setting.by_api, setting.at_start_only) {
        (Status::Ignored { .. } | Status::Refused { .. }, _, _) => "it has no effect here",
        (Status::Honoured, _, true) => "it takes effect at the next start only",
        (Status::Honoured, false, false) => {
            "it is for whoever may write the configuration: more than an operator's rights follow from it"
        }
        (Status::Honoured, true, false) => return Ok(setting),
    };
    let hint = "change it in the configuration file".to_owned();
    Err((format!("{name} cannot be changed here: {why}"), Some(hint)))
}

fn layer(before: &Layer, settings: &[(&'static Setting, &Json)], who: &str) -> Layer {
    let is_kept = |entry: &&Entry| settings.iter().all(|(it, _)| it.name != entry.setting.name);
    let mut entries: Vec<Entry> = before.entries.iter().filter(is_kept).cloned().collect();
    let set = settings.iter().filter(|(_, value)| !value.is_null());
    entries.extend(set.map(|(setting, value)| Entry {
        setting,
        raw: match value {
            // As on the command line.
            Json::String(text) => Raw::Texts(vec![text.clone()]),
            value => Raw::Json((*value).clone()),
        },
        origin: Origin::ByHand(who.to_owned()),
    }));
    Layer { entries }
}

fn difference(setting: &Setting, before: &Merged, after: &Merged) -> Option<Difference> {
    let text = |merged: &Merged| merged.get(setting.name).map(|it| it.value.to_string());
    let (before, after) = (text(before)?, text(after)?);
    let name = SETTINGS.iter().find(|it| it.name == setting.name)?.name;
    (before != after).then_some(Difference { name, before, after })
}

/// A mistake of all settings together, at the one that it is about if that was changed.
fn refusal(problem: &Problem, changes: &BTreeMap<String, Json>) -> Refusal {
    let about =
        problem.what.split([':', ' ', ',']).next().filter(|name| changes.contains_key(*name));
    Refusal {
        pointer: about.map(pointer).unwrap_or_default(),
        problem: problem.what.clone(),
        hint: problem.hint.clone(),
    }
}

fn pointer(name: &str) -> String {
    format!("/changes/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// A setting, for showing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Shown {
    pub name: &'static str,
    pub section: &'static str,
    /// As users write it; nothing of what may be a secret.
    pub value: Option<String>,
    pub is_set: bool,
    /// Where it comes from.
    pub origin: String,
    pub by_hand: bool,
    /// What it would be without what was set by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<String>,
    pub secret: bool,
    pub by_api: bool,
    pub at_start_only: bool,
    /// What it is, in a sentence.
    pub about: &'static str,
}

/// Every setting that does something, with its value and where that is from.
#[must_use]
pub fn shown(launch: &Launch, file: Option<&ConfigFileValues>) -> Vec<Shown> {
    let now = merge(launch, file);
    let otherwise = merge(&Launch { by_hand: Layer::default(), ..launch.clone() }, file);
    let honoured = SETTINGS.iter().filter(|setting| matches!(setting.status, Status::Honoured));
    honoured.filter_map(|setting| show(setting, &now, &otherwise)).collect()
}

fn show(setting: &'static Setting, now: &Merged, otherwise: &Merged) -> Option<Shown> {
    let sourced = now.get(setting.name)?;
    let by_hand = matches!(sourced.origin, Origin::ByHand(_));
    let without = otherwise.get(setting.name).map(|it| it.value.to_string());
    Some(Shown {
        name: setting.name,
        section: setting.section,
        value: (!setting.secret).then(|| sourced.value.to_string()),
        is_set: sourced.origin != Origin::Default,
        origin: sourced.origin.to_string(),
        by_hand,
        otherwise: without.filter(|_| by_hand && !setting.secret),
        secret: setting.secret,
        by_api: setting.by_api && !setting.at_start_only,
        at_start_only: setting.at_start_only,
        about: setting.doc.lines().next().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::table::{Kind, Rule};
    use super::super::tests::launch;
    use super::*;

    fn changes(value: Json) -> BTreeMap<String, Json> {
        serde_json::from_value(value).unwrap()
    }

    fn planned(value: Json) -> Result<Plan, Vec<Refusal>> {
        plan(&launch(), None, &changes(value), "token x")
    }

    #[test]
    fn a_change_is_stronger_than_all_else_and_can_be_taken_back() {
        let plan_1 = planned(json!({"timeout": "45s", "queue_requests_max": 7})).unwrap();
        assert_eq!(plan_1.differences.len(), 2);
        let changed = Launch { by_hand: plan_1.layer, ..launch() };
        let rows = shown(&changed, None);
        let timeout = rows.iter().find(|row| row.name == "timeout").unwrap();
        assert_eq!((timeout.value.as_deref(), timeout.by_hand), (Some("45s"), true));
        assert_eq!(timeout.origin, "set by hand (token x)");
        assert_eq!(timeout.otherwise.as_deref(), Some("30s"));
        let back = plan(&changed, None, &changes(json!({"timeout": null})), "token x").unwrap();
        assert_eq!(back.layer.entries.len(), 1);
        assert_eq!((back.differences[0].before.as_str(), back.differences.len()), ("45s", 1));
    }

    #[test]
    fn all_mistakes_are_told_at_once_with_where_they_stand() {
        let refused = planned(json!({
            "timeout": "soon", "workerz": 3, "user": "root", "io_threads": 2, "max_requests": -1, "a/b~c": 1,
        }));
        let refused = refused.unwrap_err();
        let mut pointers: Vec<&str> = refused.iter().map(|it| it.pointer.as_str()).collect();
        pointers.sort_unstable();
        assert_eq!(
            pointers,
            [
                "/changes/a~1b~0c",
                "/changes/io_threads",
                "/changes/max_requests",
                "/changes/timeout",
                "/changes/user",
                "/changes/workerz",
            ]
        );
        assert!(planned(json!({})).is_err());
    }

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        let rows = shown(&launch(), None);
        let secret: Vec<&Shown> = rows.iter().filter(|row| row.secret).collect();
        assert!(secret.iter().any(|row| row.name == "raw_env"));
        assert!(secret.iter().all(|row| row.value.is_none() && row.otherwise.is_none()));
    }

    #[test]
    fn nobody_gets_more_rights_by_the_settings_that_can_be_changed() {
        for name in [
            "user",
            "group",
            "umask",
            "pythonpath",
            "chdir",
            "bind",
            "certfile",
            "keyfile",
            "raw_env",
            "config",
            "wsgi_app",
            "admin_bind",
            "admin_tokens",
            "admin_hosts",
            "control_socket",
            "errorlog",
            "accesslog",
            "statsd_host",
            "syslog_addr",
            "forwarded_allow_ips",
            "logger_class",
            "worker_class",
            "pre_fork",
            "alert_exec",
            "alert_webhook",
            "alert_webhook_headers",
            "alert_webhook_ca",
            "otlp_endpoint",
            "otlp_headers",
        ] {
            assert!(!Setting::find(name).unwrap().by_api, "{name}");
        }
    }

    #[test]
    fn no_path_command_address_or_secret_of_any_setting_can_be_changed() {
        let changeable = || SETTINGS.iter().filter(|setting| setting.by_api);
        for setting in changeable() {
            assert!(!setting.secret, "{}", setting.name);
            match setting.kind {
                Kind::Int
                | Kind::Bool
                | Kind::Duration
                | Kind::Size
                | Kind::Memory
                | Kind::Share
                | Kind::Percent
                | Kind::Choice
                | Kind::Text
                | Kind::List => {}
                kind => panic!("{}: {kind:?} may be a path, an address or code", setting.name),
            }
            let leads_out =
                matches!(setting.rule, Some(Rule::Endpoint | Rule::Webhook | Rule::Command));
            assert!(!leads_out, "{}", setting.name);
        }
        // Of texts no type says what they are: a new one is to be thought about.
        let texts = changeable().filter(|it| matches!(it.kind, Kind::Text | Kind::List));
        let texts: Vec<&str> = texts.map(|it| it.name).collect();
        assert_eq!(
            texts,
            [
                "request_timeout_paths",
                "affinity",
                "access_log_exclude",
                "slow_request_paths",
                "alert_rules",
                "liveness_path",
                "readiness_path",
            ]
        );
    }
}
