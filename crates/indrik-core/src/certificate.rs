//! When a certificate expires: the little of X.509 (RFC 5280) that has to be read for it.
//!
//! rustls checks certificates and says nothing of their times. What cannot be read gives `None`: it is only told.

/// Tags of DER.
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// What a certificate's `notAfter` says, in seconds since 1970.
#[must_use]
pub fn not_after(der: &[u8]) -> Option<u64> {
    let (certificate, _) = value(der, SEQUENCE)?;
    let (mut rest, _) = value(certificate, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.2;
    }
    // Its number, the algorithm, the issuer.
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (validity, _) = value(rest, SEQUENCE)?;
    let (_, _, rest) = element(validity)?;
    let (tag, time, _) = element(rest)?;
    seconds(tag, time)
}

/// The value of what has this tag, and what comes behind it.
fn value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, value, rest) = element(der)?;
    (found == tag).then_some((value, rest))
}

/// The tag, the value, and what comes behind.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(len)?;
    Some((*tag, value, rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`: RFC 5280 permits no other form.
fn seconds(tag: u8, text: &[u8]) -> Option<u64> {
    let digits = text.strip_suffix(b"Z")?;
    let (year, digits) = match tag {
        UTC_TIME => {
            let (year, digits) = digits.split_at_checked(2)?;
            let year = number(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, digits)
        }
        GENERALIZED_TIME => {
            let (year, digits) = digits.split_at_checked(4)?;
            (number(year)?, digits)
        }
        _ => return None,
    };
    if digits.len() != 10 {
        return None;
    }
    let pair = |at: usize| number(&digits[at..at + 2]);
    let (month, day) = (pair(0)?, pair(2)?);
    let (hour, minute, second) = (pair(4)?, pair(6)?, pair(8)?);
    let is_time = (1..=12).contains(&month) && (1..=31).contains(&day);
    if !is_time || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_since_1970(year, month, day)?;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

fn number(digits: &[u8]) -> Option<u64> {
    let is_number = digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| digits.iter().fold(0, |all, digit| all * 10 + u64::from(digit - b'0')))
}

/// Years are counted from March, so that the day that comes every four years is the last.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let month = (month + 9) % 12;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    // From 1 March of the year 0 to 1970.
    days.checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tagged(tag: u8, value: &[u8]) -> Vec<u8> {
        let len = u16::try_from(value.len()).unwrap().to_be_bytes();
        [&[tag, 0x82, len[0], len[1]], value].concat()
    }

    fn certificate(tag: u8, time: &[u8]) -> Vec<u8> {
        let validity = [tagged(UTC_TIME, b"200101000000Z"), tagged(tag, time)].concat();
        let fields = [
            tagged(VERSION, &[2, 1, 2]),
            tagged(2, &[1]),
            tagged(SEQUENCE, &[]),
            tagged(SEQUENCE, &[0; 200]),
            tagged(SEQUENCE, &validity),
            tagged(SEQUENCE, &[]),
        ];
        tagged(SEQUENCE, &tagged(SEQUENCE, &fields.concat()))
    }

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_forms() {
        for (tag, time, seconds) in [
            (UTC_TIME, &b"700101000000Z"[..], 0),
            (UTC_TIME, b"000229123456Z", 951_827_696),
            (UTC_TIME, b"491231235959Z", 2_524_607_999),
            (GENERALIZED_TIME, b"20500301000000Z", 2_529_705_600),
            (GENERALIZED_TIME, b"99991231235959Z", 253_402_300_799),
        ] {
            assert_eq!(not_after(&certificate(tag, time)), Some(seconds));
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for time in
            [&b"701301000000Z"[..], b"70010100000Z", b"7001010000000", b"7001010000xxZ", b""]
        {
            assert_eq!(not_after(&certificate(UTC_TIME, time)), None);
        }
    }

    proptest! {
        #[test]
        fn whatever_it_is_it_is_only_read(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..300) {
            let _ = not_after(&bytes);
            let whole = certificate(UTC_TIME, b"300101000000Z");
            let _ = not_after(&whole[..cut.min(whole.len())]);
        }
    }
}
