//! The control socket: where it is, and what it shows of the listening sockets.

use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

use indrik_core::logs::level::Level;
use indrik_core::settings::{Config, ControlSocket};
use serde_json::json;

use super::parts::Drive;
use crate::control::{Open, open};
use crate::front::Listener;

impl Drive {
    /// Opens, keeps or closes the control sockets as the settings want it. The server runs without
    /// what cannot be had.
    pub(super) fn open_control(&mut self, config: &Config) {
        let path = match &config.control_socket {
            None => {
                self.outside.control.server.listen_on(Vec::new());
                self.outside.control.path = None;
                return;
            }
            Some(ControlSocket::Auto) => None,
            Some(ControlSocket::Path(path)) => {
                Some((config.chdir.join(path), config.control_socket_mode))
            }
        };
        let same_path = path == self.outside.control.path;
        let mut kept = self.outside.control.server.take_sockets();
        // One whose file is gone or somebody else's, a successor's, is none any more.
        kept.retain(|socket| socket.checks_user || (same_path && socket.is_in_place()));
        if !kept.iter().any(|socket| socket.checks_user) {
            kept.extend(self.open_or_warn(None));
        }
        if let Some((path, mode)) = &path
            && kept.iter().all(|socket| socket.checks_user)
        {
            kept.extend(self.open_or_warn(Some((path, *mode))));
        }
        self.outside.control.path = path;
        self.outside.control.server.listen_on(kept);
    }

    fn open_or_warn(&self, path: Option<(&PathBuf, u32)>) -> Option<Open> {
        match open(path.map(|(path, mode)| (path.as_path(), mode))) {
            Ok(socket) => {
                let level = if path.is_some() { Level::Info } else { Level::Debug };
                self.log.write(level, &format!("Control socket listening at {}", socket.shown));
                Some(socket)
            }
            Err(error) => {
                let text = format!("Cannot open the control socket, going on without it: {error}");
                self.log.write(Level::Warning, &text);
                None
            }
        }
    }

    /// Notes the listening sockets, for showing, before the front takes them.
    pub(super) fn note_listeners(&mut self) {
        self.outside.control.listeners = self
            .outside
            .listeners
            .each()
            .map(|(address, socket)| {
                json!({"address": address, "fd": socket.as_fd().as_raw_fd(), "type": family(socket)})
            })
            .collect();
    }
}

fn family(socket: &Listener) -> &'static str {
    match socket {
        Listener::Unix(..) => "unix",
        Listener::Tcp(socket) => match socket.local_addr() {
            Ok(address) if address.is_ipv6() => "tcp6",
            _ => "tcp",
        },
    }
}
