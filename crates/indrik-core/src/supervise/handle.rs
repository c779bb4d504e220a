//! The loop: what happens goes in here, is led to the part that knows about it, and what follows is done.
//!
//! This is the one place that calls all parts. They call only what is below them, and note what those above have to
//! act on ([`Consequence`]).

use super::consequence::Consequence;
use super::effect::{Effect, FrontEffect, UpgradeEffect};
use super::event::{Event, OperatorEvent, PoolEvent, UpgradeEvent, WorkerEvent, ZygoteEvent};
use super::machine::Supervisor;
use super::reason::EndReason;
use super::state::doors::{Doors, Opening, Progress};
use super::state::pause::Pause;
use super::state::phase::Phase;
use super::state::soak::Soak;
use super::state::upgrade::Upgrade;
use super::state::worker::Worker;
use super::state::zygote::Zygote;
use crate::ids::{Generation, WorkerId};
use crate::time::Now;

/// What follows from the state alone after every event, in this order: whose time is over, what is still missing,
/// and what can be said or ended when nothing is.
const STEPS: [fn(&mut Supervisor); 20] = [
    Supervisor::expire_workers,
    Supervisor::expire_zygotes,
    Supervisor::expire_phase,
    Supervisor::expire_pause,
    Supervisor::expire_hold,
    Supervisor::expire_upgrade,
    Supervisor::reload_if_asked,
    Supervisor::judge_trial,
    Supervisor::expire_soak,
    Supervisor::expire_ailments,
    Supervisor::expire_ages,
    Supervisor::advance_refork,
    Supervisor::reconcile,
    Supervisor::open_doors,
    Supervisor::announce,
    Supervisor::rest_zygote,
    Supervisor::say_farewell,
    Supervisor::retire_idle_zygotes,
    Supervisor::finish_if_empty,
    Supervisor::ask_for_time,
];

impl Supervisor {
    /// Takes in what happened at `now`. A clock that goes back is taken as standing still.
    pub fn handle(&mut self, event: Event, now: Now) {
        self.now = self.now.max(now);
        self.look_whether_of_use();
        self.take_in(event);
        self.follow_up();
        for step in STEPS {
            step(self);
            self.follow_up();
        }
    }

    fn take_in(&mut self, event: Event) {
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
    }

    /// Acts on what was noted, in that order.
    fn follow_up(&mut self) {
        while let Some(consequence) = self.consequences.pop_front() {
            match consequence {
                Consequence::GenerationFailed { generation, why, details } => {
                    self.generation_failed(generation, &why, &details);
                }
                Consequence::StartFailed { kind } => self.give_up(kind),
                Consequence::NeverServed => self.end_as_failed(),
                Consequence::ReloadAwaited => self.reload(),
            }
        }
    }

    fn zygote_event(&mut self, generation: Generation, event: ZygoteEvent) {
        match event {
            ZygoteEvent::Here => self.zygote_here(generation),
            ZygoteEvent::InHook { hook } => self.zygote_in_hook(generation, hook),
            ZygoteEvent::ConfigRead { boot_max } => self.config_read(generation, boot_max),
            ZygoteEvent::Listening { handed } => self.listening(generation, handed),
            ZygoteEvent::ListenFailed { failure, in_use } => {
                self.listen_failed(generation, &failure, in_use);
            }
            ZygoteEvent::Ready { policy } => self.zygote_ready(generation, policy),
            ZygoteEvent::Failed { failure } => self.zygote_failed(generation, &failure),
            ZygoteEvent::Stays => self.zygote_stays(generation),
            ZygoteEvent::Exited => self.zygote_exited(generation),
        }
    }

    fn worker_event(&mut self, id: WorkerId, event: WorkerEvent) {
        match event {
            WorkerEvent::Forked { pid } => self.forked(id, pid),
            WorkerEvent::ForkFailed { message } => self.fork_failed(id, &message),
            WorkerEvent::ForkRefused { failure } => self.fork_refused(id, &failure),
            WorkerEvent::InHook { hook } => self.worker_in_hook(id, hook),
            WorkerEvent::Ready => self.worker_ready(id),
            WorkerEvent::BootFailed { failure } => self.boot_failed(id, &failure),
            WorkerEvent::ShowsWhy { why } => self.shows_why(id, &why),
            WorkerEvent::BootMeasured { ran, waited } => self.boot_measured(id, ran, waited),
            WorkerEvent::Warm => self.worker_warm(id),
            WorkerEvent::WarmUpFailed { failure } => self.warm_up_failed(id, &failure),
            WorkerEvent::SentTerm => self.worker_sent_term(id),
            WorkerEvent::Drained => self.worker_drained(id),
            WorkerEvent::UsedUp => self.recycle(id, EndReason::MaxRequests),
            WorkerEvent::ShouldGo { reason } => self.worker_should_go(id, reason),
            WorkerEvent::Memory { excess } => self.memory_exceeded(id, excess),
            WorkerEvent::RequestStuck => self.stuck(id, EndReason::Timeout),
            WorkerEvent::RequestHangs => self.request_hangs(id),
            WorkerEvent::ChannelBroken => self.channel_broken(id, EndReason::ChannelBroken),
            WorkerEvent::DescriptorsLost => self.channel_broken(id, EndReason::DescriptorsLost),
            WorkerEvent::Promoted => self.worker_promoted(id),
            WorkerEvent::PromotionRefused { why } => self.promotion_refused(id, &why),
            WorkerEvent::CodeChanged { files } => self.code_changed(id, files),
            WorkerEvent::Exited { exit } => self.worker_exited(id, exit),
        }
    }

    fn pool_event(&mut self, event: PoolEvent) {
        match event {
            PoolEvent::WorkersWished { workers } => self.set_wanted(workers),
            PoolEvent::InterfaceChanged { generation } => self.interface_changed(generation),
            PoolEvent::Answered { answers, errors } => self.answered(answers, errors),
            PoolEvent::Served { counts } => self.workers_served(&counts),
            PoolEvent::Signs { signs } => self.signs_read(&signs),
            PoolEvent::Overloaded { lacks } => self.pool.ailments.lacks = lacks,
            PoolEvent::Ails { ailment, why } => self.pool.ailments.sees(ailment, &why, self.now),
            PoolEvent::OldZygoteExited => self.old_zygote_exited(),
        }
    }

    fn operator_event(&mut self, event: OperatorEvent) {
        match event {
            OperatorEvent::Signal(signal) => self.signal_received(signal),
            OperatorEvent::WantWorkers(workers) => self.change_wanted(workers),
            OperatorEvent::Scale(workers) => self.scale(workers),
            OperatorEvent::ReplaceWorker { worker } => self.replace_worker(worker),
            OperatorEvent::RecycleWorker { worker } => self.recycle_as_asked(worker),
            OperatorEvent::RestartWorker { worker } => self.restart_worker(worker),
            OperatorEvent::HoldRequests { most } => self.hold_requests(most),
            OperatorEvent::ResumeRequests => self.resume_requests(),
            OperatorEvent::Maintain(on) => self.maintain(on),
        }
    }

    fn upgrade_event(&mut self, event: UpgradeEvent) {
        match event {
            UpgradeEvent::Wanted => self.upgrade(),
            UpgradeEvent::PreExecDone => self.pre_exec_done(),
            UpgradeEvent::PreExecLost => self.pre_exec_lost(),
            UpgradeEvent::SuccessorStarted { pid } => self.successor_started(pid),
            UpgradeEvent::SuccessorFailed { message } => self.successor_failed(&message),
            UpgradeEvent::SuccessorLives => self.successor_lives(),
            UpgradeEvent::SuccessorReady => self.successor_ready(),
            UpgradeEvent::SuccessorExited { status } => self.successor_exited(status),
            UpgradeEvent::PredecessorExited => self.predecessor_exited(),
        }
    }

    /// Brings what is had nearer to what is wanted. Runs after every event.
    fn reconcile(&mut self) {
        match self.server.phase {
            Phase::Starting | Phase::Serving | Phase::Leaving { .. } => {
                self.take_turns();
                self.fill_current();
                self.fill_candidate();
                self.drain_surplus();
                self.drain_abandoned();
            }
            // What was accepted must be finished: the dead are replaced until the front is idle.
            Phase::Draining { .. } => self.fill_current(),
            Phase::Stopping { .. } | Phase::Done => {}
        }
    }

    /// When [`Event::Tick`] is due at the latest. May change with each `handle`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Now> {
        let workers = self.pool.workers.values().filter_map(Worker::deadline);
        let zygotes = self.pool.zygotes.values().filter_map(Zygote::deadline);
        let phases = [
            self.server.phase.deadline(),
            self.server.pause.deadline(),
            self.server.steering.hold.deadline(),
            self.server.upgrade.deadline(),
            self.server.asked.next(),
            self.next_refill(),
            self.breaker_deadline(),
            self.pool.soak.as_ref().map(Soak::deadline),
            self.next_recycling(),
            self.pool.old_zygote_until,
            self.pool.ailments.next(),
        ];
        workers.chain(zygotes).chain(phases.into_iter().flatten()).min()
    }

    fn start(&mut self, successor: bool) {
        if successor {
            self.server.upgrade = Upgrade::Successor;
            self.server.doors = Doors::Closed(Opening::EveryPlace);
        }
        self.spawn_zygote(Generation::FIRST);
    }

    /// Lets the front take connections, once: as soon as nobody could serve them better.
    fn open_doors(&mut self) {
        let may_open = matches!(self.server.phase, Phase::Starting | Phase::Serving)
            && self.server.pause == Pause::No;
        if self.server.doors.are_open() || !may_open {
            return;
        }
        let zygote = self.pool.zygotes.get(&self.current());
        let progress = Progress {
            has_front: zygote.is_some_and(|zygote| zygote.been_ready),
            has_ready: self.has_ready(),
            all_told: self.all_places_told(),
        };
        if self.server.doors.open_now(progress) {
            self.server.doors = Doors::Open;
            self.push(Effect::Front(FrontEffect::OpenDoors));
        }
    }

    /// Says once that the server is ready: workers take requests, and no place is waited for any longer.
    fn announce(&mut self) {
        let is_serving = self.server.phase == Phase::Serving && self.server.doors.are_open();
        if self.server.announced || !is_serving {
            return;
        }
        if self.has_ready() && self.all_places_told() {
            self.server.announced = true;
            if self.server.upgrade == Upgrade::Successor {
                self.push(Effect::Upgrade(UpgradeEffect::TellPredecessor));
            }
            self.notify_ready();
        }
    }

    fn has_ready(&self) -> bool {
        self.pool.workers.values().any(Worker::is_ready)
    }

    /// Every place has a worker that takes requests, or one that has failed and is waited for no longer.
    fn all_places_told(&self) -> bool {
        let has_ready = |place: u32| {
            let is = |worker: &Worker| worker.place == place && worker.is_ready();
            self.pool.workers.values().any(is)
        };
        let has_failed = |place: u32| {
            self.pool.serving.restarts.failures(place) > 0 || self.pool.serving.breaker.is_open()
        };
        (0..self.pool.serving.wanted).all(|place| has_ready(place) || has_failed(place))
    }
}
