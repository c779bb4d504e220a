//! How much of a body or of messages may lie between the two sides, and in one descriptor.

/// Bytes of a request body that may lie between the front and the application, per request.
pub const REQUEST_WINDOW: u64 = 256 * 1024;
/// The same for an application that keeps up with its client.
pub const REQUEST_WINDOW_MAX: u64 = 1024 * 1024;
/// Bytes of a response body that may lie between the application and the client, per response.
pub const RESPONSE_WINDOW: u64 = 256 * 1024;
/// The largest payload of one descriptor that carries a piece of a body.
pub const CHUNK_MAX: usize = 64 * 1024;
/// The largest payload of one descriptor that carries a piece of a request's body.
pub const REQUEST_PIECE_MAX: usize = 256 * 1024;
/// The largest payload of one descriptor that carries a piece of a response's body.
pub const RESPONSE_PIECE_MAX: usize = 256 * 1024;

/// What a WebSocket message takes of a window beside its bytes, so that a window limits tiny and empty ones
/// as well.
const WEBSOCKET_MESSAGE_BYTES: u64 = 512;

/// What a piece of a WebSocket message takes of a window; `end`: it is the last one.
#[must_use]
pub const fn websocket_piece_cost(bytes: usize, end: bool) -> u64 {
    bytes as u64 + if end { WEBSOCKET_MESSAGE_BYTES } else { 0 }
}
