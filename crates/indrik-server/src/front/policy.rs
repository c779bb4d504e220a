//! What the settings let connections do, ready for use: one for all connections that begin between two
//! reloads.

use indrik_core::http1::{Limits, Permits};
use indrik_core::overtime::TimeLimits;
use indrik_core::settings::Config;

use super::forwarding::Forwarding;
use super::http2::Http2Policy;
use super::probe::Probes;

/// The largest `limit_request_line`; also what 0 (no limit) means.
const LINE_BYTES_MAX: usize = 65_536;
/// The largest `limit_request_fields`; also what 0 means. A map of headers takes no more.
const FIELDS_MAX: usize = 16_384;
/// What 0 means as `limit_request_field_size`, as in Gunicorn.
const FIELD_BYTES_DEFAULT: usize = 8190;

/// What a connection may send, and what is believed of it.
pub(super) struct Policy {
    pub(super) limits: Limits,
    pub(super) permits: Permits,
    /// Methods that are not conventional are served as well.
    pub(super) permits_any_method: bool,
    pub(super) forwarding: Forwarding,
    pub(super) http2: Http2Policy,
    pub(super) probes: Option<Box<Probes>>,
    /// How long requests may run.
    pub(super) time_limits: TimeLimits,
}

impl Policy {
    pub(super) fn new(config: &Config) -> Self {
        let or = |limit: usize, none: usize| if limit == 0 { none } else { limit };
        Self {
            limits: Limits {
                line: or(config.limit_request_line, LINE_BYTES_MAX).min(LINE_BYTES_MAX),
                fields: or(config.limit_request_fields, FIELDS_MAX).min(FIELDS_MAX),
                field: or(config.limit_request_field_size, FIELD_BYTES_DEFAULT),
            },
            permits: Permits {
                folding: config.permit_obsolete_folding,
                space_before_colon: config.strip_header_spaces,
                any_version: config.permit_unconventional_http_version,
                // Otherwise such a method is refused anyway.
                lower_case_method: config.casefold_http_method
                    && config.permit_unconventional_http_method,
            },
            permits_any_method: config.permit_unconventional_http_method,
            forwarding: Forwarding::new(config),
            http2: Http2Policy::new(config),
            probes: Probes::new(config),
            time_limits: TimeLimits::new(config.request_timeout, &config.request_timeout_paths),
        }
    }
}
