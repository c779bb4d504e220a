//! The greeting: what is served where, by how many workers, and why that many.

use indrik_core::ids::Generation;
use indrik_core::logs::level::Level;
use indrik_core::settings::{Config, WorkerClass};

use super::parts::Drive;
use crate::front::Interface;

impl Drive {
    /// Written once, when the first worker is ready.
    pub(super) fn greet(
        &self,
        generation: Generation,
        interface: Interface,
        class: WorkerClass,
        capacity: usize,
    ) {
        let Some(config) = self.generations.config(generation) else { return };
        self.log.write(Level::Routine, &format!("Using worker: {}", shown_class(config, class)));
        let text = text(config, interface, class, capacity, &self.shown_addresses());
        self.log.write(Level::Info, &text);
    }
}

/// The class as it was asked for, which is what Gunicorn writes; what runs if nothing was.
fn shown_class(config: &Config, class: WorkerClass) -> &str {
    match config.worker_class {
        WorkerClass::Auto | WorkerClass::Sync | WorkerClass::Gthread => class.word(),
        WorkerClass::Gevent
        | WorkerClass::Eventlet
        | WorkerClass::Asgi
        | WorkerClass::Aiohttp
        | WorkerClass::Custom => &config.worker_class_spec.name,
    }
}

fn text(
    config: &Config,
    interface: Interface,
    class: WorkerClass,
    capacity: usize,
    addresses: &[String],
) -> String {
    let kind = match (interface, class) {
        (_, WorkerClass::Aiohttp) => "aiohttp",
        (Interface::Asgi, _) => "ASGI",
        (Interface::Wsgi, _) => "WSGI",
    };
    let at_once = match class {
        WorkerClass::Sync => "one request at a time each".to_owned(),
        WorkerClass::Gthread => format!("{capacity} threads each"),
        WorkerClass::Gevent | WorkerClass::Eventlet => format!("up to {capacity} greenlets each"),
        WorkerClass::Asgi | WorkerClass::Aiohttp | WorkerClass::Auto | WorkerClass::Custom => {
            format!("up to {capacity} requests at once each")
        }
    };
    format!(
        "Ready\n  Address  {}\n  App      {} ({kind})\n  Workers  {}\n  Class    {class}, {at_once}",
        addresses.join(", "),
        config.wsgi_app,
        config.workers_reason,
    )
}
