//! What `indrik check` says: every setting that is given, and what may be unintended.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use super::address::BindAddress;
use super::generated::{Config, ProxyProtocol};
use super::layers::Origin;
use super::network::Network;
use super::resolve::{Merged, Sourced};
use super::table::{SETTINGS, Setting, Status};
use super::types::{ControlSocket, LogTarget, WorkerClass};
use crate::memory::Limit;

/// Proxies keep idle connections for about a minute; a server that closes sooner makes them lose
/// requests.
const PROXY_KEEPALIVE: Duration = Duration::from_secs(60);
/// Workers for each CPU above which they mostly wait for each other.
const WORKERS_PER_CPU_MAX: usize = 4;
/// More of a value than this is not shown.
const VALUE_CHARS_MAX: usize = 80;
/// Fewer requests than this in a worker's life, and starting it costs more than it gains.
const MAX_REQUESTS_SENSIBLE: u64 = 100;

/// Everything that is given, by what becomes of it.
pub fn settings(merged: &Merged) -> String {
    let mut out = String::new();
    let given = |status: fn(Status) -> bool| {
        SETTINGS.iter().filter(move |setting| status(setting.status)).filter_map(|setting| {
            let sourced = merged.get(setting.name)?;
            (sourced.origin != Origin::Default).then_some((setting, sourced))
        })
    };
    let honoured = |status| status == Status::Honoured;
    section(&mut out, "Honoured", given(honoured).map(|(setting, sourced)| line(setting, sourced)));
    let ignored = given(|status| matches!(status, Status::Ignored { .. }));
    section(
        &mut out,
        "Without effect",
        ignored.map(|(setting, sourced)| reasoned(setting, sourced)),
    );
    let refused = given(|status| matches!(status, Status::Refused { .. }));
    section(
        &mut out,
        "Not supported",
        refused.map(|(setting, sourced)| reasoned(setting, sourced)),
    );
    out
}

/// What is valid and may be unintended.
pub fn suspicions(config: &Config, merged: &Merged, cpus: usize) -> String {
    let no_effect: Vec<String> =
        SETTINGS.iter().map(|setting| format!("{} has no effect (", setting.name)).collect();
    // Those of ignored settings stand with them already.
    let notices = config
        .notices
        .iter()
        .filter(|notice| !no_effect.iter().any(|start| notice.starts_with(start)))
        .cloned();
    let suspects = Suspects { config, merged, cpus };
    let mut out = String::new();
    section(&mut out, "Suspicious", notices.chain(suspects.all()));
    out
}

fn section(out: &mut String, heading: &str, lines: impl Iterator<Item = String>) {
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() {
        return;
    }
    writeln!(out, "{heading}:").expect("writing to a String");
    for line in lines {
        writeln!(out, "  {line}").expect("writing to a String");
    }
    out.push('\n');
}

fn line(setting: &Setting, sourced: &Sourced) -> String {
    let text = sourced.value.to_string();
    let mut value: String = text.chars().take(VALUE_CHARS_MAX).collect();
    if value.len() < text.len() {
        value.push('…');
    } else if value.is_empty() {
        value.push_str("(none)");
    }
    format!("{} = {value}  ({})", setting.name, sourced.origin)
}

fn reasoned(setting: &Setting, sourced: &Sourced) -> String {
    let reason = match setting.status {
        Status::Honoured => "",
        Status::Ignored { reason } | Status::Refused { reason } => reason,
    };
    format!("{}: {reason}", line(setting, sourced))
}

struct Suspects<'a> {
    config: &'a Config,
    merged: &'a Merged,
    cpus: usize,
}

impl Suspects<'_> {
    fn all(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.workers(&mut found);
        self.recycling(&mut found);
        self.times(&mut found);
        self.without_partner(&mut found);
        self.trust(&mut found);
        found
    }

    fn is_given(&self, name: &str) -> bool {
        self.merged.get(name).is_some_and(|sourced| sourced.origin != Origin::Default)
    }

    fn workers(&self, found: &mut Vec<String>) {
        let config = self.config;
        let is_asgi = matches!(config.worker_class, WorkerClass::Asgi | WorkerClass::Aiohttp);
        let is_wsgi = matches!(config.worker_class, WorkerClass::Sync | WorkerClass::Gthread);
        if is_asgi && config.threads > 1 {
            found.push("threads has no effect with ASGI workers: they have one event loop".into());
        }
        if is_wsgi && self.is_given("worker_connections") {
            found.push(
                "worker_connections has no effect with sync and gthread workers: `threads` says how \
                 many requests they run at a time"
                    .into(),
            );
        }
        if config.workers > self.cpus.saturating_mul(WORKERS_PER_CPU_MAX) {
            found.push(format!(
                "workers = {}, on {} CPUs: the front queues requests, so more workers than are needed \
                 for waiting only cost memory",
                config.workers, self.cpus
            ));
        }
        if config.reload || config.spew {
            found.push("reload and spew are for development: they cost memory and time".into());
        }
    }

    fn recycling(&self, found: &mut Vec<String>) {
        let config = self.config;
        if (1..MAX_REQUESTS_SENSIBLE).contains(&config.max_requests) {
            found.push(format!(
                "max_requests = {}: workers are replaced so often that starting them will show",
                config.max_requests
            ));
        }
        if config.max_requests > 0 && config.max_requests_jitter == 0 && config.workers > 1 {
            found.push(
                "max_requests without max_requests_jitter: the workers reach it at about the same \
                 time, and some serve on until the others have been replaced"
                    .into(),
            );
        }
        let limits_rss = config.worker_max_rss != Limit::Bytes(0);
        let limits_pss = config.worker_max_pss != Limit::Bytes(0);
        if config.preload_app && limits_rss && !limits_pss {
            found.push(
                "worker_max_rss with preload_app: memory that workers share counts for each of them; \
                 worker_max_pss counts each one's part"
                    .into(),
            );
        }
    }

    fn times(&self, found: &mut Vec<String>) {
        let config = self.config;
        if config.timeout.is_zero() {
            found.push(
                match config.worker_class {
                    WorkerClass::Gthread
                    | WorkerClass::Gevent
                    | WorkerClass::Eventlet
                    | WorkerClass::Asgi
                    | WorkerClass::Aiohttp => {
                        "timeout = 0: a worker that stands still is never replaced"
                    }
                    WorkerClass::Auto | WorkerClass::Sync | WorkerClass::Custom => {
                        "timeout = 0: a request that hangs occupies its worker for ever"
                    }
                }
                .into(),
            );
        }
        if self.is_given("keepalive") && config.keepalive < PROXY_KEEPALIVE {
            found.push(format!(
                "keepalive = {}: shorter than what most proxies keep connections open, so they will \
                 send requests on connections that are being closed; 75 is our default",
                config.keepalive.as_secs_f64()
            ));
        }
        if config.graceful_timeout.is_zero() {
            found.push("graceful_timeout = 0: a stop or reload cuts requests off".into());
        }
    }

    /// Settings that do something only together with another one.
    fn without_partner(&self, found: &mut Vec<String>) {
        let config = self.config;
        let socket_is_file = matches!(config.control_socket, Some(ControlSocket::Path(_)));
        let has_file = matches!(config.errorlog, LogTarget::File(_));
        let pairs = [
            ("access_log_format", config.accesslog.is_some() || config.syslog, "accesslog"),
            ("access_log_exclude", config.accesslog.is_some() || config.syslog, "accesslog"),
            ("capture_output", has_file, "errorlog as a file"),
            ("control_socket_mode", socket_is_file, "control_socket as a path"),
            ("disable_redirect_access_to_syslog", config.syslog, "syslog"),
            ("dogstatsd_tags", config.statsd_host.is_some(), "statsd_host"),
            ("enable_backlog_metric", config.statsd_host.is_some(), "statsd_host"),
            ("enable_stdio_inheritance", config.daemon, "daemon"),
            ("http2_cleartext", config.speaks_http2(), "h2 in http_protocols"),
            ("fork_safety", config.preload_app, "preload_app"),
            ("initgroups", config.user.is_some(), "user"),
            ("max_requests_jitter", config.max_requests > 0, "max_requests"),
            ("max_worker_age_jitter", !config.max_worker_age.is_zero(), "max_worker_age"),
            ("proxy_allow_ips", config.proxy_protocol != ProxyProtocol::Off, "proxy_protocol"),
            ("refork_after_requests", config.preload_app, "preload_app"),
            ("reload_engine", config.reload, "reload"),
            ("reload_extra_files", config.reload, "reload"),
            ("statsd_prefix", config.statsd_host.is_some(), "statsd_host"),
            ("syslog_addr", config.syslog, "syslog"),
            ("syslog_facility", config.syslog, "syslog"),
            ("syslog_prefix", config.syslog, "syslog"),
        ];
        for (name, has_partner, partner) in pairs {
            if self.is_given(name) && !has_partner {
                found.push(format!("{name} has no effect without {partner}"));
            }
        }
    }

    fn trust(&self, found: &mut Vec<String>) {
        let config = self.config;
        let is_open = config.bind.iter().any(is_reachable);
        let everyone = |networks: &[Network]| networks.contains(&Network::Everyone);
        if is_open && everyone(&config.forwarded_allow_ips) {
            found.push(
                "forwarded_allow_ips = *: whoever reaches the address can claim to use HTTPS; safe \
                 only when nobody but the proxy reaches it"
                    .into(),
            );
        }
        let reads_proxy = config.proxy_protocol != ProxyProtocol::Off;
        if is_open && reads_proxy && everyone(&config.proxy_allow_ips) {
            found.push(
                "proxy_allow_ips = *: whoever reaches the address can claim any client address"
                    .into(),
            );
        }
        let lax = [
            ("permit_obsolete_folding", config.permit_obsolete_folding),
            ("strip_header_spaces", config.strip_header_spaces),
            ("permit_unconventional_http_version", config.permit_unconventional_http_version),
        ];
        for (name, _) in lax.into_iter().filter(|(_, is_on)| *is_on) {
            found.push(format!(
                "{name}: requests are accepted that proxies may read in another way"
            ));
        }
    }
}

fn is_reachable(address: &BindAddress) -> bool {
    match address {
        BindAddress::Tcp { host, .. } => {
            host != "localhost"
                && !host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        BindAddress::Unix { .. } | BindAddress::Fd { .. } => false,
    }
}
