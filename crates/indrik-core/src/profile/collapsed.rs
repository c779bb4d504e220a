//! Collapsed stacks: a line for each, `outermost;…;innermost WEIGHT`, which every tool for flame graphs reads.
//! Weights are microseconds.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Stacks that a profile of several workers has at most; what is beyond is counted under [`OTHER`].
const STACKS_MAX: usize = 100_000;
/// All that are too many.
const OTHER: &str = "(other)";

/// Microseconds by stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collapsed(BTreeMap<String, u64>);

impl Collapsed {
    /// Adds to a stack.
    pub fn add(&mut self, stack: &str, weight: u64) {
        let is_new = !self.0.contains_key(stack);
        let stack = if is_new && self.0.len() >= STACKS_MAX { OTHER } else { stack };
        let sum = self.0.entry(stack.to_owned()).or_default();
        *sum = sum.saturating_add(weight);
    }

    /// Adds all of another one.
    pub fn merge(&mut self, other: &Self) {
        for (stack, weight) in &other.0 {
            self.add(stack, *weight);
        }
    }

    /// Reads collapsed text; lines that are empty count nothing.
    ///
    /// # Errors
    /// The first line that is no stack with a weight.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut found = Self::default();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let (stack, weight) = stack_and_weight(line).ok_or_else(|| {
                format!("line {} is no collapsed stack (frames;… WEIGHT)", number + 1)
            })?;
            found.add(stack, weight);
        }
        Ok(found)
    }

    /// As text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (stack, weight) in &self.0 {
            let _ = writeln!(text, "{stack} {weight}");
        }
        text
    }

    /// Each stack with its weight.
    pub fn stacks(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(stack, weight)| (stack.as_str(), *weight))
    }

    /// All weights together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().fold(0, |sum, weight| sum.saturating_add(*weight))
    }

    /// The functions in which most of the time was spent themselves, the first most.
    #[must_use]
    pub fn top(&self, most: usize) -> Vec<(&str, u64)> {
        let mut own: BTreeMap<&str, u64> = BTreeMap::new();
        for (stack, weight) in &self.0 {
            let innermost = stack.rsplit(';').next().unwrap_or(stack);
            *own.entry(innermost).or_default() += weight;
        }
        let mut own: Vec<(&str, u64)> = own.into_iter().collect();
        own.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
        own.truncate(most);
        own
    }
}

/// What a worker has sent: how often it looked, and each stack with the number of its route. Lines that are none are
/// passed over: a worker may send anything.
#[must_use]
pub fn read_worker(text: &str) -> (u64, Vec<(u16, &str, u64)>) {
    let mut lines = text.lines();
    let samples = lines.next().and_then(|line| line.parse().ok()).unwrap_or(0);
    let line = |line: &'_ str| -> Option<(u16, usize)> {
        let (route, _) = line.split_once('\t')?;
        Some((route.parse().ok()?, route.len() + 1))
    };
    let stacks = lines.filter_map(|text| {
        let (route, at) = line(text)?;
        let (stack, weight) = stack_and_weight(text.get(at..)?)?;
        Some((route, stack, weight))
    });
    (samples, stacks.collect())
}

fn stack_and_weight(line: &str) -> Option<(&str, u64)> {
    let (stack, weight) = line.trim_end().rsplit_once(' ')?;
    let is_stack = !stack.is_empty() && !stack.chars().any(char::is_control);
    is_stack.then_some((stack, weight.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stacks_are_added_up_and_the_hot_function_is_on_top() {
        let mut all = Collapsed::parse("a;b 3\na;c d (x.py:1) 5\n\n").unwrap();
        all.merge(&Collapsed::parse("a;b 4\nb 1\n").unwrap());
        assert_eq!(all.text(), "a;b 7\na;c d (x.py:1) 5\nb 1\n");
        assert_eq!(all.top(1), [("b", 8)]);
        assert_eq!(all.total(), 13);
    }

    #[test]
    fn what_is_no_profile_is_named_by_its_line() {
        for text in ["a;b", "a 1\n<svg>", "a -1", " 1"] {
            let why = Collapsed::parse(text).unwrap_err();
            assert!(why.contains("is no collapsed stack"), "{why}");
        }
    }

    #[test]
    fn what_a_worker_sends_is_read_with_its_routes_and_nonsense_is_passed_over() {
        let (samples, stacks) = read_worker("12\n0\ta;b 5\n7\tc 1\nnonsense\n99999\tx 1\n1\t 2\n");
        assert_eq!(samples, 12);
        assert_eq!(stacks, [(0, "a;b", 5), (7, "c", 1)]);
        assert_eq!(read_worker(""), (0, Vec::new()));
    }

    #[test]
    fn there_are_never_more_stacks_than_the_limit_and_nothing_is_lost() {
        let mut all = Collapsed::default();
        for at in 0..STACKS_MAX + 10 {
            all.add(&format!("f{at}"), 1);
        }
        assert!(all.stacks().count() <= STACKS_MAX + 1);
        assert_eq!(all.total(), (STACKS_MAX + 10) as u64);
    }

    proptest! {
        #[test]
        fn text_comes_back_as_it_was(
            stacks in prop::collection::vec(("[a-z (.:0-9)]{0,8}[a-z]", any::<u32>()), 0..20)
        ) {
            let mut all = Collapsed::default();
            for (stack, weight) in stacks {
                all.add(&stack, weight.into());
            }
            prop_assert_eq!(Collapsed::parse(&all.text()), Ok(all));
        }

        #[test]
        fn nothing_a_worker_sends_makes_it_panic(text: String) {
            let _ = read_worker(&text);
        }
    }
}
