//! Bodies that are sent in pieces through one channel with little room: clients come and leave, the worker takes
//! what lies there now and then. Tasks run in the order in which they were woken, as in the front.

use std::collections::{BTreeSet, VecDeque};

use indrik_core::dispatch::Line;

use crate::random::Random;

const ROOM: usize = 16;
const PIECE_MAX: usize = 4;
const UPLOADS: usize = 40;
/// While one waits, each other one may send so many pieces: a turn before it, and one that it was about to have.
const OVERTAKEN_MAX: usize = 4;

#[derive(Default)]
struct Upload {
    piece: usize,
    /// Pieces that each of the others has sent since it stands in line, while it does.
    passed: Option<Vec<usize>>,
    is_asleep: bool,
    is_gone: bool,
}

pub(crate) struct World {
    seed: u64,
    random: Random,
    line: Line<usize>,
    uploads: Vec<Upload>,
    woken: VecDeque<usize>,
    /// Pieces that the worker has not taken.
    ring: VecDeque<usize>,
    wants_room: bool,
    served: BTreeSet<usize>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let piece = |random: &mut Random| 1 + random.below(PIECE_MAX);
        let uploads = (0..UPLOADS)
            .map(|_| Upload { piece: piece(&mut random), ..Upload::default() })
            .collect();
        Self {
            seed,
            random,
            line: Line::default(),
            uploads,
            woken: (0..UPLOADS).collect(),
            ring: VecDeque::new(),
            wants_room: false,
            served: BTreeSet::new(),
        }
    }

    pub(crate) fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            match self.random.below(100) {
                0 => self.leaves(),
                1..30 => self.worker_takes(),
                _ => self.task_runs(),
            }
            self.check();
        }
    }

    /// Everybody who did not leave has sent something.
    pub(crate) fn assert_all_served(&self) {
        for (who, upload) in self.uploads.iter().enumerate() {
            let served = upload.is_gone || self.served.contains(&who);
            assert!(served, "seed {}: {who} never sent a piece", self.seed);
        }
    }

    fn task_runs(&mut self) {
        let Some(who) = self.woken.pop_front() else { return };
        self.uploads[who].is_asleep = true;
        if self.uploads[who].is_gone {
            return;
        }
        if !self.line.may_send(who) {
            return self.waits(who);
        }
        let piece = self.uploads[who].piece;
        if self.ring.iter().sum::<usize>() + piece > ROOM {
            self.line.found_no_room(who);
            self.wants_room = true;
            return self.waits(who);
        }
        self.ring.push_back(piece);
        self.served.insert(who);
        for upload in &mut self.uploads {
            upload.passed.iter_mut().for_each(|passed| passed[who] += 1);
        }
        self.uploads[who].passed = None;
        self.uploads[who].piece = 1 + self.random.below(PIECE_MAX);
        self.line.sent(who);
        self.call();
        self.wake(who);
    }

    fn waits(&mut self, who: usize) {
        self.uploads[who].passed.get_or_insert_with(|| vec![0; UPLOADS]);
    }

    fn worker_takes(&mut self) {
        let count = self.random.below(self.ring.len() + 1);
        self.ring.drain(..count);
        if count > 0 && std::mem::take(&mut self.wants_room) {
            self.call();
        }
    }

    fn leaves(&mut self) {
        let who = self.random.below(UPLOADS);
        // Some stay, or nobody would be left to be overtaken.
        if who.is_multiple_of(2) {
            self.uploads[who] = Upload { is_gone: true, ..Upload::default() };
            self.line.leave(who);
            self.call();
        }
    }

    fn call(&mut self) {
        if self.wants_room {
            return;
        }
        let called: Vec<usize> = self.line.call().collect();
        called.into_iter().for_each(|who| self.wake(who));
    }

    fn wake(&mut self, who: usize) {
        if std::mem::take(&mut self.uploads[who].is_asleep) {
            self.woken.push_back(who);
        }
    }

    fn check(&self) {
        let seed = self.seed;
        let waits = !self.line.is_empty() && !self.wants_room;
        assert!(!waits || !self.woken.is_empty(), "seed {seed}: nobody is told that there is room");
        for (who, upload) in self.uploads.iter().enumerate() {
            let most = upload.passed.as_ref().and_then(|passed| passed.iter().max());
            let most = most.copied().unwrap_or_default();
            assert!(most <= OVERTAKEN_MAX, "seed {seed}: {who} was passed {most} times");
        }
    }
}
