//! One simulated server: the machine under test, the fake system, the clock, and the invariants.

use std::time::Duration;

use indrik_core::ids::{PoolId, WorkerId};
use indrik_core::logs::level::Level;
use indrik_core::supervise::{
    Ailment, Effect, EndReason, Event, FileChange, HealthState, OperatorEvent, PoolEvent, Signal,
    Supervisor, UpgradeEffect, UpgradeEvent, WorkerEvent,
};

use crate::os::{Faults, Os, Predecessor};

/// The longest a server may take to end: a hanging hook (30 s) and delay (19 s), a hanging fork (60 s), a
/// graceful timeout (30 s), and the steps of the kill ladders.
const END_MAX: Duration = Duration::from_secs(200);

/// Steps without the clock moving; more of them is a loop.
const STEPS_AT_ONE_MOMENT_MAX: u32 = 2_000;

/// The longest a worker may stand still and be given requests: the simulated `timeout`, two looks, and
/// what the clock seems to go back.
const STAND_MAX: Duration = Duration::from_secs(33);

/// So long after something failed it is told to whoever asks.
const AILS_FOR: Duration = Duration::from_secs(10);

/// After so long nobody takes it for ready.
const QUIET_SEEN_MAX: Duration = Duration::from_secs(6);

pub(crate) struct World {
    seed: u64,
    pub(crate) machine: Supervisor,
    pub(crate) os: Os,
    now: Duration,
    pub(crate) exit: Option<i32>,
    /// Nothing crashes, so the workers promised must be there at every moment.
    pub(crate) promise_full: bool,
    steps_at_this_moment: u32,
    may_end: bool,
    /// It may end without a word once another server serves.
    pub(crate) may_hand_over: bool,
    promoted: bool,
    /// What has failed so far while it served on, and when the last of it.
    ailed: (usize, Option<Duration>),
}

impl World {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        Self {
            seed,
            machine: Supervisor::new(),
            os: Os::new(seed, faults),
            now: Duration::from_secs(1),
            exit: None,
            promise_full: false,
            steps_at_this_moment: 0,
            may_end: true,
            may_hand_over: false,
            promoted: false,
            ailed: (0, None),
        }
    }

    pub(crate) fn start(&mut self) {
        self.step(Event::Start { successor: false });
    }

    /// Starts as the new server beside an old one. One that serves until it is told to leave is told that some time
    /// later, whatever has become of the new one.
    pub(crate) fn start_as_successor(&mut self, of: Predecessor) {
        self.os.predecessor = Some(of);
        self.step(Event::Start { successor: true });
        if of == Predecessor::Serves {
            self.os.end_predecessor(self.now);
        }
    }

    pub(crate) fn start_and_wait_until_full(&mut self) {
        self.start();
        self.run(Duration::from_secs(60));
        self.assert_full();
        self.may_end = false;
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        self.may_end |= matches!(signal, Signal::Term | Signal::Int | Signal::Quit);
        self.step(Event::Operator(OperatorEvent::Signal(signal)));
    }

    /// Lets so much time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.exit.is_none() {
            let timer = self.machine.poll_timeout();
            let signs = self.machine.signs_due().filter(|_| self.os.gives_signs);
            let next = [self.os.next_time(), timer, signs].into_iter().flatten().min();
            let Some(at) = next.filter(|at| *at <= end) else { break };
            if at > self.now {
                self.now = at;
                self.steps_at_this_moment = 0;
            }
            match self.os.due(self.now) {
                Some(Some(event)) => self.step(event),
                Some(None) => {}
                None if signs.is_some_and(|due| due <= self.now) => {
                    let signs = self.os.signs();
                    self.step(signs);
                }
                None => {
                    if let Some(event) = self.os.answers() {
                        self.step(event);
                    }
                    self.step(Event::Tick);
                }
            }
        }
        self.now = self.now.max(end);
    }

    /// Lets time pass while the operator (or a broken script) sends signals of all harmless kinds.
    pub(crate) fn run_with_signals(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end && self.exit.is_none() {
            let wait = self.os.random.milliseconds(0, 20_000);
            self.run(wait.min(end - self.now));
            let harmless = [
                Signal::Hup,
                Signal::Hup,
                Signal::Ttin,
                Signal::Ttou,
                Signal::Usr1,
                Signal::Usr2,
                Signal::Winch,
            ];
            for _ in 0..self.os.random.below(4) {
                let signal = harmless[self.os.random.below(harmless.len())];
                self.signal(signal);
            }
            self.ail();
            if self.os.random.percent(40) {
                self.operate();
            }
            if self.os.random.percent(5) {
                self.kill_all_workers();
            }
        }
    }

    /// An operator replaces a worker or changes their number; or files are saved, which one or two
    /// workers report.
    fn operate(&mut self) {
        let workers: Vec<WorkerId> = self.machine.views().map(|view| view.id).collect();
        if workers.is_empty() {
            return;
        }
        let worker = workers[self.os.random.below(workers.len())];
        match self.os.random.below(8) {
            3 => self.step(Event::Operator(OperatorEvent::RecycleWorker { worker })),
            4 => self.restart(worker),
            5 => {
                let most = self.os.random.milliseconds(0, 700_000);
                self.step(Event::Operator(OperatorEvent::HoldRequests { most }));
            }
            6 => self.step(Event::Operator(OperatorEvent::ResumeRequests)),
            7 => {
                let on = self.os.random.percent(50);
                self.step(Event::Operator(OperatorEvent::Maintain(on)));
            }
            0 => self.step(Event::Operator(OperatorEvent::ReplaceWorker { worker })),
            1 => {
                let wanted = u32::try_from(self.os.random.below(9)).unwrap();
                let scales = self.os.random.percent(50);
                self.step(Event::Operator(match scales {
                    true => OperatorEvent::Scale(wanted),
                    false => OperatorEvent::WantWorkers(wanted),
                }));
            }
            _ => {
                let path = format!("m{}.py", self.os.random.below(3));
                let files = vec![FileChange { path, stamp: format!("{:?}", self.now) }];
                self.step(Event::Worker(worker, WorkerEvent::CodeChanged { files: files.clone() }));
                let other = workers[self.os.random.below(workers.len())];
                self.step(Event::Worker(other, WorkerEvent::CodeChanged { files }));
            }
        }
    }

    /// One that may be restarted is not ready any more then, whatever it did.
    fn restart(&mut self, worker: WorkerId) {
        let may = self.machine.may_replace(worker, true).is_ok();
        self.step(Event::Operator(OperatorEvent::RestartWorker { worker }));
        let state = self.machine.views().find(|view| view.id == worker).map(|view| view.state);
        assert!(
            !may || state.is_none_or(|state| matches!(state, "stuck" | "aborting" | "killed")),
            "seed {}: restarted, and {state:?}",
            self.seed
        );
    }

    /// What is held is held for a time, by a server that serves alone, and the machine knows of it.
    fn check_that_what_is_held_is_released(&self) {
        let (steered, census) = (self.machine.steered(), self.machine.census());
        let holding = self.os.holding;
        assert_eq!(
            (steered.held.is_some(), steered.maintenance),
            (holding.is_some(), self.os.maintenance),
            "seed {}: the front was not told: {:?}",
            self.seed,
            self.machine
        );
        assert!(
            holding.is_none() || (census.serving && !census.paused),
            "seed {}: what waits is held for ever: {:?}",
            self.seed,
            self.machine
        );
        assert!(
            self.machine.poll_timeout().is_some() || holding.is_none(),
            "seed {}: nobody looks for the end of a pause: {:?}",
            self.seed,
            self.machine
        );
    }

    /// One thing after the other fails, and requests are served on.
    fn ail(&mut self) {
        let ailment = Ailment::ALL[self.ailed.0 % Ailment::ALL.len()];
        self.ailed = (self.ailed.0 + 1, Some(self.now));
        self.step(Event::Pool(PoolId::FIRST, PoolEvent::Ails { ailment, why: "it ails".into() }));
    }

    /// What fails is told for a while, and then not any more.
    fn check_that_ailments_are_told(&self) {
        let health = self.machine.health();
        let (_, Some(at)) = self.ailed else { return };
        // The clock may have seemed to go back a little.
        let is_fresh = self.now + Duration::from_millis(500) < at + AILS_FOR;
        assert!(
            !is_fresh || health.state != HealthState::Ready,
            "seed {}: something fails, and nothing is said of it: {:?}",
            self.seed,
            self.machine
        );
        assert!(
            self.now <= at + AILS_FOR || !health.why.contains("it ails"),
            "seed {}: it tells for ever what failed: {:?}",
            self.seed,
            self.machine
        );
    }

    /// Requests are held back.
    pub(crate) fn hold(&mut self, most: Duration) {
        self.step(Event::Operator(OperatorEvent::HoldRequests { most }));
    }

    /// Every worker is to be replaced in its turn.
    pub(crate) fn recycle_all(&mut self) {
        let workers: Vec<WorkerId> = self.machine.views().map(|view| view.id).collect();
        for worker in workers {
            self.step(Event::Operator(OperatorEvent::RecycleWorker { worker }));
        }
    }

    /// Brings back what signals took away: a paused daemon serves again, with the workers of its
    /// settings, after a reload.
    pub(crate) fn revive(&mut self) {
        while self.machine.census().paused && self.exit.is_none() {
            self.signal(Signal::Hup);
            self.run(Duration::from_secs(100));
        }
    }

    /// The new server beside this one goes away.
    pub(crate) fn end_successor(&mut self) {
        self.os.end_successor(self.now, 1);
    }

    pub(crate) fn kill_one_worker(&mut self) {
        self.os.kill_one_worker(self.now);
    }

    /// Workers that were asked for since the start.
    pub(crate) fn started(&self) -> u64 {
        self.machine.accounts().starts.values().sum()
    }

    pub(crate) fn kill_all_workers(&mut self) {
        self.os.kill_all_workers(self.now);
    }

    /// The clock leaps, as after a suspend; everything that was due happens late.
    pub(crate) fn jump(&mut self, by: Duration) {
        self.now += by;
        self.os.forgive_standing_still(self.now);
        self.steps_at_this_moment = 0;
    }

    /// Ends the server and checks that it does, with the code and nothing left behind.
    pub(crate) fn end(&mut self, signal: Signal, code: i32) {
        self.end_within(signal, code, END_MAX);
    }

    /// As [`Self::end`], in less time.
    pub(crate) fn end_within(&mut self, signal: Signal, code: i32, limit: Duration) {
        self.signal(signal);
        self.run(limit);
        assert_eq!(self.exit, Some(code), "seed {}: {:?}", self.seed, self.machine);
    }

    /// As many workers as wanted take requests.
    pub(crate) fn assert_full(&self) {
        let census = self.machine.census();
        assert_eq!(census.ready, census.wanted, "seed {}: {:?}", self.seed, self.machine);
        assert_eq!(self.os.serving(), census.wanted, "seed {}: {:?}", self.seed, self.machine);
    }

    fn step(&mut self, event: Event) {
        if self.exit.is_some() {
            return;
        }
        // Now and then the clock seems to go back a little.
        let back = Duration::from_millis(if self.os.random.percent(3) { 500 } else { 0 });
        let is_tick = event == Event::Tick;
        let says_it_serves = event == Event::Upgrade(UpgradeEvent::SuccessorReady);
        self.machine.handle(event, if is_tick { self.now } else { self.now.saturating_sub(back) });
        while let Some(effect) = self.machine.poll_effect() {
            assert_eq!(self.exit, None, "seed {}: {effect:?} after Exit", self.seed);
            self.os.perform(&effect, self.now);
            match effect {
                Effect::Exit(code) => self.exit = Some(code),
                Effect::Upgrade(UpgradeEffect::Promote) => {
                    assert!(!self.promoted, "seed {}: promoted twice", self.seed);
                    self.promoted = true;
                }
                Effect::Log(line) => assert!(
                    !(line.level == Level::Critical && line.text.contains("survives SIGKILL")),
                    "seed {}: {}",
                    self.seed,
                    line.text
                ),
                _ => {}
            }
        }
        if says_it_serves {
            assert_eq!(self.os.gave_way_to, self.os.successor, "seed {}: both answer", self.seed);
        }
        self.check();
    }

    fn check(&mut self) {
        let census = self.machine.census();
        self.steps_at_this_moment += 1;
        assert!(
            self.steps_at_this_moment < STEPS_AT_ONE_MOMENT_MAX,
            "seed {}: it loops without the clock moving: {:?}",
            self.seed,
            self.machine
        );
        // A worker that waits to be released leaves by itself when it is forgotten.
        let released = self.os.processes.values().filter(|process| process.released).count();
        assert!(
            released <= census.processes,
            "seed {}: a worker is forgotten: {:?}",
            self.seed,
            self.machine
        );
        assert!(
            self.os.prepared.len() <= usize::from(census.reloading || !census.serving),
            "seed {}: what was opened for a generation is forgotten: {:?}",
            self.seed,
            self.machine
        );
        assert!(
            self.os.paused == (census.paused && self.os.accepts) || !census.serving,
            "seed {}: the front was not told: {:?}",
            self.seed,
            self.machine
        );
        // The other one, while there is one, takes what comes.
        let must_accept = census.serving
            && !census.paused
            && self.os.serving() > 0
            && self.os.predecessor.is_none();
        assert!(
            self.os.accepts || !must_accept,
            "seed {}: workers are ready, and nobody takes connections: {:?}",
            self.seed,
            self.machine
        );
        self.check_that_every_wait_ends(census.ready);
        if self.promise_full {
            assert!(
                self.os.serving() >= census.wanted.min(self.os.workers),
                "seed {}: {} of {} serve: {:?}",
                self.seed,
                self.os.serving(),
                census.wanted,
                self.machine
            );
        }
        let health = self.machine.health();
        assert!(
            !health.ready || self.os.serving() > 0 || self.os.successor.is_some(),
            "seed {}: it calls itself ready, and nobody serves: {:?}",
            self.seed,
            self.machine
        );
        self.check_lives();
        self.check_that_ailments_are_told();
        self.check_that_what_is_held_is_released();
        self.check_recycling_and_accounts();
        if self.exit.is_some() {
            assert_eq!(released, 0, "seed {}: workers are left behind", self.seed);
            let may_end = self.may_end
                || (self.may_hand_over && (self.os.handed_over || self.os.service_stopped));
            assert!(may_end, "seed {}: it ended without being told", self.seed);
        }
    }

    /// Who shows no life is ended in time, and not called ready meanwhile.
    fn check_lives(&self) {
        let stands = |worker: &WorkerId, since: Duration| {
            let process = self.os.processes.get(worker);
            process.is_some_and(|process| process.life.stands(since, self.now))
        };
        for view in self.machine.views() {
            let serves = matches!(view.state, "ready" | "retiring" | "standing by" | "draining");
            assert!(
                !serves || !stands(&view.id, STAND_MAX),
                "seed {}: worker {} stands still and is {}: {:?}",
                self.seed,
                view.id,
                view.state,
                self.machine
            );
        }
        let is_serving = |state: &str| matches!(state, "ready" | "retiring");
        let mut serving = self.machine.views().filter(|view| is_serving(view.state));
        let all_stand = serving.all(|view| stands(&view.id, QUIET_SEEN_MAX));
        assert!(
            !all_stand || !self.machine.health().ready || self.os.successor.is_some(),
            "seed {}: it calls itself ready, and all stand still: {:?}",
            self.seed,
            self.machine
        );
    }

    fn check_recycling_and_accounts(&self) {
        let census = self.machine.census();
        // An operator may want several replaced at once; what workers reach by themselves waits.
        let recycled = self.machine.views().filter(|view| {
            let by_itself = matches!(
                view.end,
                Some(
                    EndReason::MaxRequests
                        | EndReason::Age
                        | EndReason::Memory
                        | EndReason::Descriptors
                        | EndReason::Application
                )
            );
            view.state == "retiring" && view.generation == census.generation && by_itself
        });
        assert!(
            recycled.count() <= 1,
            "seed {}: two are recycled at a time: {:?}",
            self.seed,
            self.machine
        );
        let accounts = self.machine.accounts();
        let (started, ended) =
            (accounts.starts.values().sum::<u64>(), accounts.ends.values().sum::<u64>());
        assert_eq!(
            started - ended,
            census.processes as u64,
            "seed {}: the accounts do not add up: {accounts:?}",
            self.seed
        );
    }

    /// Unless everything is as wanted, there is a moment at which the machine acts by itself,
    /// whatever the world does or does not do.
    fn check_that_every_wait_ends(&self, ready: u32) {
        let census = self.machine.census();
        let is_moving = |state: &str| !matches!(state, "ready" | "waiting");
        let moves = census.reloading
            || (census.serving && !census.paused && ready != census.wanted)
            || self.machine.views().any(|view| is_moving(view.state));
        assert!(
            !moves || self.exit.is_some() || self.machine.poll_timeout().is_some(),
            "seed {}: it waits for something without a limit: {:?}",
            self.seed,
            self.machine
        );
    }
}
