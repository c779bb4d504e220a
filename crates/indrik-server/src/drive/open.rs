//! Taking a configuration into use: settings, logs, pid file, sockets, front.

use std::sync::Arc;

use indrik_core::ids::Generation;
use indrik_core::logs::level::Level;
use indrik_core::settings::{
    Config, ConfigFileValues, Launch, LogFormat, LogTarget, Merged, Problem, TextFile, Value,
    merge, resolve,
};
use indrik_core::supervise::{Event, Failure, FailureKind, ZygoteEvent};
use indrik_sys::files;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::confine::check_limits;
use super::memory::usable;
use super::parts::{Change, Drive, Ending};
use crate::boot::{BootError, Identity, Manner, PidFile};
use crate::front::{Front, Listening};
use crate::{paths, preflight};

impl Drive {
    /// Decides the settings of a generation; for the first one, enters the place the server runs in.
    pub(super) fn take_config(
        &mut self,
        generation: Generation,
        values: &ConfigFileValues,
    ) -> Result<(), Failure> {
        self.outside.admin.hands.read(generation);
        let by_hand = self.outside.admin.hands.of(generation);
        let launch = Launch { by_hand, ..fresh(&self.launch)? };
        let is_first = generation == Generation::FIRST;
        let config = resolve(&launch, Some(values)).map_err(|problems| {
            if is_first {
                self.log.speak(log_format(&merge(&launch, Some(values))));
            }
            failure(FailureKind::Config, listed(&problems))
        })?;
        if is_first {
            self.log.speak(config.log_format);
        }
        let merged = merge(&launch, Some(values));
        self.use_config(generation, config).map_err(|failure| placed(failure, &merged))?;
        if generation == Generation::FIRST {
            crate::front::set_server_header(values.server_header.as_deref());
        }
        self.generations.note_sources(generation, values, launch);
        Ok(())
    }

    /// Looks at what the settings name, and for the first generation enters the place the server runs in.
    fn use_config(&mut self, generation: Generation, config: Config) -> Result<(), Failure> {
        preflight::check_certificates(&config).map_err(refused)?;
        let config = Arc::new(config);
        if generation == Generation::FIRST && (config.check_config || config.print_config) {
            self.exit = Some(Ending::CheckOnly);
            return Ok(());
        }
        let identity = Identity::of(&config).map_err(|error| error.failure(FailureKind::Config))?;
        check_limits(&config).map_err(|error| error.failure(FailureKind::Config))?;
        check_paths(&config)?;
        if self.must_detach(generation, &config) {
            let keep_output = config.enable_stdio_inheritance;
            self.exit = Some(Ending::Detach { keep_output });
            return Ok(());
        }
        if generation == Generation::FIRST {
            self.outside.admin.board.app_metrics().configure(&config);
        }
        self.generations.note_settings(generation, Arc::clone(&config), identity);
        if generation == Generation::FIRST {
            self.enter(&config)?;
        }
        self.prepare_groups(&config)
    }

    fn enter(&mut self, config: &Config) -> Result<(), Failure> {
        std::env::set_current_dir(&config.chdir).map_err(|error| Failure {
            hint: "name a directory that is there and that this user may enter".to_owned(),
            ..failure(
                FailureKind::Config,
                format!(
                    "chdir: cannot change to the directory {}: {error}",
                    config.chdir.display()
                ),
            )
        })?;
        preflight::open_logs(config).map_err(refused)?;
        self.open_logs(config).map_err(|error| failure(FailureKind::Config, error.to_string()))?;
        self.give_logs(Generation::FIRST);
        self.show_title(config);
        self.log.write(Level::Routine, concat!("Starting indrik ", env!("CARGO_PKG_VERSION")));
        for notice in &config.notices {
            self.log.write(Level::Warning, notice);
        }
        if config.daemon && self.service.manager.is_there() {
            let text = "daemon is set, but a service manager waits for this process: \
                        leave it out with Type=notify";
            self.log.write(Level::Warning, text);
        }
        self.outside.pid_file = self.make_pid_file(config)?;
        Ok(())
    }

    fn make_pid_file(&self, config: &Config) -> Result<Option<PidFile>, Failure> {
        let Some(path) = self.pid_path(config) else { return Ok(None) };
        let shown = path.display().to_string();
        let made = paths::within(move || PidFile::create(&path)).map_err(|error| {
            let text = format!("pidfile: cannot write the pid file {shown}: {error}");
            failure(FailureKind::Config, text)
        })?;
        made.map(Some).map_err(|error| {
            let failure = error.failure(FailureKind::Config);
            Failure { message: format!("pidfile: {}", failure.message), ..failure }
        })
    }

    /// Opens what a generation needs, while an older one serves.
    pub(super) fn open_addresses(&mut self, generation: Generation) {
        let event = match self.try_listen(generation) {
            Ok(()) => {
                let handed = self.outside.listeners.has_handed_over();
                Event::Zygote(generation, ZygoteEvent::Listening { handed })
            }
            Err((failure, in_use)) => {
                Event::Zygote(generation, ZygoteEvent::ListenFailed { failure, in_use })
            }
        };
        self.events.push(event);
    }

    fn try_listen(&mut self, generation: Generation) -> Result<(), (Failure, bool)> {
        let Some(config) = self.generations.config_of(generation) else { return Ok(()) };
        let identity = self.generations.identity(generation);
        let manner = Manner {
            backlog: config.backlog,
            umask: config.umask,
            owner: identity.map(|identity| (identity.uid, identity.gid)),
            reuse_port: config.reuse_port,
        };
        let fail = |error: BootError| {
            let in_use = error.in_use;
            (error.failure(FailureKind::Bind), in_use)
        };
        if generation == Generation::FIRST {
            let heritage = Arc::clone(&self.neighbours.heritage);
            self.outside
                .listeners
                .open_first(&config.bind, &heritage.inheritance, &manner)
                .map_err(fail)?;
            self.say_where();
            if config.reload {
                self.log.write(Level::Warning, "Reloader is on. Use in development only!");
            }
            self.open_control(&config);
            self.open_admin(&config).map_err(fail)?;
            self.follow_alerts(generation, &config);
            return Ok(());
        }
        // If not, the reload fails, and not the logs.
        preflight::open_logs(&config).map_err(|problem| (refused(problem), false))?;
        self.outside.listeners.prepare(&config.bind, &manner).map_err(fail)?;
        let same_file =
            self.outside.pid_file.as_ref().map(PidFile::path) == self.pid_path(&config).as_deref();
        if !same_file {
            let file = self.make_pid_file(&config);
            if file.is_err() {
                self.outside.listeners.forget();
            }
            self.outside.coming_pid_file = file.map_err(|failure| (failure, false))?;
        }
        Ok(())
    }

    fn say_where(&self) {
        let addresses = self.shown_addresses().join(",");
        let text = format!("Listening at: {addresses} ({})", std::process::id());
        self.log.write(Level::Routine, &text);
        let inheritance = &self.neighbours.heritage.inheritance;
        for notice in &inheritance.notices {
            self.log.write(Level::Warning, notice);
        }
        let systemd = &inheritance.systemd;
        if !systemd.is_empty() {
            let names: Vec<&str> = systemd.iter().map(|socket| socket.name.as_str()).collect();
            let text = format!(
                "The sockets are those of the service manager ({}); bind has no effect",
                names.join(", ")
            );
            self.log.write(Level::Info, &text);
        }
    }

    /// Where the server listens, as users write it.
    pub(super) fn shown_addresses(&self) -> Vec<String> {
        let first = self.generations.config(Generation::FIRST);
        let scheme = first.map_or("http", |config| config.url_scheme());
        let shown = self.outside.listeners.shown().into_iter();
        shown.map(|address| address.replacen("http://", &format!("{scheme}://"), 1)).collect()
    }

    /// What only a start can change.
    fn warn_of_unchanged(&self, config: &Config) {
        let Some(first) = self.generations.config(Generation::FIRST) else { return };
        for name in config.changed_for_next_start(first) {
            // Without TLS, HTTP/2 is spoken or not by each connection's own settings.
            if name == "http_protocols" && first.certfile.is_none() {
                continue;
            }
            let text =
                format!("{name} changed: it takes effect at the next start or upgrade (USR2)");
            self.log.write(Level::Warning, &text);
        }
    }

    /// A generation in the making is given up.
    pub(super) fn forget(&mut self, _generation: Generation) {
        self.outside.listeners.forget();
        self.outside.coming_pid_file = None;
    }

    /// A generation takes over: its settings are the server's from now on.
    pub(super) fn adopt(&mut self, generation: Generation, on_trial: bool) {
        let Some(config) = self.generations.config_of(generation) else { return };
        let (open, close) = self.outside.listeners.adopt(&config.bind, on_trial);
        for (shown, error) in self.outside.listeners.set_backlog(config.backlog) {
            let text = format!("The backlog of {shown} stays as it was: {error}");
            self.log.write(Level::Warning, &text);
        }
        // Older generations' settings are needed as long as they have workers to be watched.
        if generation == Generation::FIRST {
            self.outside.admin.board.app_metrics().serves(generation);
            self.note_settings_look(generation);
            return self.start_front(&config, open);
        }
        self.warn_of_unchanged(&config);
        self.put_in_effect(generation, &config, (open, close));
        if !on_trial {
            self.outside.admin.board.app_metrics().serves(generation);
            self.change_pid_file(&config);
        }
    }

    /// The settings of this generation are the server's, and the front has its sockets.
    pub(super) fn put_in_effect(
        &mut self,
        generation: Generation,
        config: &Arc<Config>,
        (open, close): Change,
    ) {
        self.show_title(config);
        self.outside.admin.board.app_metrics().configure(config);
        self.move_python_logs(generation);
        if let Err(error) = self.open_logs(config) {
            self.log.write(Level::Error, &format!("The old logs are kept: {error}"));
        }
        self.log.rotate(config, &self.sources.bell);
        if !(open.is_empty() && close.is_empty()) {
            self.say_where();
        }
        let servers = self.outside.listeners.servers();
        if let Some(front) = &self.front {
            front.reconfigure(Arc::clone(config), &servers, open, &close, usable());
        }
        self.note_listeners();
        self.open_control(config);
        self.open_admin_again(config);
        self.follow_alerts(generation, config);
        self.note_settings_look(generation);
        self.give_logs(generation);
    }

    pub(super) fn forget_pid_file(&mut self) {
        self.outside.coming_pid_file = None;
    }

    pub(super) fn change_pid_file(&mut self, config: &Config) {
        if let Some(file) = self.outside.coming_pid_file.take() {
            self.outside.pid_file = Some(file);
        } else if config.pidfile.is_none() {
            self.outside.pid_file = None;
        }
    }

    /// Workers open the logs again by themselves (USR1), as the user they run as.
    pub(super) fn give_logs(&self, generation: Generation) {
        let Some(config) = self.generations.config(generation) else { return };
        let Some(identity) = self.generations.identity(generation) else { return };
        let files = [Some(&config.errorlog), config.accesslog.as_ref()];
        for target in files.into_iter().flatten() {
            let LogTarget::File(path) = target else { continue };
            // Made now if need be: who opens it later may not be allowed to.
            let (uid, gid) = (identity.uid, identity.gid);
            let given = paths::append(path).and_then(|file| files::give(file, uid, gid));
            if let Err(error) = given {
                let text = format!(
                    "cannot give the log file {} to user {}: {error}",
                    path.display(),
                    identity.uid
                );
                self.log.write(Level::Warning, &text);
            }
        }
    }

    fn start_front(&mut self, config: &Arc<Config>, sockets: Vec<Listening>) {
        raise_descriptor_limit();
        self.note_listeners();
        self.log.rotate(config, &self.sources.bell);
        let (log, sink) = (Arc::clone(&self.log), Arc::clone(&self.sources.sink));
        match Front::start(Arc::clone(config), sockets, log, sink, usable()) {
            Ok(front) => {
                self.outside.admin.board.has_front(front.eye());
                self.front = Some(front);
                // That of the server before.
                self.begin_maintenance();
                self.answer_scrapers();
            }
            Err(error) => {
                let text = format!("the front cannot start: {error}");
                let failure = failure(FailureKind::Bind, text);
                self.events.push(Event::FrontFailed { failure });
            }
        }
    }
}

/// Every connection is a descriptor, and the soft limit (often 1,024) is so low for the sake of programs
/// that call `select`. Those may be in the workers, so zygotes are given the old limit.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Where this is not allowed, the limit stands as it is, and accepting says when it is reached.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// The format of the logs, where the settings as a whole are wrong.
fn log_format(merged: &Merged) -> LogFormat {
    let json = Value::Text("json".to_owned());
    match merged.get("log_format").is_some_and(|sourced| sourced.value == json) {
        true => LogFormat::Json,
        false => LogFormat::Text,
    }
}

/// One mistake in a line, several in a list.
fn listed(problems: &[Problem]) -> String {
    if let [problem] = problems {
        return problem.to_string();
    }
    let mut text = format!("{} mistakes in the settings", problems.len());
    for problem in problems {
        text.push_str("\n- ");
        text.push_str(&problem.to_string());
    }
    text
}

/// Whether large bodies find a place, and Python what it is to open.
fn check_paths(config: &Config) -> Result<(), Failure> {
    let checked =
        preflight::check_upload_dir(config).and_then(|()| preflight::check_sources(config));
    checked.map_err(refused)
}

/// What a value is found wrong at when it is used.
fn refused(problem: Problem) -> Failure {
    Failure { hint: problem.hint.unwrap_or_default(), ..failure(FailureKind::Config, problem.what) }
}

/// The failure with the place where the setting was said that it is about.
fn placed(failure: Failure, merged: &Merged) -> Failure {
    let Some(place) = merged.place_of(&failure.message) else { return failure };
    Failure { message: format!("{} ({place})", failure.message), ..failure }
}

/// The launch with `indrik.toml` as it is now.
fn fresh(launch: &Launch) -> Result<Launch, Failure> {
    let mut launch = launch.clone();
    if let Some(TextFile { path, text }) = &mut launch.indrik_toml {
        // Shown as the user knows it, read from where the server was started.
        *text = paths::read_text(&launch.cwd.join(&*path)).map_err(|error| {
            failure(FailureKind::Config, format!("cannot read {}: {error}", path.display()))
        })?;
    }
    Ok(launch)
}

fn failure(kind: FailureKind, message: String) -> Failure {
    Failure { kind, message, hint: String::new(), traceback: String::new() }
}
