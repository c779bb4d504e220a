//! The fake operating system: zygotes, workers and the front as the supervisor's effects see them.

mod faults;
mod life;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use indrik_core::ids::{Generation, PoolId, WorkerId};
use indrik_core::memory::watch::{Excess, Measure, Step};
use indrik_core::settings::Share;
use indrik_core::supervise::{
    Effect, EndReason, Event, ExitStatus, Failure, FailureKind, KillSignal, Notice, Policy,
    PoolEffect, PoolEvent, ProcessPolicy, ReloadOutcome, ReloadPolicy, WorkerEffect, WorkerEvent,
    ZygoteEffect, ZygoteEvent,
};

pub(crate) use faults::Faults;
use life::{LIMITS, Life};

use crate::random::Random;

/// The simulated setting `refork_after_requests`.
const REFORK_AFTER: u64 = 1_000;

/// A worker process.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) generation: Generation,
    pub(crate) released: bool,
    pub(crate) in_front: bool,
    pub(crate) draining: bool,
    /// It has been given to the front, for its warm-up at least.
    linked: bool,
    pub(crate) held: bool,
    /// Hangs in C code: of all signals only SIGKILL gets through to it.
    deaf: bool,
    /// It was told to become a zygote, and does not leave by itself.
    turning: bool,
    pub(crate) life: Life,
}

/// The old server beside the one under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Predecessor {
    /// It takes connections until it leaves, whenever somebody tells it to.
    Serves,
    /// It takes connections until this server says that it serves.
    Waits,
    /// It has been told that this server serves, and takes none any more.
    Leaves,
}

/// What will happen unless its subject has gone by then.
#[derive(Clone, Debug)]
pub(crate) enum Coming {
    Zygote(Generation, u64, Event),
    ZygoteEnds(Generation, u64),
    Forks(WorkerId, Generation, u64),
    Worker(WorkerId, Event),
    WorkerEnds(WorkerId, ExitStatus),
    StandsStill(WorkerId),
    Front(Event),
    OldZygoteEnds(u64),
    Successor(u32, Event),
    Predecessor(Event),
}

pub(crate) struct Os {
    pub(crate) random: Random,
    pub(crate) faults: Faults,
    pub(crate) workers: u32,
    /// How generations take over from now on.
    pub(crate) reload: ReloadPolicy,
    /// The generation whose answers are counted, and how many they are.
    pub(crate) watched: Option<(Generation, u64, u64)>,
    /// How reloads ended, the latest last.
    pub(crate) outcomes: Vec<ReloadOutcome>,
    /// Zygotes that live, and which incarnation each is.
    zygotes: BTreeMap<Generation, u64>,
    pub(crate) processes: BTreeMap<WorkerId, Process>,
    /// The zygote that a refork has replaced and that still lives.
    old_zygote: Option<u64>,
    pub(crate) reforks: u32,
    ever: BTreeSet<WorkerId>,
    /// Generations whose settings are known.
    configured: BTreeSet<Generation>,
    /// Generations for which something was opened.
    pub(crate) prepared: BTreeSet<Generation>,
    /// The front takes connections, unless it is paused.
    pub(crate) accepts: bool,
    /// The front leaves connections to the kernel.
    pub(crate) paused: bool,
    /// The front holds requests back, since then.
    pub(crate) holding: Option<Duration>,
    /// The front answers requests itself.
    pub(crate) maintenance: bool,
    /// The sockets are those of a service manager, which keeps what waits in them.
    pub(crate) handed: bool,
    /// The server whose place this one is to take.
    pub(crate) predecessor: Option<Predecessor>,
    /// The front takes no connections any more.
    pub(crate) refuses: bool,
    /// A new server beside this one.
    pub(crate) successor: Option<u32>,
    /// It has said that it serves.
    pub(crate) successor_serves: bool,
    /// The server that answers where only one of both can.
    pub(crate) gave_way_to: Option<u32>,
    /// It gives no sign of life.
    pub(crate) successor_hangs: bool,
    /// This one left the service to one that served.
    pub(crate) handed_over: bool,
    /// A new server that served ended as one does that was told to.
    pub(crate) service_stopped: bool,
    pub(crate) upgraded: u32,
    pub(crate) upgrades_failed: u32,
    pub(crate) daemon: bool,
    /// How long workers may serve.
    pub(crate) max_worker_age: Duration,
    /// Served on for so long after the end was announced, and after the hook of a third of the seeds.
    pub(crate) drain_delay: Duration,
    pub(crate) pre_stop: bool,
    /// The zygote leaves while nothing is to be forked: with every third seed.
    pub(crate) zygote_rests: bool,
    /// USR2 upgrades.
    pub(crate) upgrade_drains: bool,
    /// The process that ran the hook `pre_exec` last ends in the middle of it.
    pub(crate) pre_exec_lost: bool,
    /// What the service manager was told last.
    pub(crate) told: Option<Notice>,
    coming: BTreeMap<(Duration, u64), Coming>,
    counter: u64,
    stayed: BTreeSet<(Generation, u64)>,
    over: bool,
    /// Signs of life are of interest in this run: they come every second.
    pub(crate) gives_signs: bool,
}

impl Os {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        let mut random = Random::new(seed);
        let workers = 1 + u32::try_from(random.below(6)).unwrap();
        let drain_delay = Duration::from_secs(if seed % 4 == 3 { seed % 20 } else { 0 });
        Self {
            random,
            gives_signs: faults.worker_stands_still > 0,
            faults,
            workers,
            reload: ReloadPolicy::default(),
            watched: None,
            outcomes: Vec::new(),
            zygotes: BTreeMap::new(),
            processes: BTreeMap::new(),
            old_zygote: None,
            reforks: 0,
            ever: BTreeSet::new(),
            configured: BTreeSet::new(),
            prepared: BTreeSet::new(),
            accepts: false,
            paused: false,
            holding: None,
            maintenance: false,
            handed: false,
            predecessor: None,
            refuses: false,
            successor: None,
            successor_serves: false,
            gave_way_to: None,
            successor_hangs: false,
            handed_over: false,
            service_stopped: false,
            upgraded: 0,
            upgrades_failed: 0,
            daemon: seed.is_multiple_of(2),
            max_worker_age: Duration::ZERO,
            drain_delay,
            pre_stop: seed.is_multiple_of(3),
            zygote_rests: seed % 3 == 1,
            upgrade_drains: false,
            pre_exec_lost: false,
            told: None,
            coming: BTreeMap::new(),
            counter: 0,
            stayed: BTreeSet::new(),
            over: false,
        }
    }

    /// Workers the front gives requests to.
    pub(crate) fn serving(&self) -> u32 {
        let serving = |process: &&Process| process.in_front && !process.draining && !process.held;
        u32::try_from(self.processes.values().filter(serving).count()).unwrap()
    }

    pub(crate) fn next_time(&self) -> Option<Duration> {
        self.coming.keys().next().map(|(at, _)| *at)
    }

    /// Events that are due at `now`; some happenings answer nothing.
    pub(crate) fn due(&mut self, now: Duration) -> Option<Option<Event>> {
        let key = *self.coming.keys().next().filter(|(at, _)| *at <= now)?;
        let coming = self.coming.remove(&key).unwrap();
        Some(self.happen(coming, now))
    }

    fn happen(&mut self, coming: Coming, now: Duration) -> Option<Event> {
        match coming {
            Coming::Zygote(generation, which, event) => {
                (self.zygotes.get(&generation) == Some(&which)).then_some(event)
            }
            Coming::ZygoteEnds(generation, which) => {
                if self.zygotes.get(&generation) != Some(&which) {
                    return None;
                }
                self.zygotes.remove(&generation);
                // Workers nobody released see their control socket closed.
                let orphans: Vec<WorkerId> = self
                    .processes
                    .iter()
                    .filter(|(_, process)| process.generation == generation && !process.released)
                    .map(|(id, _)| *id)
                    .collect();
                for id in orphans {
                    self.after(now, 1, 5, Coming::WorkerEnds(id, ExitStatus::Code(0)));
                }
                Some(Event::Zygote(generation, ZygoteEvent::Exited))
            }
            Coming::Forks(worker, generation, which) => {
                if self.zygotes.get(&generation) != Some(&which) {
                    return None;
                }
                let deaf = self.random.percent(self.faults.signal_ignored);
                let process = Process {
                    generation,
                    released: false,
                    in_front: false,
                    draining: false,
                    linked: false,
                    held: false,
                    deaf,
                    turning: false,
                    life: Life::default(),
                };
                self.processes.insert(worker, process);
                let pid = 1000 + u32::try_from(worker.0).unwrap();
                Some(Event::Worker(worker, WorkerEvent::Forked { pid }))
            }
            Coming::Worker(worker, event) => self.processes.contains_key(&worker).then_some(event),
            Coming::WorkerEnds(worker, status) => {
                self.processes.remove(&worker)?;
                Some(Event::Worker(worker, WorkerEvent::Exited { exit: status.into() }))
            }
            Coming::StandsStill(worker) => {
                self.stand_still(worker, now);
                None
            }
            Coming::OldZygoteEnds(which) => (self.old_zygote.take_if(|old| *old == which))
                .map(|_| Event::Pool(PoolId::FIRST, PoolEvent::OldZygoteExited)),
            Coming::Front(event) => Some(event),
            Coming::Predecessor(event) => self.predecessor_does(event),
            Coming::Successor(pid, event) => self.successor_does(pid, event, now),
        }
    }

    fn after(&mut self, now: Duration, least: u64, most: u64, coming: Coming) {
        let at = now + self.random.milliseconds(least, most);
        self.counter += 1;
        self.coming.insert((at, self.counter), coming);
    }

    pub(crate) fn kill_one_worker(&mut self, now: Duration) {
        let ids: Vec<WorkerId> = self.processes.keys().copied().collect();
        let victim = ids[self.random.below(ids.len())];
        self.after(now, 0, 0, Coming::WorkerEnds(victim, ExitStatus::Signal(9)));
    }

    pub(crate) fn kill_all_workers(&mut self, now: Duration) {
        let ids: Vec<WorkerId> = self.processes.keys().copied().collect();
        for id in ids {
            self.after(now, 0, 0, Coming::WorkerEnds(id, ExitStatus::Signal(9)));
        }
    }

    /// Does what the supervisor wants, checking that it may want it.
    pub(crate) fn perform(&mut self, effect: &Effect, now: Duration) {
        match effect {
            Effect::Zygote(generation, effect) => self.do_to_zygote(*generation, effect, now),
            Effect::Worker(worker, effect) => self.do_to_worker(*worker, effect, now),
            Effect::Pool(_, PoolEffect::KillOldZygote) => {
                if let Some(which) = self.old_zygote {
                    self.after(now, 0, 100, Coming::OldZygoteEnds(which));
                }
            }
            Effect::Pool(_, PoolEffect::Forget { generation }) => {
                self.prepared.remove(generation);
            }
            Effect::Pool(_, PoolEffect::Adopt { generation, .. }) => {
                // All that a takeover needs was made before: it cannot fail any more.
                assert!(self.prepared.remove(generation), "{generation} opened nothing");
                if *generation == Generation::FIRST && self.random.percent(self.faults.front_fails)
                {
                    let failure = failure(FailureKind::Bind);
                    self.after(now, 0, 0, Coming::Front(Event::FrontFailed { failure }));
                }
            }
            Effect::Pool(_, PoolEffect::WatchAnswers { generation }) => {
                self.watched = generation.map(|generation| (generation, 0, 0));
            }
            effect => self.perform_for_all(effect, now),
        }
    }

    fn do_to_zygote(&mut self, generation: Generation, effect: &ZygoteEffect, now: Duration) {
        match *effect {
            ZygoteEffect::Spawn => self.spawn_zygote(generation, now),
            ZygoteEffect::Listen => self.listen(generation, now),
            ZygoteEffect::Configure => self.configure(generation, now),
            ZygoteEffect::RunPreStop => self.run_pre_stop(now),
            ZygoteEffect::ChangeTo { worker } => self.change_zygote(generation, worker, now),
            ZygoteEffect::Retire { last } => self.retire(generation, last, now),
            ZygoteEffect::Kill => {
                if let Some(which) = self.zygotes.get(&generation).copied() {
                    self.after(now, 0, 100, Coming::ZygoteEnds(generation, which));
                }
            }
            ZygoteEffect::WorkersChanged { .. } => {}
        }
    }

    fn do_to_worker(&mut self, worker: WorkerId, effect: &WorkerEffect, now: Duration) {
        match *effect {
            WorkerEffect::Fork { generation } => self.fork(worker, generation, now),
            WorkerEffect::Release => self.release(worker, now),
            WorkerEffect::WarmUp => self.warm_up(worker, now),
            WorkerEffect::AddToFront => self.add(worker, now),
            WorkerEffect::HoldInFront => {
                if let Some(process) = self.processes.get_mut(&worker) {
                    assert!(process.in_front, "{worker} is held but was never added");
                    process.held = true;
                }
            }
            WorkerEffect::ResumeInFront => {
                if let Some(process) = self.processes.get_mut(&worker) {
                    assert!(process.held, "{worker} is resumed but was not held");
                    process.held = false;
                }
            }
            WorkerEffect::DrainInFront => self.drain(worker, now),
            WorkerEffect::AnswerStarted => {
                let process = self.processes.get(&worker);
                // It gave its last sign up to a look earlier.
                let least = LIMITS.deadlock - Duration::from_secs(2);
                let stands = process.is_none_or(|it| it.life.stands(least, now));
                assert!(stands, "{worker} is taken for one that stands still");
            }
            WorkerEffect::Promote => self.turn(worker, now),
            WorkerEffect::ShutDown => {
                if self.processes.get(&worker).is_none_or(|process| process.turning) {
                    return;
                }
                if !self.random.percent(self.faults.shutdown_ignored) {
                    self.after(now, 1, 3_000, Coming::WorkerEnds(worker, ExitStatus::Code(0)));
                }
            }
            WorkerEffect::Kill { signal } => self.kill(worker, signal, now),
            WorkerEffect::Gone { .. } => {
                assert!(!self.processes.contains_key(&worker), "{worker} is alive and called gone");
            }
        }
    }

    fn turn(&mut self, worker: WorkerId, now: Duration) {
        let fails = self.random.percent(self.faults.promotion_fails);
        let silent = self.random.percent(50);
        let Some(process) = self.processes.get_mut(&worker) else { return };
        assert!(process.draining, "{worker} is to turn and may have requests");
        process.turning = !fails || silent;
        if !fails {
            let event = Event::Worker(worker, WorkerEvent::Promoted);
            self.after(now, 1, 3_000, Coming::Worker(worker, event));
        } else if !silent {
            let event = Event::Worker(
                worker,
                WorkerEvent::PromotionRefused { why: "it has 2 threads".into() },
            );
            self.after(now, 0, 1, Coming::Worker(worker, event));
        }
    }

    fn change_zygote(&mut self, generation: Generation, worker: WorkerId, now: Duration) {
        let process = self.processes.remove(&worker).unwrap();
        assert!(process.turning && process.generation == generation, "{worker} cannot be a zygote");
        self.counter += 1;
        let which = self.counter;
        let old = self.zygotes.insert(generation, which).unwrap();
        assert_eq!(self.old_zygote.replace(old), None, "two old zygotes");
        self.reforks += 1;
        let owes = |coming: &Coming| matches!(coming, Coming::Forks(_, _, by) if *by == old);
        assert!(!self.coming.values().any(owes), "the old zygote owes a worker");
        if !self.random.percent(self.faults.zygote_ignores_exit) {
            self.after(now, 1, 500, Coming::OldZygoteEnds(old));
        }
        if self.random.percent(self.faults.zygote_dies) {
            self.after(now, 1, 60_000, Coming::ZygoteEnds(generation, which));
        }
    }

    fn spawn_zygote(&mut self, generation: Generation, now: Duration) {
        self.counter += 1;
        let which = self.counter;
        let before = self.zygotes.insert(generation, which);
        assert_eq!(before, None, "two zygotes of generation {generation}");
        if self.random.percent(self.faults.zygote_never_comes_up) {
            return;
        }
        let here = Event::Zygote(generation, ZygoteEvent::Here);
        self.after(now, 0, 0, Coming::Zygote(generation, which, here));
        if self.configured.contains(&generation) {
            self.configure(generation, now);
        } else if let Some(kind) =
            self.faults.always_fails.filter(|kind| *kind == FailureKind::Config)
        {
            let event = Event::Zygote(generation, ZygoteEvent::Failed { failure: failure(kind) });
            self.after(now, 1, 5_000, Coming::Zygote(generation, which, event));
        } else {
            let event = Event::Zygote(
                generation,
                ZygoteEvent::ConfigRead { boot_max: self.faults.boot_max },
            );
            self.after(now, 1, 5_000, Coming::Zygote(generation, which, event));
        }
        if self.random.percent(self.faults.zygote_dies) {
            self.after(now, 1, 60_000, Coming::ZygoteEnds(generation, which));
        }
    }

    /// As in the real shell, the answer comes at once.
    fn listen(&mut self, generation: Generation, now: Duration) {
        let Some(which) = self.zygotes.get(&generation).copied() else { return };
        assert!(!self.configured.contains(&generation), "{generation} is opened twice");
        let in_use = self.random.percent(self.faults.address_taken);
        let never = self.faults.always_fails == Some(FailureKind::Bind);
        let event = if self.random.percent(self.faults.sockets_lacking) {
            let failure = failure(FailureKind::Bind);
            Event::Zygote(generation, ZygoteEvent::ListenFailed { failure, in_use: false })
        } else if in_use || never {
            let failure = failure(FailureKind::Bind);
            Event::Zygote(
                generation,
                ZygoteEvent::ListenFailed { failure, in_use: in_use || self.random.percent(50) },
            )
        } else {
            self.configured.insert(generation);
            self.prepared.insert(generation);
            let handed = self.handed || self.predecessor.is_some();
            Event::Zygote(generation, ZygoteEvent::Listening { handed })
        };
        self.after(now, 0, 0, Coming::Zygote(generation, which, event));
    }

    fn configure(&mut self, generation: Generation, now: Duration) {
        let Some(which) = self.zygotes.get(&generation).copied() else { return };
        let policy = Policy {
            refork_after_requests: if self.zygote_rests { 0 } else { REFORK_AFTER },
            workers: self.workers,
            graceful_timeout: Duration::from_secs(30),
            daemon: self.daemon,
            reload: self.reload,
            max_worker_age: self.max_worker_age,
            max_worker_age_jitter: self.max_worker_age / 2,
            jitter_seed: 3,
            drain_delay: self.drain_delay,
            pre_stop: self.pre_stop,
            upgrade_drains: self.upgrade_drains,
            life: LIMITS,
            processes: ProcessPolicy { zygote_rests: self.zygote_rests, has_rlimits: false },
            ..Policy::default()
        };
        let kind = self.faults.always_fails.filter(|kind| *kind != FailureKind::WarmUp);
        let failing = kind.filter(|_| self.random.percent(30));
        let event = if let Some(kind) = failing {
            Event::Zygote(generation, ZygoteEvent::Failed { failure: failure(kind) })
        } else if self.random.percent(self.faults.zygote_fails) {
            Event::Zygote(generation, ZygoteEvent::Failed { failure: failure(FailureKind::Boot) })
        } else {
            Event::Zygote(generation, ZygoteEvent::Ready { policy })
        };
        self.after(now, 1, 5_000, Coming::Zygote(generation, which, event));
    }

    fn fork(&mut self, worker: WorkerId, generation: Generation, now: Duration) {
        assert!(self.ever.insert(worker), "{worker} is used a second time");
        let Some(which) = self.zygotes.get(&generation).copied() else { return };
        if self.random.percent(self.faults.fork_silent) {
            return;
        }
        if self.random.percent(self.faults.fork_fails) {
            let event = Event::Worker(
                worker,
                WorkerEvent::ForkFailed { message: "out of processes".into() },
            );
            self.after(now, 0, 50, Coming::Zygote(generation, which, event));
        } else {
            self.after(now, 0, 50, Coming::Forks(worker, generation, which));
        }
    }

    fn release(&mut self, worker: WorkerId, now: Duration) {
        let Some(process) = self.processes.get_mut(&worker) else { return };
        assert!(!process.released, "{worker} is released twice");
        process.released = true;
        let most = if self.random.percent(self.faults.boot_slow) { 60_000 } else { 3_000 };
        let kind = self.faults.always_fails.filter(|kind| *kind != FailureKind::WarmUp);
        if let Some(kind) = kind {
            let event = Event::Worker(worker, WorkerEvent::BootFailed { failure: failure(kind) });
            self.after(now, 1, most, Coming::Worker(worker, event));
            self.after(now, most, most + 100, Coming::WorkerEnds(worker, ExitStatus::Code(3)));
        } else if self.random.percent(self.faults.boot_fails) {
            let event = Event::Worker(
                worker,
                WorkerEvent::BootFailed { failure: failure(FailureKind::Boot) },
            );
            self.after(now, 1, most, Coming::Worker(worker, event));
            self.after(now, most, most + 100, Coming::WorkerEnds(worker, ExitStatus::Code(3)));
        } else if self.random.percent(self.faults.boot_crash) {
            let status = [ExitStatus::Signal(9), ExitStatus::Signal(11), ExitStatus::Code(1)];
            let status = status[self.random.below(3)];
            self.after(now, 1, most, Coming::WorkerEnds(worker, status));
        } else {
            let (ran, waited) =
                (self.random.milliseconds(1, 2_000), self.random.milliseconds(0, 1_000));
            let measured = Event::Worker(worker, WorkerEvent::BootMeasured { ran, waited });
            self.after(now, 0, most, Coming::Worker(worker, measured));
            self.after(
                now,
                1,
                most,
                Coming::Worker(worker, Event::Worker(worker, WorkerEvent::Ready)),
            );
        }
    }

    fn warm_up(&mut self, worker: WorkerId, now: Duration) {
        if let Some(process) = self.processes.get_mut(&worker) {
            assert!(!std::mem::replace(&mut process.linked, true), "{worker} is warmed up twice");
        }
        if self.random.percent(self.faults.warm_up_silent) {
            return;
        }
        let event = if self.random.percent(self.faults.warm_up_fails)
            || self.faults.always_fails == Some(FailureKind::WarmUp)
        {
            Event::Worker(
                worker,
                WorkerEvent::WarmUpFailed { failure: failure(FailureKind::WarmUp) },
            )
        } else {
            Event::Worker(worker, WorkerEvent::Warm)
        };
        self.after(now, 1, 10_000, Coming::Worker(worker, event));
    }

    /// What the shell says of the generation on trial whenever it looks.
    pub(crate) fn answers(&mut self) -> Option<Event> {
        let bad = self.random.percent(self.faults.answers_bad);
        let (_, answers, errors) = self.watched.as_mut()?;
        *answers += 10;
        *errors += if bad { 10 } else { 0 };
        Some(Event::Pool(PoolId::FIRST, PoolEvent::Answered { answers: *answers, errors: *errors }))
    }

    /// A way for generations to take over.
    pub(crate) fn any_reload(&mut self, may_be_short: bool) -> ReloadPolicy {
        let surge = [Share::Percent(100), Share::Percent(25), Share::Count(1), Share::Count(0)];
        let short = [Share::Count(0), Share::Count(1), Share::Percent(50)];
        let soak = [0, 0, 5, 40];
        ReloadPolicy {
            warm_up: self.random.percent(50).then_some(Duration::from_secs(20)),
            surge: surge[self.random.below(surge.len())],
            unavailable: short[self.random.below(if may_be_short { short.len() } else { 1 })],
            soak: Duration::from_secs(soak[self.random.below(soak.len())]),
            boots_at_once: 1 + u32::try_from(self.random.below(4)).unwrap(),
            ..ReloadPolicy::default()
        }
    }

    /// A zygote leaves, or stays the first time it is told to.
    fn retire(&mut self, generation: Generation, last: bool, now: Duration) {
        let Some(which) = self.zygotes.get(&generation).copied() else { return };
        if last {
            assert!(self.processes.is_empty(), "the last hook comes after the last worker");
            assert!(!std::mem::replace(&mut self.over, true), "the last hook is run once");
        }
        if self.random.percent(self.faults.zygote_ignores_exit) {
            return;
        }
        let stays = !last && self.random.percent(self.faults.zygote_stays);
        if stays && self.stayed.insert((generation, which)) {
            let event = Event::Zygote(generation, ZygoteEvent::Stays);
            self.after(now, 1, 500, Coming::Zygote(generation, which, event));
        } else {
            self.after(now, 1, 500, Coming::ZygoteEnds(generation, which));
        }
    }

    fn add(&mut self, worker: WorkerId, now: Duration) {
        if let Some(process) = self.processes.get_mut(&worker) {
            assert!(!process.in_front, "{worker} is added twice");
            process.in_front = true;
            process.linked = true;
        }
        let reasons = [
            EndReason::Age,
            EndReason::Memory,
            EndReason::Refork,
            EndReason::LaneCut,
            EndReason::Application,
        ];
        let reason = reasons[self.random.below(reasons.len())];
        let steps = [Step::Misfit, Step::Turn, Step::Now, Step::Force];
        let step = steps[self.random.below(steps.len())];
        let measures = [Measure::Rss, Measure::Descriptors];
        let measure = measures[self.random.below(measures.len())];
        let excess = Excess { step, measure, used: 2, limit: 1 };
        let counts = BTreeMap::from([(worker, REFORK_AFTER)]);
        let fates = [
            (
                self.faults.refork,
                Coming::Worker(worker, Event::Pool(PoolId::FIRST, PoolEvent::Served { counts })),
            ),
            (
                self.faults.worker_grows,
                Coming::Worker(worker, Event::Worker(worker, WorkerEvent::Memory { excess })),
            ),
            (
                self.faults.worker_should_go,
                Coming::Worker(worker, Event::Worker(worker, WorkerEvent::ShouldGo { reason })),
            ),
            (
                self.faults.worker_used_up,
                Coming::Worker(worker, Event::Worker(worker, WorkerEvent::UsedUp)),
            ),
            (
                self.faults.worker_stuck,
                Coming::Worker(worker, Event::Worker(worker, WorkerEvent::RequestStuck)),
            ),
            (
                self.faults.worker_stuck,
                Coming::Worker(worker, Event::Worker(worker, WorkerEvent::RequestHangs)),
            ),
            (self.faults.worker_stands_still, Coming::StandsStill(worker)),
            (self.faults.worker_dies, Coming::WorkerEnds(worker, ExitStatus::Signal(9))),
            (
                self.faults.worker_stops_itself,
                Coming::Worker(worker, Event::Worker(worker, WorkerEvent::SentTerm)),
            ),
        ];
        for (percent, fate) in fates {
            if self.random.percent(percent) {
                self.after(now, 1, 60_000, fate);
            }
        }
    }

    fn drain(&mut self, worker: WorkerId, now: Duration) {
        let Some(process) = self.processes.get_mut(&worker) else { return };
        assert!(process.in_front, "{worker} is drained but was never added");
        process.draining = true;
        if !self.random.percent(self.faults.drain_never) {
            let event = Event::Worker(worker, WorkerEvent::Drained);
            self.after(now, 0, 20_000, Coming::Worker(worker, event));
        }
    }

    fn kill(&mut self, worker: WorkerId, signal: KillSignal, now: Duration) {
        let deaf = self.processes.get(&worker).is_some_and(|process| process.deaf);
        let status = match signal {
            KillSignal::DumpTraceback => return,
            KillSignal::Kill => ExitStatus::Signal(9),
            KillSignal::Abort | KillSignal::Quit if deaf => return,
            KillSignal::Abort => ExitStatus::Code(1),
            KillSignal::Quit => ExitStatus::Code(0),
        };
        self.after(now, 0, 200, Coming::WorkerEnds(worker, status));
    }
}

fn failure(kind: FailureKind) -> Failure {
    Failure { kind, message: "broken".into(), hint: String::new(), traceback: String::new() }
}
