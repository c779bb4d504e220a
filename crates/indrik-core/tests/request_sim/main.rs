//! Seeded simulation of one request whose body comes in pieces: client, front, workers and applications that read,
//! answer, die and leave in every order. What must hold: an application that asks for the body gets it whole and in
//! order, every request ends, and nobody waits for ever. A failing seed is named and replays exactly:
//! `make simulate SEED=n`.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../support/random.rs"]
mod random;
#[path = "../support/seeds.rs"]
mod seeds;

use std::collections::VecDeque;

use indrik_core::upload::{Kept, Step, Taker, Upload};
use random::Random;
use seeds::seeds;

/// Requests of each seed.
const REQUESTS: usize = 40;
const PIECES_MAX: usize = 12;
/// Pieces that are kept for another worker, as bytes of one each.
const KEPT_MAX: usize = 8;
/// Pieces that may lie between the front and the application.
const WINDOW: usize = 3;
/// As the front: a request is run again once.
const WORKERS_MAX: usize = 2;
/// Far more than any request needs.
const STEPS_MAX: usize = 20_000;

/// What an application does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// Reads one message.
    Read,
    /// Begins its answer.
    Begin,
    /// Sends more of it.
    Write,
    /// Sends the end of it.
    End,
    Die,
}

/// What a worker sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    BodyWanted,
    Head { whole: bool },
    Body { end: bool },
    Done,
    Lost,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Answered,
    /// An error response, or an answer that breaks off.
    Failed,
    Left,
}

#[derive(Debug)]
struct App {
    plan: VecDeque<Act>,
    /// What the front has sent and it has not taken: pieces, then `None` for the end.
    here: VecDeque<Option<usize>>,
    read: usize,
    had_end: bool,
    asked: bool,
    began: bool,
    ended: bool,
}

impl App {
    fn random(random: &mut Random) -> Self {
        let mut plan = VecDeque::new();
        for _ in 0..random.below(2 * PIECES_MAX) {
            plan.push_back(if random.percent(75) { Act::Read } else { Act::Write });
        }
        plan.insert(random.below(plan.len() + 1), Act::Begin);
        if random.percent(40) {
            // It reads to the end, whatever it has said before.
            plan.extend([Act::Read; PIECES_MAX + 2]);
        }
        if random.percent(25) {
            plan.insert(random.below(plan.len() + 1), Act::Die);
        }
        plan.push_back(Act::End);
        Self {
            plan,
            here: VecDeque::new(),
            read: 0,
            had_end: false,
            asked: false,
            began: false,
            ended: false,
        }
    }
}

struct World {
    seed: u64,
    random: Random,
    // The client.
    pieces: usize,
    arrived: usize,
    waits_to_be_asked: bool,
    breaks_off: bool,
    // The front.
    upload: Upload,
    kept: Kept<usize>,
    piece: Option<usize>,
    next_piece: usize,
    sends: bool,
    sent_end: bool,
    was_asked: bool,
    taker: Taker,
    inbox: VecDeque<Event>,
    answers: bool,
    is_discarding: bool,
    end: Option<End>,
    // The worker.
    workers: usize,
    app: Option<App>,
}

impl World {
    fn new(seed: u64, random: &mut Random) -> Self {
        let mut random = Random::new(random.between(1, u64::MAX - 1));
        let (to_be_asked, in_line) = (random.percent(25), random.percent(60));
        let app = App::random(&mut random);
        Self {
            seed,
            pieces: random.below(PIECES_MAX + 1),
            arrived: 0,
            waits_to_be_asked: to_be_asked,
            breaks_off: random.percent(10),
            upload: Upload::new(to_be_asked, in_line && !to_be_asked),
            kept: Kept::new(0, KEPT_MAX),
            piece: None,
            next_piece: 0,
            sends: false,
            sent_end: false,
            was_asked: false,
            taker: Taker::Application,
            inbox: VecDeque::new(),
            answers: false,
            is_discarding: false,
            end: None,
            workers: 1,
            app: Some(app),
            random,
        }
    }

    fn run(&mut self) -> End {
        let leaves_at = if self.random.percent(10) { self.random.below(60) } else { usize::MAX };
        for step in 0..STEPS_MAX {
            if step == leaves_at && self.end.is_none() {
                self.end = Some(End::Left);
            }
            if let Some(end) = self.end {
                return end;
            }
            let first = self.random.below(4);
            // A part that has nothing to do leaves its turn to the next one.
            let moved = (first..first + 4).any(|part| match part % 4 {
                0 => self.client(),
                1 => self.pump(),
                2 => self.front(),
                _ => self.application(),
            });
            let seed = self.seed;
            let is_quiet = !moved && self.end.is_none();
            assert!(!is_quiet, "seed {seed}: everybody waits: {:?} {:?}", self.upload, self.app);
        }
        panic!("seed {}: it goes on for ever", self.seed);
    }

    /// Sends a piece when it may. Returns whether it does anything, or could.
    fn client(&mut self) -> bool {
        if self.waits_to_be_asked && !self.was_asked {
            return false;
        }
        let left = self.arrived < self.pieces && !(self.breaks_off && self.arrived > 2);
        self.arrived += usize::from(left);
        left
    }

    /// The front reads from the client and sends to the application.
    fn pump(&mut self) -> bool {
        if !self.sends {
            return self.is_discarding && std::mem::take(&mut self.is_discarding);
        }
        if !std::mem::replace(&mut self.was_asked, true) {
            return true;
        }
        match self.taker {
            Taker::Application => self.send(),
            Taker::NobodyYet => false,
            Taker::Nobody => self.throw_away(),
        }
    }

    /// What has come is thrown away, whoever may want it later.
    fn throw_away(&mut self) -> bool {
        let has_some = self.piece.take().is_some() || self.next_piece < self.arrived;
        self.next_piece = self.arrived;
        has_some
    }

    fn send(&mut self) -> bool {
        let Some(app) = &mut self.app else { return false };
        if let Some(piece) = self.piece {
            if app.here.len() >= WINDOW {
                return false;
            }
            app.here.push_back(Some(piece));
            self.piece = None;
        } else if let Some(piece) = self.kept.again() {
            self.piece = Some(piece);
        } else if self.next_piece < self.arrived {
            self.kept.take(&self.next_piece, 1);
            self.piece = Some(self.next_piece);
            self.next_piece += 1;
        } else if self.next_piece == self.pieces && !self.sent_end {
            app.here.push_back(None);
            self.sent_end = true;
        } else if self.breaks_off && self.arrived > 2 && self.next_piece < self.pieces {
            // A broken body never looks like a whole one.
            self.end = Some(End::Failed);
        } else {
            return false;
        }
        true
    }

    /// The connection's task takes one event.
    fn front(&mut self) -> bool {
        let Some(event) = self.inbox.pop_front() else { return false };
        match event {
            Event::BodyWanted => {
                let step = self.upload.wanted();
                self.perform(step);
            }
            Event::Head { whole: true } | Event::Body { end: true } => {
                let step = self.upload.answer_ends(self.random.percent(50));
                self.perform(step);
                self.end = Some(End::Answered);
            }
            Event::Head { whole: false } => {
                self.answers = true;
                let step = self.upload.answer_begins();
                self.perform(step);
            }
            Event::Body { end: false } => {}
            Event::Done => self.end = Some(End::Failed),
            Event::Lost => self.lost(),
        }
        true
    }

    fn lost(&mut self) {
        let step = self.upload.worker_lost();
        self.perform(step);
        if self.answers || self.workers >= WORKERS_MAX || !self.kept.is_whole() {
            self.end = Some(End::Failed);
            return;
        }
        self.workers += 1;
        self.taker = Taker::Application;
        self.app = Some(App::random(&mut self.random));
    }

    fn perform(&mut self, step: Step) {
        match step {
            Step::Nothing => {}
            Step::Send | Step::SendOnce => {
                assert!(self.kept.is_whole(), "seed {}: the beginning is gone", self.seed);
                self.kept.begin_again();
                (self.piece, self.sent_end, self.sends) = (None, false, true);
                if step == Step::SendOnce {
                    self.kept.let_go();
                }
            }
            Step::LetGo => self.kept.let_go(),
            Step::Stop => self.sends = false,
            Step::Discard => (self.sends, self.is_discarding) = (false, true),
            Step::Drop => self.sends = false,
        }
    }

    /// The application takes a step. False: it waits.
    fn application(&mut self) -> bool {
        let Some(app) = &mut self.app else { return false };
        let Some(act) = app.plan.front().copied() else {
            if !app.ended {
                app.ended = true;
                self.taker = Taker::Nobody;
                self.inbox.push_back(Event::Done);
                return true;
            }
            return false;
        };
        match act {
            Act::Read if app.had_end => {}
            Act::Read => {
                let Some(message) = app.here.pop_front() else {
                    if !std::mem::replace(&mut app.asked, true) {
                        self.inbox.push_back(Event::BodyWanted);
                        return true;
                    }
                    return false;
                };
                match message {
                    Some(piece) => {
                        let expected = app.read;
                        assert_eq!(piece, expected, "seed {}: a hole, or twice", self.seed);
                        app.read += 1;
                    }
                    None => {
                        assert_eq!(app.read, self.pieces, "seed {}: a short body", self.seed);
                        app.had_end = true;
                    }
                }
            }
            Act::Begin => {
                app.began = true;
                let whole = app.plan.iter().all(|act| *act == Act::Begin || *act == Act::End);
                self.inbox.push_back(Event::Head { whole });
                if whole {
                    app.ended = true;
                    self.taker = Taker::Nobody;
                    app.plan.clear();
                }
            }
            Act::Write if app.began => self.inbox.push_back(Event::Body { end: false }),
            Act::Write => {}
            Act::End => {
                self.inbox.push_back(Event::Body { end: true });
                self.taker = Taker::Nobody;
                app.ended = true;
            }
            Act::Die => {
                self.app = None;
                // Long before anybody is told.
                self.taker = Taker::NobodyYet;
                self.inbox.push_back(Event::Lost);
                return true;
            }
        }
        app.plan.pop_front();
        true
    }
}

#[test]
fn an_application_that_asks_for_the_body_gets_it_whole_whatever_happens_in_which_order() {
    let mut answered = 0;
    for seed in seeds() {
        let mut random = Random::new(seed);
        for _ in 0..REQUESTS {
            let end = World::new(seed, &mut random).run();
            answered += usize::from(end == End::Answered);
        }
    }
    assert!(answered > 0);
}
