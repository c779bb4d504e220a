//! The breaker: workers that keep failing before they were of use are not started for ever.
//!
//! Places back off one by one (`restart`). When failure follows failure all the same, the cause is
//! the code or what it needs, and more tries only take the machine from the workers that serve. Then
//! the breaker opens: places stay empty but for one trial at a time, with growing pauses. A trial
//! that succeeds closes it, and every place is filled at once. It holds nothing back while no worker
//! is ready, but that there is one trial at a time: a server that serves nobody has nothing to spare.

use super::consequence::Consequence;
use super::limits::{USEFUL_REQUESTS, YOUNG_AGE};
use super::machine::Supervisor;
use super::reason::{EndReason, SIGKILL};
use super::state::breaker::Failing;
use super::state::phase::Phase;
use super::state::restart::Death;
use super::state::worker::{Worker, WorkerState};
use crate::ids::{Generation, WorkerId};
use crate::logs::level::Level;
use crate::time::Now;

impl Supervisor {
    /// A worker died that had its place. Those killed from outside say nothing about the code.
    pub(super) fn tell_breaker(&mut self, worker: &Worker, death: Death, reason: EndReason) {
        let counts = match death {
            Death::Ready { age, requests } => {
                age < YOUNG_AGE && requests < USEFUL_REQUESTS && reason != EndReason::Crash(SIGKILL)
            }
            Death::Booting => true,
            Death::Killed => false,
        };
        if !counts {
            let was_of_use = matches!(death, Death::Ready { age, requests }
                if age >= YOUNG_AGE || requests >= USEFUL_REQUESTS);
            if was_of_use && worker.born >= self.pool.serving.breaker.since {
                self.close_breaker();
            }
            return;
        }
        if !self.pool.serving.breaker.is_open() && self.has_proven_worker() {
            self.close_breaker();
        }
        let failing = Failing {
            worker: worker.id,
            was_ready: matches!(death, Death::Ready { .. }),
            in_its_place: self.pool.serving.restarts.failures(worker.place),
            wanted: self.pool.serving.wanted,
        };
        let opens = self.pool.serving.breaker.failed(failing, self.now);
        let gives_up = self.pool.serving.breaker.is_open() && self.has_never_served();
        self.tell_of_failures(opens, gives_up, reason);
        if gives_up {
            self.note(Consequence::NeverServed);
        }
    }

    /// Tells that workers keep failing: what is tried next, or that nothing is.
    fn tell_of_failures(&mut self, opens: bool, gives_up: bool, reason: EndReason) {
        let census = self.census();
        let streak = self.pool.serving.breaker.streak;
        let keep = format!("Workers keep failing: {streak} in a row, the last one by {reason}");
        if gives_up {
            self.log(
                Level::Critical,
                format!(
                    "{keep}. No worker has finished a request or lived for long since the start: the start \
                     has failed. Look for the errors above",
                ),
            );
        } else if opens {
            let next = self.next_trial();
            self.log(
                Level::Critical,
                format!(
                    "{keep}. {} of {} workers \
                     serve on; one is tried now and then, {next}. Look for the errors above; \
                     when a worker succeeds, all places are filled again",
                    census.ready, census.wanted,
                ),
            );
        } else if let Some(open) = &self.pool.serving.breaker.open
            && open.trial.is_none()
        {
            let text = format!("Workers still fail ({reason}); {}", self.next_trial());
            self.log(Level::Warning, text);
        }
    }

    /// When the next trial comes, in words.
    fn next_trial(&self) -> String {
        let taken = self.taken_places(self.current());
        let empty = (0..self.pool.serving.wanted).filter(|place| !taken.contains(place));
        match empty.map(|place| self.trial_due(place)).min().flatten() {
            Some(at) => {
                let tenths = at.saturating_sub(self.now).as_millis().div_ceil(100);
                format!("next try in {}.{} s", tenths / 10, tenths % 10)
            }
            None => "next try when the worker that boots has failed".to_owned(),
        }
    }

    /// Notes that a worker has lived for long. Before each event: it may be that worker's end.
    pub(super) fn look_whether_of_use(&mut self) {
        let has_lived =
            |worker: &Worker| worker.in_front && self.now.saturating_sub(worker.born) >= YOUNG_AGE;
        self.pool.beginning.ever_of_use =
            self.pool.beginning.ever_of_use || self.pool.workers.values().any(has_lived);
    }

    /// Nothing that was started was of any use yet. Then the server ends rather than go on as if it served:
    /// whoever started it learns of it.
    fn has_never_served(&self) -> bool {
        self.current() == Generation::FIRST
            && self.server.phase == Phase::Serving
            && !self.pool.beginning.ever_of_use
            && self.count_of(self.current(), Worker::is_ready) == 0
    }

    /// A worker that was started after the failures began does well.
    fn has_proven_worker(&self) -> bool {
        let proven = |worker: &Worker| match worker.state {
            WorkerState::Ready { since, .. } => {
                worker.generation == self.current()
                    && since >= self.pool.serving.breaker.since
                    && self.now.saturating_sub(since) >= YOUNG_AGE
            }
            _ => false,
        };
        self.pool.serving.breaker.streak > 0 && self.pool.workers.values().any(proven)
    }

    /// The trial, while it has not failed.
    fn trial(&self) -> Option<&Worker> {
        let trial = self.pool.serving.breaker.open.as_ref()?.trial?;
        self.pool.workers.get(&trial).filter(|worker| worker.holds_place())
    }

    /// How many empty places may be filled at once.
    pub(super) fn fill_room(&self) -> usize {
        if self.pool.serving.breaker.is_open() { 1 } else { usize::MAX }
    }

    /// Whether the empty place may be filled now.
    pub(super) fn may_fill(&self, place: u32) -> bool {
        if self.pool.serving.breaker.is_open() {
            self.trial_due(place).is_some_and(|at| at <= self.now)
        } else {
            self.pool.serving.restarts.not_before(place) <= self.now
        }
    }

    /// When the empty place may have the next trial, if the breaker is open and none is under way.
    pub(super) fn trial_due(&self, place: u32) -> Option<Now> {
        let open = self.pool.serving.breaker.open.as_ref()?;
        let is_coming = |worker: &Worker| worker.generation == self.current() && worker.is_coming();
        if self.trial().is_some() || self.pool.workers.values().any(is_coming) {
            return None;
        }
        let not_before = self.pool.serving.restarts.not_before(place);
        let serves = self.count_of(self.current(), Worker::is_ready) > 0;
        Some(if serves { not_before.max(open.retry) } else { not_before })
    }

    /// A worker was started: with the breaker open, it is the trial.
    pub(super) fn note_trial(&mut self, id: WorkerId) {
        if let Some(open) = &mut self.pool.serving.breaker.open {
            open.trial = Some(id);
        }
    }

    /// When the trial has lived long enough.
    pub(super) fn breaker_deadline(&self) -> Option<Now> {
        match self.trial()?.state {
            WorkerState::Ready { since, .. } => Some(since + YOUNG_AGE),
            _ => None,
        }
    }

    /// Closes the breaker when the trial has succeeded.
    pub(super) fn judge_trial(&mut self) {
        let Some(open) = &self.pool.serving.breaker.open else { return };
        let succeeded = match self.trial().map(|worker| worker.state) {
            Some(WorkerState::Ready { since, .. }) => {
                !open.must_live || self.now.saturating_sub(since) >= YOUNG_AGE
            }
            Some(_) | None => false,
        };
        if succeeded {
            self.close_breaker();
        }
    }

    /// A worker that was started after the failures began has been of use.
    fn close_breaker(&mut self) {
        let before = std::mem::take(&mut self.pool.serving.breaker);
        if before.is_open() {
            self.pool.serving.restarts.forgive();
            self.log(Level::Warning, "Workers no longer fail: every place is filled again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::supervise::limits::{BREAKER_PAUSE_MAX, CRASH_DELAY_MAX};
    use crate::supervise::{
        Effect, Event, ExitStatus, Failure, FailureKind, HealthState, OperatorEvent, Policy,
        Signal, WorkerEffect, WorkerEvent, ZygoteEffect, ZygoteEvent,
    };

    const WORKERS: u32 = 4;

    /// A system on which everything succeeds at once, but for what the test breaks.
    struct System {
        machine: Supervisor,
        now: Now,
        /// The application cannot be loaded.
        broken: bool,
        /// Workers end so, this long after they became ready.
        crash: Option<(Duration, ExitStatus)>,
        /// Requests they finish before.
        requests: u64,
        due: BTreeMap<(Now, WorkerId), ExitStatus>,
        started: Vec<Now>,
        critical: Vec<String>,
        /// What was said of tries to come, and when.
        said: Vec<(Now, String)>,
        exit: Option<i32>,
    }

    impl System {
        fn new() -> Self {
            Self {
                machine: Supervisor::new(),
                now: Duration::from_secs(1),
                broken: false,
                crash: None,
                requests: 0,
                due: BTreeMap::new(),
                started: Vec::new(),
                critical: Vec::new(),
                said: Vec::new(),
                exit: None,
            }
        }

        /// A server that has served for an hour.
        fn serving() -> Self {
            let mut system = Self::new();
            system.event(Event::Start { successor: false });
            system.run(3_600);
            assert_eq!(system.machine.census().ready, WORKERS);
            system.started.clear();
            system
        }

        fn event(&mut self, event: Event) {
            self.machine.handle(event, self.now);
            while let Some(effect) = self.machine.poll_effect() {
                self.perform(effect);
            }
        }

        fn perform(&mut self, effect: Effect) {
            let answer = match effect {
                Effect::Zygote(generation, ZygoteEffect::Spawn) => {
                    let policy = Policy { workers: WORKERS, ..Policy::default() };
                    Event::Zygote(generation, ZygoteEvent::Ready { policy })
                }
                Effect::Worker(worker, WorkerEffect::Fork { .. }) => {
                    self.started.push(self.now);
                    Event::Worker(
                        worker,
                        WorkerEvent::Forked { pid: u32::try_from(worker.0).unwrap() },
                    )
                }
                Effect::Worker(worker, WorkerEffect::Release) if self.broken => {
                    let failure = Failure {
                        kind: FailureKind::Boot,
                        message: "no module named shop".into(),
                        hint: String::new(),
                        traceback: String::new(),
                    };
                    self.due.insert((self.now, worker), ExitStatus::Code(3));
                    Event::Worker(worker, WorkerEvent::BootFailed { failure })
                }
                Effect::Worker(worker, WorkerEffect::Release) => {
                    Event::Worker(worker, WorkerEvent::Ready)
                }
                Effect::Worker(worker, WorkerEffect::AddToFront) => {
                    if let Some((after, status)) = self.crash {
                        self.due.insert((self.now + after, worker), status);
                    }
                    return;
                }
                Effect::Worker(worker, WorkerEffect::DrainInFront) => {
                    Event::Worker(worker, WorkerEvent::Drained)
                }
                Effect::Worker(worker, WorkerEffect::ShutDown) => {
                    self.due.insert((self.now, worker), ExitStatus::Code(0));
                    return;
                }
                Effect::Zygote(generation, ZygoteEffect::Retire { .. }) => {
                    Event::Zygote(generation, ZygoteEvent::Exited)
                }
                Effect::Log(line) => {
                    if line.text.starts_with("Workers still fail") {
                        self.said.push((self.now, line.text.clone()));
                    }
                    if line.level == Level::Critical {
                        self.critical.push(line.text);
                    }
                    return;
                }
                Effect::Worker(worker, WorkerEffect::Kill { .. }) => {
                    self.due.insert((self.now, worker), ExitStatus::Signal(9));
                    return;
                }
                Effect::Exit(code) => {
                    self.exit = Some(code);
                    return;
                }
                _ => return,
            };
            self.event(answer);
        }

        fn run(&mut self, seconds: u64) {
            self.run_for(Duration::from_secs(seconds));
        }

        fn run_for(&mut self, time: Duration) {
            let end = self.now + time;
            loop {
                let exit = self.due.keys().next().copied();
                let timer = self.machine.poll_timeout();
                let at = [exit.map(|(at, _)| at), timer].into_iter().flatten().min();
                let Some(at) = at.filter(|at| *at <= end) else { break };
                self.now = self.now.max(at);
                match exit.filter(|(at, _)| *at <= self.now) {
                    Some(key) => {
                        let status = self.due.remove(&key).unwrap();
                        self.exit(key.1, status);
                    }
                    None => self.event(Event::Tick),
                }
            }
            self.now = end;
        }

        fn exit(&mut self, worker: WorkerId, status: ExitStatus) {
            let exit = crate::supervise::Exit { status, oom: None, requests: self.requests };
            self.event(Event::Worker(worker, WorkerEvent::Exited { exit }));
        }

        fn oldest(&self) -> WorkerId {
            self.machine.views().next().unwrap().id
        }
    }

    const SEGFAULT: Option<(Duration, ExitStatus)> =
        Some((Duration::from_millis(100), ExitStatus::Signal(11)));

    #[test]
    fn an_application_that_stopped_loading_is_tried_now_and_then_and_picked_up_when_mended() {
        let mut system = System::serving();
        system.broken = true;
        for _ in 0..2 {
            let worker = system.oldest();
            system.exit(worker, ExitStatus::Signal(11));
        }
        system.run(3_600);
        let health = system.machine.health();
        assert_eq!((health.state, health.ready), (HealthState::Degraded, true));
        assert!(health.why.starts_with("2 of 4 workers are ready"), "{}", health.why);
        assert!(health.why.contains("no module named shop"), "{}", health.why);
        assert_eq!(system.critical.len(), 1, "{:?}", system.critical);
        let tries = system.started.len();
        assert!((50..80).contains(&tries), "{tries} tries in an hour");
        system.broken = false;
        system.run(BREAKER_PAUSE_MAX.as_secs());
        assert_eq!(system.machine.census().ready, WORKERS);
        assert_eq!(system.machine.health().state, HealthState::Ready);
    }

    #[test]
    fn workers_that_crash_early_leave_the_old_ones_serving_and_are_tried_one_at_a_time() {
        let mut system = System::serving();
        system.crash = SEGFAULT;
        let worker = system.oldest();
        system.exit(worker, ExitStatus::Signal(11));
        system.run(60);
        assert_eq!(system.machine.census().ready, WORKERS - 1);
        assert_eq!(system.critical.len(), 1, "{:?}", system.critical);
        system.started.clear();
        system.run(3_600);
        assert!(system.started.len() <= 61, "{} tries in an hour", system.started.len());
        system.crash = None;
        system.run(BREAKER_PAUSE_MAX.as_secs() + YOUNG_AGE.as_secs());
        assert_eq!(system.machine.health().state, HealthState::Ready);
    }

    #[test]
    fn with_nobody_left_to_serve_the_trials_go_on_as_fast_as_a_place_backs_off() {
        let mut system = System::serving();
        system.crash = SEGFAULT;
        for _ in 0..WORKERS {
            let worker = system.oldest();
            system.exit(worker, ExitStatus::Signal(11));
        }
        system.run(60);
        assert_eq!(system.critical.len(), 1, "{:?}", system.critical);
        system.started.clear();
        system.run(60);
        let tries = system.started.len();
        assert!((30..=600).contains(&tries), "{tries} tries in a minute");
        system.crash = None;
        system.run(2 * YOUNG_AGE.as_secs());
        assert_eq!(system.machine.census().ready, WORKERS);
    }

    #[test]
    fn a_server_none_of_whose_workers_was_ever_of_use_has_failed_to_start() {
        let mut system = System::new();
        system.crash = SEGFAULT;
        system.event(Event::Start { successor: false });
        system.run(600);
        assert_eq!(system.exit, Some(FailureKind::Boot.exit_code()));
        assert!(system.critical.last().unwrap().contains("the start has failed"));
        // It tries no more, and does not say so.
        assert!(!system.critical.iter().any(|line| line.contains("tried now and then")));
    }

    #[test]
    fn a_request_that_was_finished_makes_a_start_of_it() {
        let mut system = System::new();
        system.crash = SEGFAULT;
        system.requests = 1;
        system.event(Event::Start { successor: false });
        system.run(600);
        assert_eq!((system.exit, system.critical.len()), (None, 1), "{:?}", system.critical);
    }

    #[test]
    fn the_pause_that_is_said_is_the_pause_that_is_made() {
        let mut system = System::serving();
        system.crash = SEGFAULT;
        for _ in 0..WORKERS {
            let worker = system.oldest();
            system.exit(worker, ExitStatus::Signal(11));
        }
        system.run(60);
        let (said_at, said) = system.said.last().unwrap().clone();
        let seconds = said.rsplit_once("next try in ").unwrap().1.trim_end_matches(" s");
        let pause = Duration::from_secs_f64(seconds.parse().unwrap());
        let tried = *system.started.iter().find(|at| **at > said_at).unwrap_or(&system.now);
        assert!(tried <= said_at + pause, "{said}, and tried after {:?}", tried - said_at);
        assert!(pause <= CRASH_DELAY_MAX, "{said}");
    }

    #[test]
    fn workers_that_somebody_kills_or_that_were_of_use_do_not_open_it() {
        for (signal, requests) in [(9, 0), (11, USEFUL_REQUESTS)] {
            let mut system = System::serving();
            system.crash = Some((Duration::from_millis(100), ExitStatus::Signal(signal)));
            system.requests = requests;
            let worker = system.oldest();
            system.exit(worker, ExitStatus::Signal(signal));
            system.run(600);
            assert!(!system.machine.pool.serving.breaker.is_open(), "signal {signal}");
            assert!(system.started.len() > 500, "{}", system.started.len());
        }
    }

    #[test]
    fn failures_are_not_in_a_row_when_workers_between_them_were_of_use() {
        let mut system = System::serving();
        system.crash = SEGFAULT;
        let worker = system.oldest();
        system.exit(worker, ExitStatus::Signal(11));
        for _ in 0..600 {
            let is_third = system.started.len().is_multiple_of(3);
            system.requests = if is_third { USEFUL_REQUESTS } else { 0 };
            system.run_for(Duration::from_millis(100));
        }
        assert!(system.started.len() > 30, "{}", system.started.len());
        assert_eq!(system.critical, Vec::<String>::new());
    }

    #[test]
    fn every_worker_failing_once_is_one_event_and_no_row_of_failures() {
        let mut system = System::serving();
        system.event(Event::Operator(OperatorEvent::WantWorkers(20)));
        system.run(1);
        for _ in 0..20 {
            let worker = system.oldest();
            system.machine.pool.workers.get_mut(&worker).unwrap().state =
                WorkerState::Ready { since: system.now, retiring: false };
            system.exit(worker, ExitStatus::Signal(11));
        }
        system.run(60);
        assert_eq!((system.machine.census().ready, system.critical.len()), (20, 0));
    }

    #[test]
    fn a_new_generation_begins_with_a_closed_breaker() {
        let mut system = System::serving();
        system.broken = true;
        let worker = system.oldest();
        system.exit(worker, ExitStatus::Signal(11));
        system.run(600);
        assert!(system.machine.pool.serving.breaker.is_open());
        system.broken = false;
        system.event(Event::Operator(OperatorEvent::Signal(Signal::Hup)));
        assert!(!system.machine.pool.serving.breaker.is_open());
        assert_eq!(system.machine.health().state, HealthState::Ready);
    }
}
