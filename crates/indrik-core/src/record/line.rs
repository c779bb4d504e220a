//! The lines of a recording: a head, one for each request, and a trailer. Each is a JSON object.

use crate::logs::json::Object;
use crate::time::Micros;

use super::body::Body;
use super::order::Order;

/// It goes up when a reader of the last one would misunderstand.
const FORMAT_VERSION: u64 = 1;
/// Bytes of one line's text fields but bodies; longer ones are cut.
const TEXT_BYTES_MAX: usize = 4096;

/// What a recording begins with.
#[derive(Clone, Debug)]
pub struct Head<'a> {
    /// The server's version.
    pub version: &'a str,
    /// When it began, as ISO 8601 has it.
    pub began: &'a str,
    /// What was asked for.
    pub order: &'a Order,
    /// How many workers there are.
    pub workers: u32,
}

/// One request, when it is over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// When it came: microseconds since the recording began.
    pub at_us: Micros,
    /// Its method.
    pub method: Vec<u8>,
    /// Its protocol.
    pub protocol: &'static str,
    /// The route that the application chose.
    pub route: Option<String>,
    /// The status of its answer.
    pub status: u16,
    /// Bytes of its body: what it said, or what was read of it.
    pub bytes_in: Option<u64>,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// How long it waited for the application.
    pub queue_us: Micros,
    /// How long the application had it.
    pub app_us: Micros,
    /// How long the client was waited for.
    pub client_us: Micros,
    /// All of it.
    pub total_us: Micros,
    /// The worker's process; 0: the front answered.
    pub worker: u32,
    /// Target and headers, redacted, if they are wanted.
    pub request: Option<Request>,
}

/// What a client asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Its target.
    pub target: Vec<u8>,
    /// Its headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its body, if bodies are wanted and it has one.
    pub body: Option<Body>,
}

/// Why a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its time was over.
    Time,
    /// It is as large as it may be.
    Bytes,
    /// Whoever asked for it wanted no more.
    Stopped,
    /// The server ends.
    Server,
}

impl Ending {
    /// The word in the trailer.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Bytes => "bytes",
            Self::Stopped => "stopped",
            Self::Server => "server",
        }
    }
}

/// The first line.
#[must_use]
pub fn head_line(head: &Head<'_>) -> Vec<u8> {
    let mut line = Vec::new();
    let mut object = Object::begin(&mut line);
    object.number("indrik_record", FORMAT_VERSION);
    object.text("server", head.version.as_bytes());
    object.text("began", head.began.as_bytes());
    object.raw("sample", head.order.sample.share().to_string().as_bytes());
    object.number("for_ms", u64::try_from(head.order.span.as_millis()).unwrap_or(u64::MAX));
    object.number("bytes_max", head.order.bytes_max);
    object.raw("requests", if head.order.requests { b"true" } else { b"false" });
    object.raw("bodies", if head.order.bodies { b"true" } else { b"false" });
    object.number("workers", head.workers.into());
    object.end();
    line.push(b'\n');
    line
}

/// The line of a request.
pub fn record_line(record: &Record, line: &mut Vec<u8>) {
    let mut object = Object::begin(line);
    object.number("at_us", record.at_us);
    object.text("method", cut(&record.method));
    object.text("protocol", record.protocol.as_bytes());
    object.optional("route", record.route.as_deref().map(|route| cut(route.as_bytes())));
    object.number("status", record.status.into());
    match record.bytes_in {
        Some(bytes) => object.number("bytes_in", bytes),
        None => object.raw("bytes_in", b"null"),
    }
    object.number("bytes_out", record.bytes_out);
    object.number("queue_us", record.queue_us);
    object.number("app_us", record.app_us);
    object.number("client_us", record.client_us);
    object.number("total_us", record.total_us);
    object.number("worker", record.worker.into());
    if let Some(request) = &record.request {
        object.text("target", cut(&request.target));
        object.object("headers", |headers| {
            for (name, value) in &request.headers {
                headers.text(name, cut(value));
            }
        });
        match &request.body {
            Some(Body::Shown(bytes)) => object.text("body", bytes),
            Some(Body::LeftOut(why)) => object.text("body_left_out", why.as_bytes()),
            None => {}
        }
    }
    object.end();
    line.push(b'\n');
}

/// The last line: how it ended, how many requests came, and how many of the sampled ones are missing because they came
/// faster than they could be written.
#[must_use]
pub fn trailer_line(ending: Ending, lasted: Micros, counts: (u64, u64, u64)) -> Vec<u8> {
    let (seen, recorded, lost) = counts;
    let mut line = Vec::new();
    let mut object = Object::begin(&mut line);
    object.text("end", ending.word().as_bytes());
    object.number("lasted_us", lasted);
    object.number("seen", seen);
    object.number("recorded", recorded);
    object.number("lost", lost);
    object.end();
    line.push(b'\n');
    line
}

fn cut(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(TEXT_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;

    fn read(line: &[u8]) -> Json {
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        serde_json::from_slice(line).expect("JSON")
    }

    #[test]
    fn a_head_says_what_is_recorded() {
        let order = Order::parse(&["sample=5%", "for=2s"]).unwrap();
        let head = Head { version: "0.1.0", began: "2026-12-01", order: &order, workers: 4 };
        let json = read(&head_line(&head));
        assert_eq!((&json["indrik_record"], &json["sample"]), (&json!(1), &json!(0.05)));
        assert_eq!((&json["for_ms"], &json["requests"]), (&json!(2000), &json!(false)));
    }

    #[test]
    fn a_trailer_says_what_is_missing() {
        let json = read(&trailer_line(Ending::Stopped, 5, (100, 9, 1)));
        assert_eq!((&json["end"], &json["lost"]), (&json!("stopped"), &json!(1)));
    }

    proptest! {
        #[test]
        fn a_line_is_json_whatever_was_sent(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            route in ".{0,20}",
        ) {
            let request = Request {
                target: bytes.clone(),
                headers: vec![("x".to_owned(), bytes.clone())],
                body: Some(Body::Shown(bytes.clone())),
            };
            let record = Record {
                method: bytes,
                route: Some(route),
                status: 200,
                request: Some(request),
                ..Record::default()
            };
            let mut line = Vec::new();
            record_line(&record, &mut line);
            let json = read(&line);
            prop_assert_eq!(json["status"].as_u64(), Some(200));
            prop_assert_eq!(json["bytes_in"].is_null(), true);
        }
    }
}
