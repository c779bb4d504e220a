//! What the machine lacks, and what processes take of it.

use super::finding::{Cause, Finding, Whose};
use super::pair::Pair;
use super::sight::{Sight, Worker};
use crate::memory::Bytes;

/// Of a disk less than this is left: in percent, and in bytes.
const DISK_PERCENT_MIN: u64 = 2;
const DISK_BYTES_MIN: u64 = 64 << 20;
/// Of what may be used more than this is used, percent.
const MEMORY_PERCENT_MAX: u64 = 90;
/// Each second so much of a second was waited for the quota.
const THROTTLED_SHARE: f64 = 0.2;
/// A worker that is as young fills its caches.
const GROWS_AGE_S: f64 = 60.0;
/// It grows by so much each second, and by so much in all, in each of so many steps.
const GROWTH_BYTES_S: f64 = 512.0 * 1024.0;
const GROWTH_BYTES: u64 = 8 << 20;
const GROWTH_STEPS: usize = 3;

/// A file system that is written to is full.
pub(super) fn disk_full(pair: Pair<'_>) -> Vec<Finding> {
    let is_full = |free: u64, all: u64| {
        free < DISK_BYTES_MIN.min(all / 4) || free < all / 100 * DISK_PERCENT_MIN
    };
    let full = pair.now.machine.disks.iter().filter(|(_, free, all)| is_full(*free, *all));
    let mut found: Vec<Finding> = full
        .map(|(path, free, _)| Finding {
            cause: Cause::DiskFull,
            what: format!("the file system of {path} is full: {} are free", Bytes(*free)),
            whose: Whose::Machine,
            for_s: None,
            advice: format!("make room there: df -h {path}"),
        })
        .collect();
    let unstored = pair.refused("body_unstored");
    if unstored > 0 && found.is_empty() {
        found.push(Finding {
            cause: Cause::DiskFull,
            what: format!("{unstored} bodies of requests found no room on the disk"),
            whose: Whose::Machine,
            for_s: None,
            advice: "make room where tmp_upload_dir lies: df -h".to_owned(),
        });
    }
    found
}

/// What may be used of memory is nearly used.
pub(super) fn memory_near(pair: Pair<'_>) -> Vec<Finding> {
    let is_near = |(used, most): (u64, u64)| most > 0 && used > most / 100 * MEMORY_PERCENT_MAX;
    let near = |of: &dyn Fn(&Sight) -> Option<(u64, u64)>| {
        of(pair.now).filter(|now| is_near(*now) && of(pair.before).is_some_and(is_near))
    };
    let mut found = Vec::new();
    if let Some((used, most)) = near(&|sight| sight.machine.memory) {
        let largest = pair.now.workers.iter().max_by_key(|worker| worker.rss.unwrap_or(0));
        let largest = largest.map_or(String::new(), |worker| {
            format!(
                "; the largest is worker {} with {}",
                worker.place,
                Bytes(worker.rss.unwrap_or(0))
            )
        });
        found.push(Finding {
            cause: Cause::MemoryNear,
            what: format!("{} of {} of memory are used{largest}", Bytes(used), Bytes(most)),
            whose: Whose::Machine,
            for_s: Some(pair.seconds),
            advice: "indrik memory shows who grows; indrik scale -1 makes room, and worker_max_rss bounds workers".to_owned(),
        });
    }
    if let Some((used, most)) = near(&|sight| sight.front.memory) {
        found.push(Finding {
            cause: Cause::MemoryNear,
            what: format!("the front holds {} of {} for its clients", Bytes(used), Bytes(most)),
            whose: Whose::Clients,
            for_s: Some(pair.seconds),
            advice: "indrik requests shows whom it serves; front_memory_max is the limit"
                .to_owned(),
        });
    }
    found
}

/// The quota of the control group is used up.
pub(super) fn throttled(pair: Pair<'_>) -> Vec<Finding> {
    let share = pair.share(pair.before.machine.throttled_s, pair.now.machine.throttled_s);
    let Some(share) = share.filter(|share| *share >= THROTTLED_SHARE) else { return Vec::new() };
    vec![Finding {
        cause: Cause::Throttled,
        what: format!(
            "the container's quota of processor time ({:.1} processors) is used up: {:.0} % of the time nothing may run",
            pair.now.machine.cpus,
            (share * 100.0).min(100.0)
        ),
        whose: Whose::Machine,
        for_s: Some(pair.seconds),
        advice:
            "give the container more processors (cpu.max), or have fewer workers: indrik scale -1"
                .to_owned(),
    }]
}

/// A worker that grows from look to look, and has been there for a while.
pub(super) fn leak(looks: &[Sight]) -> Vec<Finding> {
    let Some(now) = looks.last().filter(|_| looks.len() > GROWTH_STEPS) else { return Vec::new() };
    now.workers.iter().filter_map(|worker| grows(looks, worker)).collect()
}

fn grows(looks: &[Sight], worker: &Worker) -> Option<Finding> {
    let seen: Vec<(f64, u64)> = looks
        .iter()
        .filter_map(|sight| {
            let same = sight
                .workers
                .iter()
                .find(|it| it.pid == worker.pid && it.uptime_s >= GROWS_AGE_S)?;
            Some((sight.at, same.rss?))
        })
        .collect();
    let tail = seen.get(seen.len().checked_sub(GROWTH_STEPS + 1)?..)?;
    let steps = tail.windows(2).all(|step| step[1].1 > step[0].1);
    let ((since, first), (until, last)) = (*tail.first()?, *tail.last()?);
    let grown = last.saturating_sub(first);
    #[expect(clippy::cast_precision_loss, reason = "bytes of memory that are compared")]
    let rate = grown as f64 / (until - since).max(1e-3);
    if !steps || grown < GROWTH_BYTES || rate < GROWTH_BYTES_S || grown < first / 20 {
        return None;
    }
    let (place, pid) = (worker.place, worker.pid);
    Some(Finding {
        cause: Cause::Leak,
        what: format!(
            "worker {place} (pid {pid}) grows: {} more in {:.0} s, {} now",
            Bytes(grown),
            until - since,
            Bytes(last)
        ),
        whose: Whose::Worker(place, pid),
        for_s: Some(until - since),
        advice: format!(
            "indrik memory names the route; indrik recycle {place} frees it, worker_max_rss does so by itself"
        ),
    })
}
