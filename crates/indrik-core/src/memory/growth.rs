//! What a worker's memory grows with: its requests, by route, or time alone.
//!
//! Between two looks memory has grown by so many bytes, and so many requests of each route were answered. A route that
//! keeps something of each request shows in that again and again, one that only takes memory for a while does not. So growth
//! is explained by as few routes as do it, the one that explains most first (a regression by forward selection), and
//! one that explains too little to be no accident is not named.

use std::collections::BTreeMap;
use std::time::Duration;

/// Routes of a worker that are told apart here; the others are taken together.
const ROUTES_MAX: usize = 31;
/// The column of those others.
const OTHERS: usize = ROUTES_MAX + 1;
/// Routes that may explain growth at the same time.
const NAMED_MAX: usize = 4;
/// The first requests of a route load what it needs: looks at them are not counted.
const FIRST_REQUESTS: u64 = 3;
/// Looks that are needed before anything is named.
const LOOKS_MIN: u32 = 8;
/// Growth that is worth a word, bytes.
const GROWN_MIN: f64 = 5.0 * 1024.0 * 1024.0;
/// How much better an explanation must be than none: the square of a ratio of what it explains to what it leaves,
/// for each look. Accidents are below.
const BETTER_MIN: f64 = 16.0;
/// And how much better than the next best explanation.
const APART_MIN: f64 = 3.0;
/// The same for one more beside those that explain it already.
const BETTER_MORE_MIN: f64 = 30.0;
/// Of the growth that was seen, what a route must explain to be named.
const SHARE_MIN: f64 = 0.15;

/// What was seen of one worker.
#[derive(Clone, Debug, Default)]
pub struct Growth {
    last: Option<Seen>,
    first_rss: u64,
    columns: Columns,
    /// Sums of products of what was done in each look, by column; the first column is time.
    products: Vec<Vec<f64>>,
    /// Sums of products with what memory grew by.
    with_growth: Vec<f64>,
    growth_squared: f64,
    looks: u32,
    /// In all looks that were counted.
    done: Vec<f64>,
}

#[derive(Clone, Debug)]
struct Seen {
    at: Duration,
    rss: u64,
    requests: BTreeMap<u16, u64>,
}

/// Which column a route has.
#[derive(Clone, Debug, Default)]
struct Columns(BTreeMap<u16, usize>);

/// What memory has grown with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Bytes since the first look; negative: it has shrunk.
    pub grown: i64,
    /// Looks that were counted: those in which no route was new.
    pub looks: u32,
    /// The routes that explain it, the one that explains most first.
    pub routes: Vec<RouteGrowth>,
    /// The requests of all routes that are not told apart, taken together, explain it: which of them is not known.
    pub others: Option<OthersGrowth>,
    /// What comes with time and no request, bytes a second; 0: nothing that stands out.
    pub per_second: f64,
}

/// Routes that are not told apart, and that memory grows with together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OthersGrowth {
    /// What each request leaves behind.
    pub bytes_per_request: f64,
    /// Requests that were seen.
    pub requests: u64,
}

/// A route that memory grows with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RouteGrowth {
    /// Its number in the worker's generation.
    pub route: u16,
    /// What each request leaves behind.
    pub bytes_per_request: f64,
    /// Requests that were seen.
    pub requests: u64,
}

/// The column of time.
const TIME: usize = 0;

impl Columns {
    /// The column of a route, which is its own, or that of all that have none.
    fn of(&mut self, route: u16) -> usize {
        if let Some(column) = self.0.get(&route) {
            return *column;
        }
        if self.0.len() >= ROUTES_MAX {
            return OTHERS;
        }
        let next = self.0.len() + 1;
        self.0.insert(route, next);
        next
    }
}

impl Growth {
    /// A look at the worker: its resident memory, and requests by route since its start. Returns whether any were
    /// answered since the look before.
    pub fn saw(&mut self, at: Duration, rss: u64, requests: &[(u16, u64)]) -> bool {
        let requests: BTreeMap<u16, u64> = requests.iter().copied().collect();
        let seen = Seen { at, rss, requests };
        let Some(before) = self.last.replace(seen.clone()) else {
            self.first_rss = rss;
            return false;
        };
        let mut row = vec![0.0; OTHERS + 1];
        row[TIME] = at.saturating_sub(before.at).as_secs_f64();
        let mut is_first = false;
        for (route, count) in &seen.requests {
            let earlier = before.requests.get(route).copied().unwrap_or(0);
            let more = count.saturating_sub(earlier);
            is_first |= more > 0 && earlier < FIRST_REQUESTS;
            if more > 0 {
                row[self.columns.of(*route)] += more as f64;
            }
        }
        if !is_first {
            self.count(&row, rss as f64 - before.rss as f64);
        }
        before.requests != seen.requests
    }

    fn count(&mut self, row: &[f64], grown: f64) {
        if self.products.is_empty() {
            self.products = vec![vec![0.0; row.len()]; row.len()];
            self.with_growth = vec![0.0; row.len()];
            self.done = vec![0.0; row.len()];
        }
        for (at, left) in row.iter().enumerate().filter(|(_, left)| **left != 0.0) {
            for (sum, right) in self.products[at].iter_mut().zip(row) {
                *sum += left * right;
            }
            self.with_growth[at] += left * grown;
            self.done[at] += left;
        }
        self.growth_squared += grown * grown;
        self.looks += 1;
    }

    /// What explains the growth so far.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let now = self.last.as_ref().map_or(self.first_rss, |seen| seen.rss);
        let grown = i64::try_from(now).unwrap_or(i64::MAX)
            - i64::try_from(self.first_rss).unwrap_or(i64::MAX);
        let mut verdict = Verdict { grown, looks: self.looks, ..Verdict::default() };
        if self.looks < LOOKS_MIN || (grown as f64) < GROWN_MIN {
            return verdict;
        }
        for (column, weight) in self.explanation() {
            if weight * self.done[column] < SHARE_MIN * grown as f64 {
                continue;
            }
            let route = self.columns.0.iter().find(|(_, of)| **of == column);
            let requests = self.done[column] as u64;
            match route {
                Some((route, _)) => verdict.routes.push(RouteGrowth {
                    route: *route,
                    bytes_per_request: weight,
                    requests,
                }),
                None if column == OTHERS => {
                    verdict.others = Some(OthersGrowth { bytes_per_request: weight, requests });
                }
                None => verdict.per_second = weight,
            }
        }
        let bytes = |it: &RouteGrowth| it.bytes_per_request * it.requests as f64;
        verdict.routes.sort_by(|one, other| bytes(other).total_cmp(&bytes(one)));
        verdict
    }

    /// The columns that explain growth, and by how much each.
    fn explanation(&self) -> Vec<(usize, f64)> {
        let mut chosen: Vec<usize> = Vec::new();
        let mut weights: Vec<f64> = Vec::new();
        let mut left = self.growth_squared;
        while chosen.len() < NAMED_MAX {
            let candidates = (0..self.done.len())
                .filter(|column| self.products[*column][*column] > 0.0)
                .filter(|column| !chosen.contains(column));
            let tried = candidates.filter_map(|column| {
                let with: Vec<usize> = chosen.iter().copied().chain([column]).collect();
                let weights = self.solve(&with)?;
                // Nothing gives memory back for good.
                let is_sound = weights.iter().all(|weight| *weight > 0.0);
                is_sound.then(|| (self.left_by(&with, &weights), with, weights))
            });
            let mut tried: Vec<_> = tried.collect();
            tried.sort_by(|(one, ..), (other, ..)| one.total_cmp(other));
            let second = tried.get(1).map_or(left, |(left, ..)| *left);
            let Some((now_left, with, now_weights)) = tried.into_iter().next() else { break };
            let free = f64::from(self.looks) - with.len() as f64;
            let noise = (now_left / free.max(1.0)).max(f64::MIN_POSITIVE);
            let wanted = if chosen.is_empty() { BETTER_MIN } else { BETTER_MORE_MIN };
            // One that is hardly better than another is perhaps not the one.
            if (left - now_left) / noise < wanted || (second - now_left) / noise < APART_MIN {
                break;
            }
            (chosen, weights, left) = (with, now_weights, now_left);
        }
        chosen.into_iter().zip(weights).collect()
    }

    /// What these columns leave unexplained, squared.
    fn left_by(&self, columns: &[usize], weights: &[f64]) -> f64 {
        let explained: f64 = columns
            .iter()
            .zip(weights)
            .map(|(column, weight)| weight * self.with_growth[*column])
            .sum();
        (self.growth_squared - explained).max(0.0)
    }

    /// The weights that explain growth best with these columns (Gauss, with the largest pivot).
    fn solve(&self, columns: &[usize]) -> Option<Vec<f64>> {
        let size = columns.len();
        let mut rows: Vec<Vec<f64>> = columns
            .iter()
            .map(|row| {
                let products = columns.iter().map(|column| self.products[*row][*column]);
                products.chain([self.with_growth[*row]]).collect()
            })
            .collect();
        for at in 0..size {
            let pivot = (at..size)
                .max_by(|one, other| rows[*one][at].abs().total_cmp(&rows[*other][at].abs()))?;
            rows.swap(at, pivot);
            let head = rows[at].clone();
            // Two routes that always came together cannot be told apart.
            if head[at].abs() < 1e-9 * self.products[columns[at]][columns[at]].max(1.0) {
                return None;
            }
            for row in rows.iter_mut().skip(at + 1) {
                let factor = row[at] / head[at];
                row.iter_mut().zip(&head).for_each(|(cell, above)| *cell -= factor * above);
            }
        }
        let mut weights = vec![0.0; size];
        for at in (0..size).rev() {
            let known: f64 = (at + 1..size).map(|right| rows[at][right] * weights[right]).sum();
            weights[at] = (rows[at][size] - known) / rows[at][at];
        }
        Some(weights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// Chance from a seed (xorshift).
    struct Chance(u64);

    impl Chance {
        /// Neighbouring seeds are far from each other.
        fn seeded(seed: u64) -> Self {
            let mut chance = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
            for _ in 0..10 {
                chance.below(2);
            }
            chance
        }

        fn below(&mut self, end: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % end
        }
    }

    /// A worker of ten routes with random load, whose memory goes up and down by what they take for a while;
    /// `leaks` says what each request of a route keeps. Returns what was known when it had kept 50 MiB, or after 600 looks.
    fn lived(seed: u64, leaks: impl Fn(u16) -> u64) -> Verdict {
        let mut chance = Chance::seeded(seed);
        let (mut growth, mut counts) = (Growth::default(), [0u64; 10]);
        let (mut kept, mut rate) = (0, 3);
        for look in 0..600 {
            if look % 20 == 0 {
                rate = 1 + chance.below(12);
            }
            for route in 0..10u16 {
                let requests = chance.below(rate + 1);
                counts[usize::from(route)] += requests;
                kept += requests * leaks(route + 2);
            }
            // What is in use just now, in pieces of an allocator.
            let for_a_while = chance.below(9) * 256 * 1024;
            let requests: Vec<(u16, u64)> = (2u16..).zip(counts).collect();
            let rss = 80 * MIB + for_a_while + kept / 65_536 * 65_536;
            growth.saw(Duration::from_secs(look), rss, &requests);
            if kept >= 50 * MIB {
                break;
            }
        }
        growth.verdict()
    }

    /// Of so many workers, in how many the leaking route was named first, and in how many another one.
    fn named(seeds: u64, kept: u64) -> (u64, u64) {
        let (mut right, mut wrong) = (0, 0);
        for seed in 1..=seeds {
            let leaking = (seed % 10) as u16 + 2;
            let verdict = lived(seed, |route| if route == leaking { kept } else { 0 });
            match verdict.routes.first() {
                Some(it) if it.route == leaking => right += 1,
                Some(_) => wrong += 1,
                None => {}
            }
        }
        (right, wrong)
    }

    #[test]
    fn a_leaking_route_among_ten_is_named_within_fifty_mebibytes() {
        let (right, wrong) = named(400, MIB / 2);
        assert!(right >= 390 && wrong == 0, "{right} right, {wrong} wrong of 400");
    }

    #[test]
    fn a_smaller_leak_is_mostly_named_and_nobody_else_is_but_by_a_rare_accident() {
        let (right, wrong) = named(400, MIB / 8);
        assert!(right >= 280 && wrong <= 8, "{right} right, {wrong} wrong of 400");
    }

    #[test]
    fn a_worker_that_does_not_grow_names_nobody() {
        for seed in 1..200 {
            assert_eq!(lived(seed, |_| 0).routes, [], "seed {seed}");
        }
    }

    #[test]
    fn what_grows_without_requests_is_laid_to_none() {
        let mut growth = Growth::default();
        let mut chance = Chance(77);
        let mut count = 0;
        for look in 0..100u64 {
            count += chance.below(10);
            growth.saw(Duration::from_secs(look), (50 + look) * MIB, &[(2, count)]);
        }
        let verdict = growth.verdict();
        assert_eq!(verdict.routes, []);
        assert!((verdict.per_second - MIB as f64).abs() < 1_000.0, "{verdict:?}");
    }

    #[test]
    fn what_a_first_request_loads_is_no_leak_and_any_number_of_routes_is_taken() {
        let mut growth = Growth::default();
        let mut requests: Vec<(u16, u64)> = Vec::new();
        for look in 0..200u16 {
            requests.push((look, 1));
            let rss = 50 * MIB + u64::from(look) * MIB;
            growth.saw(Duration::from_secs(look.into()), rss, &requests);
        }
        assert_eq!(growth.verdict().routes, []);
        assert_eq!(growth.verdict().grown, 199 * MIB as i64);
    }

    #[test]
    fn no_route_is_accused_of_what_one_of_many_others_does() {
        for leaking in 2..42u16 {
            let mut chance = Chance::seeded(leaking.into());
            let (mut growth, mut counts, mut kept) = (Growth::default(), [3u64; 40], 0);
            for look in 0..400 {
                for (route, count) in (2u16..).zip(&mut counts) {
                    // In the first looks every route has a request: the first of them get columns.
                    let more = if look < 2 { 1 } else { chance.below(4) };
                    *count += more;
                    kept += if route == leaking { more * MIB / 2 } else { 0 };
                }
                let requests: Vec<(u16, u64)> = (2u16..).zip(counts).collect();
                growth.saw(Duration::from_secs(look), 80 * MIB + kept, &requests);
            }
            let verdict = growth.verdict();
            let named: Vec<u16> = verdict.routes.iter().map(|it| it.route).collect();
            let has_column = usize::from(leaking) < 2 + ROUTES_MAX;
            assert_eq!(named, if has_column { vec![leaking] } else { vec![] }, "{leaking}");
            assert!(has_column || verdict.per_second == 0.0, "{verdict:?}");
        }
    }
}
