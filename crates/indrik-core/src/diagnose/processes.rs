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
/// And our workers have used so much of the quota.
const THROTTLED_OWN_SHARE: f64 = 0.3;
/// A worker that is as young fills its caches.
const GROWS_AGE_S: f64 = 60.0;
/// It grows by so much each second, and by so much in all, in each of so many steps.
const GROWTH_BYTES_S: f64 = 512.0 * 1024.0;
const GROWTH_BYTES: u64 = 8 << 20;
const GROWTH_STEPS: usize = 3;
/// Or by so much in so many seconds, with most of the steps up and none far down.
const SLOW_GROWTH_BYTES: u64 = 16 << 20;
const SLOW_GROWTH_S: f64 = 20.0;
const SLOW_GROWTH_DOWN_MAX: u64 = 1 << 20;
/// Each second so much of a second everything waited for memory, or for a disk.
const MEMORY_STALLED_SHARE: f64 = 0.2;
const IO_STALLED_SHARE: f64 = 0.5;

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
    let stalled = |sight: &Sight| sight.machine.stalled_s.memory;
    let share = pair.share(stalled(pair.before), stalled(pair.now));
    if let (Some(share), []) =
        (share.filter(|share| *share >= MEMORY_STALLED_SHARE && pair.is_wanting()), &found[..])
    {
        found.push(Finding {
            cause: Cause::MemoryNear,
            what: format!(
                "the kernel takes memory away that is in use: {:.0} % of the time everything waits for it",
                (share * 100.0).min(100.0)
            ),
            whose: Whose::Machine,
            for_s: Some(pair.seconds),
            advice: "indrik memory shows who grows; indrik scale -1 makes room".to_owned(),
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
    // What others in the group have used up is ours to tell only if somebody waits for it.
    let own: f64 = pair.now.workers.iter().filter_map(|worker| pair.cpu(worker)).sum();
    let matters = own >= THROTTLED_OWN_SHARE * pair.now.machine.cpus || pair.is_wanting();
    let share = share.filter(|share| *share >= THROTTLED_SHARE && matters);
    let Some(share) = share else { return Vec::new() };
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

/// Everything waits for a disk.
pub(super) fn disk_slow(pair: Pair<'_>) -> Vec<Finding> {
    let stalled = |sight: &Sight| sight.machine.stalled_s.io;
    let share = pair.share(stalled(pair.before), stalled(pair.now));
    // It may be another one's disk that is waited for.
    let share = share.filter(|share| *share >= IO_STALLED_SHARE && pair.is_wanting());
    let Some(share) = share else { return Vec::new() };
    vec![Finding {
        cause: Cause::DiskSlow,
        what: format!(
            "the disk is slow: {:.0} % of the time everything waits for it",
            (share * 100.0).min(100.0)
        ),
        whose: Whose::Machine,
        for_s: Some(pair.seconds),
        advice: "iostat -x 1 shows which disk, pidstat -d 1 who uses it".to_owned(),
    }]
}

/// A worker that grows from look to look, and has been there for a while.
pub(super) fn leak(looks: &[Sight]) -> Vec<Finding> {
    let Some(now) = looks.last().filter(|_| looks.len() > GROWTH_STEPS) else { return Vec::new() };
    now.workers.iter().filter_map(|worker| grows(looks, worker)).collect()
}

fn grows(looks: &[Sight], worker: &Worker) -> Option<Finding> {
    let seen: Vec<Size> = looks
        .iter()
        .filter_map(|sight| {
            let same = sight
                .workers
                .iter()
                .find(|it| it.pid == worker.pid && it.uptime_s >= GROWS_AGE_S)?;
            Some(Size { at: sight.at, rss: same.rss?, served: same.served })
        })
        .collect();
    let (seconds, grown) = grows_fast(&seen).or_else(|| grows_slowly(&seen))?;
    let last = seen.last()?.rss;
    let (place, pid) = (worker.place, worker.pid);
    Some(Finding {
        cause: Cause::Leak,
        what: format!(
            "worker {place} (pid {pid}) grows: {} more in {:.0} s, {} now",
            Bytes(grown),
            seconds,
            Bytes(last)
        ),
        whose: Whose::Worker(place, pid),
        for_s: Some(seconds),
        advice: format!(
            "indrik memory names the route; indrik recycle {place} frees it, worker_max_rss does so by itself"
        ),
    })
}

/// A worker's memory at a moment, and how many requests it has finished by then.
#[derive(Clone, Copy)]
struct Size {
    at: f64,
    rss: u64,
    served: u64,
}

/// Seconds and bytes of a growth, if it is one: every step of the last seconds goes up, while requests end. One that is
/// under way may just need a lot.
fn grows_fast(seen: &[Size]) -> Option<(f64, u64)> {
    let tail = seen.get(seen.len().checked_sub(GROWTH_STEPS + 1)?..)?;
    let (first, last) = (tail.first()?, tail.last()?);
    let all_up = tail.windows(2).all(|step| step[1].rss > step[0].rss);
    let (seconds, grown) = (last.at - first.at, last.rss.saturating_sub(first.rss));
    #[expect(clippy::cast_precision_loss, reason = "bytes of memory that are compared")]
    let is_fast = grown as f64 >= GROWTH_BYTES_S * seconds;
    let is_leak = all_up && is_fast && grown >= GROWTH_BYTES && grown >= first.rss / 20;
    (is_leak && last.served > first.served).then_some((seconds, grown))
}

/// The same over a longer time, whatever runs.
fn grows_slowly(seen: &[Size]) -> Option<(f64, u64)> {
    let last = seen.last()?;
    let first = seen.iter().rposition(|size| last.at - size.at >= SLOW_GROWTH_S)?;
    let tail = &seen[first..];
    let first = tail.first()?;
    let ups = tail.windows(2).filter(|step| step[1].rss > step[0].rss).count();
    let is_down = |step: &[Size]| step[0].rss.saturating_sub(step[1].rss) > SLOW_GROWTH_DOWN_MAX;
    let grown = last.rss.saturating_sub(first.rss);
    let is_steady = ups * 4 >= (tail.len() - 1) * 3 && !tail.windows(2).any(is_down);
    let is_leak = is_steady && grown >= SLOW_GROWTH_BYTES && grown >= first.rss / 20;
    is_leak.then_some((last.at - first.at, grown))
}
