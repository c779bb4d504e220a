//! The time of a line. It is the same for all lines of a second, so it is made once in it.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use indrik_sys::clock;

thread_local! {
    static LAST: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// Appends `[21/Nov/2026:13:00:00 +0000]`, in the local time zone.
pub(super) fn common(line: &mut Vec<u8>) {
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    LAST.with_borrow_mut(|(made_in, text)| {
        if *made_in != second || text.is_empty() {
            *made_in = second;
            *text = format!("[{}]", clock::local(now).common());
        }
        line.extend_from_slice(text.as_bytes());
    });
}

/// `2026-11-21T13:00:00.123+00:00`.
pub(super) fn iso() -> String {
    let now = SystemTime::now();
    clock::local(now).iso(clock::millis(now))
}
