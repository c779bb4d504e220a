//! The buckets that times are counted in: one array, from which the 14 buckets of OpenTelemetry's convention and
//! Prometheus' native ones (schema 3: eight for each doubling) come out, both exact.
//!
//! Every bound of either kind ends a cell. Times are whole microseconds; those below one count as zero.

use super::family::{Distribution, Native};

/// Upper bounds of the classic buckets, in microseconds.
const CLASSIC_US: [u64; 14] = [
    5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 750_000, 1_000_000,
    2_500_000, 5_000_000, 7_500_000, 10_000_000,
];
/// The same in seconds, as they are told.
const CLASSIC_S: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// Those that end a native bucket as well: 1/4, 1/2 and 1 s.
const SHARED: usize = 3;

const SCHEMA: i8 = 3;
const PER_OCTAVE: usize = 8;
/// Native buckets begin above 2^-20 s, which is less than a microsecond.
const LOWEST_OCTAVE: i32 = -20;
/// And end with 2^17 s, a day and a half; what takes longer counts as that in them.
const HIGHEST_OCTAVE: i32 = 17;
const NATIVE: usize = (HIGHEST_OCTAVE - LOWEST_OCTAVE) as usize * PER_OCTAVE;

/// Cells: one for zero, one for each bound, one for what is beyond all.
pub const CELLS: usize = 1 + NATIVE + CLASSIC_US.len() - SHARED + 1;

/// 2 to the power of 1/8, 2/8, … 8/8.
const ROOTS: [f64; PER_OCTAVE] = [
    1.090_507_732_665_257_7,
    1.189_207_115_002_721,
    1.296_839_554_651_009_6,
    std::f64::consts::SQRT_2,
    1.542_210_825_407_940_8,
    1.681_792_830_507_429,
    1.834_008_086_409_342_4,
    2.0,
];

/// The last microsecond of each cell.
static UPPER_US: [u64; CELLS] = upper_bounds();
/// Where to begin to look for a time's cell, by its highest bit and the three below.
static FIRST: [u16; FIRSTS] = first_cells();
/// Times of so many bits are in the table; longer ones are beyond all cells.
const BITS_MAX: usize = 38;
const FIRSTS: usize = BITS_MAX * 8;

const fn native_upper_us(index: usize) -> u64 {
    let octave = LOWEST_OCTAVE + (index / PER_OCTAVE) as i32;
    let mut seconds = ROOTS[index % PER_OCTAVE];
    let mut left = if octave < 0 { -octave } else { octave };
    while left > 0 {
        seconds = if octave < 0 { seconds / 2.0 } else { seconds * 2.0 };
        left -= 1;
    }
    (seconds * 1e6) as u64
}

const fn upper_bounds() -> [u64; CELLS] {
    let mut bounds = [0; CELLS];
    let (mut at, mut native, mut classic) = (1, 0, 0);
    while at < CELLS - 1 {
        let next_native = if native < NATIVE { native_upper_us(native) } else { u64::MAX };
        let next_classic = if classic < CLASSIC_US.len() { CLASSIC_US[classic] } else { u64::MAX };
        bounds[at] = if next_native <= next_classic { next_native } else { next_classic };
        if next_native <= next_classic {
            native += 1;
        }
        if next_classic <= next_native {
            classic += 1;
        }
        at += 1;
    }
    bounds[CELLS - 1] = u64::MAX;
    bounds
}

/// The least time with this highest bit and these three below it.
const fn least(first: usize) -> u64 {
    let (bit, next) = (first / 8, (first % 8) as u64);
    if bit >= 3 { (8 + next) << (bit - 3) } else { (8 + next) >> (3 - bit) }
}

const fn first_cells() -> [u16; FIRSTS] {
    let bounds = upper_bounds();
    let mut cells = [0; FIRSTS];
    let (mut first, mut cell) = (0, 0);
    while first < FIRSTS {
        while bounds[cell] < least(first) {
            cell += 1;
        }
        cells[first] = cell as u16;
        first += 1;
    }
    cells
}

/// The cell that a time is counted in.
#[must_use]
pub fn cell(micros: u64) -> usize {
    if micros == 0 {
        return 0;
    }
    let bit = 63 - micros.leading_zeros() as usize;
    if bit >= BITS_MAX {
        return CELLS - 1;
    }
    let next = if bit >= 3 { micros >> (bit - 3) } else { micros << (3 - bit) } & 7;
    let mut cell = usize::from(FIRST[bit * 8 + next as usize]);
    while UPPER_US[cell] < micros {
        cell += 1;
    }
    cell
}

/// Classic buckets: those that have a bound, and the last one.
pub const BUCKETS: usize = CLASSIC_US.len() + 1;

/// The classic bucket that a time is counted in.
#[must_use]
pub fn bucket(micros: u64) -> usize {
    CLASSIC_US.partition_point(|bound| *bound < micros)
}

/// What the cells of `counts` say; `sum_us` is what all times were together.
#[must_use]
pub fn distribution(counts: &[u64; CELLS], sum_us: u64) -> Distribution {
    Distribution {
        bounds: CLASSIC_S.to_vec(),
        counts: classic(counts),
        sum: seconds(sum_us),
        native: Some(native(counts)),
        exemplars: Vec::new(),
    }
}

/// Microseconds in seconds.
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn classic(counts: &[u64; CELLS]) -> Vec<u64> {
    let mut classic = vec![0; CLASSIC_US.len() + 1];
    let mut bucket = 0;
    for (upper, count) in UPPER_US.iter().zip(counts) {
        while CLASSIC_US.get(bucket).is_some_and(|bound| bound < upper) {
            bucket += 1;
        }
        classic[bucket] += count;
    }
    classic
}

fn native(counts: &[u64; CELLS]) -> Native {
    let mut buckets: Vec<(i32, u64)> = Vec::new();
    let mut bucket = 0;
    for (cell, count) in counts.iter().enumerate().skip(1) {
        // What is beyond all buckets counts as the last.
        while bucket < NATIVE - 1 && native_upper_us(bucket) < UPPER_US[cell] {
            bucket += 1;
        }
        let index = LOWEST_OCTAVE * PER_OCTAVE as i32 + bucket as i32 + 1;
        match buckets.last_mut() {
            _ if *count == 0 => {}
            Some((last, sum)) if *last == index => *sum += count,
            _ => buckets.push((index, *count)),
        }
    }
    Native {
        schema: SCHEMA,
        zero_threshold: f64::from(LOWEST_OCTAVE).exp2(),
        zero_count: counts[0],
        buckets,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counted(times: &[u64]) -> Distribution {
        let mut counts = [0; CELLS];
        times.iter().for_each(|time| counts[cell(*time)] += 1);
        distribution(&counts, times.iter().sum())
    }

    /// A time around a bound, or any.
    fn times() -> impl Strategy<Value = u64> {
        let bound = (0..CELLS - 1, -1i64..=1)
            .prop_map(|(cell, off)| UPPER_US[cell].saturating_add_signed(off));
        prop_oneof![bound, 0u64..20_000_000, 0u64..(1 << 37), (0u32..63).prop_map(|bit| 1 << bit)]
    }

    #[test]
    fn bounds_ascend_and_all_classic_ones_are_among_them() {
        assert!(UPPER_US.windows(2).all(|pair| pair[0] <= pair[1]));
        assert!(CLASSIC_US.iter().all(|bound| UPPER_US.contains(bound)));
        let shown = CLASSIC_S.iter().zip(CLASSIC_US);
        assert!(shown.clone().all(|(s, us)| (s * 1e6).round() as u64 == us));
    }

    proptest! {
        #[test]
        fn a_time_lies_in_the_first_cell_that_ends_behind_it(time in times()) {
            let first = UPPER_US.iter().position(|upper| *upper >= time);
            prop_assert_eq!(Some(cell(time)), first);
        }

        #[test]
        fn both_kinds_of_buckets_have_what_was_observed(
            times in prop::collection::vec(times(), 0..60),
        ) {
            let all = counted(&times);
            for (bucket, count) in all.counts.iter().enumerate() {
                let lower = bucket.checked_sub(1).map_or(-1.0, |below| CLASSIC_S[below]);
                let upper = CLASSIC_S.get(bucket).copied().unwrap_or(f64::INFINITY);
                let within = times.iter().map(|time| *time as f64 / 1e6);
                let within = within.filter(|time| *time > lower && *time <= upper).count();
                prop_assert_eq!(*count, within as u64);
            }
            for time in &times {
                let within = *time as f64 / 1e6;
                prop_assert!(CLASSIC_S.get(bucket(*time)).is_none_or(|bound| within <= *bound));
                prop_assert!(bucket(*time) == 0 || within > CLASSIC_S[bucket(*time) - 1]);
            }
            let native = all.native.as_ref().expect("native buckets");
            let zeros = times.iter().filter(|time| **time == 0).count() as u64;
            prop_assert_eq!(native.zero_count, zeros);
            let others: u64 = native.buckets.iter().map(|(_, count)| count).sum();
            prop_assert_eq!(others + zeros, all.count());
            for (index, count) in &native.buckets {
                let upper = (f64::from(*index) / 8.0).exp2();
                let lower = (f64::from(*index - 1) / 8.0).exp2();
                let last = *index == HIGHEST_OCTAVE * PER_OCTAVE as i32;
                let is_within = |time: &&u64| {
                    let time = **time as f64 / 1e6;
                    time > lower && (time <= upper || last)
                };
                prop_assert_eq!(*count, times.iter().filter(is_within).count() as u64);
            }
            prop_assert!(native.buckets.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
    }
}
