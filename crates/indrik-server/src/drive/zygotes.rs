//! The zygotes' processes and messages.

use indrik_core::ids::Generation;
use indrik_core::supervise::FailureKind;

use super::parts::Drive;
use crate::preflight::look_at_config;
use crate::zygote::Request;

impl Drive {
    /// The first message to a new zygote. One that replaces a dead one of its generation gets the
    /// settings that were read then: what was edited meanwhile waits for a reload.
    pub(super) fn begin_generation(&mut self, generation: Generation) {
        // Hooks live in the zygote only, so the next one has to read them again.
        if self.generations.config(generation).is_some() && !self.has_hooks(generation) {
            return self.configure(generation);
        }
        let path = self.launch.config_request();
        if let Err(error) = look_at_config(&self.launch) {
            let kind = FailureKind::Config;
            return self.events.zygote_failed(generation, kind, error.to_string(), "");
        }
        let request = Request::ReadConfig { path: path.as_deref(), chdir: None };
        self.ask(generation, &request);
    }

    fn ask(&mut self, generation: Generation, request: &Request<'_>) {
        let Some(zygote) = self.children.zygotes.get(&generation) else { return };
        if let Err(error) = zygote.send(request, &[]) {
            let text = format!("cannot talk to the zygote: {error}");
            self.events.zygote_failed(generation, FailureKind::Boot, text, "");
        }
    }

    pub(super) fn configure(&mut self, generation: Generation) {
        let Some(config) = self.generations.config_of(generation) else { return };
        self.expose_zygote(generation);
        let listeners = self.outside.listeners.names().to_vec();
        let identity = self.generations.identity(generation).cloned();
        let first = generation == Generation::FIRST;
        let request = Request::Configure {
            config: &config,
            generation,
            title: config.title(),
            listeners: &listeners,
            identity: identity.as_ref(),
            workers_before: (!first).then(|| self.machine.census().wanted),
            // What the first one's hooks started has ended with it, so they start it again.
            announce: first
                || self.children.zygotes.get(&generation).is_some_and(|zygote| !zygote.again),
        };
        self.ask(generation, &request);
    }
}
