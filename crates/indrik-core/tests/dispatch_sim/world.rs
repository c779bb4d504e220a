//! The clients, the workers' speed, what breaks, and the clock.

use std::collections::BTreeMap;

use indrik_core::dispatch::{DispatchLimits, Standing};
use indrik_core::ids::WorkerId;
use indrik_core::time::Micros;

use crate::channel::Sizes;
use crate::front::{Answer, Begun, Front, Place, Sent};
use crate::random::Random;

/// How often the front looks after its queue when nothing is queued ahead, and when something is.
pub(crate) const COARSE_TICK_US: Micros = 50_000;
const FINE_TICK_US: Micros = 1_000;
/// As in the front: how long a request that lost its worker waits before it is told.
const LOST_PAUSE_US: Micros = 50_000;
/// A request's time limit, and what the kill ladder takes after it.
const TIMEOUT_US: Micros = 300_000;
const LADDER_US: Micros = 200_000;
/// Within its time limit, what a request may wait until the file of its answer can be handed over.
const FILES_US: Micros = 30_000;
/// A request that ends its worker does so after this at the latest.
const KILLS_WITHIN_US: Micros = 100_000;
/// A worker that is held comes back after this at the latest.
const HELD_US: Micros = 600_000;
/// A dead or drained worker's successor.
const BOOT_US: u64 = 80_000;
const WORKERS_MAX: usize = 6;
/// Sessions that requests may belong to.
const SESSIONS: usize = 6;
/// Requests of one run.
const REQUESTS_MAX: usize = 250;
/// Far beyond any wait that the limits allow.
const REST_US: Micros = 40_000_000;
const REST_STEP_US: Micros = 500_000;

/// What breaks. Numbers are how often a second, at every worker.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    pub(crate) death: u32,
    pub(crate) drain: u32,
    pub(crate) stuck: u32,
    /// It gets nothing for a while, and comes back.
    pub(crate) hold: u32,
    /// Of a hundred clients so many leave early.
    pub(crate) client_leaves: u32,
    /// The next worker dies only when everything that was lost has been served.
    pub(crate) one_at_a_time: bool,
    /// Many more requests than can be served.
    pub(crate) flood: bool,
    /// All workers are dead for a while.
    pub(crate) all_dead: bool,
    /// Of a hundred requests so many belong to one of a few sessions.
    pub(crate) sessions: u32,
    /// Of a hundred requests so many have a body in a file, and as many are answered with one; channels are small.
    pub(crate) files: u32,
    /// How often a second a worker dies between a file and its descriptor.
    pub(crate) hand_over: u32,
    /// Of a hundred requests so many end whatever worker they are run in.
    pub(crate) killers: u32,
    /// The next killer comes only when the one before, and all that it took with it, have been answered.
    pub(crate) one_killer_at_a_time: bool,
    /// How often a second an operator holds all requests back for a while.
    pub(crate) pauses: u32,
}

impl Faults {
    pub(crate) const fn calm() -> Self {
        Self {
            death: 0,
            drain: 0,
            stuck: 0,
            hold: 0,
            client_leaves: 0,
            one_at_a_time: false,
            flood: false,
            all_dead: false,
            sessions: 0,
            files: 0,
            hand_over: 0,
            killers: 0,
            one_killer_at_a_time: false,
            pauses: 0,
        }
    }

    pub(crate) const fn wild() -> Self {
        Self { death: 8, drain: 5, stuck: 2, hold: 4, client_leaves: 10, ..Self::calm() }
    }
}

#[derive(Clone, Copy, Debug)]
enum Coming {
    Arrivals,
    Finish(Begun),
    /// The file of an answer was handed over.
    Commit(Begun),
    TimeLimit(Begun),
    Leaves(usize),
    Told(usize),
    /// A request ends the worker that it runs in.
    Kills(Begun),
    Faults,
    Up,
    Kill(WorkerId),
    GoesOn(WorkerId),
    Resumes(WorkerId),
    Released,
    Tick,
}

pub(crate) struct World {
    front: Front,
    random: Random,
    faults: Faults,
    coming: BTreeMap<(Micros, u64), Coming>,
    counter: u64,
    /// Workers there are or will be.
    wanted: usize,
    next_worker: u64,
    /// Typical time of a request.
    service_us: u64,
    /// Requests arrive this far apart, on average.
    pause_us: u64,
    arriving: bool,
}

impl World {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        let mut random = Random::new(seed);
        let calm = !faults.flood && !faults.all_dead;
        let limits = DispatchLimits {
            queue_requests_max: if calm { 100_000 } else { 1 + random.below(40) },
            queue_timeout_us: if calm { 30_000_000 } else { 200_000 },
            ..DispatchLimits::default()
        };
        let limits = if faults.client_leaves > 0 {
            DispatchLimits { queue_requests_max: 60, queue_timeout_us: 400_000, ..limits }
        } else {
            limits
        };
        let wanted = 1 + random.below(WORKERS_MAX);
        let service_us = match faults.flood {
            true => 20_000,
            false => [20, 200, 2_000, 20_000][random.below(4)],
        };
        let full_us = (service_us / wanted as u64).max(200);
        let pause_us = if faults.flood { full_us / 20 } else { full_us * 2 };
        let sizes = match faults.files {
            0 => Sizes::AMPLE,
            _ => Sizes { cells: 1 + random.below(6), files: 1 + random.below(3) },
        };
        let mut world = Self {
            front: Front::new(seed, limits, sizes),
            random,
            faults,
            coming: BTreeMap::new(),
            counter: 0,
            wanted,
            next_worker: 1,
            service_us,
            pause_us,
            arriving: true,
        };
        for _ in 0..wanted {
            world.worker_up();
        }
        world.after(1, Coming::Arrivals);
        world.after(1, Coming::Tick);
        world.after(1, Coming::Faults);
        world
    }

    pub(crate) fn run(&mut self, time: Micros) {
        let end = self.front.now + time;
        while let Some((&key, &coming)) = self.coming.iter().next()
            && key.0 <= end
        {
            self.coming.remove(&key);
            self.front.now = key.0;
            self.happen(coming);
            self.follow();
        }
        self.front.now = end;
        self.front.check_places();
    }

    /// Nobody comes any more and nothing breaks: everything ends.
    pub(crate) fn come_to_rest(&mut self) {
        self.arriving = false;
        self.faults = Faults::calm();
        self.front.release_all();
        let stuck: Vec<WorkerId> = self.front.workers.keys().copied().collect();
        for id in stuck {
            self.front.goes_on(id);
            self.front.resume(id);
            self.follow();
        }
        while self.front.workers.len() < self.wanted {
            self.worker_up();
            self.follow();
        }
        let end = self.front.now + REST_US;
        while self.front.now < end && !self.is_at_rest() {
            self.run(REST_STEP_US);
        }
        for (number, request) in self.front.requests.iter().enumerate() {
            let seed = self.front.seed;
            assert_eq!(request.answers.len(), 1, "seed {seed}: request {number}: {request:?}");
        }
        for (id, worker) in &self.front.workers {
            let held = worker.ring.len() + worker.running.len();
            assert_eq!(held, 0, "seed {}: {id} still holds requests", self.front.seed);
        }
    }

    fn is_at_rest(&self) -> bool {
        let is_empty =
            |worker: &crate::front::Worker| worker.ring.is_empty() && worker.running.is_empty();
        self.front.workers.values().all(is_empty)
            && self.front.requests.iter().all(|request| !request.answers.is_empty())
    }

    pub(crate) fn assert_all_answered(&self, allowed: &[Answer]) {
        for (number, request) in self.front.requests.iter().enumerate() {
            assert!(
                request.answers.iter().all(|answer| allowed.contains(answer)),
                "seed {}: request {number}: {request:?}",
                self.front.seed
            );
            let may_fail = request.runs > 0 || request.answers != [Answer::BadGateway];
            assert!(may_fail, "seed {}: request {number} was never begun", self.front.seed);
        }
        assert!(!self.front.requests.is_empty());
    }

    pub(crate) fn assert_gets_answered(&self) {
        for (number, request) in self.front.requests.iter().enumerate() {
            let ok = !request.is_idempotent || request.answers == [Answer::Ok];
            assert!(ok, "seed {}: request {number}: {request:?}", self.front.seed);
        }
    }

    /// What ends workers has its end, after two of them; what does not is never taken for it.
    pub(crate) fn assert_only_killers_are_poison(&self) {
        let seed = self.front.seed;
        for (number, request) in self.front.requests.iter().enumerate() {
            let may_be_run_again = request.is_idempotent && request.body_is_held;
            let expected: &[Answer] = match (request.kills_after, may_be_run_again) {
                (Some(_), true) => &[Answer::Poison],
                (Some(_), false) => &[Answer::BadGateway],
                (None, true) => &[Answer::Ok],
                (None, false) => &[Answer::Ok, Answer::BadGateway],
            };
            let is_expected = request.answers.iter().all(|answer| expected.contains(answer));
            assert!(is_expected, "seed {seed}: request {number}: {request:?}");
        }
    }

    pub(crate) fn count(&self, answer: Answer) -> usize {
        self.front.requests.iter().filter(|request| request.answers == [answer]).count()
    }

    fn after(&mut self, us: Micros, coming: Coming) {
        self.counter += 1;
        self.coming.insert((self.front.now + us, self.counter), coming);
    }

    fn happen(&mut self, coming: Coming) {
        match coming {
            Coming::Arrivals => self.arrivals(),
            Coming::Finish(begun) => {
                let is_stuck =
                    self.front.workers.get(&begun.worker).is_some_and(|worker| worker.is_stuck);
                if !is_stuck && self.random.percent(self.faults.files) {
                    let handed = self.front.hands_over_answer(begun);
                    let pause = 1 + self.random.between(0, 100);
                    let next = if handed { Coming::Commit(begun) } else { Coming::Finish(begun) };
                    self.after(pause, next);
                } else if !is_stuck {
                    self.front.finished(begun);
                }
            }
            Coming::Commit(begun) => self.front.commits_answer(begun),
            Coming::TimeLimit(begun) => {
                if self.front.timed_out(begun) {
                    self.after(LADDER_US, Coming::Kill(begun.worker));
                }
            }
            Coming::Leaves(request) => self.front.client_leaves(request),
            Coming::Told(request) => self.front.tell_lost(request),
            Coming::Kills(begun) => self.kills(begun),
            Coming::Faults => self.break_something(),
            Coming::Up => {
                if self.front.workers.len() < self.wanted {
                    self.worker_up();
                }
            }
            // What ran too long is known, and has been answered.
            Coming::Kill(id) => self.end_worker(id, true),
            Coming::GoesOn(id) => self.go_on(id),
            Coming::Released => self.front.release_all(),
            Coming::Resumes(id) => self.front.resume(id),
            Coming::Tick => {
                self.front.tick();
                let fine = self.front.needs_fine_tick();
                self.after(if fine { FINE_TICK_US } else { COARSE_TICK_US }, Coming::Tick);
            }
        }
    }

    /// Plans what follows from what workers began and what was lost; ends workers that are drained.
    fn follow(&mut self) {
        for begun in std::mem::take(&mut self.front.begun) {
            let mut took = 1 + self.random.between(0, 2 * self.service_us);
            if self.random.percent(2) {
                took *= 20;
            }
            match self.front.requests[begun.request].kills_after {
                Some(after) => self.after(after, Coming::Kills(begun)),
                None => self.after(took.min(TIMEOUT_US - FILES_US), Coming::Finish(begun)),
            }
            self.after(TIMEOUT_US, Coming::TimeLimit(begun));
        }
        for request in std::mem::take(&mut self.front.lost) {
            self.after(LOST_PAUSE_US, Coming::Told(request));
        }
        let is_done = |worker: &crate::front::Worker| {
            worker.draining
                && !worker.is_held
                && worker.ring.is_empty()
                && worker.running.is_empty()
        };
        let drained: Vec<WorkerId> =
            self.front.workers.iter().filter(|(_, w)| is_done(w)).map(|(id, _)| *id).collect();
        for id in drained {
            self.front.died(id, true);
        }
    }

    fn arrivals(&mut self) {
        if !self.arriving || self.front.requests.len() >= REQUESTS_MAX {
            return;
        }
        let burst = if self.random.percent(5) { 1 + self.random.below(20) } else { 1 };
        for _ in 0..burst {
            let is_idempotent = self.random.percent(70);
            let body_is_held = !self.random.percent(5) || self.faults.one_at_a_time;
            let session =
                self.random.percent(self.faults.sessions).then(|| self.random.below(SESSIONS));
            let has_file = self.random.percent(self.faults.files);
            let kills_after = self.kills_after();
            let sent = Sent { is_idempotent, body_is_held, has_file, kills_after, session };
            let request = self.front.arrive(sent);
            if self.random.percent(self.faults.client_leaves) {
                // Some have left when their request is here.
                let has_left = self.random.percent(20);
                let patience = if has_left { 0 } else { self.random.between(0, 100_000) };
                self.after(patience, Coming::Leaves(request));
            }
        }
        let pause = 1 + self.random.between(0, 2 * self.pause_us);
        self.after(pause * burst as u64, Coming::Arrivals);
    }

    /// When the next request ends its worker, if it does.
    fn kills_after(&mut self) -> Option<Micros> {
        let mut open = self.front.requests.iter().filter(|request| request.answers.is_empty());
        let is_alone = !self.faults.one_killer_at_a_time
            || open.all(|it| it.kills_after.is_none() && it.standing == Standing::Ordinary);
        let kills = self.random.percent(self.faults.killers) && is_alone;
        kills.then(|| self.random.between(0, KILLS_WITHIN_US))
    }

    fn worker_up(&mut self) {
        let id = WorkerId(self.next_worker);
        self.next_worker += 1;
        let capacity = [1, 1, 4, if self.faults.flood { 1 } else { 100 }][self.random.below(4)];
        self.front.worker_up(id, capacity, 128);
    }

    /// Every ten milliseconds.
    fn break_something(&mut self) {
        self.after(10_000, Coming::Faults);
        let ids: Vec<WorkerId> = self.front.workers.keys().copied().collect();
        for id in ids {
            if self.hits(self.faults.death) && self.may_die() {
                self.kill(id);
            } else if self.hits(self.faults.drain) && self.is_free_to_go(id) {
                self.worker_up();
                self.follow();
                self.front.drain(id);
            } else if self.hits(self.faults.hold) && self.is_free_to_go(id) {
                self.front.hold(id);
                let pause = self.random.between(0, HELD_US);
                self.after(pause, Coming::Resumes(id));
            } else if self.hits(self.faults.stuck) {
                if let Some(worker) = self.front.workers.get_mut(&id) {
                    worker.is_stuck = true;
                }
                let pause = self.random.between(1_000, 600_000);
                self.after(pause, Coming::GoesOn(id));
            }
            self.follow();
        }
        if self.hits(self.faults.pauses) && !self.front.is_held() {
            self.front.hold_all();
            let pause = self.random.between(0, 2_000_000);
            self.after(pause, Coming::Released);
        }
        if self.hits(self.faults.hand_over) {
            self.front.dies_in_hand_over = true;
        }
        if self.faults.all_dead && self.random.percent(3) {
            let ids: Vec<WorkerId> = self.front.workers.keys().copied().collect();
            for id in ids {
                self.kill(id);
            }
        }
    }

    fn hits(&mut self, a_second: u32) -> bool {
        a_second > 0 && self.random.below(100) < a_second as usize
    }

    /// Nothing that lost its worker is still to be served.
    fn may_die(&self) -> bool {
        let is_whole = self.front.workers.len() >= self.wanted;
        let is_served = || {
            let mut open = self.front.requests.iter().filter(|request| request.answers.is_empty());
            open.all(|request| {
                request.place != Place::Lost
                    && (request.runs == 0
                        || (request.runs == 1 && matches!(request.place, Place::Running(_))))
            })
        };
        !self.faults.one_at_a_time || (is_whole && is_served())
    }

    fn is_free_to_go(&self, id: WorkerId) -> bool {
        self.front.workers.get(&id).is_some_and(|worker| !worker.draining)
    }

    fn kills(&mut self, begun: Begun) {
        let request = &self.front.requests[begun.request];
        let worker = self.front.workers.get(&begun.worker);
        // Whether or not its client still waits.
        let runs = worker.is_some_and(|it| !it.is_stuck && it.running.contains(&begun.request));
        if runs && request.runs == begun.run {
            self.kill(begun.worker);
        }
    }

    fn kill(&mut self, id: WorkerId) {
        self.end_worker(id, false);
    }

    fn end_worker(&mut self, id: WorkerId, blameless: bool) {
        if !self.front.workers.contains_key(&id) {
            return;
        }
        self.front.died(id, blameless);
        let boot = self.random.between(1_000, BOOT_US);
        self.after(boot, Coming::Up);
    }

    fn go_on(&mut self, id: WorkerId) {
        let Some(worker) = self.front.workers.get(&id) else { return };
        let overdue: Vec<usize> = worker.running.clone();
        self.front.goes_on(id);
        for request in overdue {
            let run = self.front.requests[request].runs;
            let took = 1 + self.random.between(0, self.service_us);
            self.after(took, Coming::Finish(Begun { request, worker: id, run }));
        }
    }
}
