//! What is known of each generation from outside its zygote: its settings, its hooks, whom its workers
//! become.

use std::collections::BTreeMap;
use std::sync::Arc;

use indrik_core::ids::Generation;
use indrik_core::settings::{Config, ConfigFileValues, Launch};

use crate::boot::Identity;

/// One generation, from the reading of its configuration to the end of the server: settings are
/// needed as long as there are workers that were started with them.
#[derive(Debug, Default)]
struct Known {
    config: Option<Arc<Config>>,
    /// What its configuration file says.
    values: Option<Arc<ConfigFileValues>>,
    /// All else that its settings come from, as it was then; what is set by hand stands apart (`Hands`).
    launch: Option<Arc<Launch>>,
    /// The hooks that its configuration has.
    hooks: Vec<String>,
    /// Whom its workers become, if not this process's user.
    identity: Option<Identity>,
}

/// All generations.
#[derive(Debug, Default)]
pub(crate) struct Generations(BTreeMap<Generation, Known>);

impl Generations {
    /// The settings, once they are valid.
    pub(crate) fn config(&self, generation: Generation) -> Option<&Arc<Config>> {
        self.0.get(&generation)?.config.as_ref()
    }

    /// The same, to be kept.
    pub(crate) fn config_of(&self, generation: Generation) -> Option<Arc<Config>> {
        self.config(generation).map(Arc::clone)
    }

    /// The hooks are known before the settings are.
    pub(crate) fn has_hooks(&mut self, generation: Generation, hooks: Vec<String>) {
        self.0.entry(generation).or_default().hooks = hooks;
    }

    /// The settings are valid.
    pub(crate) fn note_settings(
        &mut self,
        generation: Generation,
        config: Arc<Config>,
        identity: Option<Identity>,
    ) {
        let known = self.0.entry(generation).or_default();
        known.config = Some(config);
        known.identity = identity;
    }

    /// What its settings come from: the configuration file, and all else.
    pub(crate) fn note_sources(
        &mut self,
        generation: Generation,
        values: &ConfigFileValues,
        launch: Launch,
    ) {
        let known = self.0.entry(generation).or_default();
        known.values = Some(Arc::new(values.clone()));
        known.launch = Some(Arc::new(launch));
    }

    /// The same, once they were read.
    pub(crate) fn sources(
        &self,
        generation: Generation,
    ) -> Option<(Arc<Launch>, Arc<ConfigFileValues>)> {
        let known = self.0.get(&generation)?;
        Some((known.launch.clone()?, known.values.clone()?))
    }

    /// Nobody asks any more where the settings of others than these came from.
    pub(crate) fn forget_sources(&mut self, is_kept: impl Fn(Generation) -> bool) {
        for (_, known) in self.0.iter_mut().filter(|(generation, _)| !is_kept(**generation)) {
            (known.values, known.launch) = (None, None);
        }
    }

    /// The names of the hooks that its configuration has.
    pub(crate) fn hooks(&self, generation: Generation) -> &[String] {
        self.0.get(&generation).map_or(&[], |known| &known.hooks)
    }

    /// Whom its workers become.
    pub(crate) fn identity(&self, generation: Generation) -> Option<&Identity> {
        self.0.get(&generation)?.identity.as_ref()
    }
}
