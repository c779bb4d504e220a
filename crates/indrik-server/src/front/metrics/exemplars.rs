//! Exemplars: of each bucket of a histogram the last request whose trace can be looked up.
//!
//! One thread writes them and any may read. A place is written between two steps of a number that is odd meanwhile, so
//! a reader knows when it has read parts of two and lets it be; the writer never waits.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use indrik_core::metrics::{BUCKETS, Exemplar, bucket};
use indrik_core::time::Micros;

/// A request's trace, for those who look it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traceable {
    /// The trace's id, its higher bits first.
    pub(crate) trace: [u64; 2],
    /// The id of the server's span in it.
    pub(crate) span: u64,
    /// When the request was over, in milliseconds since 1970.
    pub(crate) at_ms: u64,
}

/// How often a place is read that is written meanwhile.
const READS_MAX: usize = 4;

/// Of each bucket the last one. There is no memory for them before the first.
#[derive(Default)]
pub(super) struct Exemplars(OnceLock<Box<[Place; BUCKETS]>>);

#[derive(Default)]
struct Place {
    /// Odd while it is written; 0: never was.
    turn: AtomicU64,
    /// The trace, the span, the time, and what was observed.
    words: [AtomicU64; 5],
}

impl Exemplars {
    /// This was observed of a request. By one thread only.
    pub(super) fn put(&self, it: Traceable, observed: Micros) {
        let places = self.0.get_or_init(Box::default);
        let [high, low] = it.trace;
        places[bucket(observed)].write([high, low, it.span, it.at_ms, observed]);
    }

    /// Keeps in `newest` those that are newer than what is there.
    pub(super) fn add_to(&self, newest: &mut Newest) {
        let places = self.0.get().into_iter().flat_map(|places| places.iter());
        for (seen, place) in newest.0.iter_mut().zip(places) {
            let read = place.read().filter(|read| seen.is_none_or(|seen| seen[AT] <= read[AT]));
            *seen = read.or(*seen);
        }
    }
}

/// Where the time stands among the words.
const AT: usize = 3;

impl Place {
    fn write(&self, words: [u64; 5]) {
        let turn = self.turn.load(Ordering::Relaxed);
        self.turn.store(turn.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.words.iter().zip(words).for_each(|(word, new)| word.store(new, Ordering::Relaxed));
        self.turn.store(turn.wrapping_add(2).max(2), Ordering::Release);
    }

    fn read(&self) -> Option<[u64; 5]> {
        (0..READS_MAX).find_map(|_| {
            let turn = self.turn.load(Ordering::Acquire);
            let words = std::array::from_fn(|at| self.words[at].load(Ordering::Relaxed));
            fence(Ordering::Acquire);
            let is_whole =
                turn != 0 && turn.is_multiple_of(2) && self.turn.load(Ordering::Relaxed) == turn;
            is_whole.then_some(words)
        })
    }
}

/// The newest of all threads, by bucket.
#[derive(Default)]
pub(super) struct Newest([Option<[u64; 5]>; BUCKETS]);

impl Newest {
    /// As a scraper is told them.
    pub(super) fn shown(&self) -> Vec<Exemplar> {
        let shown = |[high, low, span, at_ms, observed]: [u64; 5]| Exemplar {
            labels: vec![
                ("trace_id".into(), format!("{high:016x}{low:016x}").into()),
                ("span_id".into(), format!("{span:016x}").into()),
            ],
            value: observed as f64 / 1e6,
            at: at_ms as f64 / 1e3,
        };
        self.0.iter().flatten().copied().map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn traceable(number: u64) -> Traceable {
        Traceable { trace: [number, number], span: number, at_ms: number }
    }

    #[test]
    fn of_each_bucket_the_newest_of_all_threads_is_told() {
        let (one, other) = (Exemplars::default(), Exemplars::default());
        one.put(traceable(1), 4_000);
        one.put(traceable(3), 30_000_000);
        other.put(traceable(2), 5_000);
        let mut newest = Newest::default();
        for exemplars in [&other, &one, &Exemplars::default()] {
            exemplars.add_to(&mut newest);
        }
        let shown: Vec<_> =
            newest.shown().into_iter().map(|it| (it.labels[0].1.to_string(), it.value)).collect();
        let expected = [
            (format!("{:032x}", 2_u128 << 64 | 2), 0.005),
            (format!("{:032x}", 3_u128 << 64 | 3), 30.0),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_reader_never_sees_parts_of_two() {
        let (place, ends) = (Arc::new(Place::default()), Arc::new(AtomicBool::new(false)));
        let writer = std::thread::spawn({
            let (place, ends) = (Arc::clone(&place), Arc::clone(&ends));
            move || {
                (1u64..).take_while(|_| !ends.load(Ordering::Relaxed)).for_each(|number| {
                    place.write([number; 5]);
                });
            }
        });
        let mut last = 0;
        for _ in 0..200_000 {
            if let Some(words) = place.read() {
                assert!(words.iter().all(|word| *word == words[0]), "{words:?}");
                assert!(words[0] >= last);
                last = words[0];
            }
        }
        ends.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        assert!(place.read().is_some());
    }
}
