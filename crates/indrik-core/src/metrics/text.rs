//! Families as text: Prometheus' 0.0.4, and OpenMetrics 1.0.

use std::fmt::Write as _;

use super::family::{Distribution, Exemplar, Family, Kind, Labels, Sample, Value};
use super::names::whole;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Prometheus,
    OpenMetrics,
}

/// Characters that an exemplar's labels may have together.
const EXEMPLAR_CHARS_MAX: usize = 128;

/// All families, in the order given.
pub(super) fn text(families: &[Family], dialect: Dialect) -> String {
    let mut out = String::with_capacity(64 * 1024);
    for family in families {
        push_family(&mut out, family, dialect);
    }
    if dialect == Dialect::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

fn push_family(out: &mut String, family: &Family, dialect: Dialect) {
    let (name, kind) = match dialect {
        Dialect::Prometheus => (whole(family), prometheus_kind(family.kind)),
        Dialect::OpenMetrics => (family.name.to_string(), openmetrics_kind(family.kind)),
    };
    let _ = write!(out, "# HELP {name} ");
    push_escaped(out, &family.help, dialect == Dialect::OpenMetrics);
    let _ = write!(out, "\n# TYPE {name} {kind}\n");
    let ends_with_unit =
        family.name.strip_suffix(&*family.unit).is_some_and(|it| it.ends_with('_'));
    if dialect == Dialect::OpenMetrics && !family.unit.is_empty() && ends_with_unit {
        let _ = writeln!(out, "# UNIT {name} {}", family.unit);
    }
    for sample in &family.samples {
        push_sample(out, family, sample, dialect);
    }
}

const fn prometheus_kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge | Kind::Info => "gauge",
        Kind::Histogram => "histogram",
        Kind::Summary => "summary",
        Kind::Unknown => "untyped",
    }
}

const fn openmetrics_kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Info => "info",
        Kind::Histogram => "histogram",
        Kind::Summary => "summary",
        Kind::Unknown => "unknown",
    }
}

fn push_sample(out: &mut String, family: &Family, sample: &Sample, dialect: Dialect) {
    match &sample.value {
        Value::Number(number) => {
            let suffix = match family.kind {
                Kind::Counter => "_total",
                Kind::Info => "_info",
                Kind::Gauge | Kind::Histogram | Kind::Summary | Kind::Unknown => "",
            };
            push_line(out, (&family.name, suffix), &sample.labels, None, *number);
            out.push('\n');
        }
        Value::Sum { count, sum } => push_count_and_sum(out, family, sample, *count, *sum),
        Value::Distribution(it) => {
            push_buckets(out, family, sample, it, dialect);
            push_count_and_sum(out, family, sample, it.count(), it.sum);
        }
    }
}

fn push_buckets(
    out: &mut String,
    family: &Family,
    sample: &Sample,
    it: &Distribution,
    dialect: Dialect,
) {
    let bounds = it.bounds.iter().copied().chain([f64::INFINITY]);
    let (mut below, mut lower) = (0, f64::NEG_INFINITY);
    for (bound, count) in bounds.zip(&it.counts) {
        below += count;
        push_line(out, (&family.name, "_bucket"), &sample.labels, Some(bound), below as f64);
        let is_within = |it: &&Exemplar| it.value > lower && it.value <= bound;
        if dialect == Dialect::OpenMetrics
            && let Some(exemplar) = it.exemplars.iter().find(is_within)
        {
            push_exemplar(out, exemplar);
        }
        out.push('\n');
        lower = bound;
    }
}

fn push_count_and_sum(out: &mut String, family: &Family, sample: &Sample, count: u64, sum: f64) {
    push_line(out, (&family.name, "_count"), &sample.labels, None, count as f64);
    out.push('\n');
    push_line(out, (&family.name, "_sum"), &sample.labels, None, sum);
    out.push('\n');
}

/// A sample without its line's end.
fn push_line(
    out: &mut String,
    (name, suffix): (&str, &str),
    labels: &Labels,
    bound: Option<f64>,
    number: f64,
) {
    out.push_str(name);
    out.push_str(suffix);
    if !labels.is_empty() || bound.is_some() {
        out.push('{');
        push_labels(out, labels);
        if let Some(bound) = bound {
            out.push_str(if labels.is_empty() { "le=\"" } else { ",le=\"" });
            push_bound(out, bound);
            out.push('"');
        }
        out.push('}');
    }
    out.push(' ');
    push_number(out, number);
}

fn push_labels(out: &mut String, labels: &Labels) {
    for (at, (name, value)) in labels.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str(name);
        out.push_str("=\"");
        push_escaped(out, value, true);
        out.push('"');
    }
}

fn push_exemplar(out: &mut String, exemplar: &Exemplar) {
    let chars =
        exemplar.labels.iter().map(|(name, value)| name.chars().count() + value.chars().count());
    if chars.sum::<usize>() > EXEMPLAR_CHARS_MAX {
        return;
    }
    out.push_str(" # {");
    push_labels(out, &exemplar.labels);
    out.push_str("} ");
    push_number(out, exemplar.value);
    let _ = write!(out, " {:.3}", exemplar.at);
}

/// A bound as every parser writes it again, so that a series keeps its name whatever the format was.
fn push_bound(out: &mut String, bound: f64) {
    match bound == bound.trunc() && bound.is_finite() && bound.abs() < 1e15 {
        true => {
            let _ = write!(out, "{bound:.1}");
        }
        false => push_number(out, bound),
    }
}

fn push_number(out: &mut String, number: f64) {
    let _ = match number {
        number if number.is_nan() => write!(out, "NaN"),
        f64::INFINITY => write!(out, "+Inf"),
        f64::NEG_INFINITY => write!(out, "-Inf"),
        number if number != 0.0 && !(1e-7..1e17).contains(&number.abs()) => {
            write!(out, "{number:e}")
        }
        number => write!(out, "{number}"),
    };
}

/// Quotes are escaped in values of labels, and in OpenMetrics in help texts.
fn push_escaped(out: &mut String, text: &str, quotes: bool) {
    for char in text.chars() {
        match char {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            char => out.push(char),
        }
    }
}
