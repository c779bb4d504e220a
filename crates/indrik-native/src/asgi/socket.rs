//! A WebSocket's own state.

use std::collections::VecDeque;

use indrik_ring::{Flags, websocket_piece_cost};

/// No close frame was received (RFC 6455, 7.4.1).
pub(super) const CODE_LOST: u16 = 1006;

/// How far a WebSocket is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// The handshake has not been answered.
    #[default]
    Connecting,
    /// It is being answered with an ordinary response.
    Denying,
    /// Open.
    Open,
    /// The application has closed or denied it.
    Closed,
}

/// A WebSocket's own state.
#[derive(Default)]
pub(super) struct Socket {
    pub(super) stage: Stage,
    /// The subprotocols that the client offers.
    pub(super) offered: Vec<Box<[u8]>>,
    pub(super) connect_given: bool,
    /// Whole messages for the application. Bounded by the front's window.
    pub(super) messages: VecDeque<Incoming>,
    /// The pieces of a message so far. Bounded by the front's message size limit.
    partial: Vec<u8>,
    /// The close code and reason for `websocket.disconnect`.
    pub(super) closed: Option<(u16, String)>,
    /// The application has been given `websocket.disconnect`.
    pub(super) disconnect_given: bool,
}

/// A whole message of the client.
pub(super) struct Incoming {
    pub(super) text: bool,
    pub(super) bytes: Vec<u8>,
    /// What of the window it gives back when the application takes it.
    pub(super) counted: u64,
}

impl Socket {
    /// A WebSocket that the application has not answered.
    pub(super) fn new<'a>(offered: impl Iterator<Item = &'a [u8]>) -> Self {
        Self { offered: offered.map(Box::from).collect(), ..Self::default() }
    }

    /// A piece of a message has arrived. Returns what of the window is given back now.
    pub(super) fn arrived(&mut self, piece: &[u8], flags: Flags) -> u64 {
        self.partial.extend_from_slice(piece);
        if !flags.has(Flags::END) {
            return websocket_piece_cost(piece.len(), false);
        }
        let bytes = std::mem::take(&mut self.partial);
        let text = flags.has(Flags::TEXT);
        let counted = websocket_piece_cost(piece.len(), true);
        self.messages.push_back(Incoming { text, bytes, counted });
        0
    }

    /// How far it is for whoever ends it: what the client has closed needs no close any more.
    pub(super) fn final_stage(&self) -> Stage {
        if self.stage == Stage::Open && self.closed.is_some() { Stage::Closed } else { self.stage }
    }

    /// Whether sending is of no use. A client that closes still takes the answers to what it sent
    /// before, and the application may not have come to these messages yet; so until it has heard
    /// of the close it may go on.
    pub(super) fn is_lost(&self) -> bool {
        let lost = |(code, _): &(u16, String)| self.disconnect_given || *code == CODE_LOST;
        self.closed.as_ref().is_some_and(lost)
    }

    /// The WebSocket is closed; the first word counts.
    pub(super) fn closed(&mut self, code: u16, reason: String) {
        self.closed.get_or_insert((code, reason));
    }
}

#[cfg(test)]
mod tests {
    use indrik_ring::{Flags, websocket_piece_cost};

    use super::{CODE_LOST, Socket};

    #[test]
    fn pieces_are_put_together_and_only_the_last_is_counted_later() {
        let mut socket = Socket::default();
        assert_eq!(socket.arrived(b"ab", Flags::TEXT), 2);
        assert_eq!(socket.arrived(b"cde", Flags::TEXT.with(Flags::END)), 0);
        let message = socket.messages.pop_front().unwrap();
        assert_eq!(
            (message.text, &message.bytes[..], message.counted),
            (true, &b"abcde"[..], websocket_piece_cost(3, true))
        );
    }

    #[test]
    fn the_first_close_code_counts() {
        let mut socket = Socket::default();
        socket.closed(1001, "bye".into());
        socket.closed(1006, String::new());
        assert_eq!(socket.closed, Some((1001, "bye".into())));
    }

    #[test]
    fn sending_goes_on_until_the_application_has_heard_of_the_close() {
        let mut socket = Socket::default();
        socket.closed(1002, String::new());
        assert!(!socket.is_lost());
        socket.disconnect_given = true;
        assert!(socket.is_lost());
    }

    #[test]
    fn sending_to_a_client_that_vanished_ends_at_once() {
        let mut socket = Socket::default();
        socket.closed(CODE_LOST, String::new());
        assert!(socket.is_lost());
    }
}
