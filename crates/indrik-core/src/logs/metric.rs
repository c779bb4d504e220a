//! The wire form of statsd, as Gunicorn sends it.

/// What all metrics of a server have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wire {
    prefix: String,
    suffix: String,
}

/// A metric's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// It is this many now.
    Gauge(u64),
    /// It happened this often more.
    Count(u64),
    /// It took this many microseconds; sent as milliseconds.
    Duration(u64),
    /// One of the values a distribution is made of.
    Sample(u64),
}

impl Wire {
    /// `prefix` comes before each name, with a dot; `tags` are Datadog's, separated by commas.
    #[must_use]
    pub fn new(prefix: &str, tags: &str) -> Self {
        let prefix = prefix.trim_end_matches('.');
        let dot = if prefix.is_empty() { "" } else { "." };
        let mark = if tags.is_empty() { "" } else { "|#" };
        Self { prefix: format!("{prefix}{dot}"), suffix: format!("{mark}{tags}") }
    }

    /// One datagram.
    #[must_use]
    pub fn datagram(&self, name: &str, value: Value) -> Vec<u8> {
        let (prefix, suffix) = (&self.prefix, &self.suffix);
        match value {
            Value::Gauge(value) => format!("{prefix}{name}:{value}|g{suffix}"),
            Value::Count(value) => format!("{prefix}{name}:{value}|c|@1.0{suffix}"),
            Value::Sample(value) => format!("{prefix}{name}:{value}|h{suffix}"),
            Value::Duration(micros) => {
                let (whole, part) = (micros / 1_000, micros % 1_000);
                let part = format!("{part:03}");
                let part = match part.trim_end_matches('0') {
                    "" => "0",
                    digits => digits,
                };
                format!("{prefix}{name}:{whole}.{part}|ms{suffix}")
            }
        }
        .into_bytes()
    }
}
