//! How large a worker's channel is: whatever the settings let a client send beside a body of its own fits.

use indrik_core::dispatch::DispatchLimits;
use indrik_core::http1::{HEAD_BYTES_MAX, Limits};
use indrik_core::settings::{Config, WorkerClass};
use indrik_ring::ChannelLimits;

use super::body::INLINE_BYTES_MAX;
use super::http2_settings::Http2Settings;
use super::settings::head_limits;

/// What the channel writes for each field beside its name and value.
const FIELD_FIXED_BYTES: usize = 8;
/// Addresses, the method's length and the like; and what a head grows by where it is brought into the strict
/// form.
const OTHER_BYTES: usize = 4 * 1024;

/// The size of a channel: every request that the worker may run at once has a slot, and so has what is
/// queued ahead; the largest head that the settings allow fits together with the largest body that travels
/// beside it. Which class `auto` means is known only when the application is loaded, and memory that is
/// not used costs nothing.
#[must_use]
pub fn channel_limits(config: &Config) -> ChannelLimits {
    let default = ChannelLimits::default();
    let capacity = match config.worker_class {
        WorkerClass::Gevent | WorkerClass::Eventlet | WorkerClass::Asgi | WorkerClass::Aiohttp => {
            config.worker_connections
        }
        // An ASGI application runs as ASGI under these too.
        WorkerClass::Sync | WorkerClass::Gthread | WorkerClass::Auto | WorkerClass::Custom => {
            config.worker_connections.max(config.threads)
        }
    };
    let slots = capacity.saturating_add(DispatchLimits::default().queue_ahead_requests_max);
    let slots = u16::try_from(slots).unwrap_or(u16::MAX);
    let limits = head_limits(config);
    let http2 = config.speaks_http2().then(|| Http2Settings::new(config, &limits));
    let list = http2.map(|http2| http2.header_list_bytes_max);
    ChannelLimits {
        slots: slots.clamp(default.slots, ChannelLimits::SLOTS_MAX),
        request_area: area(request_bytes_max(&limits, list)).max(default.request_area),
        ..default
    }
}

/// The largest payload of a request, with heads within `limits` and, where HTTP/2 is spoken, lists of
/// fields of so many bytes.
fn request_bytes_max(limits: &Limits, list: Option<u32>) -> usize {
    let Limits { line, fields, field } = *limits;
    let lines = line.saturating_add(fields.saturating_mul(field)).min(HEAD_BYTES_MAX);
    let head = lines + fields * FIELD_FIXED_BYTES;
    // Lists are counted with 32 bytes for each field (RFC 9113 section 6.5.2), more than the channel adds.
    let head = head.max(list.unwrap_or(0) as usize);
    // Twice: a trusted proxy's prefix and an authority come again beside the fields.
    2 * head + INLINE_BYTES_MAX + OTHER_BYTES
}

/// The request direction's area: no payload may take more than half of it.
fn area(request_bytes_max: usize) -> u32 {
    u32::try_from((2 * request_bytes_max).next_multiple_of(64)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_head_and_inline_body_of_any_settings_fit_into_half_of_the_area() {
        for line in [1, 8190, 65_536] {
            for (fields, field) in [(1, 1), (100, 8190), (16_384, 8190), (16_384, usize::MAX)] {
                for list in [None, Some(65_536), Some(1024 * 1024)] {
                    let limits = Limits { line, fields, field };
                    let request_area = area(request_bytes_max(&limits, list));
                    let channel = ChannelLimits { request_area, ..ChannelLimits::default() };
                    assert_eq!(channel.check(), Ok(()));
                    // A field takes 4 bytes at least as it is sent, and 8 more in the channel.
                    let lines =
                        line.saturating_add(fields.saturating_mul(field)).min(HEAD_BYTES_MAX);
                    let most = (lines + 8 * fields.min(lines / 4)).max(list.unwrap_or(0) as usize);
                    assert!(request_area as usize / 2 >= most + INLINE_BYTES_MAX, "{limits:?}");
                }
            }
        }
    }
}
