//! The greeting: what is served where, by how many workers, and why that many.

use indrik_core::ids::Generation;
use indrik_core::settings::{Config, WorkerClass};
use indrik_core::supervise::Level;

use super::Drive;
use crate::front::Interface;

impl Drive {
    /// Written once, when the first worker is ready.
    pub(super) fn greet(&self, generation: Generation, interface: Interface, capacity: usize) {
        let Some(config) = self.configs.get(&generation) else { return };
        let (kind, class) = names(config, interface);
        self.log.write(Level::Info, &format!("Using worker: {class}"));
        self.log.write(Level::Info, &text(config, kind, class, capacity, &self.shown_addresses));
    }
}

fn names(config: &Config, interface: Interface) -> (&'static str, &'static str) {
    match interface {
        Interface::Asgi => ("ASGI", "asgi"),
        Interface::Wsgi if config.threads > 1 || config.worker_class == WorkerClass::Gthread => {
            ("WSGI", "gthread")
        }
        Interface::Wsgi => ("WSGI", "sync"),
    }
}

fn text(config: &Config, kind: &str, class: &str, capacity: usize, addresses: &[String]) -> String {
    let at_once = match (class, capacity) {
        ("sync", _) => "one request at a time each".to_owned(),
        ("gthread", threads) => format!("{threads} threads each"),
        (_, connections) => format!("up to {connections} requests at once each"),
    };
    format!(
        "Ready\n  Address  {}\n  App      {} ({kind})\n  Workers  {}\n  Class    {class}, {at_once}",
        addresses.join(", "),
        config.wsgi_app,
        config.workers_reason,
    )
}
