//! The settings as the front reads them: the values, and what is compiled from them once.
//!
//! A reload replaces the whole of it. A request sees one of them from its head to its end; a connection
//! keeps the one it began with for what cannot change under way (how its bytes are framed, whether its
//! peer is a proxy).

use std::sync::Arc;

use indrik_core::dispatch::Affinity;
use indrik_core::http1::{Limits, Permits};
use indrik_core::route::{Table, Then};
use indrik_core::settings::Config;

use super::http2_settings::Http2Settings;
use super::pipeline::forwarding::Forwarding;
use super::trail::{Marking, Tracing};

/// The largest `limit_request_line`; also what 0 (no limit) means.
const LINE_BYTES_MAX: usize = 65_536;
/// The largest `limit_request_fields`; also what 0 means. A map of headers takes no more.
const FIELDS_MAX: usize = 16_384;
/// What 0 means as `limit_request_field_size`, as in Gunicorn.
const FIELD_BYTES_DEFAULT: usize = 8190;

/// One view of the settings.
pub(super) struct Settings {
    /// The values.
    pub(super) config: Arc<Config>,
    /// What a head may measure.
    pub(super) limits: Limits,
    /// What is served although it is not strict.
    pub(super) permits: Permits,
    /// Methods that are not conventional are served as well.
    pub(super) permits_any_method: bool,
    /// What requests that go to the same worker have in common.
    pub(super) affinity: Affinity,
    /// What is believed of proxies.
    pub(super) forwarding: Forwarding,
    pub(super) http2: Http2Settings,
    /// How requests are marked, if they are.
    pub(super) marking: Option<Marking>,
    /// What may answer a request before a worker gets it, in this order.
    pub(super) stages: Vec<Stage>,
    /// Requests are followed to their end, whether or not there is an access log.
    pub(super) follows: bool,
    /// What is said about requests: notes, and which of the stages answers.
    pub(super) routes: Table,
}

/// One step of the request path; what it does is in `pipeline::stages`.
pub(super) enum Stage {
    /// Answers the probes' paths.
    Probes,
}

/// What a head may measure.
pub(super) fn head_limits(config: &Config) -> Limits {
    let or = |limit: usize, none: usize| if limit == 0 { none } else { limit };
    Limits {
        line: or(config.limit_request_line, LINE_BYTES_MAX).min(LINE_BYTES_MAX),
        fields: or(config.limit_request_fields, FIELDS_MAX).min(FIELDS_MAX),
        field: or(config.limit_request_field_size, FIELD_BYTES_DEFAULT),
    }
}

impl Settings {
    /// `tracing`: what the settings ask for, if they do.
    pub(super) fn new(config: Arc<Config>, tracing: Option<Arc<Tracing>>) -> Self {
        let routes = Table::of(&config);
        let limits = head_limits(&config);
        let has_probes = routes.rules().iter().any(|rule| matches!(rule.then, Then::Probe(_)));
        let has_slow = routes.rules().iter().any(|rule| matches!(rule.then, Then::Slow(_)));
        let follows = has_slow || tracing.is_some();
        Self {
            limits,
            permits: Permits {
                folding: config.permit_obsolete_folding,
                space_before_colon: config.strip_header_spaces,
                any_version: config.permit_unconventional_http_version,
                // Otherwise such a method is refused anyway.
                lower_case_method: config.casefold_http_method
                    && config.permit_unconventional_http_method,
            },
            permits_any_method: config.permit_unconventional_http_method,
            // A wrong one has not got so far.
            affinity: Affinity::parse(&config.affinity).unwrap_or_default(),
            forwarding: Forwarding::new(&config),
            http2: Http2Settings::new(&config, &limits),
            marking: Marking::new(&config, tracing),
            stages: has_probes.then_some(Stage::Probes).into_iter().collect(),
            follows,
            routes,
            config,
        }
    }
}
