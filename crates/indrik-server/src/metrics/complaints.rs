//! What a scrape leaves out is told once in the log, each kind of it; how much it is stands in the answer.

use std::sync::atomic::{AtomicBool, Ordering};

use indrik_core::logs::level::Level;
use indrik_core::metrics::{Family, Value};

use crate::log::Log;

/// A number that should be zero.
struct Complaint {
    family: &'static str,
    /// The value of its one label; `None`: it has none.
    label: Option<&'static str>,
    text: &'static str,
    told: AtomicBool,
}

static COMPLAINTS: [Complaint; 4] = [
    Complaint::new(
        "indrik_metrics_overflow",
        Some("routes"),
        "Metrics: the application has more routes than metrics_routes_max: the requests of the others are counted \
         together, as the route \"other\"\n  hint: raise metrics_routes_max, or let routes be patterns instead of paths",
    ),
    Complaint::new(
        "indrik_metrics_overflow",
        Some("requests"),
        "Metrics: the tables of requests are full: further combinations of method, status and route are counted as the \
         route \"other\"\n  hint: lower metrics_routes_max, or look for a client that tries everything",
    ),
    Complaint::new(
        "indrik_metrics_left_out",
        None,
        "Metrics: something the application counts is left out of /metrics: its name is Indrik's own or that of another \
         metric with a suffix, or no scraper can read it (indrik_metrics_left_out)\n  hint: give it another name",
    ),
    Complaint::new(
        "indrik_app_metrics_lost",
        Some("too_many_series"),
        "Metrics: the application has more series than app_metrics_series_max: new ones are not shown\n  hint: raise the \
         limit, or give its metrics fewer label values",
    ),
];

impl Complaint {
    const fn new(family: &'static str, label: Option<&'static str>, text: &'static str) -> Self {
        Self { family, label, text, told: AtomicBool::new(false) }
    }

    fn is_due(&self, families: &[Family]) -> bool {
        let family = families.iter().find(|family| family.name == self.family);
        let mut samples = family.into_iter().flat_map(|family| &family.samples);
        samples.any(|sample| {
            let is_meant =
                self.label.is_none_or(|label| sample.labels.iter().any(|it| it.1 == label));
            is_meant && matches!(sample.value, Value::Number(count) if count > 0.0)
        })
    }
}

/// Tells of what is found for the first time.
pub(super) fn tell(families: &[Family], log: &Log) {
    for complaint in &COMPLAINTS {
        let is_told = || complaint.told.load(Ordering::Relaxed);
        if !is_told() && complaint.is_due(families) && !complaint.told.swap(true, Ordering::Relaxed)
        {
            log.write(Level::Warning, complaint.text);
        }
    }
}

#[cfg(test)]
mod tests {
    use indrik_core::metrics::{Label, generated as metrics};

    use super::*;

    #[test]
    fn a_number_that_should_be_zero_is_told_of_by_its_label_and_not_before_it_grows() {
        let [routes, _, left_out, _] = &COMPLAINTS;
        let family = |routes: f64, requests: f64| {
            metrics::METRICS_OVERFLOW
                .family([([Label::from("routes")], routes), ([Label::from("requests")], requests)])
        };
        assert!(!routes.is_due(&[family(0.0, 3.0)]));
        assert!(routes.is_due(&[family(1.0, 0.0)]));
        assert!(!left_out.is_due(&[family(1.0, 1.0)]));
        assert!(left_out.is_due(&[metrics::METRICS_LEFT_OUT.family([([], 2.0)])]));
    }
}
