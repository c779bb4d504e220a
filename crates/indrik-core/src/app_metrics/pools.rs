//! What a worker's table says of its pools of connections (`python/indrik/pools`), for the diagnosis.

use std::collections::BTreeMap;

use super::key::series_of;
use super::shape::Part;
use super::totals::Row;

/// Names of their metrics begin so.
const FAMILY: &str = "indrik_pool_";
/// Pools of one table that are told apart.
const POOLS_MAX: usize = 128;

/// One pool of one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolNumbers {
    /// Connections that the application has taken.
    pub in_use: u64,
    /// As many as it may take; 0: no limit.
    pub max: u64,
    /// Who waits for one now.
    pub waiting: u64,
    /// Who has waited so far, in vain or not.
    pub waited: u64,
    /// Who has waited in vain.
    pub refused: u64,
}

/// The pools in these rows of a table, by library and name. What cannot be right is left out.
#[must_use]
pub fn pools(rows: &[Row<'_>]) -> BTreeMap<(String, String), PoolNumbers> {
    let mut pools = BTreeMap::new();
    for row in rows {
        // Few tables have many pools, and many have thousands of other rows.
        if !row.key.windows(FAMILY.len()).take(5).any(|part| part == FAMILY.as_bytes()) {
            continue;
        }
        let Some((name, Part::Whole, labels)) = series_of(row.key) else { continue };
        let Ok([library, pool]) = <[String; 2]>::try_from(labels) else { continue };
        let is_known = pools.contains_key(&(library.clone(), pool.clone()));
        if !is_known && pools.len() >= POOLS_MAX {
            continue;
        }
        let numbers: &mut PoolNumbers = pools.entry((library, pool)).or_default();
        let first = row.cells.first().map_or(0, |bits| whole(*bits));
        match name.strip_prefix(FAMILY) {
            Some("in_use") => numbers.in_use = first,
            Some("max") => numbers.max = first,
            Some("waiting") => numbers.waiting = first,
            Some("refused") => numbers.refused = first,
            // A sum, and then the buckets.
            Some("wait_seconds") => {
                let buckets = row.cells.iter().skip(1);
                numbers.waited = buckets.fold(0, |sum, bits| sum.saturating_add(whole(*bits)));
            }
            Some(_) | None => {}
        }
    }
    pools
}

/// A number that should be whole and not negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is no such number becomes the nearest"
)]
const fn whole(bits: u64) -> u64 {
    f64::from_bits(bits) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app_metrics::series_key;

    #[test]
    fn the_pools_of_a_table_are_read_and_nonsense_is_left_out() {
        let row = |name: &str, part, values: &[&str]| series_key(name, part, values).0;
        let of = ["sqlalchemy", "postgresql://db/shop"];
        let keys = [
            row("indrik_pool_in_use", Part::Whole, &of),
            row("indrik_pool_max", Part::Whole, &of),
            row("indrik_pool_waiting", Part::Whole, &of),
            row("indrik_pool_wait_seconds", Part::Whole, &of),
            row("indrik_pool_in_use", Part::Whole, &["one label"]),
            row("orders", Part::Whole, &of),
            b"nonsense".to_vec(),
        ];
        let cells = [
            [5.0, 1.0],
            [5.0, 1.0],
            [2.0, 1.0],
            [0.5, 7.0],
            [9.0, 1.0],
            [9.0, 1.0],
            [f64::NAN, -1.0],
        ];
        let cells = cells.map(|cells| cells.map(f64::to_bits));
        let rows: Vec<Row<'_>> =
            keys.iter().zip(&cells).map(|(key, cells)| Row { key, extra: &[], cells }).collect();
        let expected = PoolNumbers { in_use: 5, max: 5, waiting: 2, waited: 7, refused: 0 };
        let found = pools(&rows);
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            [((of[0].to_owned(), of[1].to_owned()), expected)]
        );
        assert_eq!(whole((-3.0_f64).to_bits()), 0);
        assert_eq!(whole(f64::INFINITY.to_bits()), u64::MAX);
    }
}
