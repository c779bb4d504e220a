//! Failed requests in groups, with the generation in which each group was seen first: was it the deploy?

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::marks::shortened;

/// Groups that are kept; the one that was quiet for longest goes.
pub const GROUPS_MAX: usize = 128;
/// Characters of a group's name.
const NAME_CHARS_MAX: usize = 160;

/// Failures that are alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// How many there were.
    pub count: u64,
    /// When the first was, in milliseconds since 1970.
    pub first_ms: u64,
    /// When the last was.
    pub last_ms: u64,
    /// The generation that served when the first was seen.
    pub first_generation: u64,
    /// The generation that served when the last was.
    pub last_generation: u64,
}

/// The groups by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures(BTreeMap<String, Failure>);

impl Failures {
    /// Counts failures of a group.
    pub fn count(&mut self, name: &str, more: u64, at_ms: u64, generation: u64) {
        let name = shortened(name, NAME_CHARS_MAX);
        if let Some(group) = self.0.get_mut(&name) {
            group.count = group.count.saturating_add(more);
            group.last_ms = at_ms;
            group.last_generation = generation;
            return;
        }
        let one = Failure {
            count: more,
            first_ms: at_ms,
            last_ms: at_ms,
            first_generation: generation,
            last_generation: generation,
        };
        self.add(name, one);
    }

    pub(super) fn add(&mut self, name: String, group: Failure) {
        if self.0.len() >= GROUPS_MAX {
            let quiet = self.0.iter().min_by_key(|(_, group)| group.last_ms);
            let Some(quiet) = quiet.map(|(name, _)| name.clone()) else { return };
            self.0.remove(&quiet);
        }
        self.0.insert(shortened(&name, NAME_CHARS_MAX), group);
    }

    /// All groups, the newest failure first.
    #[must_use]
    pub fn newest_first(&self) -> Vec<(&str, &Failure)> {
        let mut all: Vec<_> = self.0.iter().map(|(name, group)| (name.as_str(), group)).collect();
        all.sort_by_key(|(_, group)| std::cmp::Reverse(group.last_ms));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_keeps_the_generation_of_its_first_failure() {
        let mut failures = Failures::default();
        failures.count("GET /old 500", 1, 10, 1);
        failures.count("GET /new 502", 2, 20, 2);
        failures.count("GET /old 500", 3, 30, 2);
        let [(first, old), (second, new)] = failures.newest_first()[..] else { panic!() };
        assert_eq!(
            (first, old.count, old.first_generation, old.last_generation),
            ("GET /old 500", 4, 1, 2)
        );
        assert_eq!(
            (second, new.count, new.first_ms, new.first_generation),
            ("GET /new 502", 2, 20, 2)
        );
    }

    #[test]
    fn the_group_that_was_quiet_for_longest_makes_room() {
        let mut failures = Failures::default();
        for number in 0..=GROUPS_MAX as u64 {
            failures.count(&number.to_string(), 1, 1_000 + number, 1);
            failures.count("0", 1, 2_000 + number, 1);
        }
        let names: Vec<&str> = failures.newest_first().iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), GROUPS_MAX);
        assert!(names.contains(&"0") && !names.contains(&"1") && names.contains(&"128"));
    }
}
