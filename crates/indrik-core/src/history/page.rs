//! What a browser is sent of the history: columns of 16-bit numbers in base64, which is small whatever the numbers are.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::marks::Mark;
use super::past::History;
use super::series::Series;
use super::tier::Tier;

const MINUTE_MS: u64 = 60_000;
/// Stands for a number that is missing.
const MISSING: u16 = u16::MAX;
/// Stands for the column's largest number.
const LARGEST: u16 = u16::MAX - 1;

/// How much of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// The last hour: its last quarter by the second, what is older by five.
    Hour,
    /// The last day by the minute.
    Day,
}

/// A part of the past.
#[derive(Clone, Debug, Serialize)]
pub struct Page {
    parts: Vec<Part>,
    marks: Vec<Mark>,
}

/// Columns of one step of time.
#[derive(Clone, Debug, Serialize)]
struct Part {
    from_ms: u64,
    step_ms: u64,
    count: usize,
    /// By name; those of which nothing is known are left out.
    columns: BTreeMap<&'static str, Column>,
}

/// One series.
#[derive(Clone, Debug, Serialize)]
struct Column {
    /// What the largest of the 16-bit numbers stands for.
    max: f32,
    /// Little-endian 16-bit numbers in base64; 65535 is a number that is missing.
    data: String,
}

impl History {
    /// What has been until now.
    #[must_use]
    pub fn page(&self, span: Span, now_ms: u64) -> Page {
        let [seconds, fives, minutes] = &self.tiers;
        let ago = |minutes: u64| now_ms.saturating_sub(minutes * MINUTE_MS);
        // The step that is not over yet is shown too.
        let until = now_ms.saturating_add(1);
        let (from, parts) = match span {
            Span::Hour => {
                // Where the two meet is a step of both.
                let meet = ago(15) / fives.step_ms() * fives.step_ms() + fives.step_ms();
                let old = part(fives, ago(60), meet.min(until));
                (ago(60), vec![old, part(seconds, meet.min(until), until)])
            }
            Span::Day => (ago(24 * 60), vec![part(minutes, ago(24 * 60 - 1), until)]),
        };
        Page { parts, marks: self.marks.since(from) }
    }
}

fn part(tier: &Tier, from_ms: u64, until_ms: u64) -> Part {
    let step_ms = tier.step_ms();
    let columns: Vec<(Series, Vec<f32>)> =
        Series::ALL.map(|series| (series, tier.column(series, from_ms, until_ms))).into();
    let count = columns.first().map_or(0, |(_, column)| column.len());
    let columns =
        columns.iter().filter_map(|(series, column)| Some((series.name(), packed(column)?)));
    Part {
        from_ms: from_ms.div_ceil(step_ms) * step_ms,
        step_ms,
        count,
        columns: columns.collect(),
    }
}

/// Nothing where no number is known.
fn packed(column: &[f32]) -> Option<Column> {
    let max = column.iter().copied().filter(|value| !value.is_nan()).reduce(f32::max)?;
    let short = |value: f32| match max {
        _ if value.is_nan() => MISSING,
        0.0 => 0,
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to LARGEST")]
        max => (f64::from(value) / f64::from(max) * f64::from(LARGEST)).round() as u16,
    };
    let bytes: Vec<u8> = column.iter().flat_map(|value| short(*value).to_le_bytes()).collect();
    Some(Column { max, data: STANDARD.encode(bytes) })
}

#[cfg(test)]
mod tests {
    use super::super::series::Row;
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn numbers(part: &Part, name: &str) -> Vec<Option<f64>> {
        let Some(column) = part.columns.get(name) else { return Vec::new() };
        let bytes = STANDARD.decode(&column.data).unwrap();
        let shorts = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        let long = |short: u16| f64::from(short) / f64::from(LARGEST) * f64::from(column.max);
        shorts.map(|short| (short != MISSING).then(|| long(short))).collect()
    }

    fn filled(seconds: u64) -> History {
        let mut history = History::default();
        for second in (0..seconds).rev() {
            let mut row = Row::default();
            row.set(Series::Requests, second as f64);
            history.push(NOW - second * 1_000, &row);
        }
        history
    }

    #[test]
    fn an_hour_is_told_without_a_gap_or_an_overlap_and_by_the_second_at_its_end() {
        let page = filled(4_000).page(Span::Hour, NOW + 999);
        let [old, new] = &page.parts[..] else { panic!() };
        assert_eq!(old.from_ms + old.step_ms * old.count as u64, new.from_ms);
        let (fives, seconds) = (numbers(old, "requests"), numbers(new, "requests"));
        assert_eq!((fives.len(), old.count), (old.count, fives.len()));
        assert!(fives.iter().chain(&seconds).all(Option::is_some));
        assert_eq!(new.from_ms + new.step_ms * (new.count as u64 - 1), NOW);
        assert!(seconds.len() <= 900 && seconds.len() > 890, "{}", seconds.len());
        for (back, value) in seconds.iter().rev().enumerate() {
            assert!((value.unwrap() - back as f64).abs() < 0.1, "{back}: {value:?}");
        }
        assert!(!new.columns.contains_key("rss"));
    }

    #[test]
    fn a_day_is_told_by_the_minute() {
        let page = filled(600).page(Span::Day, NOW);
        let minutes = numbers(&page.parts[0], "requests");
        assert_eq!(minutes.len(), 1_440);
        assert!(minutes[..1_429].iter().all(Option::is_none));
        assert!(minutes[1_430..].iter().all(Option::is_some));
    }

    #[test]
    fn a_clock_at_its_ends_is_no_matter() {
        for now in [0, 1, u64::MAX - 60_000] {
            for span in [Span::Hour, Span::Day] {
                let page = History::default().page(span, now);
                assert!(page.parts.iter().all(|part| part.count <= 1_441));
            }
        }
    }
}
