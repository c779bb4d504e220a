//! Probes: two paths that tell load balancers and orchestrators how the server stands. The front answers
//! them by itself, so they wait in no queue and take no worker.

use indrik_core::settings::Config;

/// How the server stands, as the supervisor sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Traffic is welcome.
    pub ready: bool,
    /// The server need not be started anew.
    pub live: bool,
    /// The same in a line of JSON, with more.
    pub line: String,
}

/// The paths.
#[derive(Debug)]
pub(in crate::front) struct Probes {
    liveness: Option<String>,
    readiness: Option<String>,
}

impl Probes {
    /// `None`: no path is set, so that no request has to be looked at.
    pub(in crate::front) fn new(config: &Config) -> Option<Self> {
        let (liveness, readiness) = (config.liveness_path.clone(), config.readiness_path.clone());
        (liveness.is_some() || readiness.is_some()).then_some(Self { liveness, readiness })
    }

    /// Whether all is well, if this is one of the paths.
    pub(in crate::front) fn verdict(&self, path: &str, standing: &Standing) -> Option<bool> {
        if self.readiness.as_deref() == Some(path) {
            Some(standing.ready)
        } else if self.liveness.as_deref() == Some(path) {
            Some(standing.live)
        } else {
            None
        }
    }
}
