//! The front's work as JSON, for the control socket and for the admin listener.

use indrik_core::diagnose::Standing;
use indrik_core::refusal::{ByReason, Reason};
use serde_json::{Value as Json, json};

use crate::front::{DescriptorStats, FrontStats, MemoryStats, SpoolStats, UploadStats};

/// What was found, the worst first; null: nobody has looked lately.
pub(crate) fn shown_findings(findings: Option<&Vec<Standing>>) -> Json {
    let shown = |Standing { finding, since_ms }: &Standing| {
        json!({
            "cause": finding.cause.word(),
            "what": finding.what,
            "whose": finding.whose.to_string(),
            "since_ms": since_ms,
            "advice": finding.advice,
        })
    };
    findings.map_or(Json::Null, |findings| findings.iter().map(shown).collect::<Vec<_>>().into())
}

/// The front's work.
pub(crate) fn shown_front(front: &FrontStats) -> Json {
    json!({
        "connections": front.connections,
        "requests_in_flight": front.in_flight,
        "requests_waiting": front.waiting,
        "requests_finished": front.counts.finished,
        "requests_refused": refused(&front.refused),
        "requests_timed_out": front.counts.timed_out,
        "answered_by_front": by_reason(&front.refused),
        "lane_answers_dropped": front.lane_answers_dropped,
        "otlp": { "exported": front.spans.exported, "lost": front.spans.lost },
        "front_memory": shown_memory(front.memory),
        "files": shown_files(front.spools, front.uploads),
        "descriptors": shown_descriptors(front.descriptors),
    })
}

/// What the front holds for its clients, for showing; a limit that there is not is null.
fn shown_memory(memory: MemoryStats) -> Json {
    let limit = |bytes: u64| (bytes != u64::MAX).then_some(bytes);
    json!({
        "held_bytes": memory.held,
        "peak_bytes": memory.peak,
        "max_bytes": limit(memory.limits.total),
        "connection_max_bytes": limit(memory.limits.connection),
        "measure": memory.measure.word(),
        "connections_cut": memory.cut,
    })
}

/// Requests that were refused for want of room.
fn refused(counts: &ByReason) -> u64 {
    let lacking = Reason::ALL.iter().zip(counts).filter(|(reason, _)| reason.lacks().is_some());
    lacking.map(|(_, count)| count).sum()
}

/// What the front has answered by itself, and why.
fn by_reason(counts: &ByReason) -> Json {
    let words = Reason::ALL.iter().zip(counts);
    Json::Object(words.map(|(reason, count)| (reason.word().to_owned(), (*count).into())).collect())
}

/// What the front has in files for clients.
fn shown_files(spools: SpoolStats, uploads: UploadStats) -> Json {
    json!({
        "responses": {
            "bytes": spools.bytes,
            "max_bytes": spools.bytes_max,
            "files": spools.files,
            "files_max": spools.files_max,
            "refused": spools.refused,
            "failures": spools.failures,
        },
        "bodies": {"bytes": uploads.bytes, "files": uploads.files, "failures": uploads.failures},
    })
}

/// What clients have of the descriptors.
fn shown_descriptors(descriptors: DescriptorStats) -> Json {
    let DescriptorStats { share, held, shed } = descriptors;
    json!({
        "limit": share.limit,
        "kept": share.kept,
        "clients_max": share.clients_max,
        "connections_max": share.connections_max,
        "connections": held.connections,
        "files": held.files,
        "connections_shed": shed,
    })
}
