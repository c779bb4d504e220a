//! What a recording is asked to be.

use std::time::Duration;

use crate::settings::read_duration;

/// A recording ends by itself after this.
const SPAN_DEFAULT: Duration = Duration::from_secs(60);
/// The longest recording.
const SPAN_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Bytes of a recording, if nothing else is said.
const BYTES_DEFAULT: u64 = 256 * 1024 * 1024;
/// Fewer would not hold a minute of a quiet server.
const BYTES_MIN: u64 = 64 * 1024;
/// More is not meant.
const BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// What [`Sample`] counts in.
const MILLION: u32 = 1_000_000;

/// What a recording is asked to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Which requests are recorded.
    pub sample: Sample,
    /// It ends after this.
    pub span: Duration,
    /// It ends before it is larger.
    pub bytes_max: u64,
    /// Targets and headers are recorded, redacted.
    pub requests: bool,
    /// Bodies of requests as well: forms and JSON, redacted.
    pub bodies: bool,
}

impl Default for Order {
    fn default() -> Self {
        Self {
            sample: Sample(MILLION),
            span: SPAN_DEFAULT,
            bytes_max: BYTES_DEFAULT,
            requests: false,
            bodies: false,
        }
    }
}

impl Order {
    /// Understands the words behind `record`: `sample=1%`, `for=60s`, `bytes=1000000`, `requests`, `bodies`.
    ///
    /// # Errors
    /// What is wrong and what would be right, in one line.
    pub fn parse(words: &[&str]) -> Result<Self, String> {
        let mut order = Self::default();
        for word in words {
            match word.split_once('=') {
                None if *word == "requests" => order.requests = true,
                // A body says nothing without its head.
                None if *word == "bodies" => (order.requests, order.bodies) = (true, true),
                Some(("sample", value)) => order.sample = Sample::parse(value)?,
                Some(("for", value)) => order.span = span(value)?,
                Some(("bytes", value)) => order.bytes_max = bytes(value)?,
                None | Some(_) => {
                    let shown: String = word.chars().take(40).collect();
                    return Err(format!(
                        "Invalid argument: record takes sample=, for=, bytes=, requests and bodies, not {shown}"
                    ));
                }
            }
        }
        Ok(order)
    }

    /// The words that [`Self::parse`] reads.
    #[must_use]
    pub fn words(&self) -> String {
        let span = self.span.as_millis();
        let requests = match (self.bodies, self.requests) {
            (true, _) => " bodies",
            (false, true) => " requests",
            (false, false) => "",
        };
        format!("sample={} for={span}ms bytes={}{requests}", self.sample.share(), self.bytes_max)
    }
}

fn span(value: &str) -> Result<Duration, String> {
    let span = read_duration(value).filter(|span| !span.is_zero() && *span <= SPAN_MAX);
    span.ok_or_else(|| {
        "Invalid argument: a recording takes more than 0 and at most 24 h: for=60s".to_owned()
    })
}

fn bytes(value: &str) -> Result<u64, String> {
    let bytes = value.parse().ok().filter(|bytes| (BYTES_MIN..=BYTES_MAX).contains(bytes));
    bytes.ok_or_else(|| {
        let shown: String = value.chars().take(40).collect();
        format!(
            "Invalid argument: {shown} bytes: a recording has {BYTES_MIN} (64 KiB) to {BYTES_MAX} (64 GiB)"
        )
    })
}

/// Which part of all requests is recorded, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample(u32);

impl Sample {
    /// Reads `1%` or `0.01`.
    ///
    /// # Errors
    /// When it is no part of a whole.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (number, scale) = match text.strip_suffix('%') {
            Some(number) => (number, 100.0),
            None => (text, 1.0),
        };
        let number: Option<f64> = number.trim().parse().ok();
        let millionths = number.map(|number| (number / scale * f64::from(MILLION)).round());
        let valid = millionths.filter(|it| (1.0..=f64::from(MILLION)).contains(it));
        valid.map(|millionths| Self(millionths as u32)).ok_or_else(|| {
            "Invalid argument: a sample is more than 0 and at most 100 %: sample=1%".to_owned()
        })
    }

    /// The part, between 0 and 1.
    #[must_use]
    pub fn share(self) -> f64 {
        f64::from(self.0) / f64::from(MILLION)
    }

    /// Whether the request with this number is recorded; numbers that follow one another are taken as by chance.
    #[must_use]
    pub const fn takes(self, number: u64) -> bool {
        // The finalizer of SplitMix64.
        let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % (MILLION as u64) < self.0 as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read_as_it_is_written() {
        let order = Order::parse(&["sample=1%", "for=90s", "bytes=70000", "requests"]).unwrap();
        assert_eq!(order.span, Duration::from_secs(90));
        assert!(order.requests);
        assert!((order.sample.share() - 0.01).abs() < 1e-9);
        let text = order.words();
        let words: Vec<&str> = text.split(' ').collect();
        assert_eq!(Order::parse(&words), Ok(order));
        assert_eq!(Order::parse(&[]), Ok(Order::default()));
        let order = Order::parse(&["bodies"]).unwrap();
        assert!(order.requests && order.bodies && order.words().ends_with(" bodies"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for word in [
            "sample=0",
            "sample=101%",
            "sample=nan",
            "sample=-1%",
            "sample=",
            "for=0",
            "for=2d",
            "for=x",
            "bytes=1",
            "bytes=1e9",
            "requests=1",
        ] {
            assert!(Order::parse(&[word]).is_err(), "{word}");
        }
    }

    #[test]
    fn a_sample_takes_about_its_part_and_all_takes_all() {
        let taken = |sample: Sample| (0..100_000).filter(|number| sample.takes(*number)).count();
        assert_eq!(taken(Sample::parse("100%").unwrap()), 100_000);
        let tenth = taken(Sample::parse("0.1").unwrap());
        assert!((9_500..10_500).contains(&tenth), "{tenth}");
        let rare = taken(Sample::parse("0.1%").unwrap());
        assert!((50..200).contains(&rare), "{rare}");
    }
}
