//! What went through a ring last, for whoever looks at the channel of a process that has ended.
//!
//! Nothing is kept for it: descriptors and payloads lie in the memory until others take their place, and a ring that
//! was emptied goes on behind what it had, for a while ([`crate::ring::KEPT_BYTES`]). Either side may have
//! written anything there, so all of it is looked at like what comes from a stranger.

use crate::ring::{Receiver, RingMemory, Sender};
use crate::wire::{Descriptor, Kind};

/// A descriptor that went, and what lay beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recent {
    /// It.
    pub descriptor: Descriptor,
    /// Its payload, shortened; `None` where something else was written over it.
    pub payload: Option<Vec<u8>>,
}

/// How much is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Descriptors of this kind only.
    pub kind: Option<Kind>,
    /// So many of them.
    pub most: usize,
    /// So many bytes of each payload.
    pub payload_max: usize,
}

impl Sender {
    /// What was sent last, the last first.
    #[must_use]
    pub fn recent(&self, wanted: Wanted) -> Vec<Recent> {
        recent(self.memory(), self.sent(), wanted)
    }
}

impl Receiver {
    /// What was received last, the last first.
    #[must_use]
    pub fn recent(&self, wanted: Wanted) -> Vec<Recent> {
        recent(self.memory(), self.received(), wanted)
    }
}

fn recent(memory: &RingMemory, end: u64, wanted: Wanted) -> Vec<Recent> {
    let first = end.saturating_sub(u64::from(memory.cell_count));
    let mut found = Vec::new();
    let mut taken: Vec<(u64, u64)> = Vec::new();
    for number in (first..end).rev() {
        if found.len() >= wanted.most {
            break;
        }
        let Some(descriptor) = Descriptor::load(memory.cell(number)) else { continue };
        if descriptor.kind.direction() != memory.direction {
            continue;
        }
        let (from, len) = (u64::from(descriptor.offset), u64::from(descriptor.len));
        let to = from + len;
        if to > u64::from(memory.area_len) {
            continue;
        }
        if wanted.kind.is_none_or(|kind| kind == descriptor.kind) {
            let is_whole = !taken.iter().any(|(start, end)| from < *end && *start < to);
            let shown = (len as usize).min(wanted.payload_max);
            let payload = is_whole.then(|| memory.copy(descriptor.offset, shown));
            found.push(Recent { descriptor, payload });
        }
        if len != 0 {
            taken.push((from, to));
        }
    }
    found
}
