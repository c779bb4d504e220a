//! What the front holds now, as families: its queue, its connections, its memory.

use indrik_core::metrics::{Family, Label, generated as metrics};
use indrik_core::refusal::Reason;

use super::clock;
use super::metrics::POOL;
use super::services::Services;
use crate::otlp::LOST;

/// What the front has counted, and what it holds now. `lane_answers_dropped`: answers on lanes that workers did not
/// take.
pub(super) fn families(services: &Services, lane_answers_dropped: u64) -> Vec<Family> {
    let mut families = services.metrics.families();
    families.extend(pool(services));
    families.extend(memory(services));
    families.extend(files(services));
    let states = services.connections.states();
    let states = states.into_iter().map(|(state, count)| ([Label::from(state)], count as f64));
    families.push(metrics::CONNECTIONS.family(states));
    families.push(metrics::LANE_ANSWERS_DROPPED.family([([], lane_answers_dropped as f64)]));
    families.extend(spans(services));
    let expiry = services.tls.as_ref().and_then(|tls| tls.expires_at());
    let expiry = expiry.map(|at| ([], at as f64));
    families.push(metrics::TLS_CERTIFICATE_EXPIRY_TIMESTAMP_SECONDS.family(expiry));
    families
}

fn pool(services: &Services) -> [Family; 7] {
    let pool = |number: f64| [([Label::from(POOL)], number)];
    let seen = services.pool.seen();
    let (waiting, at_workers, counts) = (seen.waiting, seen.at_workers, seen.counts);
    let oldest = seen.oldest_waiting(clock::now()) as f64 / 1e6;
    let most = services.settings().config.queue_requests_max;
    let refused = Reason::ALL.iter().zip(services.refusals.counts());
    let refused =
        refused.map(|(reason, count)| ([reason.word().into(), POOL.into()], count as f64));
    [
        metrics::HTTP_REQUESTS_WAITING.family(pool(waiting as f64)),
        metrics::HTTP_REQUESTS_WAITING_MAX.family(pool(most as f64)),
        metrics::HTTP_REQUESTS_OLDEST_WAITING_SECONDS.family(pool(oldest)),
        metrics::HTTP_REQUESTS_AT_WORKERS.family(pool(at_workers as f64)),
        metrics::HTTP_REQUESTS_RETAKEN.family(pool(counts.reclaimed as f64)),
        metrics::HTTP_REQUESTS_TIMED_OUT.family(pool(counts.timed_out as f64)),
        metrics::HTTP_REFUSED.family(refused),
    ]
}

fn spans(services: &Services) -> [Family; 2] {
    let spans = services.spans.get();
    let lost = LOST.iter().zip(spans.lost_by_reason);
    let lost = lost.map(|(reason, count)| ([reason.word().into()], count as f64));
    [metrics::OTLP_EXPORTED.family([([], spans.exported as f64)]), metrics::OTLP_LOST.family(lost)]
}

fn memory(services: &Services) -> [Family; 5] {
    let memory = services.account.stats();
    let descriptors = services.descriptors.stats();
    let limit = memory.limits.total;
    let limit = (limit != u64::MAX).then_some(([], limit as f64));
    let held = descriptors.held.connections + descriptors.held.files;
    [
        metrics::FRONT_MEMORY_BYTES.family([([], memory.held as f64)]),
        metrics::FRONT_MEMORY_MAX_BYTES.family(limit),
        metrics::FRONT_DESCRIPTORS.family([([], held as f64)]),
        metrics::FRONT_DESCRIPTORS_MAX.family([([], descriptors.share.clients_max as f64)]),
        metrics::CONNECTIONS_CUT.family([
            (["memory".into()], memory.cut as f64),
            (["descriptors".into()], descriptors.shed as f64),
        ]),
    ]
}

fn files(services: &Services) -> [Family; 2] {
    let config = &services.settings().config;
    let most = services.descriptors.share().spools_max;
    let spools = services.spools.stats(config.response_spools_max, most);
    let uploads = services.uploads.stats();
    [
        metrics::FRONT_FILES_BYTES.family([
            (["answers".into()], spools.bytes as f64),
            (["bodies".into()], uploads.bytes as f64),
        ]),
        metrics::FRONT_FILES_FAILED.family([
            (["answers".into()], spools.failures as f64),
            (["bodies".into()], uploads.failures as f64),
        ]),
    ]
}
