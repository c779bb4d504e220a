//! What of the application's metrics could not be kept, and why.

/// Why. The number is its place in a table's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The process has no room for another series.
    TableFull = 0,
    /// There are `app_metrics_series_max` series.
    TooManySeries = 1,
    /// Two metrics of one name are of another kind, or have other labels.
    Clash = 2,
    /// A label's value is too long; it was cut.
    LabelCut = 3,
    /// A table holds what no metric can be.
    Corrupt = 4,
    /// A name that is not allowed, or is Indrik's.
    Name = 5,
}

/// All of them, in order.
pub const LOSSES: [Loss; 6] =
    [Loss::TableFull, Loss::TooManySeries, Loss::Clash, Loss::LabelCut, Loss::Corrupt, Loss::Name];

impl Loss {
    /// In a label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TableFull => "table_full",
            Self::TooManySeries => "too_many_series",
            Self::Clash => "clash",
            Self::LabelCut => "label_cut",
            Self::Corrupt => "corrupt",
            Self::Name => "name",
        }
    }

    /// What happened and what to do, for the log; `metric` is its name.
    #[must_use]
    pub fn explain(self, metric: &str) -> String {
        match self {
            Self::TableFull => format!(
                "There is no room for another series of the metric {metric:?}: the worker's table is full. Raise \
                 app_metrics_max, or give it fewer label values"
            ),
            Self::TooManySeries => format!(
                "There are app_metrics_series_max series of metrics; new ones, first of {metric:?}, are not shown. \
                 Raise the limit, or give it fewer label values"
            ),
            Self::Clash => format!(
                "The metric {metric:?} is defined twice, with another kind, aggregation, labels or buckets: only the \
                 first counts. Give one of them another name"
            ),
            Self::LabelCut => format!(
                "A label's value of the metric {metric:?} is longer than 1024 bytes and was cut: label values are to \
                 be few and short"
            ),
            Self::Corrupt => format!(
                "The table of metrics of {metric} cannot be read whole: something in that process has overwritten it"
            ),
            Self::Name => format!(
                "The metric {metric:?} is not shown: names are made of letters, digits, _ and :, labels do not begin \
                 with __, and indrik_ is for Indrik's own"
            ),
        }
    }
}
