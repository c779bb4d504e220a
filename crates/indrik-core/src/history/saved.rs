//! The history as bytes, for the server that takes this one's place. Who reads them trusts nothing of them.

use super::failures::{Failure, Failures};
use super::marks::{Mark, Marks};
use super::past::{History, TIERS};
use super::series::{COUNT, Series};
use super::tier::Tier;

/// Begins what was saved; its last character is the version.
const MAGIC: &[u8; 8] = b"indrikH1";
/// What is read at most.
pub const SAVED_BYTES_MAX: usize = 8 << 20;
/// A name of a series.
const NAME_BYTES_MAX: usize = 64;
/// Series of another version that are passed over.
const SERIES_MAX: usize = 4 * COUNT;
/// What comes behind the rings.
const WORDS_BYTES_MAX: usize = 1 << 20;

impl History {
    /// All of it as bytes.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bytes() + self.bytes() / 4);
        bytes.extend(MAGIC);
        put(&mut bytes, TIERS.len());
        for tier in &self.tiers {
            let (newest, rings) = tier.parts();
            put(&mut bytes, tier.len());
            bytes.extend(tier.step_ms().to_le_bytes());
            bytes.extend(newest.unwrap_or(u64::MAX).to_le_bytes());
            put(&mut bytes, COUNT);
            for (series, ring) in rings {
                put(&mut bytes, series.name().len());
                bytes.extend(series.name().as_bytes());
                bytes.extend(ring.iter().flat_map(|value| value.to_le_bytes()));
            }
        }
        let failures: Vec<(&str, &Failure)> = self.failures.newest_first();
        let words = serde_json::to_vec(&(self.marks.since(0), failures)).unwrap_or_default();
        put(&mut bytes, words.len());
        bytes.extend(words);
        bytes
    }

    /// Reads what [`Self::save`] wrote, perhaps that of another version: series that are not known are passed over.
    ///
    /// # Errors
    /// When it was not written by it, in one line.
    pub fn restore(bytes: &[u8]) -> Result<Self, String> {
        let mut rest = Rest(bytes);
        if rest.take(MAGIC.len())? != MAGIC {
            return Err("it does not begin as a history of this version does".to_owned());
        }
        let mut history = Self::default();
        if rest.number(TIERS.len())? != TIERS.len() {
            return Err("it has another number of rings".to_owned());
        }
        for tier in &mut history.tiers {
            read_tier(&mut rest, tier)?;
        }
        let words = rest.number(WORDS_BYTES_MAX)?;
        let words = rest.take(words)?;
        let (marks, failures): (Vec<Mark>, Vec<(String, Failure)>) =
            serde_json::from_slice(words).map_err(|error| format!("its marks: {error}"))?;
        if !rest.0.is_empty() {
            return Err("something stands behind its end".to_owned());
        }
        let (mut kept, mut groups) = (Marks::default(), Failures::default());
        marks.into_iter().for_each(|mark| kept.push(mark));
        failures.into_iter().for_each(|(name, group)| groups.add(name, group));
        Ok(Self { marks: kept, failures: groups, ..history })
    }
}

fn read_tier(rest: &mut Rest<'_>, tier: &mut Tier) -> Result<(), String> {
    let len = rest.number(SAVED_BYTES_MAX)?;
    let step_ms = rest.long()?;
    if (len, step_ms) != (tier.len(), tier.step_ms()) {
        return Err(format!("a ring has {len} steps of {step_ms} ms, and ours is another one"));
    }
    let newest = Some(rest.long()?).filter(|newest| *newest <= u64::MAX / step_ms);
    for _ in 0..rest.number(SERIES_MAX)? {
        let name = rest.number(NAME_BYTES_MAX)?;
        let name = rest.take(name)?;
        let ring = rest.take(len * size_of::<f32>())?;
        let Some(series) = Series::ALL.into_iter().find(|series| series.name().as_bytes() == name)
        else {
            continue;
        };
        let values = ring.chunks_exact(size_of::<f32>());
        let values = values.map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
        tier.set_ring(newest, series, values);
    }
    Ok(())
}

fn put(bytes: &mut Vec<u8>, number: usize) {
    let number = u32::try_from(number).expect("everything here is far below 4 GiB");
    bytes.extend(number.to_le_bytes());
}

/// What has not been read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self, most: usize) -> Result<usize, String> {
        let bytes = self.take(4)?.try_into().map_err(|_| "it ends too early")?;
        let number = usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX);
        if number > most {
            return Err(format!("{number} stands where {most} is the most"));
        }
        Ok(number)
    }

    fn long(&mut self) -> Result<u64, String> {
        let bytes = self.take(8)?.try_into().map_err(|_| "it ends too early")?;
        Ok(u64::from_le_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::page::Span;
    use super::super::series::Row;
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn lived() -> History {
        let mut history = History::default();
        for second in 0..2_000u32 {
            let mut row = Row::default();
            row.set(Series::Requests, f64::from(second));
            row.set(Series::Rss, f64::from(second) * 1e6);
            history.push(NOW + u64::from(second) * 1_000, &row);
        }
        let text = "generation 2 serves".to_owned();
        history.mark(Mark { at_ms: NOW, kind: "deploy".into(), text, generation: Some(2) });
        history.failures_mut().count("GET /x 500", 3, NOW, 2);
        history
    }

    #[test]
    fn what_was_saved_comes_back() {
        let history = lived();
        let bytes = history.save();
        assert!(bytes.len() < SAVED_BYTES_MAX / 4, "{} bytes", bytes.len());
        let again = History::restore(&bytes).unwrap();
        assert_eq!(again, history);
        let (mut before, mut after) = (history, again);
        let mut row = Row::default();
        row.set(Series::Requests, 7.0);
        before.push(NOW + 2_000_000, &row);
        after.push(NOW + 2_000_000, &row);
        let page = |history: &History| {
            serde_json::to_string(&history.page(Span::Hour, NOW + 2_000_000)).unwrap()
        };
        assert_eq!(page(&after), page(&before));
    }

    #[test]
    fn a_series_that_is_not_known_is_passed_over() {
        let mut bytes = lived().save();
        let at = bytes.windows(8).position(|window| window == b"requests").unwrap();
        bytes[at] = b'R';
        let again = History::restore(&bytes).unwrap();
        assert_eq!(again.peak(Series::Requests), None);
        assert_eq!(again.peak(Series::Rss), Some(1_999e6));
    }

    #[test]
    fn what_was_cut_or_lengthened_is_refused() {
        let bytes = lived().save();
        for cut in [0, 7, 8, 11, 40, bytes.len() / 2, bytes.len() - 1] {
            assert!(History::restore(&bytes[..cut]).is_err(), "{cut}");
        }
        let longer = [bytes, vec![0]].concat();
        assert_eq!(History::restore(&longer), Err("something stands behind its end".to_owned()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn spoilt_bytes_are_refused_or_harmless(at in 0usize..400_000, bytes in proptest::collection::vec(any::<u8>(), 1..64)) {
            let mut saved = lived().save();
            let at = at % (saved.len() - bytes.len());
            saved[at..at + bytes.len()].copy_from_slice(&bytes);
            if let Ok(mut history) = History::restore(&saved) {
                history.push(NOW, &Row::default());
                history.push(NOW + 3_600_000, &Row::default());
                let page = serde_json::to_string(&history.page(Span::Hour, NOW)).unwrap();
                prop_assert!(page.len() < 400_000);
            }
        }
    }
}
