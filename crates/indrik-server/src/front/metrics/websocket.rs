//! WebSockets as they are counted.

use indrik_core::time::Micros;

use super::own;
use super::table::CODES;
use crate::front::clock;
use crate::front::websocket::session::{Outcome, Side};

/// The first code of RFC 6455.
const FIRST_CODE: u16 = 1000;
/// The place of codes that are not told apart, and that of none.
const OTHER_CODE: usize = CODES - 2;
const NO_CODE: usize = CODES - 1;
const UNKNOWN_SIDE: usize = 3;

/// An open WebSocket; it is over when this is dropped.
pub(crate) struct OpenWebSocket {
    since: Micros,
    code: usize,
    side: usize,
}

impl OpenWebSocket {
    pub(crate) fn new() -> Self {
        own::with(|own| own.table.websockets.begun.add(1));
        Self { since: clock::coarse(), code: NO_CODE, side: UNKNOWN_SIDE }
    }

    /// How it went.
    pub(crate) fn went(&mut self, outcome: &Outcome) {
        let code = usize::from(outcome.close.code.wrapping_sub(FIRST_CODE));
        self.code = code.min(OTHER_CODE);
        self.side = match outcome.ended_by {
            Side::Client => 0,
            Side::Application => 1,
            Side::Server => 2,
        };
        let messages = [outcome.messages_received, outcome.messages_sent];
        own::with(|own| {
            for (count, more) in own.table.websockets.messages.iter().zip(messages) {
                count.add(more);
            }
        });
        self.passed(outcome.bytes_received, outcome.bytes_sent);
    }

    /// Bytes went both ways.
    pub(crate) fn passed(&self, received: u64, sent: u64) {
        own::with(|own| {
            let [of_client, of_ours] = &own.table.websockets.bytes;
            of_client.add(received);
            of_ours.add(sent);
        });
    }
}

impl Drop for OpenWebSocket {
    fn drop(&mut self) {
        own::with(|own| {
            let websockets = &own.table.websockets;
            websockets.closed[self.code][self.side].add(1);
            websockets.times.observe(clock::coarse().saturating_sub(self.since));
        });
    }
}

/// What a place of a code is called.
pub(super) fn shown_code(place: usize) -> String {
    match place {
        NO_CODE => String::new(),
        OTHER_CODE => "other".to_owned(),
        place => (usize::from(FIRST_CODE) + place).to_string(),
    }
}

/// What a place of a side is called.
pub(super) const fn shown_side(place: usize) -> &'static str {
    match place {
        0 => "client",
        1 => "application",
        2 => "server",
        _ => "",
    }
}
