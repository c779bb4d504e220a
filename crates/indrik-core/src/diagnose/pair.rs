//! Two looks at a server, and what lies between them.

use super::sight::{Sight, Worker};

/// So many requests have run for so long where something is wanting, seconds.
const WANTING_REQUESTS: usize = 4;
const WANTING_S: f64 = 1.0;

/// Two looks that are compared, and the time between them.
#[derive(Clone, Copy)]
pub(super) struct Pair<'a> {
    pub(super) before: &'a Sight,
    pub(super) now: &'a Sight,
    pub(super) seconds: f64,
}

impl<'a> Pair<'a> {
    /// The same worker in the look before.
    pub(super) fn was(&self, worker: &Worker) -> Option<&'a Worker> {
        self.before.workers.iter().find(|was| was.pid == worker.pid)
    }

    /// How much of a second each second was used of what grows from the one to the other.
    pub(super) fn share(&self, before: Option<f64>, now: Option<f64>) -> Option<f64> {
        Some(((now? - before?) / self.seconds).max(0.0))
    }

    /// Whether requests are in want of something: some wait, or several run for a second.
    pub(super) fn is_wanting(&self) -> bool {
        let workers = self.now.workers.iter();
        let slow = workers
            .flat_map(|worker| &worker.running)
            .filter(|running| !running.answer_begun && running.age_s >= WANTING_S);
        self.now.front.waiting > 0 || slow.count() >= WANTING_REQUESTS
    }

    /// How much of one processor its main thread used.
    pub(super) fn main_cpu(&self, worker: &Worker) -> Option<f64> {
        self.share(self.was(worker)?.main_cpu_s, worker.main_cpu_s)
    }

    /// How often in a second its main thread went to sleep by itself.
    pub(super) fn main_sleeps(&self, worker: &Worker) -> Option<f64> {
        let slept = worker.main_sleeps?.checked_sub(self.was(worker)?.main_sleeps?)?;
        Some(f64::from(u32::try_from(slept).unwrap_or(u32::MAX)) / self.seconds)
    }

    /// How much of one processor a worker used.
    pub(super) fn cpu(&self, worker: &Worker) -> Option<f64> {
        self.share(self.was(worker)?.cpu_s, worker.cpu_s)
    }

    /// How much a count has grown.
    pub(super) fn grown(&self, of: impl Fn(&Sight) -> u64) -> u64 {
        of(self.now).saturating_sub(of(self.before))
    }

    /// How often requests were refused for this reason.
    pub(super) fn refused(&self, reason: &str) -> u64 {
        self.grown(|sight| sight.front.refused.get(reason).copied().unwrap_or(0))
    }
}
