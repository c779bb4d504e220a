//! What the settings say about HTTP/2.

use indrik_core::settings::{Config, Http2Cleartext};

/// What 0 (no limit) means as `http2_max_header_list_size`.
const HEADER_LIST_BYTES_MAX: u32 = 1024 * 1024;

/// What the settings say about HTTP/2.
pub(super) struct Http2Settings {
    /// Whether clients without TLS may begin with HTTP/2.
    pub(super) cleartext: Http2Cleartext,
    pub(super) streams_max: u32,
    pub(super) window_bytes: u32,
    pub(super) frame_bytes_max: u32,
    pub(super) header_list_bytes_max: u32,
}

impl Http2Settings {
    pub(super) fn new(config: &Config) -> Self {
        let cleartext =
            if config.speaks_http2() { config.http2_cleartext } else { Http2Cleartext::Off };
        let list = config.http2_max_header_list_size;
        Self {
            cleartext,
            streams_max: config.http2_max_concurrent_streams,
            window_bytes: config.http2_initial_window_size,
            frame_bytes_max: config.http2_max_frame_size,
            header_list_bytes_max: match list {
                0 => HEADER_LIST_BYTES_MAX,
                size => size.min(HEADER_LIST_BYTES_MAX),
            },
        }
    }
}
