//! The kill ladder: how a child is made to end that was told to, and does not. For workers and zygotes
//! alike, and for whatever else is a child.

use super::limits::{ABORT_GRACE, DUMP_GRACE, KILL_MAX};
use crate::time::Now;

/// What a child was told that is to end, and how long that may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rung {
    /// To leave.
    Told { until: Now },
    /// To show what it is doing, as it is stuck.
    Dumping { until: Now },
    /// SIGABRT or SIGQUIT.
    Aborting { until: Now },
    /// SIGKILL.
    Killed { until: Now },
}

/// What is done to a child whose rung has lasted too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Abort,
    Kill,
    /// Even SIGKILL does not end it: nobody waits for it any more.
    Forget,
}

impl Rung {
    pub(super) fn dumping(now: Now) -> Self {
        Self::Dumping { until: now + DUMP_GRACE }
    }

    pub(super) fn aborting(now: Now) -> Self {
        Self::Aborting { until: now + ABORT_GRACE }
    }

    pub(super) fn killed(now: Now) -> Self {
        Self::Killed { until: now + KILL_MAX }
    }

    /// The moment it has lasted too long.
    pub(super) const fn deadline(self) -> Now {
        match self {
            Self::Told { until }
            | Self::Dumping { until }
            | Self::Aborting { until }
            | Self::Killed { until } => until,
        }
    }

    /// The next step. `aborts`: the child has something to do at SIGABRT.
    pub(super) const fn next(self, aborts: bool) -> Step {
        match self {
            Self::Told { .. } | Self::Dumping { .. } if aborts => Step::Abort,
            Self::Told { .. } | Self::Dumping { .. } | Self::Aborting { .. } => Step::Kill,
            Self::Killed { .. } => Step::Forget,
        }
    }

    /// It is being ended by force.
    pub(super) const fn is_forced(self) -> bool {
        !matches!(self, Self::Told { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rung_leads_to_a_later_one_and_the_last_to_nobody_waiting() {
        let now = Now::from_secs(1);
        let (mut rung, mut steps) = (Rung::Told { until: now }, Vec::new());
        loop {
            let step = rung.next(true);
            steps.push(step);
            rung = match step {
                Step::Abort => Rung::aborting(rung.deadline()),
                Step::Kill => Rung::killed(rung.deadline()),
                Step::Forget => break,
            };
        }
        assert_eq!(steps, [Step::Abort, Step::Kill, Step::Forget]);
        assert_eq!(rung.deadline(), now + ABORT_GRACE + KILL_MAX);
        assert_eq!(Rung::Told { until: now }.next(false), Step::Kill);
        assert_eq!(Rung::dumping(now).next(true), Step::Abort);
    }
}
