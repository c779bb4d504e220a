//! The admin listener: where it listens, and who has its sockets at an upgrade.

use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::path::Path;
use std::sync::Arc;

use indrik_core::ids::Generation;
use indrik_core::logs::level::Level;
use indrik_core::settings::{BindAddress, Config, shown};
use indrik_core::supervise::ReloadOutcome;
use serde_json::json;

use super::parts::{AdminSocket, Drive, OnTrial};
use crate::admin::{Admin, Rules};
use crate::boot::{self, BootError, BoundSocket, Manner, SocketFile};
use crate::control::open_admin;
use crate::front::Listener;
use crate::look::SettingsLook;

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: u32 = 64;
/// What others have of a socket file: nothing.
const UMASK: u32 = 0o007;

impl Drive {
    /// Opens what the first configuration asks for.
    pub(super) fn open_admin(&mut self, config: &Config) -> Result<(), BootError> {
        self.outside.admin.sockets = self.bind_admin(addresses(config))?;
        for socket in &self.outside.admin.sockets {
            let text = format!("Admin listener at {}", socket.bound.shown);
            self.log.write(Level::Info, &text);
        }
        self.warn_of_open_admin(config);
        self.start_admin(config);
        // A server that takes another one's place lets that one answer until it serves.
        self.outside.admin.is_handed_over = self.neighbours.heritage.partner_pid().is_some();
        self.listen_as_admin();
        Ok(())
    }

    /// A reload may move it. What cannot be had is told, and what was there stays.
    pub(super) fn open_admin_again(&mut self, config: &Config) {
        let Some(thread) = &self.outside.admin.thread else { return self.start_admin(config) };
        thread.rule(rules(config));
        let now: Vec<&BindAddress> =
            self.outside.admin.sockets.iter().map(|socket| &socket.address).collect();
        if now != addresses(config).iter().collect::<Vec<_>>() {
            match self.bind_admin(addresses(config)) {
                Ok(sockets) => self.outside.admin.sockets = sockets,
                Err(error) => {
                    let text = format!("The admin listener stays where it was: {error}");
                    self.log.write(Level::Warning, &text);
                }
            }
        }
        self.listen_as_admin();
    }

    /// A listener for each address: one that is open already, one that was handed over, or a new one.
    fn bind_admin(&mut self, addresses: &[BindAddress]) -> Result<Vec<AdminSocket>, BootError> {
        let manner = Manner { backlog: BACKLOG, umask: UMASK, ..Manner::default() };
        let mut inherited = self.inherited_admin();
        let mut kept = std::mem::take(&mut self.outside.admin.sockets);
        let mut sockets = Vec::new();
        for address in addresses {
            if let Some(at) = kept.iter().position(|socket| socket.address == *address) {
                sockets.push(kept.remove(at));
                continue;
            }
            let at = inherited.iter().position(|(_, text)| *text == address.to_string());
            let bound = match at.map(|at| inherited.remove(at)) {
                Some((bound, _)) => Ok(bound),
                None => boot::bind(address, &manner),
            };
            match bound {
                Ok(bound) => sockets.push(AdminSocket { address: address.clone(), bound }),
                Err(error) => {
                    sockets.retain(|socket| !is_new(socket, &kept));
                    sockets.append(&mut kept);
                    self.outside.admin.sockets = sockets;
                    let message = format!("admin_bind: {}", error.message);
                    return Err(BootError { message, ..error });
                }
            }
        }
        Ok(sockets)
    }

    /// What the server hands over that this one is to replace; taken once.
    fn inherited_admin(&self) -> Vec<(BoundSocket, String)> {
        if self.outside.admin.thread.is_some() {
            return Vec::new();
        }
        let partner = self.neighbours.heritage.inheritance.partner.as_ref();
        let handed = partner.map(|partner| partner.admin.as_slice()).unwrap_or_default();
        let bound = handed.iter().map(|(fd, text)| (boot::take_over(*fd), text));
        bound.filter_map(|(bound, text)| Some((bound.ok()?, text.clone()))).collect()
    }

    fn start_admin(&mut self, config: &Config) {
        let part = &mut self.outside.admin;
        if config.control_socket.is_some() && part.own.is_none() {
            match open_admin() {
                Ok((socket, shown)) => {
                    part.own = Some((Listener::Unix(socket, shown.clone()), shown))
                }
                Err(error) => {
                    let text =
                        format!("Cannot open the admin socket, going on without it: {error}");
                    self.log.write(Level::Warning, &text);
                }
            }
        }
        if part.thread.is_some() || (part.own.is_none() && part.sockets.is_empty()) {
            return;
        }
        match Admin::start(&part.board, &part.orders, &self.log) {
            Ok(thread) => {
                thread.rule(rules(config));
                part.thread = Some(thread);
            }
            Err(error) => {
                self.log.error(&format!(
                    "Cannot start the admin listener, going on without it: {error}"
                ));
            }
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
        let values = self.generations.values(generation);
        let rows = shown(&self.launch, values.as_deref());
        self.outside.admin.settings = Some(Arc::new(SettingsLook { config, rows }));
    }

    /// A reload is over: what was changed by hand for it holds, or what held before.
    pub(super) fn end_trial(&mut self, outcome: &ReloadOutcome) {
        let is_over = |trial: &mut OnTrial| trial.generation <= outcome.generation;
        let Some(trial) = self.outside.admin.on_trial.take_if(is_over) else { return };
        if outcome.failure.is_some() {
            self.launch.by_hand = trial.good;
        }
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
        for socket in &mut self.outside.admin.sockets {
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
        for socket in &mut self.outside.admin.sockets {
            if let (Listener::Unix(_, path), None) = (&socket.bound.listener, &socket.bound.file) {
                socket.bound.file = SocketFile::of(Path::new(path));
            }
        }
    }
}

/// It is not one of those that were there before.
fn is_new(socket: &AdminSocket, kept: &[AdminSocket]) -> bool {
    kept.iter().all(|before| before.address != socket.address)
}

/// Nothing is listened on that nobody has asked for.
fn addresses(config: &Config) -> &[BindAddress] {
    config.admin_bind.as_deref().unwrap_or_default()
}

fn rules(config: &Config) -> Rules {
    Rules { hosts: config.admin_hosts.clone(), tokens: config.admin_tokens.clone() }
}
