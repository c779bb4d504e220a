//! What becomes of a batch that a collector was sent.

use std::time::Duration;

/// So often a batch is sent at most.
pub const TRIES_MAX: u32 = 5;
/// The first pause before a batch is sent again; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause, also of those that the collector asks for.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What becomes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The collector has it.
    Taken,
    /// It is sent again after a pause.
    Again(Duration),
    /// It is lost.
    Lost,
}

/// After the collector answered the try number `tries` (from 1) with a status. `asked`: the pause that it asks for;
/// `chance`: a random number, so that many servers do not come back at the same time.
#[must_use]
pub fn after(status: u16, asked: Option<Duration>, tries: u32, chance: u64) -> Fate {
    match status {
        200..=299 => Fate::Taken,
        429 | 502..=504 => again(asked, tries, chance),
        _ => Fate::Lost,
    }
}

/// After a try that found no collector, or got no answer.
#[must_use]
pub fn unanswered(tries: u32, chance: u64) -> Fate {
    again(None, tries, chance)
}

fn again(asked: Option<Duration>, tries: u32, chance: u64) -> Fate {
    if tries >= TRIES_MAX {
        return Fate::Lost;
    }
    let own = PAUSE_MIN.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(PAUSE_MAX);
    // A half of it for sure.
    let jittered = own / 2 + (own / 2).mul_f64((chance % 1024) as f64 / 1024.0);
    Fate::Again(asked.unwrap_or(jittered).min(PAUSE_MAX))
}

/// The seconds of a `Retry-After`; a date there counts as no word.
#[must_use]
pub fn retry_after(value: &[u8]) -> Option<Duration> {
    let seconds = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_work_later_is_tried_again_after_longer_and_longer_pauses() {
        let pause = |tries| match unanswered(tries, 1023) {
            Fate::Again(pause) => pause.as_millis(),
            Fate::Taken | Fate::Lost => 0,
        };
        assert!((900..=1000).contains(&pause(1)), "{}", pause(1));
        assert!((3_800..=4_000).contains(&pause(3)), "{}", pause(3));
        assert_eq!(unanswered(TRIES_MAX, 0), Fate::Lost);
        for status in [429, 502, 503, 504] {
            assert!(matches!(after(status, None, 1, 0), Fate::Again(_)), "{status}");
        }
    }

    #[test]
    fn the_collectors_word_on_the_pause_counts_within_a_limit() {
        let second = Some(Duration::from_secs(7));
        assert_eq!(after(429, second, 1, 0), Fate::Again(Duration::from_secs(7)));
        let years = retry_after(b" 100000000 ");
        assert_eq!(after(503, years, 1, 0), Fate::Again(PAUSE_MAX));
        assert_eq!(retry_after(b"Wed, 21 Oct 2026 07:28:00 GMT"), None);
        assert_eq!(retry_after(b"-1"), None);
    }

    #[test]
    fn what_will_never_be_taken_is_not_sent_again() {
        for status in [200, 202, 299] {
            assert_eq!(after(status, None, 1, 0), Fate::Taken);
        }
        for status in [100, 301, 400, 401, 404, 413, 500, 501, 505] {
            assert_eq!(after(status, None, 1, 0), Fate::Lost, "{status}");
        }
    }
}
