//! A fake front: it does with the dispatcher what the real one does, with numbers for requests and
//! queues for rings, and checks what must hold after every step.

mod checks;
mod pause;

use std::collections::{BTreeMap, VecDeque};

use indrik_core::dispatch::{
    Dispatch, DispatchLimits, Expired, Fate, Key, Placement, REPLAYS_MAX, Replay, RequestId,
    Standing,
};
use indrik_core::ids::WorkerId;
use indrik_core::overtime::Intake;
use indrik_core::time::Micros;

use crate::channel::{Channel, NotSent, Sizes, Taken};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answer {
    Ok,
    /// The queue was full: 503.
    Refused,
    /// It waited too long: 503.
    QueueTimeout,
    /// It waited too long, and there was no worker all the time: 503.
    NoWorker,
    /// Its worker died and it may not be run again: 502.
    BadGateway,
    /// It was in two workers that ended: 503.
    Poison,
    /// It ran too long: 504.
    TimedOut,
    /// Its client left.
    Left,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the central queue, under this number.
    Queue(u64),
    /// In a worker's ring, not started.
    Ring(WorkerId),
    /// Started.
    Running(WorkerId),
    /// Its worker ended while it ran; that is told to it in a moment.
    Lost,
    Over,
}

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) is_idempotent: bool,
    pub(crate) body_is_held: bool,
    /// Its body lies in a file.
    has_file: bool,
    /// It ends its worker, so long after it was begun.
    pub(crate) kills_after: Option<Micros>,
    /// The session it belongs to.
    key: Option<Key>,
    arrived: Micros,
    /// The number under which it was given to the dispatcher last.
    number: u64,
    /// There was a worker while it waited.
    had_worker: bool,
    pub(crate) standing: Standing,
    /// When it came into the queue last.
    waits_since: Micros,
    /// When it came into a worker's ring last.
    in_ring_since: Micros,
    replay: Replay,
    pub(crate) place: Place,
    pub(crate) runs: u32,
    pub(crate) answers: Vec<Answer>,
}

#[derive(Debug)]
pub(crate) struct Worker {
    capacity: usize,
    slots: usize,
    pub(crate) channel: Channel,
    /// It had no room for a request, and gets none until it makes some.
    is_full: bool,
    /// What lies unstarted in its ring.
    pub(crate) ring: VecDeque<usize>,
    pub(crate) running: Vec<usize>,
    pub(crate) draining: bool,
    /// It drains for a while only: it comes back.
    pub(crate) is_held: bool,
    /// It starts and finishes nothing.
    pub(crate) is_stuck: bool,
    /// It was seen to take nothing from its ring, and gets nothing until it does.
    stalled: bool,
    intake: Intake,
    /// Since when it gets requests, while it does.
    takes_since: Option<Micros>,
    /// Requests it has ever taken from its ring.
    taken: u64,
}

impl Worker {
    fn goes_on(&mut self, now: Micros) {
        if std::mem::take(&mut self.stalled) && !self.draining {
            self.takes_since = Some(now);
        }
    }
}

/// A request that a worker has begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    pub(crate) request: usize,
    pub(crate) worker: WorkerId,
    pub(crate) run: u32,
}

pub(crate) struct Front {
    pub(crate) seed: u64,
    limits: DispatchLimits,
    dispatch: Dispatch,
    pub(crate) workers: BTreeMap<WorkerId, Worker>,
    pub(crate) requests: Vec<Request>,
    /// Which request stands under which number in the queue.
    waiting: BTreeMap<u64, usize>,
    next_number: u64,
    /// Where the requests of a session go.
    bound: BTreeMap<Key, WorkerId>,
    pub(crate) now: Micros,
    /// When expired requests were looked for last.
    swept: Micros,
    /// What workers have begun since it was asked last.
    pub(crate) begun: Vec<Begun>,
    /// Requests whose worker ended since it was asked last.
    pub(crate) lost: Vec<usize>,
    /// How much the channels of new workers hold.
    sizes: Sizes,
    /// The next worker that is handed a file dies before the descriptor is committed.
    pub(crate) dies_in_hand_over: bool,
    /// When nothing was begun, as an operator wanted it.
    pauses: Vec<(Micros, Option<Micros>)>,
}

/// What a client sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) is_idempotent: bool,
    pub(crate) body_is_held: bool,
    pub(crate) has_file: bool,
    pub(crate) kills_after: Option<Micros>,
    pub(crate) session: Option<usize>,
}

impl Front {
    pub(crate) fn new(seed: u64, limits: DispatchLimits, sizes: Sizes) -> Self {
        Self {
            seed,
            limits,
            dispatch: Dispatch::new(limits),
            workers: BTreeMap::new(),
            requests: Vec::new(),
            waiting: BTreeMap::new(),
            next_number: 0,
            bound: BTreeMap::new(),
            now: 0,
            swept: 0,
            begun: Vec::new(),
            lost: Vec::new(),
            sizes,
            dies_in_hand_over: false,
            pauses: Vec::new(),
        }
    }

    // --- what happens

    pub(crate) fn arrive(&mut self, sent: Sent) -> usize {
        let Sent { is_idempotent, body_is_held, has_file, kills_after, session } = sent;
        let key = session.map(|number| Key::of(&number.to_le_bytes()));
        let request = self.requests.len();
        self.requests.push(Request {
            is_idempotent,
            body_is_held,
            has_file,
            kills_after,
            key,
            arrived: self.now,
            number: 0,
            had_worker: self.has_worker(),
            standing: Standing::Ordinary,
            waits_since: self.now,
            in_ring_since: self.now,
            replay: Replay::new(is_idempotent),
            place: Place::Over,
            runs: 0,
            answers: Vec::new(),
        });
        let number = self.number();
        let waited = self.dispatch.waiting();
        match self.dispatch.arrive(RequestId(number), key, self.now) {
            Placement::Worker(id) => self.send_or_wait(request, id, number),
            Placement::Queued => {
                assert!(waited < self.limits.queue_requests_max, "seed {}: too many", self.seed);
                self.wait(request, number);
            }
            Placement::Refused => {
                assert!(waited >= self.limits.queue_requests_max, "seed {}: too few", self.seed);
                self.end(request, Answer::Refused);
            }
            Placement::HeldFull => {
                let full = waited >= self.limits.queue_requests_max && self.is_held();
                assert!(full, "seed {}: too few are held", self.seed);
                self.end(request, Answer::Refused);
            }
            Placement::ShareFull => {
                // Those that belong to a worker may take less than the whole queue.
                let max = self.limits.queue_requests_max;
                let bound = self.waiting.values().filter(|it| self.requests[**it].key.is_some());
                let mine = self.waiting.values().filter(|it| self.requests[**it].key == key);
                let is_bound = key.is_some_and(|key| self.serving(key).is_some());
                let full = is_bound && (bound.count() >= max / 2 || mine.count() >= max / 8);
                assert!(full, "seed {}: too few", self.seed);
                self.end(request, Answer::Refused);
            }
        }
        self.place_waiting();
        request
    }

    pub(crate) fn worker_up(&mut self, id: WorkerId, capacity: usize, slots: usize) {
        let worker = Worker {
            capacity,
            slots,
            channel: Channel::new(slots, self.sizes),
            is_full: false,
            ring: VecDeque::new(),
            running: Vec::new(),
            draining: false,
            is_held: false,
            is_stuck: false,
            stalled: false,
            intake: Intake::default(),
            takes_since: Some(self.now),
            taken: 0,
        };
        self.workers.insert(id, worker);
        self.note_worker();
        self.dispatch.worker_up(id, capacity, slots);
        self.place_waiting();
    }

    pub(crate) fn drain(&mut self, id: WorkerId) {
        self.dispatch.worker_draining(id);
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.draining = true;
            worker.takes_since = None;
        }
        self.take_back(id, usize::MAX);
        self.place_waiting();
    }

    /// A worker gets nothing for a while.
    pub(crate) fn hold(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.is_held = true;
        }
        self.drain(id);
    }

    pub(crate) fn resume(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if !std::mem::take(&mut worker.is_held) {
            return;
        }
        worker.draining = false;
        worker.takes_since = (!worker.stalled).then_some(self.now);
        self.note_worker();
        self.dispatch.worker_resumes(id);
        self.place_waiting();
    }

    /// Whoever waits has seen a worker.
    fn note_worker(&mut self) {
        for request in self.waiting.values() {
            self.requests[*request].had_worker = true;
        }
    }

    /// `blameless`: for none of its requests.
    pub(crate) fn died(&mut self, id: WorkerId, blameless: bool) {
        let Some(worker) = self.workers.remove(&id) else { return };
        self.dispatch.worker_down(id);
        for request in worker.ring {
            self.try_again(request, false);
        }
        for request in worker.running {
            let entry = &mut self.requests[request];
            if entry.place == Place::Running(id) {
                entry.place = Place::Lost;
                if !blameless {
                    entry.standing = Standing::Suspect;
                }
                self.lost.push(request);
            }
        }
        self.place_waiting();
    }

    /// A request that lost its worker is told so.
    pub(crate) fn tell_lost(&mut self, request: usize) {
        if self.requests[request].place == Place::Lost {
            self.try_again(request, true);
        }
        self.place_waiting();
    }

    /// A worker has finished a request, whether or not its client still waits.
    pub(crate) fn finished(&mut self, begun: Begun) {
        let Some(worker) = self.workers.get_mut(&begun.worker) else { return };
        let Some(at) = worker.running.iter().position(|request| *request == begun.request) else {
            return;
        };
        if self.requests[begun.request].runs != begun.run {
            return;
        }
        worker.running.swap_remove(at);
        worker.channel.free(begun.request);
        worker.is_full = false;
        worker.goes_on(self.now);
        self.dispatch.finished(begun.worker, 1, self.now);
        self.cleared(begun.worker, begun.request);
        if self.requests[begun.request].place == Place::Running(begun.worker) {
            self.end(begun.request, Answer::Ok);
        }
        self.start_what_fits(begun.worker);
        self.place_waiting();
    }

    /// A request ran too long: it is answered, and its slot stays taken.
    pub(crate) fn timed_out(&mut self, begun: Begun) -> bool {
        let request = &self.requests[begun.request];
        let runs = request.place == Place::Running(begun.worker) && request.runs == begun.run;
        if runs {
            self.end(begun.request, Answer::TimedOut);
            self.check();
        }
        runs
    }

    pub(crate) fn client_leaves(&mut self, request: usize) {
        match self.requests[request].place {
            Place::Over => return,
            Place::Lost | Place::Running(_) => {}
            Place::Queue(number) => {
                self.waiting.remove(&number);
                assert!(self.dispatch.forget(RequestId(number)), "seed {}: it waited", self.seed);
            }
            Place::Ring(id) => {
                let Some(worker) = self.workers.get_mut(&id) else { return };
                worker.ring.retain(|other| *other != request);
                worker.channel.free(request);
                self.reclaimed(id, request);
            }
        }
        self.end(request, Answer::Left);
        self.place_waiting();
    }

    /// Looks after what is overdue and what has waited too long.
    pub(crate) fn tick(&mut self) {
        while let Some((id, ahead)) = self.dispatch.overdue(self.now) {
            self.take_back(id, ahead);
        }
        while let Some(Expired { request, had_worker }) = self.dispatch.expired(self.now) {
            if let Some(request) = self.waiting.remove(&request.0) {
                let has_had = self.requests[request].had_worker;
                assert_eq!(had_worker, has_had, "seed {}: why {request} waited", self.seed);
                self.end(request, if had_worker { Answer::QueueTimeout } else { Answer::NoWorker });
            }
        }
        self.expire_in_rings();
        // While nothing is begun nobody is told that his time is over.
        if !self.is_held() {
            self.swept = self.now;
        }
        let ids: Vec<WorkerId> = self.workers.keys().copied().collect();
        ids.into_iter().for_each(|id| self.makes_room(id));
        self.look_at_intakes();
        self.place_waiting();
        self.check_that_none_lies_where_nobody_takes_it();
    }

    /// What lies unstarted in a ring has its deadline too.
    fn expire_in_rings(&mut self) {
        let ids: Vec<WorkerId> = self.workers.keys().copied().collect();
        for id in ids {
            let Some(worker) = self.workers.get_mut(&id) else { continue };
            let (requests, dispatch, now) = (&self.requests, &self.dispatch, self.now);
            let over = |request: &usize| dispatch.has_waited(requests[*request].arrived, now);
            let ended: Vec<usize> = worker.ring.iter().copied().filter(over).collect();
            worker.ring.retain(|request| !ended.contains(request));
            ended.iter().for_each(|request| worker.channel.free(*request));
            for request in ended {
                self.reclaimed(id, request);
                self.end(request, Answer::QueueTimeout);
            }
        }
    }

    /// Workers that leave what is sent to them lying although they could run it, and those that do so no
    /// longer.
    fn look_at_intakes(&mut self) {
        let ids: Vec<WorkerId> = self.workers.keys().copied().collect();
        for id in ids {
            let Some(worker) = self.workers.get_mut(&id) else { continue };
            let has_room = worker.running.len() < worker.capacity;
            let is_drained = worker.channel.is_drained();
            let left = worker.intake.look(worker.taken, is_drained, self.now);
            if !worker.is_stuck {
                worker.goes_on(self.now);
                self.dispatch.goes_on(id);
            } else if left && has_room && self.dispatch.stalls(id, self.now) {
                worker.stalled = true;
                worker.takes_since = None;
                self.take_back(id, usize::MAX);
            }
        }
    }

    pub(crate) fn needs_fine_tick(&self) -> bool {
        self.dispatch.has_queued_ahead()
    }

    /// A worker that was stuck goes on.
    pub(crate) fn goes_on(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.is_stuck = false;
        }
        self.start_what_fits(id);
        self.place_waiting();
    }

    /// A worker begins to answer with a file: it is handed over. False: there is no room for it now.
    pub(crate) fn hands_over_answer(&mut self, begun: Begun) -> bool {
        let Some(worker) = self.workers.get_mut(&begun.worker) else { return true };
        let Some(of) = worker.channel.use_of(begun.request) else { return true };
        worker.channel.to_front.hand_over(of, begun.request)
    }

    /// The descriptor of such an answer was committed.
    pub(crate) fn commits_answer(&mut self, begun: Begun) {
        let seed = self.seed;
        if let Some(worker) = self.workers.get_mut(&begun.worker)
            && worker.running.contains(&begun.request)
            && let Some(of) = worker.channel.use_of(begun.request)
        {
            let file = worker.channel.take_answer(of);
            assert_eq!(file, Some(begun.request), "seed {seed}: an answer's file");
        }
        self.finished(begun);
    }

    // --- what the front does

    fn has_worker(&self) -> bool {
        self.workers.values().any(|worker| !worker.draining)
    }

    fn reclaimed(&mut self, id: WorkerId, request: usize) {
        self.dispatch.reclaimed(id);
        self.cleared(id, request);
    }

    fn cleared(&mut self, id: WorkerId, request: usize) {
        self.dispatch.cleared(id, RequestId(self.requests[request].number));
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn wait(&mut self, request: usize, number: u64) {
        self.requests[request].place = Place::Queue(number);
        self.requests[request].number = number;
        self.requests[request].waits_since = self.now;
        self.waiting.insert(number, request);
    }

    fn try_again(&mut self, request: usize, started: bool) {
        let entry = &mut self.requests[request];
        match entry.replay.lost(started, entry.body_is_held) {
            Fate::Failed => self.end(request, Answer::BadGateway),
            Fate::Poison => {
                assert_eq!(entry.runs, 1 + REPLAYS_MAX, "seed {}: two deaths", self.seed);
                self.end(request, Answer::Poison);
            }
            Fate::Again => {
                entry.had_worker = true;
                let (key, standing, arrived) = (entry.key, entry.standing, entry.arrived);
                let number = self.number();
                self.dispatch.wait_again(RequestId(number), key, standing, arrived);
                self.wait(request, number);
            }
        }
    }

    fn take_back(&mut self, id: WorkerId, most: usize) {
        for _ in 0..most {
            let Some(worker) = self.workers.get_mut(&id) else { return };
            let Some(request) = worker.ring.pop_back() else { return };
            worker.channel.free(request);
            self.reclaimed(id, request);
            self.try_again(request, false);
        }
    }

    fn place_waiting(&mut self) {
        while let Some((RequestId(number), id)) = self.dispatch.next(self.now) {
            let request = self.waiting.remove(&number);
            let request = request.unwrap_or_else(|| panic!("seed {}: nobody waits", self.seed));
            let arrived = self.requests[request].arrived;
            let overtaken = self.waiting.values().find(|other| {
                self.requests[**other].arrived < arrived && !self.goes_elsewhere(**other, id)
            });
            assert_eq!(overtaken, None, "seed {}: it was overtaken", self.seed);
            self.send_or_wait(request, id, number);
        }
        self.check();
    }

    /// What its worker has no room for goes back into the queue, and others may take it.
    fn send_or_wait(&mut self, request: usize, id: WorkerId, number: u64) {
        let sent = self.send(request, id);
        if sent.is_ok() {
            return;
        }
        let Request { key, standing, arrived, .. } = self.requests[request];
        self.reclaimed(id, request);
        self.requests[request].had_worker = true;
        self.dispatch.wait_again(RequestId(number), key, standing, arrived);
        self.wait(request, number);
        if sent == Err(NotSent::Broken) {
            self.died(id, false);
        } else {
            self.dispatch.lacks_room(id);
            if let Some(worker) = self.workers.get_mut(&id) {
                worker.is_full = true;
            }
        }
    }

    fn send(&mut self, request: usize, id: WorkerId) -> Result<(), NotSent> {
        let seed = self.seed;
        if let Some(key) = self.requests[request].key {
            let bound = self.serving(key);
            // One that stands still is not waited for without end.
            if let Some(bound) = bound.filter(|bound| !self.workers[bound].stalled) {
                assert_eq!(id, bound, "seed {seed}: request {request} leaves its session");
            }
            self.bound.insert(key, id);
        }
        let worker = self.workers.get_mut(&id);
        let worker = worker.unwrap_or_else(|| panic!("seed {seed}: {id} is not there"));
        assert!(!worker.draining, "seed {seed}: {id} drains and gets a request");
        let with_file = self.requests[request].has_file;
        let dies = with_file && std::mem::take(&mut self.dies_in_hand_over);
        worker.channel.push(request, with_file, dies)?;
        worker.ring.push_back(request);
        assert!(
            worker.ring.len() + worker.running.len() <= worker.slots,
            "seed {seed}: {id} gets more than its ring has room for"
        );
        self.requests[request].place = Place::Ring(id);
        self.requests[request].in_ring_since = self.now;
        self.start_what_fits(id);
        Ok(())
    }

    fn makes_room(&mut self, id: WorkerId) {
        self.dispatch.makes_room(id);
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.is_full = false;
        }
    }

    /// The worker that has a session, while it gets requests at all.
    fn serving(&self, key: Key) -> Option<WorkerId> {
        let id = self.bound.get(&key)?;
        self.workers.get(id).filter(|worker| !worker.draining).map(|_| *id)
    }

    /// Whether a request waits for another worker than this.
    fn goes_elsewhere(&self, request: usize, id: WorkerId) -> bool {
        let Request { key, standing, .. } = self.requests[request];
        key.and_then(|key| self.serving(key)).is_some_and(|bound| bound != id)
            || (standing == Standing::Suspect && self.suspects(id).count() != 0)
    }

    /// The suspects at a worker that could run them together.
    fn suspects(&self, id: WorkerId) -> impl Iterator<Item = usize> {
        let worker = self.workers.get(&id).filter(|worker| worker.capacity > 1);
        let held = worker.into_iter().flat_map(|it| it.ring.iter().chain(&it.running));
        held.copied().filter(|it| self.requests[*it].standing == Standing::Suspect)
    }

    /// The worker takes from its ring what it can run.
    fn start_what_fits(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        while !worker.is_stuck && worker.running.len() < worker.capacity {
            let Some(taken) = worker.channel.take() else { return };
            worker.taken += 1;
            worker.is_full = false;
            self.dispatch.makes_room(id);
            let Some(Taken { request, file }) = taken else { continue };
            let has_its_own = file.is_none_or(|file| file == Some(request));
            assert!(has_its_own, "seed {}: {request} gets the file {file:?}", self.seed);
            worker.ring.retain(|other| *other != request);
            worker.running.push(request);
            let entry = &mut self.requests[request];
            entry.runs += 1;
            entry.place = Place::Running(id);
            assert!(
                entry.runs == 1 || entry.is_idempotent,
                "seed {}: request {request} must not run twice",
                self.seed
            );
            assert!(
                entry.runs <= 1 + REPLAYS_MAX,
                "seed {}: request {request} runs {} times",
                self.seed,
                entry.runs
            );
            self.begun.push(Begun { request, worker: id, run: entry.runs });
        }
    }

    fn end(&mut self, request: usize, answer: Answer) {
        let entry = &mut self.requests[request];
        entry.place = Place::Over;
        entry.answers.push(answer);
        assert_eq!(
            entry.answers.len(),
            1,
            "seed {}: request {request} is answered twice: {:?}",
            self.seed,
            entry.answers
        );
    }
}
