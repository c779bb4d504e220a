//! Close codes and the payload of Close frames (RFC 6455 sections 5.5.1 and 7.4).

use super::violation::Violation;
pub use super::violation::{INVALID_DATA, PROTOCOL_ERROR, TOO_BIG};

/// The connection ended as intended.
pub const NORMAL: u16 = 1000;
/// The peer's Close frame had no code. Never on the wire.
pub const NO_STATUS: u16 = 1005;
/// The connection ended without a Close frame. Never on the wire.
pub const ABNORMAL: u16 = 1006;
/// The server, or the application, failed.
pub const INTERNAL_ERROR: u16 = 1011;

/// Bytes of a Close frame's reason: a control frame holds 125 bytes, the code takes two.
pub const REASON_BYTES_MAX: usize = 123;

/// Why a connection ended: a code and a text for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    /// The close code; [`NO_STATUS`] when the frame had none, [`ABNORMAL`] when there was no frame.
    pub code: u16,
    /// The reason, possibly empty.
    pub reason: String,
}

impl CloseFrame {
    /// A close with `code` and `reason`.
    pub fn new(code: u16, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// Reads a Close frame's payload.
    ///
    /// # Errors
    /// A one-byte payload or a code that must not be sent is 1002, a reason that is not UTF-8 1007.
    pub fn decode(payload: &[u8]) -> Result<Self, Violation> {
        let Some((code, reason)) = payload.split_first_chunk::<2>() else {
            if payload.is_empty() {
                return Ok(Self::new(NO_STATUS, ""));
            }
            return Err(Violation::protocol("a Close frame with half a code"));
        };
        let code = u16::from_be_bytes(*code);
        if !is_sendable(code) {
            return Err(Violation::protocol("a Close frame with a code that must not be sent"));
        }
        match std::str::from_utf8(reason) {
            Ok(reason) => Ok(Self::new(code, reason)),
            Err(_) => Err(Violation::invalid_data("a Close reason that is not UTF-8")),
        }
    }

    /// The payload for the wire: empty for [`NO_STATUS`]; the reason is cut at a character boundary
    /// to [`REASON_BYTES_MAX`] bytes.
    pub fn encode(&self) -> Vec<u8> {
        if self.code == NO_STATUS {
            return Vec::new();
        }
        let end = self.reason.floor_char_boundary(REASON_BYTES_MAX);
        let mut payload = self.code.to_be_bytes().to_vec();
        payload.extend_from_slice(&self.reason.as_bytes()[..end]);
        payload
    }
}

/// Whether `code` may stand in a Close frame: the registered ones and the ranges for libraries
/// (3000–3999) and applications (4000–4999).
pub fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_payload_means_no_status_and_back() {
        let close = CloseFrame::decode(b"").unwrap();
        assert_eq!(close.code, NO_STATUS);
        assert!(close.encode().is_empty());
    }

    #[test]
    fn reserved_and_unassigned_codes_are_refused() {
        for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            let error = CloseFrame::decode(&code.to_be_bytes()).unwrap_err();
            assert_eq!(error.code, PROTOCOL_ERROR, "{code}");
        }
        for code in [1000u16, 1001, 1002, 1003, 1007, 1014, 3000, 3999, 4000, 4999] {
            assert_eq!(CloseFrame::decode(&code.to_be_bytes()).unwrap().code, code);
        }
    }

    #[test]
    fn half_a_code_is_a_protocol_error_and_a_bad_reason_invalid_data() {
        assert_eq!(CloseFrame::decode(&[3]).unwrap_err().code, PROTOCOL_ERROR);
        assert_eq!(CloseFrame::decode(&[3, 232, 0xff]).unwrap_err().code, INVALID_DATA);
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let payload = CloseFrame::new(NORMAL, "é".repeat(100)).encode();
        assert_eq!(payload.len(), 2 + 122);
        assert!(CloseFrame::decode(&payload).is_ok());
    }
}
