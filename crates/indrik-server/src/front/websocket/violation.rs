//! What a client did that ends the connection, and the close code that says so.

/// The peer broke the framing rules.
pub const PROTOCOL_ERROR: u16 = 1002;
/// A message's content does not fit its type: text that is not UTF-8, or corrupt compressed data.
pub const INVALID_DATA: u16 = 1007;
/// A message is larger than the limit.
pub const TOO_BIG: u16 = 1009;

/// A rule of the protocol (or a limit) that the peer broke, and the close code that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The close code: 1002, 1007 or 1009.
    pub code: u16,
    /// What was wrong; goes into the Close frame.
    pub reason: String,
}

impl Violation {
    pub(super) fn protocol(what: &str) -> Self {
        Self { code: PROTOCOL_ERROR, reason: format!("received {what}") }
    }

    pub(super) fn invalid_data(what: &str) -> Self {
        Self { code: INVALID_DATA, reason: format!("received {what}") }
    }

    pub(super) fn too_big(size_max: usize) -> Self {
        let reason = format!("received a message of more than {size_max} bytes");
        Self { code: TOO_BIG, reason }
    }
}
