//! Asking the service manager for more time: it ends what takes longer than its own limits allow, and
//! does not know that a model is still being loaded, or that requests are still being finished.
//!
//! What begins (a start, a reload) is within its limits for a while, so the first word comes after the
//! first interval; the end says at once how long it may take.

use super::effect::{Doing, Notice};
use super::limits::{MORE_TIME_INTERVAL, MORE_TIME_MAX, MORE_TIME_MIN};
use super::machine::Supervisor;
use super::state::patience::Asked;
use super::state::phase::Phase;
use super::state::upgrade::Upgrade;
use super::state::worker::Worker;
use crate::time::Now;

impl Supervisor {
    /// Says, again, that the server serves.
    pub(super) fn notify_ready(&mut self) {
        let workers = self.census().ready;
        self.notify(Notice::Ready { workers });
    }

    /// Runs after every event.
    pub(super) fn ask_for_time(&mut self) {
        let Some((doing, until)) = self.doing() else {
            self.server.asked = Asked::default();
            return;
        };
        let due = match self.server.asked.0 {
            Some((before, at)) if before == doing => at + MORE_TIME_INTERVAL <= self.now,
            Some(_) | None => {
                self.server.asked = Asked(Some((doing, self.now)));
                !matches!(doing, Doing::Starting | Doing::Reloading)
            }
        };
        if due {
            self.server.asked = Asked(Some((doing, self.now)));
            let left = until.map_or(MORE_TIME_MAX, |until| until.saturating_sub(self.now));
            self.notify(Notice::MoreTime { doing, by: left.clamp(MORE_TIME_MIN, MORE_TIME_MAX) });
        }
    }

    /// What goes on, and when it is over at the latest.
    fn doing(&self) -> Option<(Doing, Option<Now>)> {
        if matches!(self.server.upgrade, Upgrade::Successor | Upgrade::Predecessor { .. }) {
            // The one is not heard, the other hands over.
            return None;
        }
        let graceful = self.pool.serving.policy.graceful_timeout;
        match self.server.phase {
            Phase::Starting => Some((Doing::Starting, None)),
            Phase::Serving if self.is_changing() => Some((Doing::Reloading, None)),
            Phase::Serving | Phase::Done => None,
            Phase::Leaving { hook: true, until } => Some((
                Doing::Leaving,
                Some(until + self.pool.serving.policy.drain_delay + graceful),
            )),
            Phase::Leaving { hook: false, until } => Some((Doing::Leaving, Some(until + graceful))),
            Phase::Draining { until } => Some((Doing::Draining, Some(until))),
            // The end of a start that failed is nobody's to wait for.
            Phase::Stopping { .. } if !self.pool.ever_ready => None,
            Phase::Stopping { .. } => Some((
                Doing::Stopping,
                self.pool.workers.values().filter_map(Worker::deadline).max(),
            )),
        }
    }
}
