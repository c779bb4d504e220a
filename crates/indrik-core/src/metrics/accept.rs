//! In which format a scraper is answered.

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text, version 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// `io.prometheus.client.MetricFamily`, each with its length in front; has native histograms.
    Protobuf,
}

impl Format {
    /// The content type that says so.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
                 encoding=delimited"
            }
        }
    }
}

/// Ranges of an `Accept` that are looked at.
const RANGES_MAX: usize = 64;

/// What an `Accept` asks for: of the formats there are, the one it likes best; the first of those it likes alike.
/// Text, if it names none.
#[must_use]
pub fn negotiate(accept: &str) -> Format {
    let mut best: Option<(Format, u16)> = None;
    for range in accept.split(',').take(RANGES_MAX) {
        let Some((format, quality)) = read(range) else { continue };
        if quality > best.map_or(0, |(_, quality)| quality) {
            best = Some((format, quality));
        }
    }
    best.map_or(Format::Text, |(format, _)| format)
}

/// One range: a format that it stands for, and how much it is liked, in thousandths.
fn read(range: &str) -> Option<(Format, u16)> {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    let (mut quality, mut proto, mut encoding, mut version) = (1_000, None, None, None);
    for part in parts {
        let (name, value) = part.split_once('=')?;
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => quality = thousandths(value)?,
            "proto" => proto = Some(value),
            "encoding" => encoding = Some(value),
            "version" => version = Some(value),
            // Escaping, charset: what goes out is right for all of them.
            _ => {}
        }
    }
    let format = match media.as_str() {
        "application/vnd.google.protobuf" => {
            let is_ours = proto == Some("io.prometheus.client.MetricFamily")
                && encoding.is_none_or(|encoding| encoding == "delimited");
            is_ours.then_some(Format::Protobuf)
        }
        "application/openmetrics-text" => version
            .is_none_or(|it| it.starts_with("0.") || it.starts_with("1."))
            .then_some(Format::OpenMetrics),
        "text/plain" => version.is_none_or(|it| it == "0.0.4").then_some(Format::Text),
        "text/*" | "*/*" => Some(Format::Text),
        _ => None,
    };
    Some((format?, quality))
}

/// A weight: at most 1, with at most three digits behind the point.
fn thousandths(text: &str) -> Option<u16> {
    let weight: f64 = text.parse().ok()?;
    (0.0..=1.0).contains(&weight).then_some((weight * 1_000.0) as u16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_scrapers_send_is_understood() {
        let prometheus_native = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
            encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,\
            application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(negotiate(prometheus_native), Format::Protobuf);
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,\
            application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(negotiate(prometheus), Format::OpenMetrics);
        for curl in ["*/*", "", "text/html,application/xhtml+xml,*/*;q=0.8"] {
            assert_eq!(negotiate(curl), Format::Text, "{curl}");
        }
    }

    #[test]
    fn what_is_not_wanted_or_not_ours_is_not_sent() {
        for accept in [
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;version=2.0.0, text/plain;q=0.1",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
            "application/vnd.google.protobuf;proto=other;encoding=delimited",
            "application/openmetrics-text;q=7",
            "application/openmetrics-text;q",
            "image/png",
        ] {
            assert_eq!(negotiate(accept), Format::Text, "{accept}");
        }
        let quoted = "Application/OpenMetrics-Text; Version=\"1.0.0\"; Q=0.9, text/plain; q=0.8";
        assert_eq!(negotiate(quoted), Format::OpenMetrics);
    }

    proptest! {
        #[test]
        fn whatever_is_asked_for_there_is_an_answer(accept in "[ -~]{0,200}") {
            let _ = negotiate(&accept);
        }
    }
}
