//! How the server is, in one word for probes and operators, with the reason when it is not well.

use super::machine::Supervisor;
use super::report::{Health, HealthState};
use super::state::pause::Pause;
use super::state::phase::Phase;
use super::state::upgrade::Upgrade;
use super::state::worker::Worker;

impl Supervisor {
    /// How the server is now.
    #[must_use]
    pub fn health(&self) -> Health {
        let trouble = self.trouble().or_else(|| self.told_of_steering());
        let state = match self.server.phase {
            Phase::Starting => HealthState::Starting,
            Phase::Leaving { .. } | Phase::Draining { .. } => HealthState::Draining,
            Phase::Serving if self.is_handing_over() => HealthState::Draining,
            Phase::Stopping { .. } | Phase::Done => HealthState::Stopping,
            Phase::Serving if self.server.pause != Pause::No => HealthState::Paused,
            Phase::Serving if trouble.is_some() => HealthState::Degraded,
            Phase::Serving if !self.server.announced => HealthState::Starting,
            Phase::Serving => HealthState::Ready,
        };
        let serves = matches!(state, HealthState::Ready | HealthState::Degraded);
        // Whoever asks here means the address, and that is served by the other one.
        let neighbour = matches!(self.server.upgrade, Upgrade::Predecessor { .. })
            && matches!(state, HealthState::Draining | HealthState::Paused);
        let takes = |worker: &Worker| worker.is_ready() && !self.is_quiet(worker);
        let ready =
            neighbour || (serves && self.server.announced && self.pool.workers.values().any(takes));
        let why = trouble.filter(|_| state == HealthState::Degraded).unwrap_or_default();
        Health { state, ready, why }
    }

    /// Whether workers keep failing and are tried one at a time.
    #[must_use]
    pub fn is_breaker_open(&self) -> bool {
        self.pool.serving.breaker.is_open()
    }

    /// What operators have made of the requests that come: whoever asks why nothing is served shall hear of it.
    fn told_of_steering(&self) -> Option<String> {
        let steered = self.steered();
        if let Some(held) = steered.held {
            let left = held.left.as_secs();
            return Some(format!("requests are held by a pause, for {left} s more at most"));
        }
        steered
            .maintenance
            .then(|| "maintenance: requests are answered 503 by the front".to_owned())
    }

    /// Why there is less than is wanted, if that is because something failed.
    fn trouble(&self) -> Option<String> {
        let census = self.census();
        let is_served = |place: u32| {
            let serves = |worker: &Worker| worker.place == place && worker.is_ready();
            self.pool.workers.values().any(serves)
        };
        let has_failed =
            |place: u32| self.pool.serving.restarts.failures(place) > 0 && !is_served(place);
        let lacks = census.ready < census.wanted
            && (census.ready == 0 || (0..self.pool.serving.wanted).any(has_failed));
        if lacks || self.pool.serving.breaker.is_open() {
            let mut why = format!("{} of {} workers are ready", census.ready, census.wanted);
            if !self.pool.serving.last_failure.is_empty() {
                why.push_str(", last failure: ");
                why.push_str(&self.pool.serving.last_failure);
            }
            if self.pool.serving.breaker.is_open() {
                why.push_str("; workers keep failing and are tried one at a time");
            }
            return Some(why);
        }
        if let Some(quiet) = self.pool.workers.values().find(|worker| self.is_quiet(worker)) {
            let pid = quiet.pid.unwrap_or(0);
            return Some(format!("worker {} (pid {pid}) shows no life", quiet.id));
        }
        let zygote = self.pool.zygotes.get(&self.current());
        let is_lost =
            zygote.is_some_and(|zygote| zygote.has_failed()) && !self.could_fork(self.current());
        if is_lost {
            let generation = self.current();
            return Some(format!(
                "the zygote of generation {generation} failed; it is started again, until then no worker is replaced"
            ));
        }
        let serving = self.pool.workers.values().filter(|worker| worker.is_ready());
        if let Some(why) = serving.filter_map(|worker| worker.shows.as_ref()).next() {
            return Some(format!(
                "the application cannot be loaded; requests are answered with why: {why}"
            ));
        }
        if let Some(lacks) = self.pool.ailments.lacks {
            return Some(format!("requests are refused: {lacks}"));
        }
        self.pool.ailments.why()
    }

    /// What failed is told for a while, and then forgotten.
    pub(super) fn expire_ailments(&mut self) {
        self.pool.ailments.expire(self.now);
    }
}
