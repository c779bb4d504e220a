//! The routes of applications, by number: names are interned once, and a request's answer carries two bytes.

use std::collections::HashMap;
use std::sync::Arc;

/// The number of no route.
pub const UNKNOWN: u16 = 0;
/// The number of all routes that the table has no room for.
pub const OTHER: u16 = 1;
/// What they are called.
const OTHER_NAME: &str = "other";

/// A table of names that only grows, up to a limit.
#[derive(Debug, Default)]
pub struct RouteNames {
    /// Those from 2 on.
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u16>,
    /// What all names take.
    bytes: usize,
}

/// What a name takes beside its text: two entries and a count.
const NAME_BYTES: usize = 64;

impl RouteNames {
    /// The number of a name; a new one gets a number while there are fewer than `most`.
    pub fn number(&mut self, name: &str, most: usize) -> u16 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let next = u16::try_from(self.names.len()).ok().and_then(|len| len.checked_add(OTHER + 1));
        let Some(next) = next.filter(|_| self.names.len() < most) else { return OTHER };
        self.bytes += name.len() + NAME_BYTES;
        let name: Arc<str> = name.into();
        self.names.push(Arc::clone(&name));
        self.numbers.insert(name, next);
        next
    }

    /// What all names take.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The name of a number. None for [`UNKNOWN`], and for one that was never given out: numbers come
    /// back from workers, which may say anything.
    #[must_use]
    pub fn name(&self, number: u16) -> Option<&str> {
        match number {
            UNKNOWN => None,
            OTHER => Some(OTHER_NAME),
            number => self.names.get(usize::from(number - OTHER - 1)).map(|name| &**name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number_and_what_is_too_much_is_other() {
        let mut routes = RouteNames::default();
        let (a, b) = (routes.number("/a", 2), routes.number("/b", 2));
        assert_eq!(routes.number("/c", 2), OTHER);
        assert_eq!((routes.number("/a", 2), routes.number("/b", 0)), (a, b));
        assert_eq!((routes.name(a), routes.name(b)), (Some("/a"), Some("/b")));
        assert_eq!((routes.name(OTHER), routes.name(UNKNOWN)), (Some("other"), None));
        assert_eq!((routes.name(b + 1), routes.name(u16::MAX)), (None, None));
        assert!(routes.number("/c", 3) > b, "a higher limit has room again");
    }

    #[test]
    fn there_are_never_more_than_numbers() {
        let mut routes = RouteNames::default();
        for name in 0..70_000 {
            let number = routes.number(&name.to_string(), usize::MAX);
            assert!(routes.name(number).is_some());
        }
        assert_eq!(routes.number("one more", usize::MAX), OTHER);
    }
}
