//! From layers to one [`Config`], or all mistakes at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::address::BindAddress;
use super::field::Values;
use super::gather::Layers;
use super::generated::{Config, Derived, Http2Cleartext};
use super::launch::{ConfigFileValues, Launch};
use super::layers::{Entry, Origin};
use super::problem::Problem;
use super::rules;
use super::table::{SETTINGS, Setting, Status};
use super::together;
use super::types::{ControlSocket, LogTarget, WorkerClass};
use super::value::{self, BadValue, Value};
use super::worker_class;
use crate::memory::Limit;
use crate::memory::account::connection_auto;

/// How many I/O threads `auto` means: one keeps up with every number of workers measured so far.
const IO_THREADS_AUTO: i64 = 1;

/// What `front_memory_max` is at least: a few answers that run ahead and bodies that are read.
const FRONT_MEMORY_MIN_BYTES: u64 = 16 << 20;
/// What `connection_memory_max` is at least: one answer that runs ahead of its client, and a body.
const CONNECTION_MEMORY_MIN_BYTES: u64 = 2 << 20;

/// The choice of `real_ip_header` that Uvicorn's worker classes stand for.
const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// One setting's value, and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Sourced {
    /// The strongest layer's value.
    pub value: Value,
    /// That layer.
    pub origin: Origin,
}

/// Every setting's value and origin, before values are derived from each other.
#[derive(Debug, Default)]
pub struct Merged {
    values: BTreeMap<&'static str, Sourced>,
    /// All mistakes, in the order of the layers.
    pub problems: Vec<Problem>,
    /// Remarks for the log.
    pub notices: Vec<String>,
}

/// Resolves everything a launch was given.
///
/// # Errors
/// All mistakes of all sources, also of values that a stronger source replaces: whoever wrote them
/// wants to know.
pub fn resolve(launch: &Launch, file: Option<&ConfigFileValues>) -> Result<Config, Vec<Problem>> {
    let mut merged = merge(launch, file);
    merged.need_application();
    resolve_merged(merged, launch, file)
}

/// The same, where it does not matter which application is served.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_without_application(
    launch: &Launch,
    file: Option<&ConfigFileValues>,
) -> Result<Config, Vec<Problem>> {
    resolve_merged(merge(launch, file), launch, file)
}

fn resolve_merged(
    mut merged: Merged,
    launch: &Launch,
    file: Option<&ConfigFileValues>,
) -> Result<Config, Vec<Problem>> {
    merged.check_tls();
    merged.check_memory();
    merged.check_front_memory();
    merged.check_recycling();
    let chdir = merged.chdir(launch);
    if !merged.problems.is_empty() {
        return Err(merged.problems);
    }
    let origins: BTreeMap<&str, String> =
        merged.values.iter().map(|(name, it)| (*name, it.origin.to_string())).collect();
    let mut config = merged.into_config(launch, chdir.clone());
    let problems =
        together::problems(&config, |name| origins.get(name).cloned().unwrap_or_default());
    if !problems.is_empty() {
        return Err(problems);
    }
    config.config = file.and_then(|file| file.path.clone());
    if config.worker_class == WorkerClass::Sync && config.threads > 1 {
        config.worker_class = WorkerClass::Gthread;
    }
    if config.control_socket_disable {
        config.control_socket = None;
    }
    // Named on the command line, so from where that was written.
    let from_start = |uri: &String| launch.cwd.join(uri).to_string_lossy().into_owned();
    config.paste = config.paste.as_ref().map(from_start);
    let application = config.paste.as_ref().unwrap_or(&config.wsgi_app).clone();
    config.default_proc_name.get_or_insert(application);
    make_paths_absolute(&mut config, chdir);
    tell_what_clients_cannot_ask_for(&mut config);
    Ok(config)
}

fn tell_what_clients_cannot_ask_for(config: &mut Config) {
    if config.speaks_http2()
        && config.certfile.is_none()
        && config.http2_cleartext == Http2Cleartext::Off
    {
        let text = "http_protocols has h2, but without TLS (certfile) clients cannot ask for it; \
                    behind a proxy that speaks it, set http2_cleartext";
        config.notices.push(text.to_owned());
    }
}

/// Picks the strongest value of every setting.
pub fn merge(launch: &Launch, file: Option<&ConfigFileValues>) -> Merged {
    let gathered = Layers::gather(launch, file);
    let mut merged =
        Merged { values: BTreeMap::new(), problems: gathered.problems, notices: gathered.notices };
    for setting in SETTINGS {
        merged.put_default(setting);
    }
    for entry in gathered.layers.into_iter().flat_map(|layer| layer.entries) {
        merged.put(entry);
    }
    merged.follow_class();
    merged.tell_what_has_no_effect();
    merged
}

impl Launch {
    /// Which configuration file to read: what the command line or the environment names. `None`
    /// means `gunicorn.conf.py` in [`Self::cwd`], if there is one.
    ///
    /// `indrik.toml` may name it too; the Python file itself cannot.
    pub fn config_request(&self) -> Option<String> {
        match merge(self, None).get("config").map(|sourced| &sourced.value) {
            Some(Value::Text(path)) if !path.is_empty() => Some(path.clone()),
            _ => None,
        }
    }
}

impl Merged {
    /// The value of the setting called `name`; `None` if there is no such setting.
    pub fn get(&self, name: &str) -> Option<&Sourced> {
        self.values.get(name)
    }

    /// Where the setting was said that what is wrong begins with (`chdir: …`); `None` if nobody said it, or it begins
    /// with none. For what is found wrong only when a value is used.
    #[must_use]
    pub fn place_of(&self, what: &str) -> Option<String> {
        let said = self.get(what.split(':').next()?)?;
        (said.origin != Origin::Default).then(|| said.origin.to_string())
    }

    fn put_default(&mut self, setting: &'static Setting) {
        let value = value::default(setting).expect("tested: every default is valid");
        self.values.insert(setting.name, Sourced { value, origin: Origin::Default });
    }

    /// What a worker class of that name does unless a setting says otherwise.
    fn follow_class(&mut self) {
        let sees = match self.get("worker_class").map(|sourced| &sourced.value) {
            Some(Value::Class(spec)) => worker_class::sees_through_proxies(&spec.name),
            _ => false,
        };
        if let Some(sourced) = self.values.get_mut("real_ip_header")
            && sees
            && sourced.origin == Origin::Default
        {
            sourced.value = Value::Text(X_FORWARDED_FOR.to_owned());
        }
    }

    /// `None` in a file brings the default back, under the file's name.
    fn put(&mut self, entry: Entry) {
        let setting = entry.setting;
        match value::parse(setting, &entry.raw) {
            Ok(Value::Nothing) if !setting.none_is_value => {
                self.put_default(setting);
            }
            Ok(value) => {
                for bad in rules::broken(setting, &value) {
                    self.refuse(setting, &entry.origin, bad);
                }
                self.values.insert(setting.name, Sourced { value, origin: entry.origin });
            }
            Err(bad) => self.refuse(setting, &entry.origin, bad),
        }
    }

    fn refuse(&mut self, setting: &Setting, origin: &Origin, bad: BadValue) {
        self.problems.push(Problem {
            what: format!("{}: {}", setting.name, bad.what),
            place: Some(origin.to_string()),
            hint: bad.hint,
        });
    }

    /// A default that is written out asks for nothing, so nothing is said about it.
    fn tell_what_has_no_effect(&mut self) {
        for setting in SETTINGS {
            let Some(sourced) = self.values.get(setting.name) else { continue };
            if value::default(setting).is_ok_and(|default| default == sourced.value) {
                continue;
            }
            match setting.status {
                Status::Honoured => {}
                Status::Ignored { reason } => self
                    .notices
                    .push(format!("{} has no effect ({}): {reason}", setting.name, sourced.origin)),
                Status::Refused { reason } => self.problems.push(Problem {
                    what: format!("{} cannot be honoured", setting.name),
                    place: Some(sourced.origin.to_string()),
                    hint: Some(reason.to_owned()),
                }),
            }
        }
    }

    fn need_application(&mut self) {
        let missing = match self.get("wsgi_app").map(|sourced| &sourced.value) {
            Some(Value::Text(name)) => name.is_empty(),
            _ => true,
        };
        let paste = self.get("paste").is_some_and(|sourced| sourced.value != Value::Nothing);
        if missing && !paste {
            self.problems.push(Problem {
                what: "no application is named".to_owned(),
                place: None,
                hint: Some(NO_APPLICATION_HINT.to_owned()),
            });
        }
    }

    /// TLS is whole or it is not there: half of it would send in clear text what is secret.
    fn check_tls(&mut self) {
        let is_set = |name| self.get(name).is_some_and(|sourced| sourced.value != Value::Nothing);
        let asks_clients = self.get("cert_reqs").is_some_and(|it| it.value != Value::Int(0));
        let missing = [
            ("keyfile", is_set("keyfile"), "certfile", "the certificate that belongs to it"),
            ("cert_reqs", asks_clients, "ca_certs", "who may sign clients' certificates"),
            ("ca_certs", is_set("ca_certs"), "certfile", "the server's own certificate"),
        ]
        .map(|(name, here, other, what)| (name, other, what, here && !is_set(other)));
        for (name, other, what, is_missing) in missing {
            if is_missing {
                self.problems.push(Problem {
                    what: format!("{name} is set, but not {other}"),
                    place: self.get(name).map(|sourced| sourced.origin.to_string()),
                    hint: Some(format!("set {other} to the file with {what}, or leave {name} out")),
                });
            }
        }
    }

    /// A worker is slowed down before it is killed, or the first limit says nothing.
    fn check_memory(&mut self) {
        let size = |name| match self.get(name).map(|sourced| &sourced.value) {
            Some(Value::Size(bytes)) => *bytes,
            _ => 0,
        };
        let (high, max) = (size("worker_memory_high"), size("worker_memory_max"));
        if max > 0 && high > max {
            self.problem(
                "worker_memory_high",
                "is above worker_memory_max",
                "set it below, or leave it out",
            );
        }
    }

    /// The front's limits leave room for what ordinary requests take, or every connection is cut.
    fn check_front_memory(&mut self) {
        let total = match self.get("front_memory_max").map(|sourced| &sourced.value) {
            Some(Value::Memory(Limit::Bytes(bytes))) => *bytes,
            _ => 0,
        };
        let connection = match self.get("connection_memory_max").map(|sourced| &sourced.value) {
            Some(Value::Size(bytes)) => *bytes,
            _ => 0,
        };
        if (1..FRONT_MEMORY_MIN_BYTES).contains(&total) {
            let what = "is less than ordinary requests take: their connections would be cut";
            self.problem("front_memory_max", what, "the least is 16MiB; 0 is no limit");
        }
        if (1..CONNECTION_MEMORY_MIN_BYTES).contains(&connection) {
            let what = "is less than an ordinary request takes: its connection would be cut";
            self.problem("connection_memory_max", what, "the least is 2MiB; 0 is no limit");
        }
        if total > 0 && connection > total {
            let what = "is above front_memory_max: it could never be reached";
            self.problem("connection_memory_max", what, "set it below, or leave it out");
        }
    }

    fn problem(&mut self, name: &str, what: &str, hint: &str) {
        self.problems.push(Problem {
            what: format!("{name} {what}"),
            place: self.get(name).map(|sourced| sourced.origin.to_string()),
            hint: Some(hint.to_owned()),
        });
    }

    /// A worker that is ended before it is to be replaced is never replaced in peace.
    fn check_recycling(&mut self) {
        for soft in ["worker_max_rss", "worker_max_pss"] {
            let hard = format!("{soft}_hard");
            let is_wrong = match (self.get(soft), self.get(&hard)) {
                (Some(soft), Some(hard)) => match (&soft.value, &hard.value) {
                    (
                        Value::Memory(Limit::Bytes(soft @ 1..)),
                        Value::Memory(Limit::Bytes(hard @ 1..)),
                    ) => hard <= soft,
                    (Value::Memory(Limit::Share(soft)), Value::Memory(Limit::Share(hard))) => {
                        hard <= soft
                    }
                    _ => false,
                },
                _ => false,
            };
            if is_wrong {
                self.problems.push(Problem {
                    what: format!("{hard} is not above {soft}"),
                    place: self.get(&hard).map(|sourced| sourced.origin.to_string()),
                    hint: Some(format!(
                        "at {soft} a worker is replaced in peace, at {hard} it is killed: leave room \
                         between them"
                    )),
                });
            }
        }
    }

    /// The application's directory, absolute.
    fn chdir(&mut self, launch: &Launch) -> PathBuf {
        let chdir = match self.get("chdir").map(|sourced| &sourced.value) {
            Some(Value::Text(path)) => launch.cwd.join(path),
            _ => launch.cwd.clone(),
        };
        if chdir.to_str().is_none() {
            self.problems.push(Problem {
                what: format!("the directory {} has a name that is not UTF-8", chdir.display()),
                place: None,
                hint: Some("run Indrik in another one, or rename it".to_owned()),
            });
        }
        chdir
    }

    fn into_config(mut self, launch: &Launch, chdir: PathBuf) -> Config {
        let workers_reason = self.derive_workers(launch.cpus);
        if let Some(sourced) = self.values.get_mut("io_threads")
            && sourced.value == Value::Auto
        {
            sourced.value = Value::Int(IO_THREADS_AUTO);
        }
        self.derive_connection_memory();
        if let Some(sourced) = self.values.get_mut("wsgi_app")
            && sourced.value == Value::Nothing
        {
            // `paste` names the application then.
            sourced.value = Value::Text(String::new());
        }
        let worker_class = match self.get("worker_class").map(|sourced| &sourced.value) {
            Some(Value::Class(spec)) => {
                worker_class::by_name(&spec.name).unwrap_or(WorkerClass::Custom)
            }
            _ => WorkerClass::Auto,
        };
        let values = self.values.iter().map(|(name, sourced)| (*name, &sourced.value));
        let derived = Derived { chdir, worker_class, workers_reason, notices: self.notices };
        Config::from_values(&Values(values.collect()), derived)
            .expect("tested: every setting's values are what its field holds")
    }

    /// Replaces `auto` by what the largest WebSocket message needs.
    fn derive_connection_memory(&mut self) {
        let message_max = match self.get("websocket_max_message_size").map(|it| &it.value) {
            Some(Value::Size(bytes)) => *bytes,
            _ => 0,
        };
        if let Some(sourced) = self.values.get_mut("connection_memory_max")
            && sourced.value == Value::Auto
        {
            sourced.value = Value::Size(connection_auto(message_max));
        }
    }

    /// Replaces `auto` by a number and says why it is that number.
    fn derive_workers(&mut self, cpus: usize) -> String {
        let Some(sourced) = self.values.get_mut("workers") else { return String::new() };
        if sourced.value != Value::Auto {
            return format!("{}, from {}", sourced.value, sourced.origin);
        }
        let max = Setting::find("workers").and_then(|setting| setting.max).unwrap_or(i64::MAX);
        let workers = i64::try_from(cpus).unwrap_or(i64::MAX).clamp(1, max);
        sourced.value = Value::Int(workers);
        format!("{workers}, one for each CPU this process may use")
    }
}

const NO_APPLICATION_HINT: &str = "name it as MODULE:CALLABLE, for example: indrik main:app \
    (or set wsgi_app in gunicorn.conf.py)";

/// The front opens these files without changing its own directory.
fn make_paths_absolute(config: &mut Config, chdir: PathBuf) {
    let fix = |path: &mut PathBuf| *path = absolute(&chdir, path);
    if let Some(LogTarget::File(path)) = &mut config.accesslog {
        fix(path);
    }
    if let LogTarget::File(path) = &mut config.errorlog {
        fix(path);
    }
    if let Some(ControlSocket::Path(path)) = &mut config.control_socket {
        fix(path);
    }
    for path in [
        &mut config.pidfile,
        &mut config.logconfig,
        &mut config.logconfig_json,
        &mut config.tmp_upload_dir,
        &mut config.certfile,
        &mut config.keyfile,
        &mut config.ca_certs,
        &mut config.alert_webhook_ca,
    ]
    .into_iter()
    .flatten()
    {
        fix(path);
    }
    for address in &mut config.bind {
        if let BindAddress::Unix { path } = address {
            fix(path);
        }
    }
    config.chdir = chdir;
}

/// A name that begins with NUL is no file: Linux keeps such sockets in a space of their own.
fn absolute(chdir: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().as_encoded_bytes().starts_with(b"\0") {
        return path.to_owned();
    }
    chdir.join(path)
}
