//! Tracing as the settings have it: which traces are recorded, and where spans go.

use std::sync::Arc;
use std::time::Duration;

use indrik_core::logs::level::Level;
use indrik_core::settings::{Config, Share};
use indrik_core::trace::export::{Exporting, Said, exporting};
use indrik_core::trace::span::Span;

use crate::log::Log;
use crate::otlp::{Counts, Exporter};

/// Tracing, while it is on.
pub(crate) struct Tracing {
    /// Of a hundred traces that begin here, so many are recorded.
    pub(super) percent: u32,
    /// `None`: traces are only passed on.
    exporter: Option<Arc<Exporter>>,
}

impl Tracing {
    /// As the settings ask; `before` is what served until now, whose way to the collector is kept if it is the same.
    pub(crate) fn new(
        config: &Config,
        before: Option<&Self>,
        log: &Arc<Log>,
        counts: &Arc<Counts>,
    ) -> Option<Arc<Self>> {
        if !config.tracing {
            return None;
        }
        let percent = match config.trace_sample {
            Share::Percent(percent) => percent,
            Share::Count(_) => 100,
        };
        let exporter = exporter(config, before, log, counts);
        Some(Arc::new(Self { percent, exporter }))
    }

    /// Whether spans are exported.
    pub(super) const fn exports(&self) -> bool {
        self.exporter.is_some()
    }

    /// Exports a span; never waits.
    pub(super) fn send(&self, span: Span) {
        if let Some(exporter) = &self.exporter {
            exporter.send(span);
        }
    }

    /// The end of the server: what waits is exported, within a limit.
    pub(crate) fn close(&self) {
        if let Some(exporter) = &self.exporter {
            exporter.close();
        }
    }
}

fn exporter(
    config: &Config,
    before: Option<&Tracing>,
    log: &Arc<Log>,
    counts: &Arc<Counts>,
) -> Option<Arc<Exporter>> {
    let said = Said {
        endpoint: config.otlp_endpoint.as_deref(),
        headers: &config.otlp_headers,
        service: config.title(),
    };
    let interval: Duration = config.otlp_interval;
    match exporting(said, |name| std::env::var(name).ok()) {
        Exporting::Off => None,
        Exporting::To(export) => {
            let kept = before.and_then(|before| before.exporter.as_ref());
            let kept = kept.filter(|exporter| exporter.is_like(&export, interval));
            let new = || Exporter::new(*export.clone(), interval, log, counts);
            Some(kept.cloned().unwrap_or_else(new))
        }
        Exporting::Impossible(why) => {
            log.write(Level::Warning, &format!("OTLP: no spans are exported: {why}"));
            None
        }
    }
}

#[cfg(test)]
impl Tracing {
    /// For tests: nothing is exported.
    pub(super) const fn unexported(percent: u32) -> Self {
        Self { percent, exporter: None }
    }
}
