//! How far the change of a warm worker into the zygote is.

use std::collections::BTreeMap;

use crate::ids::WorkerId;

/// How far a refork is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Requests are counted.
    #[default]
    Counting,
    /// This worker was chosen; its successor boots, then it finishes what it has.
    Leaving(WorkerId),
    /// It was told to become a zygote.
    Promoting(WorkerId),
    /// It can fork. The old zygote has fork requests unanswered, and gets no new ones.
    Promoted(WorkerId),
    /// The zygote has changed. The workers older than this one are replaced, one after the other.
    Following { below: WorkerId },
}

/// What is known about reforking.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refork {
    pub(crate) stage: Stage,
    /// Requests served since the generation took over or since the last time.
    pub(crate) served: u64,
    /// What each worker had served when it was last heard of.
    pub(crate) by_worker: BTreeMap<WorkerId, u64>,
    /// A worker could not become a zygote, and the next one could not either.
    pub(crate) refused: bool,
}

impl Refork {
    /// The old zygote is not asked for workers any more.
    pub(crate) fn holds_forks(&self) -> bool {
        matches!(self.stage, Stage::Promoted(_))
    }

    pub(crate) fn restart(&mut self) {
        self.stage = Stage::Counting;
        self.served = 0;
    }
}
