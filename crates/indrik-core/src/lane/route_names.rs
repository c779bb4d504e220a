//! The names that applications give to their routes, by number: a name is kept once for its generation, and a
//! request's answer carries two bytes.
//!
//! Workers may ask for anything, by a bug (`route(request.path)`) or worse. So a generation's names are its own, and
//! a worker may bring at most as many names as it leaves free: one that brings no end of them takes half of
//! the table, and its successor still finds room.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::ids::{Generation, WorkerId};

/// The number of no route.
pub const UNKNOWN: u16 = 0;
/// The number of all routes that the table has no room for.
pub const OTHER: u16 = 1;
/// What they are called.
const OTHER_NAME: &str = "other";

/// The youngest generations whose names are kept: answers of an older one may be under way to slow clients when its
/// workers have gone.
const GENERATIONS_MAX: usize = 4;

/// A route of a request: its number, and the generation in whose table it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteId {
    generation: Generation,
    number: u16,
}

impl RouteId {
    /// Not known.
    pub const UNKNOWN: Self = Self { generation: Generation(0), number: UNKNOWN };

    /// What a worker of this generation calls so.
    #[must_use]
    pub const fn new(generation: Generation, number: u16) -> Self {
        Self { generation, number }
    }

    /// Its number in the table.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.number
    }

    /// As one word. There are never so many generations that one does not fit.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.generation.0 << 16 | self.number as u64
    }

    /// What [`Self::to_bits`] has made.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self { generation: Generation(bits >> 16), number: bits as u16 }
    }
}

/// The names of all generations that are remembered.
#[derive(Debug, Default)]
pub struct RouteNames(BTreeMap<Generation, Names>);

/// The names of one generation: they only become more, up to a limit.
#[derive(Debug, Default)]
struct Names {
    /// Those from 2 on.
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u16>,
    /// How many of them each worker has brought. A worker that brought none is not here.
    brought: HashMap<WorkerId, usize>,
    /// What all names take.
    bytes: usize,
}

/// What a name takes beside its text: two entries and a count, and the entry of the worker that brought it.
const NAME_BYTES: usize = 96;

impl RouteNames {
    /// The number of a name that a worker of this generation asks for; a new one gets a number while the generation has
    /// fewer than `most`, and the worker has not had its share.
    pub fn number(
        &mut self,
        (generation, worker): (Generation, WorkerId),
        name: &str,
        most: usize,
    ) -> u16 {
        if !self.0.contains_key(&generation) && self.0.len() >= GENERATIONS_MAX {
            match self.0.first_key_value() {
                Some((oldest, _)) if *oldest < generation => drop(self.0.pop_first()),
                // It has been forgotten: who still serves for it says nothing new.
                _ => return OTHER,
            }
        }
        self.0.entry(generation).or_default().number(worker, name, most)
    }

    /// What all names take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.values().map(|names| names.bytes).sum()
    }

    /// The name of a route. None for [`UNKNOWN`], for a number that was never given out (numbers come back from
    /// workers, which may say anything), and for a generation that is forgotten.
    #[must_use]
    pub fn name(&self, route: RouteId) -> Option<&str> {
        match route.number {
            UNKNOWN => None,
            OTHER => Some(OTHER_NAME),
            number => {
                let names = &self.0.get(&route.generation)?.names;
                names.get(usize::from(number - OTHER - 1)).map(|name| &**name)
            }
        }
    }
}

impl Names {
    fn number(&mut self, worker: WorkerId, name: &str, most: usize) -> u16 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let brought = self.brought.get(&worker).copied().unwrap_or(0);
        let free = most.saturating_sub(self.names.len());
        let next = u16::try_from(self.names.len()).ok().and_then(|len| len.checked_add(OTHER + 1));
        let Some(next) = next.filter(|_| brought < free) else { return OTHER };
        self.brought.insert(worker, brought + 1);
        self.bytes += name.len() + NAME_BYTES;
        let name: Arc<str> = name.into();
        self.names.push(Arc::clone(&name));
        self.numbers.insert(name, next);
        next
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIRST: Generation = Generation::FIRST;
    const WORKER: (Generation, WorkerId) = (FIRST, WorkerId(1));

    fn name(names: &RouteNames, generation: Generation, number: u16) -> Option<&str> {
        names.name(RouteId::new(generation, number))
    }

    /// How many of so many names a worker gets a number for.
    fn told_apart(names: &mut RouteNames, who: (Generation, WorkerId), asked: usize) -> usize {
        let ask = |at: usize| names.number(who, &format!("/{}/{at}", who.1), 1_000) != OTHER;
        (0..asked).map(ask).filter(|is_own| *is_own).count()
    }

    #[test]
    fn a_name_keeps_its_number_and_what_is_too_much_is_other() {
        let mut names = RouteNames::default();
        let (a, b) = (names.number(WORKER, "/a", 4), names.number(WORKER, "/b", 4));
        assert_eq!(names.number(WORKER, "/c", 4), OTHER);
        assert_eq!((names.number(WORKER, "/a", 4), names.number(WORKER, "/b", 0)), (a, b));
        assert_eq!(name(&names, FIRST, a), Some("/a"));
        assert_eq!(name(&names, FIRST, b), Some("/b"));
        assert_eq!(name(&names, FIRST, OTHER), Some("other"));
        assert_eq!(name(&names, FIRST, UNKNOWN), None);
        assert_eq!(name(&names, FIRST, b + 1), None);
        assert_eq!(name(&names, FIRST, u16::MAX), None);
        assert!(names.number(WORKER, "/c", 6) > b, "a higher limit has room again");
    }

    #[test]
    fn a_worker_that_brings_no_end_of_names_leaves_room_for_its_successors() {
        let mut names = RouteNames::default();
        for (worker, share) in [(1, 500), (2, 250), (3, 125)] {
            assert_eq!(told_apart(&mut names, (FIRST, WorkerId(worker)), 5_000), share);
            assert_eq!(
                told_apart(&mut names, (FIRST, WorkerId(1)), 5_000),
                500,
                "it keeps its own"
            );
        }
        // What others have brought costs nothing.
        assert_ne!(names.number((FIRST, WorkerId(9)), "/1/0", 1_000), OTHER);
    }

    #[test]
    fn a_generation_has_names_of_its_own_and_is_forgotten_after_some_younger_ones() {
        let mut names = RouteNames::default();
        told_apart(&mut names, WORKER, 5_000);
        let (full, second) = (names.bytes(), Generation(2));
        assert_eq!(told_apart(&mut names, (second, WorkerId(2)), 400), 400);
        assert_eq!(name(&names, FIRST, 2), Some("/1/0"));
        assert_eq!(name(&names, second, 2), Some("/2/0"));
        for later in 3..10 {
            told_apart(&mut names, (Generation(later), WorkerId(later)), 1);
        }
        assert_eq!((name(&names, FIRST, 2), name(&names, second, 2)), (None, None));
        assert_eq!(name(&names, Generation(9), 2), Some("/9/0"));
        assert!(names.bytes() < full, "what is forgotten takes nothing");
        assert_eq!(names.number((second, WorkerId(2)), "/a", 1_000), OTHER);
        assert_eq!(name(&names, Generation(9), 2), Some("/9/0"), "nobody younger goes for it");
    }

    #[test]
    fn there_are_never_more_than_numbers() {
        let mut names = RouteNames::default();
        for at in 0..70_000 {
            let number = names.number((FIRST, WorkerId(at)), &at.to_string(), usize::MAX);
            assert!(name(&names, FIRST, number).is_some());
        }
        assert_eq!(names.number(WORKER, "one more", usize::MAX), OTHER);
    }

    proptest! {
        #[test]
        fn a_number_stands_for_one_name_and_no_generation_has_more_than_its_limit(
            asks in prop::collection::vec((1u64..8, 1u64..5, 0u16..40), 0..400),
            most in 0usize..20,
        ) {
            let mut names = RouteNames::default();
            for (generation, worker, route) in asks {
                let (generation, text) = (Generation(generation), format!("/{route}"));
                let number = names.number((generation, WorkerId(worker)), &text, most);
                let told = name(&names, generation, number);
                prop_assert!(told == Some(text.as_str()) || told == Some("other"));
                prop_assert!(names.0.len() <= GENERATIONS_MAX);
                prop_assert!(names.0.values().all(|names| names.names.len() <= most));
            }
        }

        #[test]
        fn a_route_comes_back_from_its_word(generation in 0u64..1 << 48, number: u16) {
            let route = RouteId::new(Generation(generation), number);
            prop_assert_eq!(RouteId::from_bits(route.to_bits()), route);
        }
    }
}
