//! The warm-up: requests to one worker before clients' requests come to it.
//!
//! They go through the worker's own channel, so the application sees them as it sees any other. They
//! are in no access log, because no client sent them.

use std::sync::Arc;
use std::time::Duration;

use indrik_core::ids::WorkerId;
use indrik_core::settings::Config;
use indrik_ring::{Flags, Headers, RequestHead, ResponseHead};
use tokio::time::{Instant, sleep, timeout_at};

use super::account::Holder;
use super::body::Pieces;
use super::clock;
use super::events::FrontEvent;
use super::exchange::{Event, Exchange, Location, Outgoing};
use super::services::Services;

/// What the application sees as the client.
const CLIENT: &str = "127.0.0.1";
const USER_AGENT: &str = concat!("indrik/", env!("CARGO_PKG_VERSION"), " (warm-up)");
/// After a bad answer: for the application to return, so that its traceback is told first.
const RETURN_MAX: Duration = Duration::from_secs(1);
/// How often that is looked at, and how long its last words may be under way.
const RETURN_LOOK: Duration = Duration::from_millis(50);

/// What a worker is warmed up with.
pub(super) struct WarmUp {
    paths: Vec<String>,
    host: String,
    secure: bool,
    limit: Duration,
}

impl WarmUp {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            paths: config.warmup.clone(),
            host: config.warmup_host.clone(),
            secure: config.certfile.is_some(),
            limit: config.warmup_timeout,
        }
    }

    /// Sends everything, and tells the supervisor how it went.
    pub(super) async fn run(self, services: Arc<Services>, id: WorkerId) {
        let deadline = Instant::now() + self.limit;
        let mut outcome = Ok(());
        for path in &self.paths {
            outcome = self.visit(&services, id, path, deadline).await;
            if outcome.is_err() {
                break;
            }
        }
        (services.sink)(match outcome {
            Ok(()) => FrontEvent::WorkerWarm(id),
            Err(why) => FrontEvent::WarmUpFailed(id, why),
        });
    }

    async fn visit(
        &self,
        services: &Arc<Services>,
        id: WorkerId,
        path: &str,
        deadline: Instant,
    ) -> Result<(), String> {
        let exchange = Exchange::new(self.request(path), 0, &Holder::new(&services.account));
        if !services.pool.submit_to(id, &exchange, clock::now()) {
            return Err("the worker ended while it was warmed up".to_owned());
        }
        let Ok(answered) = timeout_at(deadline, answer(services, &exchange)).await else {
            services.pool.abandon(&exchange);
            let limit = self.limit.as_secs_f64();
            return Err(format!("the warm-up was not over within {limit} s, at GET {path}"));
        };
        let outcome = match answered {
            Ok(200..=399) => Ok(()),
            Ok(status) => Err(format!("the warm-up request GET {path} was answered {status}")),
            Err(why) => Err(format!("the warm-up request GET {path} failed: {why}")),
        };
        if outcome.is_err() {
            wait_for_return(&exchange).await;
        }
        exchange.leave();
        outcome
    }

    fn request(&self, path: &str) -> Outgoing {
        let head = RequestHead {
            version: 11,
            secure: self.secure,
            listener: 0,
            client_port: 0,
            method: b"GET",
            target: path.as_bytes(),
            client: CLIENT.as_bytes(),
            prefix: &[],
            proxied: &[],
            headers: Headers::default(),
        };
        let fields = [("host", self.host.as_str()), ("user-agent", USER_AGENT), ("accept", "*/*")];
        let fields = || fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let len = indrik_ring::request_len(&head, indrik_ring::headers_len(fields()));
        let mut payload = vec![0; len];
        let count = u16::try_from(fields().count()).unwrap_or(0);
        indrik_ring::encode_request(&mut payload, &head, count, fields());
        Outgoing {
            flags: Flags::END,
            payload,
            body: Pieces::default(),
            file: None,
            file_bytes: 0,
            key: None,
        }
    }
}

/// The status of the answer, once all of it is here; or why there is none.
async fn answer(services: &Services, exchange: &Arc<Exchange>) -> Result<u16, String> {
    let mut status = None;
    loop {
        match exchange.next().await {
            Event::Response { payload, head_len, flags } => {
                let head = ResponseHead::decode(&payload[..head_len]);
                let head = head.map_err(|_| "its head makes no sense".to_owned())?;
                status = Some(head.status);
                if flags.has(Flags::END) {
                    break;
                }
                services.pool.took(exchange, payload.len() - head_len);
            }
            Event::Body { part, end } => {
                services.pool.took(exchange, part.len());
                if end {
                    break;
                }
            }
            // What else there is to send is no longer the application's business.
            Event::File { .. } | Event::Trailers { .. } | Event::Done => break,
            Event::Failed { message, .. } => {
                let text = String::from_utf8_lossy(&message);
                if !text.is_empty() {
                    services.log.error(&text);
                }
                return Err(if text.is_empty() {
                    "the application raised an exception".to_owned()
                } else {
                    text.into_owned()
                });
            }
            Event::WorkerLost { .. } => return Err("the worker ended".to_owned()),
            Event::TimedOut { .. } => return Err("it ran longer than a request may".to_owned()),
            Event::WebSocketAccept { .. }
            | Event::WebSocketSend { .. }
            | Event::WebSocketClose { .. }
            | Event::Informational { .. }
            | Event::BodyWanted
            | Event::UploadBroken(_)
            | Event::QueueTimeout { .. }
            | Event::InterfaceChanged
            | Event::TooLarge
            | Event::Spooled(_)
            | Event::Leaving => {}
        }
    }
    status.ok_or_else(|| "the application returned no response".to_owned())
}

/// An application may log what went wrong after it has answered.
async fn wait_for_return(exchange: &Exchange) {
    let deadline = Instant::now() + RETURN_MAX;
    loop {
        sleep(RETURN_LOOK).await;
        if matches!(exchange.location(), Location::Nowhere | Location::Lost)
            || Instant::now() >= deadline
        {
            return;
        }
    }
}
