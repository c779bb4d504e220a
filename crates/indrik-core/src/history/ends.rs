//! Which ends of workers count as failures in the charts.

/// Reasons, as the supervisor calls them, of ends that nobody wanted.
const FAILURES: [&str; 9] = [
    "timeout",
    "deadlock",
    "channel_broken",
    "descriptors_lost",
    "lane_cut",
    "memory_hard",
    "boot_failed",
    "boot_timeout",
    "oom",
];
/// And those that go on with a signal or a code.
const FAILURES_WITH_MORE: [&str; 2] = ["crash:", "exit:"];

/// How many of these ends were failures.
pub fn failed<'a>(ends: impl IntoIterator<Item = (&'a str, u64)>) -> u64 {
    let is_failure = |reason: &str| {
        FAILURES.contains(&reason)
            || FAILURES_WITH_MORE.iter().any(|begins| reason.starts_with(begins))
    };
    ends.into_iter().filter(|(reason, _)| is_failure(reason)).map(|(_, count)| count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_wanted_is_no_failure() {
        let ends = [("reload", 4), ("max_requests", 5), ("crash:SIGSEGV", 1), ("oom", 2)];
        assert_eq!(failed(ends), 3);
        assert_eq!(failed([("exit:1", 7), ("scale", 1), ("outside", 1)]), 7);
    }
}
