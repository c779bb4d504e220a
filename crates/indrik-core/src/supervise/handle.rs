//! What happens goes in here, and what follows from the state alone is done.

use super::effect::{Effect, UpgradeEffect};
use super::event::Event;
use super::machine::Supervisor;
use super::state::phase::Phase;
use super::state::soak::Soak;
use super::state::upgrade::Upgrade;
use super::state::worker::Worker;
use super::state::zygote::Zygote;
use crate::ids::Generation;
use crate::time::Now;

impl Supervisor {
    /// Takes in what happened at `now`. A clock that goes back is taken as standing still.
    pub fn handle(&mut self, event: Event, now: Now) {
        self.now = self.now.max(now);
        self.look_whether_of_use();
        match event {
            Event::Start { successor } => self.start(successor),
            Event::Zygote(generation, event) => self.zygote_event(generation, event),
            Event::Worker(worker, event) => self.worker_event(worker, event),
            Event::Pool(pool, event) if pool == self.pool.id => self.pool_event(event),
            // One that is not there (any more).
            Event::Pool(..) => {}
            Event::Operator(event) => self.operator_event(event),
            Event::Upgrade(event) => self.upgrade_event(event),
            Event::FrontFailed { failure } => self.front_failed(&failure),
            Event::FrontIdle => self.front_idle(),
            Event::PreStopDone => self.pre_stop_done(),
            Event::Tick => {}
        }
        self.go_on();
    }

    /// What follows from the state alone, in this order.
    fn go_on(&mut self) {
        self.expire_workers();
        self.expire_zygotes();
        self.expire_phase();
        self.expire_pause();
        self.expire_upgrade();
        self.judge_trial();
        self.expire_soak();
        self.expire_ages();
        self.advance_refork();
        self.reconcile();
        self.announce();
        self.rest_zygote();
        self.retire_idle_zygotes();
        self.finish_if_empty();
        self.ask_for_time();
    }

    /// When [`Event::Tick`] is due at the latest. May change with each `handle`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Now> {
        let workers = self.pool.workers.values().filter_map(Worker::deadline);
        let zygotes = self.pool.zygotes.values().filter_map(Zygote::deadline);
        let phases = [
            self.server.phase.deadline(),
            self.server.pause.deadline(),
            self.server.upgrade.deadline(),
            self.server.asked.next(),
            self.next_refill(),
            self.breaker_deadline(),
            self.pool.soak.as_ref().map(Soak::deadline),
            self.next_recycling(),
            self.pool.old_zygote_until,
        ];
        workers.chain(zygotes).chain(phases.into_iter().flatten()).min()
    }

    fn start(&mut self, successor: bool) {
        if successor {
            self.server.upgrade = Upgrade::Successor;
        }
        self.spawn_zygote(Generation::FIRST);
    }

    /// Says once that the server is ready: every place has a worker that takes requests, or one that
    /// has failed and is waited for no longer.
    fn announce(&mut self) {
        if self.server.announced || self.server.phase != Phase::Serving {
            return;
        }
        let has_ready = |place: u32| {
            let is = |worker: &Worker| worker.place == place && worker.is_ready();
            self.pool.workers.values().any(is)
        };
        let has_failed = |place: u32| {
            self.pool.serving.restarts.failures(place) > 0 || self.pool.serving.breaker.is_open()
        };
        let all_told =
            (0..self.pool.serving.wanted).all(|place| has_ready(place) || has_failed(place));
        if all_told {
            self.server.announced = true;
            if self.server.upgrade == Upgrade::Successor {
                self.push(Effect::Upgrade(UpgradeEffect::TellPredecessor));
            }
            self.notify_ready();
        }
    }
}
