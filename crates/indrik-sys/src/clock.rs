//! Local time, as log lines show it.

use std::time::{SystemTime, UNIX_EPOCH};

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
    fn a_known_moment_is_the_right_day() {
        let moment = UNIX_EPOCH + std::time::Duration::from_secs(1_767_225_600 + 12 * 3600);
        let time = local(moment);
        assert_eq!(time.year, 2026);
        let minutes = i64::from(time.hour * 60 + time.minute) - i64::from(time.offset_minutes);
        assert_eq!(minutes.rem_euclid(24 * 60), 12 * 60);
    }
}
