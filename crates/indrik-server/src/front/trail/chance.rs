//! Random bits for ids: unlike those of any other thread or process, made without asking the system each time.
//!
//! They are no secret: whoever sees an id may know others.

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};

/// A keyed hash of a counter. The standard library takes the key from the system's randomness.
struct Chance {
    key: RandomState,
    counter: u64,
}

thread_local! {
    static CHANCE: RefCell<Chance> =
        RefCell::new(Chance { key: RandomState::new(), counter: 0 });
}

/// 128 random bits.
pub(crate) fn bits() -> [u64; 2] {
    CHANCE.with_borrow_mut(|chance| {
        chance.counter += 2;
        [chance.counter, chance.counter + 1].map(|number| chance.key.hash_one(number))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn threads_never_make_the_same() {
        let many = || (0..1000).map(|_| bits()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(many)).collect();
        let made: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let different: BTreeSet<u64> = made.iter().flatten().copied().collect();
        assert_eq!(different.len(), 8000);
    }
}
