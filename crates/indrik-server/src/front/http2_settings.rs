//! What the settings say about HTTP/2.

use indrik_core::http1::{HEAD_BYTES_MAX, Limits};
use indrik_core::settings::{Config, Http2Cleartext};

/// What 0 (no limit) means as `http2_max_header_list_size`.
const HEADER_LIST_BYTES_MAX: u32 = 1024 * 1024;

/// `http2_max_header_list_size` where nobody has set it: then what HTTP/1.1 takes is taken here as well.
const HEADER_LIST_BYTES_DEFAULT: u32 = 65_536;
/// What a list counts for each field beside its name and value (RFC 9113 section 6.5.2).
const FIELD_BYTES: usize = 32;
/// The pseudo-fields of a request.
const PSEUDO_FIELDS: usize = 5;
/// What a list may be larger by for us to refuse it, with a page.
const REFUSED_BYTES_MAX: u32 = 64 * 1024;

/// What the settings say about HTTP/2.
pub(super) struct Http2Settings {
    /// Whether clients without TLS may begin with HTTP/2.
    pub(super) cleartext: Http2Cleartext,
    pub(super) streams_max: u32,
    pub(super) window_bytes: u32,
    pub(super) frame_bytes_max: u32,
    pub(super) header_list_bytes_max: u32,
    /// Beyond this the library refuses a list by itself, without a page.
    pub(super) library_list_bytes_max: u32,
}

impl Http2Settings {
    pub(super) fn new(config: &Config, limits: &Limits) -> Self {
        let cleartext =
            if config.speaks_http2() { config.http2_cleartext } else { Http2Cleartext::Off };
        let given = config.http2_max_header_list_size.min(HEADER_LIST_BYTES_MAX);
        let (list, more) = match given {
            0 => (HEADER_LIST_BYTES_MAX, 0),
            HEADER_LIST_BYTES_DEFAULT => (list_of(limits).max(given), REFUSED_BYTES_MAX),
            given => (given, 0),
        };
        Self {
            cleartext,
            streams_max: config.http2_max_concurrent_streams,
            window_bytes: config.http2_initial_window_size,
            frame_bytes_max: config.http2_max_frame_size,
            header_list_bytes_max: list,
            library_list_bytes_max: list + more,
        }
    }
}

/// The largest list that comes of a head within the limits of HTTP/1.1.
fn list_of(limits: &Limits) -> u32 {
    let Limits { line, fields, field } = *limits;
    let head = line.saturating_add(fields.saturating_mul(field)).min(HEAD_BYTES_MAX);
    let list = head + (fields.min(head / 4) + PSEUDO_FIELDS) * FIELD_BYTES;
    u32::try_from(list).unwrap_or(HEADER_LIST_BYTES_MAX).min(HEADER_LIST_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_http_1_takes_fits_into_a_list() {
        let limits = Limits { line: 4094, fields: 100, field: 8190 };
        assert_eq!(list_of(&limits) as usize, HEAD_BYTES_MAX + 105 * FIELD_BYTES);
        let small = Limits { line: 100, fields: 3, field: 50 };
        assert_eq!(list_of(&small), 250 + 8 * 32);
        let none = Limits { line: 65_536, fields: 16_384, field: usize::MAX };
        assert!(list_of(&none) <= HEADER_LIST_BYTES_MAX);
    }
}
