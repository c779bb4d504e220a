//! Local time, as log lines show it, and clocks that processes of this machine have in common.

use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds of a clock that costs next to nothing and is some milliseconds wide (`CLOCK_MONOTONIC_COARSE`); the front
/// and its workers read the same. By libc, which finds its way also where there is no vDSO, under valgrind say.
#[must_use]
pub fn coarse_us() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes into what it is given, and nowhere else.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
    u64::try_from(now.tv_sec * 1_000_000 + now.tv_nsec / 1_000).unwrap_or(0)
}

/// A moment in the time zone of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// For example 2026.
    pub year: i32,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 60.
    pub second: u32,
    /// Minutes east of Greenwich.
    pub offset_minutes: i32,
}

impl LocalTime {
    /// `2026-11-21 13:00:00 +0100`, as in the error log.
    #[must_use]
    pub fn plain(&self) -> String {
        let (sign, hours, minutes) = self.offset();
        format!("{} {} {sign}{hours:02}{minutes:02}", self.date(), self.time())
    }

    /// `2026-11-21T13:00:00.123+01:00`, as in JSON.
    #[must_use]
    pub fn iso(&self, millis: u32) -> String {
        let (sign, hours, minutes) = self.offset();
        format!("{}T{}.{millis:03}{sign}{hours:02}:{minutes:02}", self.date(), self.time())
    }

    /// `21/Nov/2026:13:00:00 +0100`, the common log format.
    #[must_use]
    pub fn common(&self) -> String {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let month = usize::try_from(self.month).unwrap_or(1).clamp(1, MONTHS.len());
        let (sign, hours, minutes) = self.offset();
        let (day, month, year) = (self.day, MONTHS[month - 1], self.year);
        format!("{day:02}/{month}/{year:04}:{} {sign}{hours:02}{minutes:02}", self.time())
    }

    fn date(&self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    fn time(&self) -> String {
        format!("{:02}:{:02}:{:02}", self.hour, self.minute, self.second)
    }

    /// Sign, hours and minutes.
    const fn offset(&self) -> (char, u32, u32) {
        let minutes = self.offset_minutes.unsigned_abs();
        (if self.offset_minutes < 0 { '-' } else { '+' }, minutes / 60, minutes % 60)
    }
}

/// Milliseconds since the last full second.
#[must_use]
pub fn millis(moment: SystemTime) -> u32 {
    moment.duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_millis())
}

/// The local time at `moment`. Where the system cannot tell, it is the epoch.
#[must_use]
pub fn local(moment: SystemTime) -> LocalTime {
    let seconds = moment.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let seconds = libc::time_t::try_from(seconds).unwrap_or(0);
    // SAFETY: `tm` is plain data (the zone pointer may be null); all zero is a valid value.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both point to live values of the right type; the result is `tm` or null.
    unsafe { libc::localtime_r(&raw const seconds, &raw mut tm) };
    let positive = |number: libc::c_int| u32::try_from(number).unwrap_or(0);
    LocalTime {
        year: tm.tm_year + 1900,
        month: positive(tm.tm_mon) + 1,
        day: positive(tm.tm_mday),
        hour: positive(tm.tm_hour),
        minute: positive(tm.tm_min),
        second: positive(tm.tm_sec),
        offset_minutes: i32::try_from(tm.tm_gmtoff / 60).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_three_ways() {
        let time = LocalTime {
            year: 2026,
            month: 2,
            day: 3,
            hour: 4,
            minute: 5,
            second: 6,
            offset_minutes: -210,
        };
        assert_eq!(time.plain(), "2026-02-03 04:05:06 -0330");
        assert_eq!(time.iso(7), "2026-02-03T04:05:06.007-03:30");
        assert_eq!(time.common(), "03/Feb/2026:04:05:06 -0330");
    }

    #[test]
    fn a_known_moment_is_the_right_day() {
        let moment = UNIX_EPOCH + std::time::Duration::from_secs(1_767_225_600 + 12 * 3600);
        let time = local(moment);
        assert_eq!(time.year, 2026);
        let minutes = i64::from(time.hour * 60 + time.minute) - i64::from(time.offset_minutes);
        assert_eq!(minutes.rem_euclid(24 * 60), 12 * 60);
    }
}
