//! A look at the front's work.

use indrik_core::refusal::ByReason;

use super::account::MemoryStats;
use super::descriptors::DescriptorStats;
use super::pool::Counts;
use super::response::SpoolStats;
use super::services::Services;
use super::uploads::UploadStats;
use crate::otlp::SpanStats;

/// A look at the front's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct FrontStats {
    pub connections: usize,
    pub waiting: usize,
    pub in_flight: usize,
    pub counts: Counts,
    /// Answers of the front's own.
    pub refused: ByReason,
    pub memory: MemoryStats,
    pub spools: SpoolStats,
    pub uploads: UploadStats,
    pub descriptors: DescriptorStats,
    /// Answers on lanes that their workers did not take.
    pub lane_answers_dropped: u64,
    pub spans: SpanStats,
}

/// A look at the work. `lane_answers_dropped`: answers on lanes that their workers did not take.
/// `(waiting, in_flight, counts)`: what the pool says.
pub(super) fn stats(
    services: &Services,
    (waiting, in_flight, counts): (usize, usize, Counts),
    lane_answers_dropped: u64,
) -> FrontStats {
    FrontStats {
        connections: services.connections.count(),
        waiting,
        in_flight,
        counts,
        refused: services.refusals.counts(),
        memory: services.account.stats(),
        spools: services.spools.stats(
            services.settings().config.response_spools_max,
            services.descriptors.share().spools_max,
        ),
        uploads: services.uploads.stats(),
        descriptors: services.descriptors.stats(),
        lane_answers_dropped,
        spans: services.spans.get(),
    }
}
