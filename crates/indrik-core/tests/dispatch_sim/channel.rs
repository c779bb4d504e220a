//! A fake channel: the ring of requests, the table of slots, and the socket that files are handed over by.
//!
//! What it does in which order is as in `indrik-ring`: room is reserved, the file handed over, the descriptor
//! committed; a file is found by the use of the slot that it belongs to. It is small, so that each of its parts is
//! often full.

use std::collections::VecDeque;

/// As in the ring: files of other live requests that a receiver keeps while it looks for one.
const FILES_KEPT_MAX: usize = 64;

/// How much a channel holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) cells: usize,
    pub(crate) files: usize,
}

impl Sizes {
    /// More than any request ever needs.
    pub(crate) const AMPLE: Self = Self { cells: 1024, files: 256 };
}

/// Why a request was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotSent {
    /// There is no slot, no room in the ring, or none for its file, at the moment.
    ForNow,
    /// The worker is gone.
    Broken,
}

/// One use of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    slot: usize,
    generation: u32,
}

/// The files of one direction; a file is named by its request.
#[derive(Debug)]
pub(crate) struct Files {
    under_way: VecDeque<(Use, usize)>,
    kept: VecDeque<(Use, usize)>,
    max: usize,
}

impl Files {
    fn new(max: usize) -> Self {
        Self { under_way: VecDeque::new(), kept: VecDeque::new(), max }
    }

    /// False: the socket is full.
    pub(crate) fn hand_over(&mut self, of: Use, file: usize) -> bool {
        let has_room = self.under_way.len() < self.max;
        if has_room {
            self.under_way.push_back((of, file));
        }
        has_room
    }

    /// The file of one use of a slot; those of others that are live are kept, what nobody waits for is closed.
    fn take(&mut self, of: Use, is_live: impl Fn(Use) -> bool) -> Option<usize> {
        if let Some(at) = self.kept.iter().position(|(other, _)| *other == of) {
            return self.kept.remove(at).map(|(_, file)| file);
        }
        while let Some((other, file)) = self.under_way.pop_front() {
            if other == of {
                return Some(file);
            }
            if is_live(other) {
                self.kept.push_back((other, file));
            }
        }
        assert!(self.kept.len() <= FILES_KEPT_MAX, "files of nobody are kept");
        None
    }
}

/// What a worker takes from its ring.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) request: usize,
    /// What it was told to find a file for, and which it found.
    pub(crate) file: Option<Option<usize>>,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    generation: u32,
    request: Option<usize>,
}

#[derive(Debug)]
pub(crate) struct Channel {
    cells: VecDeque<(Use, bool)>,
    cells_max: usize,
    slots: Vec<Slot>,
    free: Vec<usize>,
    to_worker: Files,
    pub(crate) to_front: Files,
}

impl Channel {
    pub(crate) fn new(slots: usize, sizes: Sizes) -> Self {
        Self {
            cells: VecDeque::new(),
            cells_max: sizes.cells,
            slots: vec![Slot::default(); slots],
            free: (0..slots).rev().collect(),
            to_worker: Files::new(sizes.files),
            to_front: Files::new(sizes.files),
        }
    }

    /// Sends a request: reserve, hand over, commit. `dies`: the worker does, after the file was handed over.
    pub(crate) fn push(
        &mut self,
        request: usize,
        with_file: bool,
        dies: bool,
    ) -> Result<(), NotSent> {
        let slot = self.free.pop().ok_or(NotSent::ForNow)?;
        let of = Use { slot, generation: self.slots[slot].generation + 1 };
        let sent = self.push_in(of, request, with_file, dies);
        if sent.is_err() {
            self.free.push(slot);
        }
        sent
    }

    fn push_in(
        &mut self,
        of: Use,
        request: usize,
        with_file: bool,
        dies: bool,
    ) -> Result<(), NotSent> {
        if self.cells.len() >= self.cells_max {
            return Err(NotSent::ForNow);
        }
        if with_file && !self.to_worker.hand_over(of, request) {
            return Err(NotSent::ForNow);
        }
        if dies {
            return Err(NotSent::Broken);
        }
        self.cells.push_back((of, with_file));
        self.slots[of.slot] = Slot { generation: of.generation, request: Some(request) };
        Ok(())
    }

    /// The worker takes the next descriptor. `None`: there is none; `Some(None)`: its request was taken back.
    pub(crate) fn take(&mut self) -> Option<Option<Taken>> {
        let (of, with_file) = self.cells.pop_front()?;
        let slots = &self.slots;
        let is_live = |of: Use| {
            slots[of.slot].generation == of.generation && slots[of.slot].request.is_some()
        };
        if !is_live(of) {
            return Some(None);
        }
        let file = with_file.then(|| self.to_worker.take(of, is_live));
        Some(slots[of.slot].request.map(|request| Taken { request, file }))
    }

    /// The use of a slot that a request has.
    pub(crate) fn use_of(&self, request: usize) -> Option<Use> {
        let slot = self.slots.iter().position(|slot| slot.request == Some(request))?;
        Some(Use { slot, generation: self.slots[slot].generation })
    }

    /// The front takes the file that an answer names.
    pub(crate) fn take_answer(&mut self, of: Use) -> Option<usize> {
        let slots = &self.slots;
        self.to_front.take(of, |of| {
            slots[of.slot].generation == of.generation && slots[of.slot].request.is_some()
        })
    }

    /// A request's slot is free: it was answered, or taken back.
    pub(crate) fn free(&mut self, request: usize) {
        let Some(of) = self.use_of(request) else { return };
        self.slots[of.slot].request = None;
        self.free.push(of.slot);
    }

    /// The worker has taken everything.
    pub(crate) fn is_drained(&self) -> bool {
        self.cells.is_empty()
    }
}
