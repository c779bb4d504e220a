//! How many processors this process may use.

use std::num::NonZero;

/// Processors by affinity mask and cgroup quota (v1 and v2), at least 1.
#[must_use]
pub fn available() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

#[cfg(test)]
mod tests {
    #[test]
    fn there_is_at_least_one_processor() {
        assert!(super::available() >= 1);
    }
}
