//! How a connection begins that speaks HTTP/2, and what its client gets where that is not spoken.

/// What a client sends first (RFC 9113 section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The part of it that reads like a request's head.
pub(super) const PREFACE_HEAD: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";
/// What a client gets that begins so where HTTP/2 is not spoken: our settings (none), and the end of the
/// connection with HTTP_1_1_REQUIRED.
pub(super) const NOT_SPOKEN: &[u8] = b"\0\0\0\x04\0\0\0\0\0\
      \0\0\x2d\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0dHTTP/2 without TLS is not spoken here";
