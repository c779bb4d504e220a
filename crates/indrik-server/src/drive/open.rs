//! Taking a configuration into use: settings, logs, pid file, sockets, front.

use std::sync::Arc;

use indrik_core::ids::Generation;
use indrik_core::settings::{Config, ConfigFileValues, Launch, TextFile, resolve};
use indrik_core::supervise::{Event, Failure, FailureKind, Level};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Drive;
use crate::boot::{self, PidFile};
use crate::front::Front;

impl Drive {
    /// Settles the settings of a generation; for the first one, opens what the server needs.
    pub(super) fn take_config(
        &mut self,
        generation: Generation,
        values: &ConfigFileValues,
    ) -> Result<(), Failure> {
        let launch = fresh(&self.launch)?;
        let config = resolve(&launch, Some(values)).map_err(|problems| {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            failure(FailureKind::Config, lines.join("\n"))
        })?;
        crate::front::check_tls(&config)
            .map_err(|error| failure(FailureKind::Config, error.to_string()))?;
        let config = Arc::new(config);
        if generation == Generation::FIRST && (config.check_config || config.print_config) {
            (self.check_only, self.exit) = (true, Some(0));
        } else if generation == Generation::FIRST {
            self.open(&config)?;
            crate::front::set_server_header(values.server_header.as_deref());
        }
        self.configs.insert(generation, config);
        Ok(())
    }

    fn open(&mut self, config: &Config) -> Result<(), Failure> {
        let fail = |error: &dyn std::fmt::Display| failure(FailureKind::Config, error.to_string());
        std::env::set_current_dir(&config.chdir).map_err(|error| {
            fail(&format!("cannot change to the directory {}: {error}", config.chdir.display()))
        })?;
        self.log.configure(&config.errorlog, config.loglevel).map_err(|error| fail(&error))?;
        let _ = indrik_sys::title::set(&format!("indrik: master [{}]", config.title()));
        self.log.write(Level::Info, concat!("Starting indrik ", env!("CARGO_PKG_VERSION")));
        for notice in &config.notices {
            self.log.write(Level::Warning, notice);
        }
        Ok(())
    }

    /// Binds the sockets, at the start.
    pub(super) fn listen(&mut self, generation: Generation) -> Result<(), Failure> {
        let Some(config) = self.configs.get(&generation).map(Arc::clone) else { return Ok(()) };
        if generation != Generation::FIRST || !self.listener_names.is_empty() {
            return Ok(());
        }
        for address in &config.bind {
            let socket = boot::bind(address, config.backlog)
                .map_err(|error| boot_failure(FailureKind::Bind, error))?;
            let shown = socket.shown.replacen("http://", &format!("{}://", config.url_scheme()), 1);
            self.shown_addresses.push(shown);
            self.listener_names.push(match socket.listener.server() {
                (path, None) => (format!("unix:{path}"), None),
                name => name,
            });
            self.socket_files.extend(socket.file);
            self.sockets.push(socket.listener);
        }
        // After the sockets: a second server fails on them first and never touches the file.
        if let Some(path) = &config.pidfile {
            let file =
                PidFile::create(path).map_err(|error| boot_failure(FailureKind::Config, error))?;
            self.pid_file = Some(file);
        }
        let addresses = self.shown_addresses.join(",");
        let text = format!("Listening at: {addresses} ({})", std::process::id());
        self.log.write(Level::Info, &text);
        if config.reload {
            self.log.write(Level::Warning, "Reloader is on. Use in development only!");
        }
        self.open_control(&config);
        Ok(())
    }

    /// A generation takes over: its settings are the server's from now on.
    pub(super) fn adopt(&mut self, generation: Generation) {
        let Some(config) = self.configs.get(&generation).map(Arc::clone) else { return };
        // Older generations' settings are needed as long as they have workers to be watched.
        if generation == Generation::FIRST {
            return self.start_front(&config);
        }
        let _ = indrik_sys::title::set(&format!("indrik: master [{}]", config.title()));
        if let Err(error) = self.log.configure(&config.errorlog, config.loglevel) {
            self.log.write(Level::Error, &format!("The old log is kept: {error}"));
        }
        self.open_control(&config);
        let first = self.configs.get(&Generation::FIRST);
        if first.is_some_and(|first| first.bind != config.bind) {
            self.log.write(
                Level::Warning,
                "The bind addresses changed: they take effect at the next start, not at a reload",
            );
        }
    }

    fn start_front(&mut self, config: &Arc<Config>) {
        raise_descriptor_limit();
        self.note_listeners();
        let sockets = std::mem::take(&mut self.sockets);
        let (log, sink) = (Arc::clone(&self.log), Arc::clone(&self.sink));
        match Front::start(Arc::clone(config), sockets, log, sink) {
            Ok(front) => self.front = Some(front),
            Err(error) => {
                self.log.write(Level::Critical, &format!("Cannot start the front: {error}"));
                self.pending.push_back(Event::Signal(indrik_core::supervise::Signal::Quit));
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

/// The launch with `indrik.toml` as it is now.
fn fresh(launch: &Launch) -> Result<Launch, Failure> {
    let mut launch = launch.clone();
    if let Some(TextFile { path, text }) = &mut launch.indrik_toml {
        // Shown as the user knows it, read from where the server was started.
        *text = std::fs::read_to_string(launch.cwd.join(&*path)).map_err(|error| {
            failure(FailureKind::Config, format!("cannot read {}: {error}", path.display()))
        })?;
    }
    Ok(launch)
}

fn failure(kind: FailureKind, message: String) -> Failure {
    Failure { kind, message, hint: String::new(), traceback: String::new() }
}

fn boot_failure(kind: FailureKind, error: boot::BootError) -> Failure {
    Failure { kind, message: error.message, hint: error.hint.to_owned(), traceback: String::new() }
}
