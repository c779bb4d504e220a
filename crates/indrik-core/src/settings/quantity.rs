//! Numbers with and without units: `4`, `0x1000`, `64KiB`, `1.5`, `500ms`.

use std::borrow::Cow;
use std::time::Duration;

use crate::memory::Limit;

/// Why a text is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QuantityError {
    /// Not a number, or with a unit nobody knows.
    NotANumber,
    /// Above zero, but less than the smallest there is.
    TooSmall,
    /// More than can be reckoned with.
    TooLarge,
}

/// The longest time there is, one year: deadlines stay far from overflowing.
const DURATION_MS_MAX: f64 = 365.0 * 86_400.0 * 1000.0;
/// Milliseconds in each unit. None is a prefix of another's end except `s` of `ms`, so `ms` is first.
const DURATION_UNITS: [(&str, f64); 5] =
    [("ms", 1.0), ("s", 1000.0), ("m", 60_000.0), ("h", 3_600_000.0), ("d", 86_400_000.0)];
/// Powers of 1024, also under the names that mean 1000 to some: memory is meant here.
const SIZE_UNITS: [(&str, i64); 10] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("kb", 1 << 10),
    ("mb", 1 << 20),
    ("gb", 1 << 30),
    ("k", 1 << 10),
    ("m", 1 << 20),
    ("g", 1 << 30),
    ("b", 1),
];

/// No process gets along with less memory than this: who writes `200` means something else.
const MEMORY_BYTES_MIN: i64 = 1 << 20;

/// A whole number: decimal, or with Python's prefixes `0x`, `0o`, `0b`.
pub(super) fn parse_int(text: &str) -> Result<i64, QuantityError> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let without_marks = without_underscores(digits)?;
    let digits = without_marks.as_ref();
    let prefixed = |prefix: &str, radix: u32| {
        let head = digits.get(..2)?;
        head.eq_ignore_ascii_case(prefix).then(|| (&digits[2..], radix))
    };
    let (digits, radix) = prefixed("0x", 16)
        .or_else(|| prefixed("0o", 8))
        .or_else(|| prefixed("0b", 2))
        .unwrap_or((digits, 10));
    if !digits.starts_with(|first: char| first.is_digit(radix)) {
        return Err(QuantityError::NotANumber);
    }
    let number = i64::from_str_radix(digits, radix).map_err(|_| QuantityError::NotANumber)?;
    Ok(if negative { -number } else { number })
}

/// `1_000` is 1000, as in Python: one underscore between two digits means nothing.
fn without_underscores(digits: &str) -> Result<Cow<'_, str>, QuantityError> {
    if !digits.contains('_') {
        return Ok(Cow::Borrowed(digits));
    }
    let is_digit = |char: char| char.is_ascii_hexdigit();
    let is_sound = |part: &str| part.starts_with(is_digit) && part.ends_with(is_digit);
    if digits.split('_').all(is_sound) {
        Ok(Cow::Owned(digits.replace('_', "")))
    } else {
        Err(QuantityError::NotANumber)
    }
}

/// Bytes: a whole number, or a decimal one with a unit.
pub(super) fn parse_size(text: &str) -> Result<i64, QuantityError> {
    if let Ok(bytes) = parse_int(text) {
        return Ok(bytes);
    }
    let text = text.to_ascii_lowercase();
    let (number, factor) = SIZE_UNITS
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?.trim_end(), *factor)))
        .ok_or(QuantityError::NotANumber)?;
    parse_int(number)?.checked_mul(factor).ok_or(QuantityError::TooLarge)
}

/// Memory of one process: a size of 1 MiB or more, 0 for no limit, or a part of what there is.
pub(super) fn parse_memory(text: &str) -> Result<Limit, QuantityError> {
    if let Some(percent) = text.strip_suffix('%') {
        return match parse_int(percent.trim_end())? {
            percent @ 1..=100 => Ok(Limit::Share(percent.unsigned_abs() as u8)),
            0 => Ok(Limit::Bytes(0)),
            i64::MIN..0 => Err(QuantityError::TooSmall),
            101.. => Err(QuantityError::TooLarge),
        };
    }
    match parse_size(text)? {
        bytes if bytes == 0 || bytes >= MEMORY_BYTES_MIN => Ok(Limit::Bytes(bytes.unsigned_abs())),
        _ => Err(QuantityError::TooSmall),
    }
}

/// The text that [`parse_memory`] reads as the same limit.
pub(super) fn write_memory(limit: Limit) -> String {
    match limit {
        Limit::Bytes(bytes) => write_size(bytes),
        Limit::Share(percent) => format!("{percent}%"),
    }
}

/// A time: seconds, or a number with a unit. Rounded to whole milliseconds.
pub(super) fn parse_duration(text: &str) -> Result<Duration, QuantityError> {
    let lower = text.to_ascii_lowercase();
    let (number, factor) = DURATION_UNITS
        .iter()
        .find_map(|(unit, factor)| Some((lower.strip_suffix(unit)?.trim_end(), *factor)))
        .unwrap_or((&lower, 1000.0));
    let number = parse_int(number).map(|whole| whole as f64).or_else(|_| parse_fraction(number))?;
    let milliseconds = number * factor;
    if milliseconds < 0.0 || (milliseconds > 0.0 && milliseconds < 0.5) {
        return Err(QuantityError::TooSmall);
    }
    if milliseconds > DURATION_MS_MAX {
        return Err(QuantityError::TooLarge);
    }
    Ok(Duration::from_millis(milliseconds.round() as u64))
}

/// A size as settings have it, if it is one.
#[must_use]
pub fn read_size(text: &str) -> Option<u64> {
    parse_size(text).ok().and_then(|bytes| u64::try_from(bytes).ok())
}

/// A time as settings have it, if it is one.
#[must_use]
pub fn read_duration(text: &str) -> Option<Duration> {
    parse_duration(text).ok()
}

/// Rust's parser also takes `inf`, `nan` and `1e3`; a person means none of them here.
fn parse_fraction(text: &str) -> Result<f64, QuantityError> {
    if !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(QuantityError::NotANumber);
    }
    text.parse().map_err(|_| QuantityError::NotANumber)
}

/// The shortest text that [`parse_duration`] reads as the same whole milliseconds.
pub(super) fn write_duration(span: Duration) -> String {
    let milliseconds = span.as_millis();
    if milliseconds.is_multiple_of(1000) {
        format!("{}s", milliseconds / 1000)
    } else {
        format!("{milliseconds}ms")
    }
}

/// The text in the largest unit that divides it, which [`parse_size`] reads as the same bytes.
pub(super) fn write_size(bytes: u64) -> String {
    for (unit, factor) in [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes != 0 && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    bytes.to_string()
}

/// Reads `PREFIX=SECONDS`. `None`: it is nothing of that kind.
#[must_use]
pub fn read_time_limit(text: &str) -> Option<(String, Duration)> {
    let (prefix, limit) = text.trim().rsplit_once('=')?;
    let prefix = prefix.trim();
    prefix.starts_with('/').then_some(())?;
    Some((prefix.to_owned(), read_duration(limit.trim())?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn memory_is_a_size_or_a_part_of_what_there_is() {
        assert_eq!(parse_memory("200M"), Ok(Limit::Bytes(200 << 20)));
        assert_eq!(parse_memory("0"), Ok(Limit::Bytes(0)));
        assert_eq!(parse_memory("80 %"), Ok(Limit::Share(80)));
        for (wrong, why) in [
            ("200", QuantityError::TooSmall),
            ("-1G", QuantityError::TooSmall),
            ("101%", QuantityError::TooLarge),
            ("-5%", QuantityError::TooSmall),
            ("much", QuantityError::NotANumber),
        ] {
            assert_eq!(parse_memory(wrong), Err(why), "{wrong}");
        }
        for limit in [Limit::Bytes(3 << 20), Limit::Share(7), Limit::Bytes(0)] {
            assert_eq!(parse_memory(&write_memory(limit)), Ok(limit));
        }
    }

    #[test]
    fn whole_numbers_may_have_pythons_prefixes() {
        assert_eq!(parse_int("0x10"), Ok(16));
        assert_eq!(parse_int("0o20"), Ok(16));
        assert_eq!(parse_int("0B10000"), Ok(16));
        assert_eq!(parse_int("-3"), Ok(-3));
        assert_eq!(parse_int("1_000"), Ok(1000));
    }

    #[test]
    fn what_only_looks_like_a_whole_number_is_refused() {
        for text in ["", "-", "+3", "0x", "0x-1", "--3", "_1", "1__0", "1_", "0_x1", "30.7"] {
            assert_eq!(parse_int(text), Err(QuantityError::NotANumber), "{text}");
        }
    }

    #[test]
    fn sizes_have_units_of_1024() {
        assert_eq!(parse_size("8190"), Ok(8190));
        assert_eq!(parse_size("64KiB"), Ok(65536));
        assert_eq!(parse_size("16 mb"), Ok(16 << 20));
        assert_eq!(parse_size("1G"), Ok(1 << 30));
        assert_eq!(parse_size("9999999999G"), Err(QuantityError::TooLarge));
        assert_eq!(parse_size("1.5M"), Err(QuantityError::NotANumber));
    }

    #[test]
    fn times_are_seconds_unless_they_have_a_unit() {
        assert_eq!(parse_duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2 m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
    }

    #[test]
    fn a_time_never_rounds_down_to_no_limit() {
        assert_eq!(parse_duration("0.0001"), Err(QuantityError::TooSmall));
    }

    #[test]
    fn a_time_beyond_a_year_or_below_zero_is_refused() {
        assert_eq!(parse_duration("366d"), Err(QuantityError::TooLarge));
        assert_eq!(parse_duration("-1"), Err(QuantityError::TooSmall));
        assert_eq!(parse_duration("inf"), Err(QuantityError::NotANumber));
        assert_eq!(parse_duration("1e3"), Err(QuantityError::NotANumber));
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in ".*") {
            let _ = (parse_int(&text), parse_size(&text), parse_duration(&text));
        }

        #[test]
        fn a_written_size_reads_as_the_same(bytes in 0..i64::MAX) {
            prop_assert_eq!(parse_size(&write_size(bytes.unsigned_abs())), Ok(bytes));
        }

        #[test]
        fn a_written_time_reads_as_the_same(milliseconds in 0..365u64 * 86_400_000) {
            let span = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse_duration(&write_duration(span)), Ok(span));
        }
    }

    #[test]
    fn what_is_no_limit_of_a_path_is_not_read_as_one() {
        for text in ["", "/a", "a=1", "/a=", "/a=soon", "=1", "/a=-1"] {
            assert_eq!(read_time_limit(text), None, "{text:?}");
        }
        assert_eq!(read_time_limit(" /a = 2m "), Some(("/a".to_owned(), Duration::from_secs(120))));
    }
}
