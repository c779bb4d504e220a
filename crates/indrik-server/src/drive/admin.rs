//! The admin listener: where it listens, and who has its sockets at an upgrade.

use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::path::Path;
use std::sync::Arc;

use indrik_core::ids::Generation;
use indrik_core::logs::level::Level;
use indrik_core::settings::{BindAddress, Config, Launch, shown};
use indrik_core::supervise::ReloadOutcome;
use serde_json::json;

use super::parts::{AdminSocket, Drive};
use crate::admin::{Admin, Rules};
use crate::boot::{self, BootError, BoundSocket, Manner, SocketFile};
use crate::control::open_admin;
use crate::front::{AdminTls, Listener, TlsError};
use crate::look::SettingsLook;

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: u32 = 64;
/// What others have of a socket file: nothing.
const UMASK: u32 = 0o007;

impl Drive {
    /// Opens what the first configuration asks for.
    pub(super) fn open_admin(&mut self, config: &Config) -> Result<(), BootError> {
        // A server that takes another one's place lets that one answer until it serves.
        self.outside.admin.is_handed_over = self.neighbours.heritage.partner_pid().is_some();
        self.bind_admin(config)?;
        self.admit_to_admin(config).map_err(|error| BootError {
            message: error.to_string(),
            hint: error.hint(),
            in_use: false,
        })?;
        self.listen_as_admin();
        Ok(())
    }

    /// A reload may open, move or close it. What cannot be had is told, and what was there stays.
    pub(super) fn open_admin_again(&mut self, config: &Config) {
        if let Err(error) = self.bind_admin(config) {
            let text = format!("The admin listener stays where it was: {error}");
            self.log.write(Level::Warning, &text);
        }
        // The certificate was looked at before; if it went away since, what held before holds on.
        if let Err(error) = self.admit_to_admin(config) {
            self.log.error(&format!("The admin listener stays as it was: {error}"));
        }
        self.listen_as_admin();
    }

    /// Has the sockets that the settings name, or those from before.
    fn bind_admin(&mut self, config: &Config) -> Result<(), BootError> {
        let manner = Manner { backlog: BACKLOG, umask: UMASK, ..Manner::default() };
        let mut inherited = self.take_inherited_admin();
        let new = self.outside.admin.sockets.change(addresses(config), |address| {
            let at = inherited.iter().position(|(_, text)| *text == address.to_string());
            match at.map(|at| inherited.swap_remove(at)) {
                Some((bound, _)) => Ok(bound),
                None => boot::bind(address, &manner).map_err(|error| {
                    let message = format!("admin_bind: {}", error.message);
                    BootError { message, ..error }
                }),
            }
        })?;
        for shown in &new {
            self.log.write(Level::Info, &format!("Admin listener at {shown}"));
        }
        if !new.is_empty() {
            self.warn_of_open_admin(config);
        }
        Ok(())
    }

    /// Has the thread that answers, by the rules of these settings.
    fn admit_to_admin(&mut self, config: &Config) -> Result<(), TlsError> {
        self.open_own_admin(config);
        self.start_admin(config);
        self.answer_scrapers();
        self.rule_admin(config)
    }

    /// What the server hands over that this one is to replace; taken once, and closed if nobody asks for it.
    fn take_inherited_admin(&mut self) -> Vec<(BoundSocket, String)> {
        if std::mem::replace(&mut self.outside.admin.has_inherited, true) {
            return Vec::new();
        }
        let partner = self.neighbours.heritage.inheritance.partner.as_ref();
        let handed = partner.map(|partner| partner.admin.as_slice()).unwrap_or_default();
        let bound = handed.iter().map(|(fd, text)| (boot::take_over(*fd), text));
        bound.filter_map(|(bound, text)| Some((bound.ok()?, text.clone()))).collect()
    }

    /// The socket of this process's own user goes with the control socket.
    fn open_own_admin(&mut self, config: &Config) {
        let part = &mut self.outside.admin;
        if config.control_socket.is_none() {
            part.own = None;
            return;
        }
        if part.own.is_some() {
            return;
        }
        match open_admin() {
            Ok((socket, shown)) => part.own = Some((Listener::Unix(socket, shown.clone()), shown)),
            Err(error) => {
                let text = format!("Cannot open the admin socket, going on without it: {error}");
                self.log.write(Level::Warning, &text);
            }
        }
    }

    /// The thread begins with the first socket, and stays.
    fn start_admin(&mut self, config: &Config) {
        let part = &mut self.outside.admin;
        let is_wanted =
            part.own.is_some() || !part.sockets.is_empty() || config.metrics_path.is_some();
        if part.thread.is_some() || !is_wanted {
            return;
        }
        match Admin::start(&part.board, &part.orders, &self.log) {
            Ok(thread) => part.thread = Some(thread),
            Err(error) => {
                self.log.error(&format!(
                    "Cannot start the admin listener, going on without it: {error}"
                ));
            }
        }
    }

    /// What of the settings holds for those who ask.
    fn rule_admin(&self, config: &Config) -> Result<(), TlsError> {
        let Some(thread) = &self.outside.admin.thread else { return Ok(()) };
        thread.rule(Rules {
            hosts: config.admin_hosts.clone(),
            tokens: config.admin_tokens.clone(),
            tls: AdminTls::load(config)?,
            metrics_allow: config.metrics_allow.clone(),
        });
        Ok(())
    }

    /// Scrapers on the application's addresses are answered from where the admin listener's are.
    pub(super) fn answer_scrapers(&self) {
        if let (Some(front), Some(thread)) = (&self.front, &self.outside.admin.thread) {
            front.answer_scrapers(thread.scraper());
        }
    }

    /// Accepts from what is this server's to accept from.
    fn listen_as_admin(&mut self) {
        let part = &self.outside.admin;
        let Some(thread) = &part.thread else { return };
        let shared = part.sockets.iter().filter(|_| !part.is_handed_over);
        let listeners = shared.map(|socket| &socket.bound.listener);
        let listeners = listeners.chain(part.own.iter().map(|(listener, _)| listener));
        let cloned: Result<Vec<Listener>, _> = listeners.map(Listener::try_clone).collect();
        match cloned {
            Ok(listeners) => thread.listen(listeners),
            Err(error) => self.log.error(&format!("Cannot open the admin listener: {error}")),
        }
    }

    /// Where it can be reached, as users write it.
    pub(super) fn shown_admin(&self) -> Vec<String> {
        let part = &self.outside.admin;
        let bound = part.sockets.iter().map(|socket| socket.bound.shown.clone());
        bound.chain(part.own.iter().map(|(_, shown)| shown.clone())).collect()
    }

    fn warn_of_open_admin(&self, config: &Config) {
        let is_far = |socket: &&AdminSocket| match &socket.bound.listener {
            Listener::Tcp(tcp) => tcp.local_addr().is_ok_and(|at| !at.ip().is_loopback()),
            Listener::Unix(..) => false,
        };
        if config.admin_tokens.is_none()
            && let Some(socket) = self.outside.admin.sockets.iter().find(is_far)
        {
            let text = format!(
                "Nobody can read at {} from another machine: there are no admin_tokens\n  \
                 hint: indrik token new NAME makes one",
                socket.bound.shown
            );
            self.log.write(Level::Warning, &text);
        }
    }

    /// The settings of this generation are those in use.
    pub(super) fn note_settings_look(&mut self, generation: Generation) {
        let Some(config) = self.generations.config_of(generation) else { return };
        let Some((launch, values)) = self.generations.sources(generation) else { return };
        let by_hand = self.outside.admin.hands.of(generation);
        let rows = shown(&Launch { by_hand, ..(*launch).clone() }, Some(&values));
        self.outside.admin.settings = Some(Arc::new(SettingsLook { config, rows }));
    }

    /// A reload is over: what was changed by hand for it holds, or what held before.
    pub(super) fn end_changes_by_hand(&mut self, outcome: &ReloadOutcome) {
        let (made, serving) = (outcome.generation, outcome.serving);
        let awaited = self.machine.reload_awaited();
        self.outside.admin.hands.ended(made, serving, awaited);
        self.generations.forget_sources(|generation| generation == serving || generation > made);
    }

    // --- upgrades

    /// What a successor is told of the sockets, and their descriptors.
    pub(super) fn admin_for_successor(&self) -> (String, Vec<RawFd>) {
        let sockets = self.outside.admin.sockets.iter();
        let pairs: Vec<(RawFd, String)> = sockets
            .map(|socket| (socket.bound.listener.as_fd().as_raw_fd(), socket.address.to_string()))
            .collect();
        (json!(pairs).to_string(), pairs.iter().map(|(fd, _)| *fd).collect())
    }

    /// The successor serves, and answers here from now on.
    pub(super) fn hand_admin_over(&mut self) {
        for socket in self.outside.admin.sockets.iter_mut() {
            socket.bound.file.take().into_iter().for_each(SocketFile::leave);
        }
        self.outside.admin.is_handed_over = true;
        self.listen_as_admin();
    }

    /// This server serves: what was handed over to it is its own to accept from.
    pub(super) fn open_admin_doors(&mut self) {
        self.outside.admin.is_handed_over = false;
        self.listen_as_admin();
    }

    /// The successor has ended.
    pub(super) fn take_admin_back(&mut self) {
        self.inherit_admin();
        self.open_admin_doors();
    }

    /// No other server has the sockets any more: their files are this one's to remove.
    pub(super) fn inherit_admin(&mut self) {
        for socket in self.outside.admin.sockets.iter_mut() {
            if let (Listener::Unix(_, path), None) = (&socket.bound.listener, &socket.bound.file) {
                socket.bound.file = SocketFile::of(Path::new(path));
            }
        }
    }
}

/// Nothing is listened on that nobody has asked for.
fn addresses(config: &Config) -> &[BindAddress] {
    config.admin_bind.as_deref().unwrap_or_default()
}
