//! Looks into workers that are under way: who asked for them, and what has come of each worker.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use indrik_core::control::inside::What;
use indrik_core::ids::{Generation, WorkerId};
use serde_json::Value as Json;

use crate::admin::Reply;

/// Looks that are under way.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    last: u64,
    pub(crate) jobs: BTreeMap<u64, Look>,
}

/// One look into some workers.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) asker: Asker,
    pub(crate) what: What,
    pub(crate) parts: Vec<Part>,
}

/// Who is to be answered.
#[derive(Debug)]
pub(crate) enum Asker {
    /// A client of the control socket, and its request's number.
    Client(u64, Json),
    /// Somebody at the admin listener.
    Admin(Reply),
}

/// What one worker has to say.
pub(crate) struct Part {
    pub(crate) worker: WorkerId,
    pub(crate) generation: Generation,
    pub(crate) pid: u32,
    pub(crate) stage: Stage,
    pub(crate) text: String,
    /// Characters that it has left out.
    pub(crate) left_out: u64,
    /// Why it has nothing to say.
    pub(crate) why: Option<String>,
}

/// How far a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It was asked and has said nothing yet; when that is too long.
    Asked(Instant),
    /// It has begun; when it should have ended.
    Begun(Instant),
    /// It writes its stacks in a signal's handler, because its main thread does not come back; when they are there.
    Native(Instant),
    Done,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Part({} {:?})", self.worker, self.stage)
    }
}

impl Looks {
    /// Begins one; its number.
    pub(crate) fn begin(&mut self, look: Look) -> u64 {
        self.last += 1;
        self.jobs.insert(self.last, look);
        self.last
    }

    /// The number of the next one.
    pub(crate) const fn next(&self) -> u64 {
        self.last + 1
    }

    /// When something is to be done about one of them.
    pub(crate) fn due(&self) -> Option<Instant> {
        let parts = self.jobs.values().flat_map(|look| &look.parts);
        parts.filter_map(|part| part.stage.due()).min()
    }

    /// What a worker has to say in this one.
    pub(crate) fn part(&mut self, number: u64, worker: WorkerId) -> Option<&mut Part> {
        let look = self.jobs.get_mut(&number)?;
        look.parts.iter_mut().find(|part| part.worker == worker)
    }

    /// All that wait for this worker.
    pub(crate) fn of(&mut self, worker: WorkerId) -> impl Iterator<Item = &mut Part> {
        let parts = self.jobs.values_mut().flat_map(|look| &mut look.parts);
        parts.filter(move |part| part.worker == worker && part.stage != Stage::Done)
    }
}

impl Stage {
    const fn due(self) -> Option<Instant> {
        match self {
            Self::Asked(due) | Self::Begun(due) | Self::Native(due) => Some(due),
            Self::Done => None,
        }
    }
}

impl Part {
    /// Whether what it says still counts. A worker may come back when its time is over.
    pub(crate) const fn hears(&self) -> bool {
        match self.stage {
            Stage::Asked(_) | Stage::Begun(_) => true,
            Stage::Native(_) | Stage::Done => false,
        }
    }

    /// It has nothing (more) to say.
    pub(crate) fn fail(&mut self, why: String) {
        self.stage = Stage::Done;
        self.why.get_or_insert(why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_says_when_its_time_is_over_does_not_count() {
        let now = Instant::now();
        let mut part = Part {
            worker: WorkerId(1),
            generation: Generation(1),
            pid: 7,
            stage: Stage::Asked(now),
            text: String::new(),
            left_out: 0,
            why: None,
        };
        for (stage, hears) in [
            (Stage::Asked(now), true),
            (Stage::Begun(now), true),
            (Stage::Native(now), false),
            (Stage::Done, false),
        ] {
            part.stage = stage;
            assert_eq!(part.hears(), hears, "{stage:?}");
        }
    }
}
