//! Kills either side before every single atomic step of a whole conversation (and in the middle of
//! every payload), and looks at what the survivor makes of it.
//!
//! Both sides run in turns on one thread, so each run is the same to the last step; what happens
//! when they run at once is loom's part.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

use crate::handoff::{FileReceiver, FileSender, both_ways, files_pair};
use crate::ring::{NotSent, Receiver, Sender};
use crate::slot::{SlotState, Slots};
use crate::testing::steps::{self, step};
use crate::testing::{RingHeap, slots};
use crate::wire::{Descriptor, Direction, Flags, Kind};

const JOBS: u64 = 14;
/// How many of the slots the front uses; fewer than jobs, so that slots are used again.
const SLOTS_USED: u16 = 3;
/// Small, so that both rings fill up and both areas wrap around.
const CELLS: u32 = 4;
const AREA_LEN: u32 = 160;
/// More turns than any run needs.
const TURNS_MAX: usize = 10_000;
const FOR_EVER: u64 = 1 << 60;

fn request_of(number: u64) -> Vec<u8> {
    (0..number * 11 % 60).map(|at| (number * 7 + at) as u8).collect()
}

fn response_pieces(number: u64) -> Vec<Vec<u8>> {
    let piece = |index: u64| (0..(number * 13 + index * 7) % 70).map(move |at| (number + at) as u8);
    (0..=number % 4).map(|index| piece(index).collect()).collect()
}

fn response_of(number: u64) -> Vec<u8> {
    response_pieces(number).concat()
}

/// Whether a file belongs to the request. (Miri knows no sockets.)
const fn sends_file(number: u64) -> bool {
    !cfg!(miri) && !number.is_multiple_of(3)
}

/// Whether a file belongs to the response.
const fn answers_with_file(number: u64) -> bool {
    !cfg!(miri) && number % 2 == 1
}

/// A file that one can tell from every other: an eventfd with a number in it.
fn file_of(number: u64) -> OwnedFd {
    let flags = rustix::event::EventfdFlags::NONBLOCK;
    rustix::event::eventfd(number as u32 + 1, flags).unwrap()
}

fn assert_file_of(number: u64, file: &OwnedFd) {
    let mut count = [0; 8];
    rustix::io::read(file, &mut count).unwrap();
    assert_eq!(u64::from_ne_bytes(count), number + 1, "the file of another request");
}

/// Writes a payload in two steps, so that a side can die between them.
fn fill(into: &mut [u8], from: &[u8]) {
    let half = from.len() / 2;
    into[..half].copy_from_slice(&from[..half]);
    step();
    into[half..].copy_from_slice(&from[half..]);
}

/// What an eventfd and a sleeping thread are to each other.
#[derive(Default)]
struct Sleeper {
    asleep: bool,
    rung: bool,
}

impl Sleeper {
    fn is_ready(&self) -> bool {
        !self.asleep || self.rung
    }

    fn wake_up(&mut self) {
        *self = Self::default();
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum JobState {
    Waiting,
    Sent,
    Done,
    Lost,
}

struct Job {
    state: JobState,
    slot: u16,
    generation: u32,
    got: Vec<u8>,
    /// The front takes some jobs back once.
    to_be_reclaimed: bool,
}

/// What the front knows; it outlives a worker and its channel.
struct Front {
    jobs: Vec<Job>,
    waiting: VecDeque<u64>,
    generation: u32,
    slot_used: [Option<u64>; SLOTS_USED as usize],
}

struct FrontEnd {
    requests: Sender,
    responses: Receiver,
    slots: Slots,
    files: (FileSender, FileReceiver),
}

struct Worker {
    requests: Receiver,
    responses: Sender,
    slots: Slots,
    files: (FileSender, FileReceiver),
    outbox: VecDeque<(Descriptor, Vec<u8>)>,
    /// Requests per turn.
    batch: usize,
    /// The jobs whose application code has run.
    ran: Vec<u64>,
}

/// A channel, and who sleeps on it.
struct World {
    front_end: FrontEnd,
    worker: Worker,
    front_sleeper: Sleeper,
    worker_sleeper: Sleeper,
}

impl World {
    fn new(batch: usize) -> Self {
        let (requests, worker_requests) =
            RingHeap::ends(&RingHeap::new(CELLS, AREA_LEN), Direction::Requests);
        let (worker_responses, responses) =
            RingHeap::ends(&RingHeap::new(CELLS, AREA_LEN), Direction::Responses);
        let slots = slots();
        let (ours, theirs) = files_pair().unwrap();
        let worker = Worker {
            requests: worker_requests,
            responses: worker_responses,
            slots: slots.clone(),
            files: both_ways(theirs, drop),
            outbox: VecDeque::new(),
            batch,
            ran: Vec::new(),
        };
        Self {
            front_end: FrontEnd { requests, responses, slots, files: both_ways(ours, drop) },
            worker,
            front_sleeper: Sleeper::default(),
            worker_sleeper: Sleeper::default(),
        }
    }

    fn front_turn(&mut self, front: &mut Front) {
        self.front_sleeper.wake_up();
        front.turn(&mut self.front_end, &mut self.worker_sleeper, &mut self.front_sleeper);
    }

    fn worker_turn(&mut self) {
        self.worker_sleeper.wake_up();
        self.worker.turn(&mut self.front_sleeper, &mut self.worker_sleeper);
    }
}

impl Front {
    fn new() -> Self {
        let job = |number| Job {
            state: JobState::Waiting,
            slot: 0,
            generation: 0,
            got: Vec::new(),
            to_be_reclaimed: number % 3 == 2,
        };
        Self {
            jobs: (0..JOBS).map(job).collect(),
            waiting: (0..JOBS).collect(),
            generation: 0,
            slot_used: [None; SLOTS_USED as usize],
        }
    }

    fn is_finished(&self) -> bool {
        self.jobs.iter().all(|job| matches!(job.state, JobState::Done | JobState::Lost))
    }

    fn turn(&mut self, end: &mut FrontEnd, worker: &mut Sleeper, own: &mut Sleeper) {
        end.responses.awake();
        self.receive(end);
        worker.rung |= end.responses.release();
        self.reclaim_some(end);
        self.send(end);
        worker.rung |= end.requests.must_wake();
        own.asleep = end.responses.prepare_sleep().unwrap();
    }

    fn receive(&mut self, end: &mut FrontEnd) {
        let mut payload = Vec::new();
        while let Some(descriptor) = end.responses.receive().unwrap() {
            let number = self.slot_used[usize::from(descriptor.slot)].expect("an answer to a job");
            let job = &mut self.jobs[number as usize];
            assert_eq!((descriptor.generation, descriptor.aux), (job.generation, number));
            end.responses.copy_payload(&descriptor, &mut payload);
            job.got.extend_from_slice(&payload);
            assert!(response_of(number).starts_with(&job.got), "torn response to {number}");
            if descriptor.kind == Kind::File {
                let Descriptor { slot, generation, .. } = descriptor;
                let file = end.files.1.take(slot, generation, |_, _| true);
                assert_file_of(number, &file.expect("a file is there before its descriptor"));
            }
            if descriptor.flags.has(Flags::DONE) {
                assert_eq!(job.got, response_of(number), "done means whole");
                let state = end.slots.state(job.slot, job.generation);
                assert!(matches!(state, SlotState::Running | SlotState::Done), "{state:?}");
                job.state = JobState::Done;
                self.slot_used[usize::from(descriptor.slot)] = None;
            }
        }
    }

    fn reclaim_some(&mut self, end: &FrontEnd) {
        for used in &mut self.slot_used {
            let Some(number) = *used else { continue };
            let job = &mut self.jobs[number as usize];
            if job.to_be_reclaimed && end.slots.reclaim(job.slot, job.generation) {
                assert!(job.got.is_empty());
                (job.to_be_reclaimed, job.state) = (false, JobState::Waiting);
                self.waiting.push_back(number);
                *used = None;
            }
        }
    }

    fn send(&mut self, end: &mut FrontEnd) {
        while let Some(&number) = self.waiting.front() {
            let Some(slot) = self.slot_used.iter().position(Option::is_none) else { return };
            let (slot, generation) = (slot as u16, self.generation + 1);
            let payload = request_of(number);
            end.slots.begin(slot, generation);
            let descriptor = Descriptor::new(Kind::Request, Flags::END, slot, generation, number);
            let filled = |into: &mut [u8]| fill(into, &payload);
            let sent = if sends_file(number) {
                let file = file_of(number);
                let with = (&end.files.0, file.as_fd());
                end.requests.send_with_file(with, descriptor, payload.len(), filled)
            } else {
                end.requests.send(descriptor, payload.len(), filled)
            };
            match sent {
                Ok(()) => {}
                Err(NotSent::NoSpace) if end.requests.starve() => return,
                Err(NotSent::NoSpace) => continue,
                // Its end went with the worker.
                Err(NotSent::FilesClosed) => return,
                Err(other) => panic!("{other}"),
            }
            self.generation = generation;
            self.waiting.pop_front();
            self.slot_used[usize::from(slot)] = Some(number);
            let job = &mut self.jobs[number as usize];
            (job.state, job.slot, job.generation) = (JobState::Sent, slot, generation);
        }
    }

    /// The worker is dead: what it sent counts, the rest is told by the slots.
    fn recover(&mut self, end: &mut FrontEnd, ran: &[u64]) {
        self.receive(end);
        assert!(!end.requests.is_broken());
        for used in &mut self.slot_used {
            let Some(number) = used.take() else { continue };
            let job = &mut self.jobs[number as usize];
            let has_run = ran.contains(&number);
            match end.slots.state(job.slot, job.generation) {
                SlotState::Queued => {
                    assert!(!has_run && job.got.is_empty(), "{number} was not started");
                    job.state = JobState::Waiting;
                    self.waiting.push_back(number);
                }
                SlotState::Running | SlotState::Done => {
                    assert!(has_run, "{number} was started");
                    job.state = JobState::Lost;
                }
                state => panic!("job {number} is {state:?}"),
            }
        }
    }
}

impl Worker {
    fn turn(&mut self, front: &mut Sleeper, own: &mut Sleeper) {
        self.requests.awake();
        let mut more = false;
        for taken in 0..=self.batch {
            if !self.send(front) {
                // It sleeps in the middle of its work, as a thread does for space.
                own.asleep = true;
                return;
            }
            more = taken < self.batch && self.take();
            if !more {
                break;
            }
        }
        front.rung |= self.requests.release();
        front.rung |= self.responses.must_wake();
        own.asleep = self.requests.prepare_sleep().unwrap() && !more;
    }

    /// Takes one request and prepares its answer.
    fn take(&mut self) -> bool {
        let Some(request) = self.requests.receive().unwrap() else { return false };
        let number = request.aux;
        // SAFETY: the front leaves it alone until it is released.
        let payload = unsafe { self.requests.payload(&request) };
        assert_eq!(payload, request_of(number), "torn request {number}");
        let Descriptor { slot, generation, .. } = request;
        if sends_file(number) {
            let is_live = |slot, generation| {
                matches!(self.slots.state(slot, generation), SlotState::Queued | SlotState::Running)
            };
            let file = self.files.1.take(slot, generation, is_live);
            assert_file_of(number, &file.expect("a file is there before its descriptor"));
        }
        if !self.slots.start(request.slot, request.generation) {
            return true;
        }
        self.ran.push(number);
        let pieces = response_pieces(number);
        let last = pieces.len() - 1;
        for (index, piece) in pieces.into_iter().enumerate() {
            let kind = if index == 0 { Kind::Response } else { Kind::ResponseBody };
            let ends = if index == last { Flags::END } else { Flags::NONE };
            let done = if index == last && number % 2 == 0 { Flags::DONE } else { Flags::NONE };
            let flags = ends.with(done);
            let piece_of = Descriptor::new(kind, flags, request.slot, request.generation, number);
            self.outbox.push_back((piece_of, piece));
        }
        if answers_with_file(number) {
            let file = Descriptor::new(Kind::File, Flags::NONE, slot, generation, number);
            self.outbox.push_back((file, Vec::new()));
        }
        if number % 2 == 1 {
            let done = Descriptor::new(Kind::Done, Flags::DONE, slot, generation, number);
            self.outbox.push_back((done, Vec::new()));
        }
        true
    }

    /// Sends what it has. False: there is no room, the front will ring.
    fn send(&mut self, front: &mut Sleeper) -> bool {
        while let Some((descriptor, payload)) = self.outbox.front() {
            let filled = |into: &mut [u8]| fill(into, payload);
            let sent = if descriptor.kind == Kind::File {
                let file = file_of(descriptor.aux);
                let with = (&self.files.0, file.as_fd());
                self.responses.send_with_file(with, *descriptor, payload.len(), filled)
            } else {
                self.responses.send(*descriptor, payload.len(), filled)
            };
            if sent.is_ok() {
                if descriptor.flags.has(Flags::DONE) {
                    self.slots.finish(descriptor.slot, descriptor.generation);
                }
                self.outbox.pop_front();
            } else if self.responses.starve() {
                front.rung |= self.responses.must_wake();
                return false;
            }
        }
        true
    }
}

/// Runs both sides until all jobs are over; nobody dies.
fn run_to_the_end(world: &mut World, front: &mut Front) {
    for _ in 0..TURNS_MAX {
        if front.is_finished() {
            return;
        }
        assert!(
            world.front_sleeper.is_ready() || world.worker_sleeper.is_ready(),
            "both sides sleep and nobody will wake them"
        );
        if world.front_sleeper.is_ready() {
            world.front_turn(front);
        }
        if world.worker_sleeper.is_ready() {
            world.worker_turn();
        }
    }
    panic!("it goes on for ever");
}

/// Runs until the worker has done so many steps. Returns the steps it did not need.
fn kill_worker_after(mut steps_left: u64, batch: usize) -> u64 {
    let (mut world, mut front) = (World::new(batch), Front::new());
    while !front.is_finished() {
        if world.front_sleeper.is_ready() {
            world.front_turn(&mut front);
        }
        if world.worker_sleeper.is_ready()
            && steps::run(&mut steps_left, || world.worker_turn()).is_none()
        {
            front.recover(&mut world.front_end, &world.worker.ran);
            // The next worker does what is left.
            run_to_the_end(&mut World::new(batch), &mut front);
            break;
        }
    }
    let lost = front.jobs.iter().filter(|job| job.state == JobState::Lost).count();
    assert!(lost <= batch.min(SLOTS_USED.into()), "only what was started can be lost: {lost}");
    steps_left
}

/// Runs until the front has done so many steps. Returns the steps it did not need.
fn kill_front_after(mut steps_left: u64, batch: usize) -> u64 {
    let (mut world, mut front) = (World::new(batch), Front::new());
    while !front.is_finished() {
        if world.front_sleeper.is_ready()
            && steps::run(&mut steps_left, || world.front_turn(&mut front)).is_none()
        {
            for _ in 0..TURNS_MAX {
                if !world.worker_sleeper.is_ready() {
                    return 0;
                }
                world.worker_turn();
            }
            panic!("the worker never comes to rest");
        }
        if world.worker_sleeper.is_ready() {
            world.worker_turn();
        }
    }
    steps_left
}

/// Kills before each step of a run.
fn at_every_step(kill_after: impl Fn(u64, usize) -> u64) {
    // Miri is slow, so it sees a sample of the steps.
    let stride = if cfg!(miri) { 499 } else { 1 };
    for batch in [1, 2, 100] {
        let steps = FOR_EVER - kill_after(FOR_EVER, batch);
        assert!(steps > 200, "a run worth the name: {steps} steps");
        for after in (0..steps).step_by(stride) {
            kill_after(after, batch);
        }
    }
}

#[test]
fn a_conversation_with_full_rings_and_reclaims_ends() {
    for batch in [1, 2, 3, 100] {
        let (mut world, mut front) = (World::new(batch), Front::new());
        run_to_the_end(&mut world, &mut front);
        assert!(front.jobs.iter().all(|job| job.state == JobState::Done));
        let mut ran = world.worker.ran;
        ran.sort_unstable();
        assert!(ran.iter().copied().eq(0..JOBS), "each ran exactly once");
    }
}

#[test]
fn a_worker_killed_before_any_step_leaves_every_request_accounted_for() {
    at_every_step(kill_worker_after);
}

#[test]
fn a_front_killed_before_any_step_leaves_a_worker_that_comes_to_rest() {
    at_every_step(kill_front_after);
}
