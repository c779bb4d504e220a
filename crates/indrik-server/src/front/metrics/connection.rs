//! Connections as they are counted.

use super::own;

/// A connection that speaks HTTP; it is over when this is dropped.
pub(crate) struct OpenConnection {
    is_http2: bool,
}

impl OpenConnection {
    pub(crate) fn new(is_http2: bool) -> Self {
        own::with(|own| own.table.connections.begun[usize::from(is_http2)].add(1));
        Self { is_http2 }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        own::with(|own| own.table.connections.over[usize::from(self.is_http2)].add(1));
    }
}

/// How a TLS handshake came out.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Handshake {
    Done = 0,
    Failed = 1,
    Late = 2,
}

/// A TLS handshake is over.
pub(crate) fn handshake(how: Handshake) {
    own::with(|own| own.table.connections.handshakes[how as usize].add(1));
}

/// Bytes came from a client.
pub(crate) fn received(bytes: usize) {
    own::with(|own| own.table.connections.received.add(bytes as u64));
}

/// A client's socket took bytes.
pub(crate) fn sent(bytes: usize) {
    own::with(|own| own.table.connections.sent.add(bytes as u64));
}
