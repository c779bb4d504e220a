//! The access log's line of a WebSocket.

use crate::front::access_log::Entry;

/// The line, written when it is dropped: when the WebSocket is over, or when it never came to be one,
/// because the client had gone.
#[derive(Default)]
pub(super) struct Line(Option<Box<Entry>>);

impl Line {
    pub(super) const fn new(entry: Option<Box<Entry>>) -> Self {
        Self(entry)
    }

    /// Notes what the client was sent, and how it ended, where that is known.
    pub(super) fn note(&mut self, bytes_sent: u64, close_code: Option<u16>) {
        let Some(entry) = &mut self.0 else { return };
        entry.sent(usize::try_from(bytes_sent).unwrap_or(usize::MAX));
        if let Some(code) = close_code {
            entry.closed(code);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(entry) = self.0.take() {
            entry.write();
        }
    }
}
