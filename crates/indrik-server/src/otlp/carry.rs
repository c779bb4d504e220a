//! The exporter's thread: gathers spans, sends them in batches, and tells when the collector does not take them.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use indrik_core::logs::level::Level;
use indrik_core::supervise::Ailment;
use indrik_core::trace::delivery::{self, Fate};
use indrik_core::trace::export::Export;
use indrik_core::trace::otlp;
use indrik_core::trace::span::Span;
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};

use super::counts::{BATCH_SPANS, Counts, FLUSH_MAX, Lost};
use crate::log::Log;
use crate::post::{Client, Target, cut, host};

/// Gathered spans are looked for at least so often, whatever `otlp_interval` says.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// What the thread needs to know.
pub(super) struct Carrier {
    pub(super) export: Export,
    pub(super) interval: Duration,
    pub(super) log: Arc<Log>,
    pub(super) counts: Arc<Counts>,
    pub(super) waiting: mpsc::Receiver<Span>,
    /// A batch is full.
    pub(super) full: Arc<Notify>,
    /// Nobody exports any more.
    pub(super) close: Arc<Notify>,
}

/// The thread.
pub(super) fn run(carrier: Carrier) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => {
            runtime.block_on(carry(carrier));
            // A name that is being looked up is nobody's any more.
            runtime.shutdown_background();
        }
        Err(error) => carrier.log.error(&format!("OTLP: spans cannot be exported: {error}")),
    }
}

async fn carry(carrier: Carrier) {
    let Carrier { export, interval, log, counts, mut waiting, full, close } = carrier;
    let (resource, client) = (resource(&export), Client::new(&target(&export)));
    let mut delivery = Delivery { export: &export, resource, client, log, counts, down: false };
    let mut batch = Vec::with_capacity(BATCH_SPANS);
    loop {
        let is_over = tokio::select! {
            () = sleep(interval.max(INTERVAL_MIN)) => false,
            () = full.notified() => false,
            () = close.notified() => true,
        };
        if is_over {
            break;
        }
        while gather(&mut waiting, &mut batch) {
            tokio::select! {
                () = delivery.deliver(&mut batch) => {}
                () = close.notified() => {
                    close.notify_one();
                    break;
                }
            }
        }
    }
    waiting.close();
    let last = async {
        loop {
            if !batch.is_empty() {
                delivery.deliver(&mut batch).await;
            }
            if !gather(&mut waiting, &mut batch) {
                break;
            }
        }
    };
    let _ = timeout(FLUSH_MAX.mul_f32(0.9), last).await;
    let mut left = batch.len();
    while waiting.try_recv().is_ok() {
        left += 1;
    }
    delivery.counts.loses(left, Lost::Ended);
}

/// Takes what waits, up to a batch; whether there is any.
fn gather(waiting: &mut mpsc::Receiver<Span>, batch: &mut Vec<Span>) -> bool {
    while batch.len() < BATCH_SPANS
        && let Ok(span) = waiting.try_recv()
    {
        batch.push(span);
    }
    !batch.is_empty()
}

/// What became of a try to send a batch.
struct Tried {
    fate: Fate,
    /// What is said of it.
    why: String,
    /// Spans that the collector has not taken, of a batch that it has.
    refused: usize,
    /// Why they are lost, if they are.
    reason: Lost,
}

impl Tried {
    const fn unanswered(fate: Fate, why: String) -> Self {
        Self { fate, why, refused: 0, reason: Lost::Unreachable }
    }
}

/// The way of batches to the collector.
struct Delivery<'a> {
    export: &'a Export,
    resource: Vec<(String, String)>,
    client: Result<Client, String>,
    log: Arc<Log>,
    counts: Arc<Counts>,
    /// It was told that the collector takes nothing.
    down: bool,
}

impl Delivery<'_> {
    /// Sends a batch until it is taken or lost; it is empty then.
    async fn deliver(&mut self, batch: &mut Vec<Span>) {
        let body = otlp::traces(&self.resource, env!("CARGO_PKG_VERSION"), batch);
        let mut tries = 0;
        loop {
            tries += 1;
            let Tried { fate, why, refused, reason } = self.send(&body, tries).await;
            match fate {
                Fate::Taken => {
                    let refused = refused.min(batch.len());
                    self.counts.exports(batch.len() - refused);
                    self.counts.loses(refused, Lost::Refused);
                    self.works();
                    break;
                }
                Fate::Again(pause) => {
                    self.fails(&why);
                    sleep(pause).await;
                }
                Fate::Lost => {
                    self.counts.loses(batch.len(), reason);
                    self.fails(&why);
                    break;
                }
            }
        }
        batch.clear();
    }

    /// One try.
    async fn send(&self, body: &[u8], tries: u32) -> Tried {
        let chance = RandomState::new().hash_one(tries);
        let client = match &self.client {
            Ok(client) => client,
            Err(why) => return Tried::unanswered(Fate::Lost, why.clone()),
        };
        let answer = match timeout(self.export.timeout, client.post(body)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(why)) => return Tried::unanswered(delivery::unanswered(tries, chance), why),
            Err(_) => {
                let why = format!("no answer within {} s", self.export.timeout.as_secs_f32());
                return Tried::unanswered(delivery::unanswered(tries, chance), why);
            }
        };
        let mut refused = 0;
        if let Some((spans, why)) = otlp::rejected(&answer.body).filter(|_| answer.status == 200) {
            refused = usize::try_from(spans).unwrap_or(usize::MAX);
            self.says(Level::Warning, &format!("it has not taken {spans} spans: {}", cut(&why)));
        }
        let fate = delivery::after(answer.status, answer.retry_after, tries, chance);
        let said = String::from_utf8_lossy(&answer.body);
        let why = format!("it answers {} {}", answer.status, cut(said.trim()));
        Tried { fate, why, refused, reason: Lost::Refused }
    }

    fn fails(&mut self, why: &str) {
        let to = &self.export.endpoint;
        self.log.ails(Ailment::MessagesLost, || format!("spans cannot be exported to {to}: {why}"));
        if !std::mem::replace(&mut self.down, true) {
            let text = format!("{why}; spans are kept for a while, and lost until it takes them");
            self.says(Level::Warning, &text);
        }
    }

    fn works(&mut self) {
        if std::mem::replace(&mut self.down, false) {
            let lost = self.counts.get().lost;
            self.says(Level::Warning, &format!("it takes spans again; {lost} are lost so far"));
        }
    }

    fn says(&self, level: Level, what: &str) {
        let to = &self.export.endpoint;
        self.log.write(level, &format!("OTLP: the collector at {to}: {what}"));
    }
}

fn target(export: &Export) -> Target<'_> {
    Target {
        endpoint: &export.endpoint,
        headers: &export.headers,
        gzip: export.gzip,
        authorities: export.certificate.as_deref(),
        authorities_setting: "OTEL_EXPORTER_OTLP_CERTIFICATE",
    }
}

/// What this server is: what was said of it, and what it knows itself.
fn resource(export: &Export) -> Vec<(String, String)> {
    let own = [
        ("service.instance.id", format!("{}-{}", host(), std::process::id())),
        ("telemetry.sdk.name", "indrik".to_owned()),
        ("telemetry.sdk.language", "rust".to_owned()),
        ("telemetry.sdk.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("host.name", host()),
        ("process.pid", std::process::id().to_string()),
    ];
    let mut all = export.resource.clone();
    for (key, value) in own {
        if !all.iter().any(|(other, _)| other == key) {
            all.push((key.to_owned(), value));
        }
    }
    all
}
