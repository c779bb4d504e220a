//! The tables of all processes: which there are, and what those held that are gone.
//!
//! A process that ends leaves its table here until nobody can write to it: a child that the application has forked may
//! outlive its worker, and goes on counting. What a zygote has set (a gauge at the import of a preloaded application)
//! counts as long as its generation has a process.

use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indrik_core::app_metrics::{LOSSES, PoolNumbers, Row, Source, Totals, pools};
use indrik_core::ids::{Generation, WorkerId};
use indrik_core::metrics::Family;
use indrik_ring::{TableCopy, TableMemory};
use parking_lot::Mutex;

/// The label of what is each worker's own.
const WORKER: &str = "worker";
/// Tables of processes that have ended and left children behind; beyond them the oldest counts as it is.
const LEFT_BEHIND_MAX: usize = 64;

/// Pools of connections by library and name.
pub(crate) type PoolsOfTable = BTreeMap<(String, String), PoolNumbers>;

/// Whose table it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A worker's, and its place as the supervisor counts.
    Worker(WorkerId, u32),
    /// The zygote of a generation.
    Zygote,
}

/// A process' table, as long as the process is known: when this is dropped it has ended.
pub(crate) struct Lease {
    of: Arc<Tables>,
    memory: Arc<TableMemory>,
    number: u64,
}

impl Lease {
    pub(super) fn new(
        of: Arc<Tables>,
        owner: Owner,
        generation: Generation,
        bytes: usize,
    ) -> io::Result<Self> {
        let memory = Arc::new(TableMemory::create(bytes)?);
        let number = of.begin(owner, generation, Arc::clone(&memory));
        Ok(Self { of, memory, number })
    }

    /// The descriptor for the process.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }

    /// The worker is its generation's zygote from now on.
    pub(crate) fn turn_zygote(&self) {
        self.of.note(Note::Turned(self.number));
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.of.note(Note::Ended(self.number));
    }
}

/// What the loop says.
enum Note {
    Begun(Held),
    Turned(u64),
    Ended(u64),
}

/// A table that counts.
struct Held {
    number: u64,
    owner: Owner,
    generation: Generation,
    memory: Arc<TableMemory>,
    has_ended: bool,
}

/// All tables.
pub(super) struct Tables {
    /// What the loop has said and nobody has acted on yet. Held for moments only.
    notes: Mutex<Notes>,
    state: Mutex<State>,
    /// The newest generation that has the server for good.
    serving: AtomicU64,
}

#[derive(Default)]
struct Notes {
    last: u64,
    waiting: Vec<Note>,
}

struct State {
    held: Vec<Held>,
    totals: Totals,
    /// What tables had lost that are gone.
    lost: [u64; LOSSES.len()],
}

impl Tables {
    pub(super) fn new(series_max: usize) -> Self {
        Self {
            serving: AtomicU64::new(0),
            notes: Mutex::new(Notes::default()),
            state: Mutex::new(State {
                held: Vec::new(),
                totals: Totals::new(series_max, WORKER),
                lost: [0; LOSSES.len()],
            }),
        }
    }

    /// This generation has the server for good.
    pub(super) fn serves(&self, generation: Generation) {
        self.serving.fetch_max(generation.0, Ordering::Relaxed);
    }

    fn begin(&self, owner: Owner, generation: Generation, memory: Arc<TableMemory>) -> u64 {
        let mut notes = self.notes.lock();
        notes.last += 1;
        let number = notes.last;
        let held = Held { number, owner, generation, memory, has_ended: false };
        notes.waiting.push(Note::Begun(held));
        number
    }

    /// Whoever looks at this moment acts on it afterwards, so the loop does not wait for that.
    fn note(&self, note: Note) {
        self.notes.lock().waiting.push(note);
        self.settle_unless_busy();
    }

    fn settle_unless_busy(&self) {
        while !self.notes.lock().waiting.is_empty() {
            let Some(mut state) = self.state.try_lock() else { return };
            self.settle(&mut state);
        }
    }

    fn settle(&self, state: &mut State) {
        state.totals.serves(self.serving.load(Ordering::Relaxed));
        let notes = mem::take(&mut self.notes.lock().waiting);
        for note in notes {
            state.take(note);
        }
        state.fold_what_is_final();
    }

    /// The pools of connections of each worker, by library and name.
    pub(super) fn pools(&self) -> Vec<(WorkerId, PoolsOfTable)> {
        let found = {
            let mut state = self.state.lock();
            self.settle(&mut state);
            state.held.iter().filter_map(Held::pools).collect()
        };
        self.settle_unless_busy();
        found
    }

    /// What was counted, and what was lost.
    pub(super) fn families(&self, series_max: usize) -> (Vec<Family>, [u64; LOSSES.len()]) {
        let result = {
            let mut state = self.state.lock();
            state.totals.limit(series_max);
            self.settle(&mut state);
            state.look()
        };
        // What the loop has said meanwhile.
        self.settle_unless_busy();
        result
    }
}

impl State {
    fn take(&mut self, note: Note) {
        match note {
            Note::Begun(held) => self.held.push(held),
            Note::Turned(number) => {
                if let Some(held) = self.held.iter_mut().find(|held| held.number == number) {
                    held.owner = Owner::Zygote;
                }
            }
            Note::Ended(number) => {
                if let Some(held) = self.held.iter_mut().find(|held| held.number == number) {
                    held.has_ended = true;
                }
            }
        }
    }

    fn fold_what_is_final(&mut self) {
        let ended = self.held.iter().filter(|held| held.has_ended && !self.speaks_on(held)).count();
        let mut too_many = ended.saturating_sub(LEFT_BEHIND_MAX);
        let (mut kept, mut folded) = (Vec::new(), Vec::new());
        let over: Vec<bool> = self
            .held
            .iter()
            .map(|held| {
                let is_over = held.has_ended
                    && !self.speaks_on(held)
                    && (held.memory.is_final() || too_many > 0);
                too_many = too_many.saturating_sub(usize::from(is_over));
                is_over
            })
            .collect();
        for (held, is_over) in mem::take(&mut self.held).into_iter().zip(over) {
            if is_over { folded.push(held) } else { kept.push(held) }
        }
        self.held = kept;
        for held in folded {
            self.fold(&held);
        }
    }

    /// A zygote that has ended, the last of its generation, while that has workers.
    fn speaks_on(&self, held: &Held) -> bool {
        let mut others = self
            .held
            .iter()
            .filter(|other| other.generation == held.generation && other.number != held.number);
        let is_newer_zygote =
            |other: &Held| other.owner == Owner::Zygote && other.number > held.number;
        held.owner == Owner::Zygote
            && others.clone().any(|other| !other.has_ended)
            && !others.any(is_newer_zygote)
    }

    fn fold(&mut self, held: &Held) {
        let Some(copy) = Self::copy(held) else { return };
        for (total, lost) in self.lost.iter_mut().zip(copy.losses()) {
            *total = total.saturating_add(lost);
        }
        let (rows, is_sound) = rows(&copy);
        self.totals.fold(held.source(false), &rows, is_sound);
    }

    fn look(&mut self) -> (Vec<Family>, [u64; LOSSES.len()]) {
        self.totals.begin();
        let mut lost = self.lost;
        for held in mem::take(&mut self.held) {
            if let Some(copy) = Self::copy(&held) {
                for (total, lost) in lost.iter_mut().zip(copy.losses()) {
                    *total = total.saturating_add(lost);
                }
                let is_alive =
                    !held.has_ended || self.speaks_on(&held) || held.owner == Owner::Zygote;
                let (rows, is_sound) = rows(&copy);
                self.totals.add(held.source(is_alive), &rows, is_sound);
            }
            self.held.push(held);
        }
        for (total, lost) in lost.iter_mut().zip(self.totals.lost()) {
            *total = total.saturating_add(lost);
        }
        (self.totals.families(), lost)
    }

    /// None: it is empty, as most are, or cannot be read now.
    fn copy(held: &Held) -> Option<TableCopy> {
        let copy = held.memory.copy().ok()?;
        (!copy.is_empty()).then_some(copy)
    }
}

/// What a table holds, and whether all of it makes sense.
fn rows(copy: &TableCopy) -> (Vec<Row<'_>>, bool) {
    let mut rows = Vec::new();
    let is_sound =
        copy.each(|row| rows.push(Row { key: row.key, extra: row.extra, cells: row.cells }));
    (rows, is_sound)
}

impl Held {
    /// The pools of a living worker, if it has some.
    fn pools(&self) -> Option<(WorkerId, PoolsOfTable)> {
        let Owner::Worker(id, _) = self.owner else { return None };
        let copy = State::copy(self).filter(|_| !self.has_ended)?;
        let pools = pools(&rows(&copy).0);
        (!pools.is_empty()).then_some((id, pools))
    }

    fn source(&self, is_alive: bool) -> Source {
        let place = match self.owner {
            Owner::Worker(_, place) => Some(place),
            Owner::Zygote => None,
        };
        Source { place, generation: self.generation.0, is_alive }
    }
}
