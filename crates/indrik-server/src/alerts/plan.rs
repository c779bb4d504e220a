//! What the settings ask for.

use std::path::PathBuf;
use std::time::Duration;

use indrik_core::alerts::{Rule, rules};
use indrik_core::settings::{AlertWebhookFormat, Config, words};
use indrik_core::trace::endpoint::Endpoint;

use crate::boot::Identity;

/// What is watched, and who is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(super) rules: Vec<Rule>,
    pub(super) repeat: Duration,
    pub(super) log: bool,
    pub(super) webhook: Option<Hook>,
    pub(super) exec: Option<Exec>,
}

/// Where messages are sent, and how.
#[derive(Clone, PartialEq)]
pub(super) struct Hook {
    pub(super) endpoint: Endpoint,
    pub(super) format: AlertWebhookFormat,
    pub(super) headers: Vec<(String, String)>,
    pub(super) authorities: Option<PathBuf>,
    pub(super) timeout: Duration,
}

/// What is run for each message.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Exec {
    /// The program and its arguments.
    pub(super) words: Vec<String>,
    pub(super) timeout: Duration,
    pub(super) directory: PathBuf,
    /// Whom it becomes, if that is not who we are.
    pub(super) identity: Option<Identity>,
}

impl Plan {
    /// What these settings ask for; `None`: nothing is watched. Workers have this identity.
    pub(crate) fn of(config: &Config, identity: Option<&Identity>) -> Option<Self> {
        let webhook = config.alert_webhook.as_deref().and_then(|text| {
            Some(Hook {
                endpoint: Endpoint::parse_with_query(text).ok()?,
                format: config.alert_webhook_format,
                headers: config.alert_webhook_headers.clone(),
                authorities: config.alert_webhook_ca.clone(),
                timeout: config.alert_webhook_timeout,
            })
        });
        let exec = config.alert_exec.as_deref().and_then(|text| {
            Some(Exec {
                words: words::split(text).ok().filter(|words| !words.is_empty())?,
                timeout: config.alert_exec_timeout,
                directory: config.chdir.clone(),
                identity: identity.cloned(),
            })
        });
        let log = config.alert_log;
        (log || webhook.is_some() || exec.is_some()).then(|| Self {
            rules: rules(&config.alert_rules),
            repeat: config.alert_repeat,
            log,
            webhook,
            exec,
        })
    }
}

impl Hook {
    /// Without what may be secret: the path often is.
    pub(super) fn shown(&self) -> String {
        let Endpoint { secure, .. } = self.endpoint;
        format!("{}://{}", if secure { "https" } else { "http" }, self.endpoint.authority())
    }
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown())
    }
}
