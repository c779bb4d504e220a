//! What the server remembers of its last day: numbers in rings of fixed size, marks, and groups of failures.
//!
//! Every second a [`Row`] comes in; it is kept by the second for a quarter of an hour, by five seconds for an hour and by
//! the minute for a day. [`History::page`] is what a browser is sent, [`History::save`] what the successor of an upgrade
//! gets: to it, what it is given is input like any other.

mod ends;
mod failures;
mod marks;
mod page;
mod past;
mod reading;
mod saved;
mod series;
mod shares;
mod tier;

pub use ends::failed;
pub use failures::{Failure, Failures, GROUPS_MAX};
pub use marks::{MARKS_MAX, Mark};
pub use page::{Page, Span};
pub use past::History;
pub(crate) use reading::quantile;
pub use reading::{Reading, RouteCount};
pub use saved::SAVED_BYTES_MAX;
pub use series::{Row, Series};
pub use shares::{Share, Shares};

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 24 * 3_600_000;
    const NOW: u64 = 1_800_000_000_000;

    fn row(value: f64) -> Row {
        let mut row = Row::default();
        for series in Series::ALL {
            row.set(series, value);
        }
        row
    }

    #[test]
    fn a_day_and_more_takes_no_more_than_the_first_second() {
        let mut history = History::default();
        let before = history.bytes();
        assert!(before < 1 << 20, "{before} bytes of the 8 MiB that are allowed");
        for second in (0..DAY_MS + 7_200_000).step_by(1_000) {
            history.push(NOW + second, &row(1.0));
        }
        for number in 0..10_000u64 {
            let text = "x".repeat(10_000);
            history.mark(Mark { at_ms: NOW + number, kind: text.clone(), text, generation: None });
            history.failures_mut().count(&format!("/{number}/{}", "y".repeat(10_000)), 1, NOW, 1);
        }
        assert_eq!(history.bytes(), before);
        let all = history.save().len();
        assert!(all < 1 << 20, "{all} bytes with marks and failures");
    }

    #[test]
    fn a_page_of_an_hour_or_a_day_is_small_whatever_the_numbers_are() {
        let mut history = History::default();
        for second in (0..DAY_MS).step_by(1_000) {
            let wild = (second.wrapping_mul(2_654_435_761) % 1_000_003) as f64 * 1.000_1;
            history.push(NOW + second, &row(wild));
        }
        for number in 0..2_000u64 {
            let text = "\u{202e}\"<\\".repeat(200);
            history.mark(Mark {
                at_ms: NOW + number,
                kind: "deploy".into(),
                text,
                generation: Some(1),
            });
        }
        for span in [Span::Hour, Span::Day] {
            let text = serde_json::to_string(&history.page(span, NOW + DAY_MS)).unwrap();
            assert!(text.len() < 200_000, "{} bytes", text.len());
        }
    }

    #[test]
    fn a_peak_is_of_the_last_quarter_of_an_hour() {
        let mut history = History::default();
        assert_eq!(history.peak(Series::Waiting), None);
        history.push(NOW, &row(9.0));
        history.push(NOW + 1_000, &row(2.0));
        assert_eq!(history.peak(Series::Waiting), Some(9.0));
        history.push(NOW + 1_000_000, &row(1.0));
        assert_eq!(history.peak(Series::Waiting), Some(1.0));
    }
}
