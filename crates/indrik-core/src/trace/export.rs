//! Where spans go: the settings, and beneath them the environment variables of OpenTelemetry.

use std::path::PathBuf;
use std::time::Duration;

use super::endpoint::{Endpoint, shown};
use crate::percent::decoded;

/// Where a collector listens if nobody says anything.
const DEFAULT: &str = "http://localhost:4318";
/// What is added to a base address.
const PATH: &str = "/v1/traces";
/// How long a collector may take for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// More headers are not sent.
const HEADERS_MAX: usize = 64;

/// What the settings say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said<'a> {
    /// `otlp_endpoint`
    pub endpoint: Option<&'a str>,
    /// `otlp_headers`
    pub headers: &'a [(String, String)],
    /// What the service is called if nobody says.
    pub service: &'a str,
}

/// How spans are exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Where to.
    pub endpoint: Endpoint,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// What the server is, beside what it knows itself.
    pub resource: Vec<(String, String)>,
    /// How long the collector may take.
    pub timeout: Duration,
    /// Whether batches are compressed.
    pub gzip: bool,
    /// Authorities that are trusted instead of the system's.
    pub certificate: Option<PathBuf>,
}

/// What follows from settings and environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exporting {
    /// Nothing is exported: the environment says so.
    Off,
    /// Spans go there.
    To(Box<Export>),
    /// Spans would go where they cannot: why, in one line.
    Impossible(String),
}

/// Reads the settings and, through `variable`, the environment.
pub fn exporting(said: Said<'_>, variable: impl Fn(&str) -> Option<String>) -> Exporting {
    // An empty variable is as good as none.
    let any =
        |name: &str| variable(name).map(|it| it.trim().to_owned()).filter(|it| !it.is_empty());
    let of = |name: &str| {
        any(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"))
            .or_else(|| any(&format!("OTEL_EXPORTER_OTLP_{name}")))
    };
    let is_disabled = any("OTEL_SDK_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true"));
    let exporter = any("OTEL_TRACES_EXPORTER").unwrap_or_else(|| "otlp".to_owned());
    if is_disabled || exporter == "none" {
        return Exporting::Off;
    }
    let endpoint = match endpoint(said.endpoint, &any, &of) {
        Ok(endpoint) => endpoint,
        Err(why) => return Exporting::Impossible(why),
    };
    let mut headers: Vec<(String, String)> = Vec::new();
    let given = of("HEADERS").map(|text| pairs(&text)).unwrap_or_default();
    for (name, value) in given.into_iter().chain(said.headers.iter().cloned()).take(HEADERS_MAX) {
        let name = name.to_ascii_lowercase();
        headers.retain(|(other, _)| *other != name);
        headers.push((name, value));
    }
    let mut resource = any("OTEL_RESOURCE_ATTRIBUTES").map(|text| pairs(&text)).unwrap_or_default();
    let service = any("OTEL_SERVICE_NAME");
    let has_name = resource.iter().any(|(key, _)| key == "service.name");
    if let Some(name) = service.or_else(|| (!has_name).then(|| said.service.to_owned())) {
        resource.retain(|(key, _)| key != "service.name");
        resource.insert(0, ("service.name".to_owned(), name));
    }
    let timeout = of("TIMEOUT").and_then(|text| text.parse().ok()).map(Duration::from_millis);
    Exporting::To(Box::new(Export {
        endpoint,
        headers,
        resource,
        timeout: timeout.filter(|timeout| !timeout.is_zero()).unwrap_or(TIMEOUT),
        gzip: of("COMPRESSION").is_some_and(|it| it == "gzip"),
        certificate: of("CERTIFICATE").map(PathBuf::from),
    }))
}

/// The address. What is said for traces alone stands as it is, a base address gets the path.
fn endpoint(
    said: Option<&str>,
    any: &impl Fn(&str) -> Option<String>,
    of: &impl Fn(&str) -> Option<String>,
) -> Result<Endpoint, String> {
    let parse = |name: &str, text: &str| {
        Endpoint::parse(text).map_err(|bad| format!("{name}: {} {bad}", shown(text)))
    };
    if let Some(text) = said {
        return parse("otlp_endpoint", text).map(|it| it.below(PATH));
    }
    let own = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    let base = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let is_grpc = of("PROTOCOL").is_some_and(|it| it == "grpc");
    let from_environment = any(own).or_else(|| any(base));
    if let (true, Some(text)) = (is_grpc, &from_environment) {
        return Err(format!(
            "the environment names a collector for gRPC ({}), and spans are sent over HTTP: set otlp_endpoint to its \
             address for that, mostly with port 4318",
            shown(text)
        ));
    }
    match (any(own), any(base)) {
        (Some(text), _) => parse(own, &text),
        (None, Some(text)) => parse(base, &text).map(|it| it.below(PATH)),
        (None, None) => parse("otlp_endpoint", DEFAULT).map(|it| it.below(PATH)),
    }
}

/// `a=b,c=d`, as W3C Baggage has it: values may be percent-encoded. What is no pair is left out.
fn pairs(text: &str) -> Vec<(String, String)> {
    let one = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        let (key, value) = (key.trim(), decoded(value.trim()));
        (!key.is_empty()).then(|| (key.to_owned(), value))
    };
    text.split(',').filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(said: Said<'_>, variables: &[(&str, &str)]) -> Exporting {
        exporting(said, |name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn to(said: Said<'_>, variables: &[(&str, &str)]) -> Export {
        match with(said, variables) {
            Exporting::To(export) => *export,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_a_word_it_is_the_usual_collector_of_this_machine() {
        let export = to(Said { service: "main:app", ..Said::default() }, &[]);
        assert_eq!(export.endpoint.to_string(), "http://localhost:4318/v1/traces");
        assert_eq!(export.resource, [("service.name".to_owned(), "main:app".to_owned())]);
        assert_eq!((export.timeout, export.gzip), (TIMEOUT, false));
    }

    #[test]
    fn settings_beat_the_environment_and_what_is_for_traces_beats_what_is_for_all() {
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:1/base");
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:2/as-it-is");
        let shown = |said, variables: &[_]| to(said, variables).endpoint.to_string();
        assert_eq!(shown(Said::default(), &[all]), "http://all:1/base/v1/traces");
        assert_eq!(shown(Said::default(), &[all, traces]), "http://traces:2/as-it-is");
        let said = Said { endpoint: Some("https://said"), ..Said::default() };
        assert_eq!(shown(said, &[all, traces]), "https://said:443/v1/traces");
        assert_eq!(
            shown(Said::default(), &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]),
            "http://localhost:4318/v1/traces"
        );
    }

    #[test]
    fn no_message_about_an_address_has_its_password_in_it() {
        let bad = [
            "http://user:geheim@all:4318",
            "http://all:4318/?token=geheim",
            "geheim@all",
            "http://a b:geheim@c",
        ];
        for text in bad {
            let said = Said { endpoint: Some(text), ..Said::default() };
            let variable = [("OTEL_EXPORTER_OTLP_ENDPOINT", text)];
            let grpc = [variable[0], ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
            for exporting in
                [with(said, &[]), with(Said::default(), &variable), with(Said::default(), &grpc)]
            {
                let Exporting::Impossible(why) = exporting else { panic!("{text}") };
                assert!(!why.contains("geheim"), "{why}");
            }
        }
        let Exporting::Impossible(why) =
            with(Said { endpoint: Some("http://u:p@all:4318"), ..Said::default() }, &[])
        else {
            panic!()
        };
        assert!(why.contains("http://...@all:4318"), "{why}");
    }

    #[test]
    fn headers_and_attributes_are_read_as_they_are_written_there() {
        let own = [("X-Key".to_owned(), "mine".to_owned())];
        let said = Said { headers: &own, service: "app", ..Said::default() };
        let export = to(
            said,
            &[
                (
                    "OTEL_EXPORTER_OTLP_HEADERS",
                    "x-key=theirs, Authorization=Basic%20abc%3D,nonsense,=x",
                ),
                ("OTEL_RESOURCE_ATTRIBUTES", "service.name=shop,deployment.environment.name=test"),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
                ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip"),
            ],
        );
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            export.headers,
            [header("authorization", "Basic abc="), header("x-key", "mine")]
        );
        assert_eq!(export.resource[0].1, "shop");
        assert_eq!(export.resource.len(), 2);
        assert_eq!((export.timeout, export.gzip), (Duration::from_millis(250), true));
        let named = to(
            said,
            &[("OTEL_SERVICE_NAME", "named"), ("OTEL_RESOURCE_ATTRIBUTES", "service.name=shop")],
        );
        assert_eq!(named.resource, [header("service.name", "named")]);
    }

    #[test]
    fn the_environment_can_switch_it_off_and_what_cannot_work_is_said() {
        assert_eq!(with(Said::default(), &[("OTEL_SDK_DISABLED", "True")]), Exporting::Off);
        assert_eq!(with(Said::default(), &[("OTEL_TRACES_EXPORTER", "none")]), Exporting::Off);
        let grpc = [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317"),
        ];
        let Exporting::Impossible(why) = with(Said::default(), &grpc) else { panic!() };
        assert!(why.contains("http://c:4317") && why.contains("otlp_endpoint"), "{why}");
        let wrong = [("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")];
        let Exporting::Impossible(why) = with(Said::default(), &wrong) else { panic!() };
        assert!(why.starts_with("OTEL_EXPORTER_OTLP_ENDPOINT"), "{why}");
    }

    #[test]
    fn what_is_encoded_wrongly_stays_as_it_is() {
        assert_eq!(decoded("a%2"), "a%2");
        assert_eq!(decoded("%zz%41"), "%zzA");
        assert_eq!(decoded("%ff"), "\u{fffd}");
    }
}
