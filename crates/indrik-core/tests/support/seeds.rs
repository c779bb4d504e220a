//! Which seeds a simulation runs, and how to run one again.
//!
//! * `INDRIK_SIM_SEED=17` (`make simulate SEED=17`) runs that one; it does exactly what it did before.
//! * `INDRIK_SIM_SEEDS=100000` runs so many instead of [`SEEDS`].

use std::env;
use std::thread;

/// Seeds of each scenario, in CI and everywhere.
pub(crate) const SEEDS: u64 = 1_000;

/// Seeds that failed at some time, each with the name of its test. They stay, beyond [`SEEDS`] too.
const FAILED_ONCE: [(&str, u64); 4] = [
    // Of requests that had lost their workers together, the younger came before the older.
    ("a_stuck_worker_costs_only_what_it_had_begun", 14),
    ("one_death_at_a_time_costs_no_get_and_only_posts_that_had_begun", 8),
    ("whatever_breaks_every_request_ends_once_and_none_that_must_not_runs_twice", 8),
    ("without_any_worker_requests_wait_for_one_until_their_deadline", 11),
];

/// The seeds of the test that asks.
pub(crate) fn seeds() -> Seeds {
    let seeds: Vec<u64> = if let Some(seed) = number("INDRIK_SIM_SEED") {
        vec![seed]
    } else {
        let current = thread::current();
        let test = current.name().unwrap_or_default();
        let failed = FAILED_ONCE.iter().filter(|(name, _)| *name == test).map(|(_, seed)| *seed);
        failed.chain(0..number("INDRIK_SIM_SEEDS").unwrap_or(SEEDS)).collect()
    };
    Seeds { seeds: seeds.into_iter(), current: None }
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// Gives out seeds, and names the one during which the test failed.
pub(crate) struct Seeds {
    seeds: std::vec::IntoIter<u64>,
    current: Option<u64>,
}

impl Iterator for Seeds {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.current = self.seeds.next();
        self.current
    }
}

impl Drop for Seeds {
    #[expect(clippy::print_stderr, reason = "the place where a failing test speaks")]
    fn drop(&mut self) {
        if let Some(seed) = self.current.filter(|_| thread::panicking()) {
            eprintln!("seed {seed} failed; again: make simulate SEED={seed}");
        }
    }
}
