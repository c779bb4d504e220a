//! What `/proc` says of one process, and of the machine.

use std::time::Duration;

/// The resident memory in `/proc/<pid>/statm`, in bytes: private pages, shared ones and those of files.
#[must_use]
pub fn rss(statm: &str, page_bytes: u64) -> Option<u64> {
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(page_bytes)
}

/// The proportional share in `/proc/<pid>/smaps_rollup`, in bytes: a page that three processes share
/// counts as a third.
#[must_use]
pub fn pss(smaps_rollup: &str) -> Option<u64> {
    kib(smaps_rollup, "Pss:")
}

/// How much of a process's memory is its own, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Resident.
    pub rss: u64,
    /// Resident, with what others have too counted by its part.
    pub pss: u64,
    /// Of the resident memory, what others have too.
    pub shared: u64,
    /// Of the resident memory, what nobody else has: so much is free when the process ends.
    pub private: u64,
}

/// The shares in `/proc/<pid>/smaps_rollup`.
#[must_use]
pub fn shares(smaps_rollup: &str) -> Option<Shares> {
    let bytes = |key| kib(smaps_rollup, key);
    Some(Shares {
        rss: bytes("Rss:")?,
        pss: bytes("Pss:")?,
        shared: bytes("Shared_Clean:")?.saturating_add(bytes("Shared_Dirty:")?),
        private: bytes("Private_Clean:")?.saturating_add(bytes("Private_Dirty:")?),
    })
}

/// The machine's memory, from `/proc/meminfo`, in bytes.
#[must_use]
pub fn total(meminfo: &str) -> Option<u64> {
    kib(meminfo, "MemTotal:")
}

/// How many processes the kernel has killed for want of memory since the machine started, from
/// `/proc/vmstat`, in whatever group they were.
#[must_use]
pub fn oom_kills(vmstat: &str) -> Option<u64> {
    keyed(vmstat, "oom_kill")
}

/// How long a thread has run, and how long it has waited for a processor, from
/// `/proc/<pid>/schedstat`.
#[must_use]
pub fn run_and_waited(schedstat: &str) -> Option<(Duration, Duration)> {
    let mut numbers = schedstat.split_ascii_whitespace().map(str::parse);
    let (run, waited) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some((Duration::from_nanos(run), Duration::from_nanos(waited)))
}

/// How often the thread of a `/proc/<pid>/status` has gone to sleep by itself.
#[must_use]
pub fn sleeps(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
    line.trim().parse().ok()
}

/// How long a process has run, in its own code and in the kernel's, from `/proc/<pid>/stat`.
#[must_use]
pub fn cpu(stat: &str) -> Option<Duration> {
    // Linux tells times to programs in hundredths of a second, whatever it counts in itself.
    const TICKS_PER_SECOND: u64 = 100;
    // The name before it may contain anything but this.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    let ticks = times.next()?.ok()?.checked_add(times.next()?.ok()?)?;
    Some(Duration::from_millis(ticks.saturating_mul(1000 / TICKS_PER_SECOND)))
}

/// The number after a key, in a file of lines `key number`.
pub(super) fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The number after a key, in a file of lines `Key:   number kB`.
fn kib(text: &str, key: &str) -> Option<u64> {
    let number = text.lines().find_map(|line| line.strip_prefix(key))?;
    let number: u64 = number.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_number_of_statm_is_resident() {
        assert_eq!(rss("4181 1003 742 1 0 319 0\n", 4096), Some(1003 * 4096));
        assert_eq!(rss("4181", 4096), None);
        assert_eq!(rss("", 4096), None);
    }

    #[test]
    fn shares_are_added_up() {
        let text = "7f00-7fff ---p 0 00:00 0 [rollup]\nRss: 40 kB\nPss: 25 kB\nPss_Anon: 1 kB\n\
                    Shared_Clean: 8 kB\nShared_Dirty: 12 kB\nPrivate_Clean: 4 kB\n\
                    Private_Dirty: 16 kB\n";
        let shares = shares(text).unwrap();
        assert_eq!((shares.rss, shares.pss), (40 * 1024, 25 * 1024));
        assert_eq!((shares.shared, shares.private), (20 * 1024, 20 * 1024));
        assert_eq!(super::shares("Rss: 40 kB\n"), None);
    }

    #[test]
    fn pss_is_not_taken_for_one_of_its_parts() {
        let text = "55e0-7ffd ---p 00000000 00:00 0    [rollup]\nRss:    1884 kB\n\
                    Pss:             601 kB\nPss_Dirty:       96 kB\nPss_Anon:        96 kB\n";
        assert_eq!(pss(text), Some(601 * 1024));
        assert_eq!(pss("Pss_Dirty: 96 kB\n"), None);
    }

    #[test]
    fn the_machine_says_how_much_it_has_and_how_often_it_killed() {
        assert_eq!(total("MemTotal:       24689164 kB\nMemFree: 1 kB\n"), Some(24_689_164 * 1024));
        assert_eq!(oom_kills("oom_killer_x 3\nnr_free 7\noom_kill 12\n"), Some(12));
        assert_eq!(oom_kills("nr_free 7\n"), None);
    }

    #[test]
    fn a_process_s_time_is_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 2 3 0 -1 4194560 5 0 0 0 250 50 0 0 20 0 1 0 9 9 9\n";
        assert_eq!(cpu(stat), Some(Duration::from_secs(3)));
        assert_eq!(cpu("7 (a) S 1 2"), None);
        assert_eq!(cpu(""), None);
    }

    #[test]
    fn a_thread_s_time_is_told_apart_from_its_waiting() {
        let expected = (Duration::from_nanos(95_362), Duration::from_nanos(55_913));
        assert_eq!(run_and_waited("95362 55913 2\n"), Some(expected));
        assert_eq!(run_and_waited("95362\n"), None);
    }
}
