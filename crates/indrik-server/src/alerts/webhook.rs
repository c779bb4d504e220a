//! Messages by POST: one after the other, each tried again with growing pauses, within a limit.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use indrik_core::trace::delivery::{self, Fate as Next};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::courier::{Health, Job};
use super::plan::Hook;
use super::shown::Fate;
use crate::post::{Client, Target, cut};

/// Sends what waits, until nobody can send any more.
pub(super) async fn run(hook: Hook, mut waiting: mpsc::Receiver<Job>, health: Arc<Health>) {
    let way = Way { client: client(&hook), hook };
    if let Err(why) = &way.client {
        health.fails(why);
    }
    while let Some(job) = waiting.recv().await {
        match job {
            Job::Message(message) => way.deliver(&message.body(way.hook.format), &health).await,
            Job::Test(message, answer) => {
                let tried = way.post(&message.body(way.hook.format)).await;
                let said = tried.and_then(|(status, retry)| match taken(status, retry, 1) {
                    Next::Taken => Ok(format!("{} answers {status}", way.hook.shown())),
                    Next::Again(_) | Next::Lost => {
                        Err(format!("{} answers {status}", way.hook.shown()))
                    }
                });
                // Who asked may have gone.
                let _ = answer.send(said);
            }
            Job::Refresh(body) => match way.post(&body).await {
                Ok((200..=299, _)) => health.works_again(),
                Ok((status, _)) => health.fails(&format!("it answers {status}")),
                Err(why) => health.fails(&why),
            },
        }
    }
}

struct Way {
    client: Result<Client, String>,
    hook: Hook,
}

impl Way {
    /// Sends a message until it is taken or given up.
    async fn deliver(&self, body: &[u8], health: &Health) {
        let mut tries = 0;
        loop {
            tries += 1;
            let (next, why) = match self.post(body).await {
                Ok((status, retry)) => {
                    (taken(status, retry, tries), format!("it answers {status}"))
                }
                Err(why) if self.client.is_err() => (Next::Lost, why),
                Err(why) => (delivery::unanswered(tries, chance(tries)), why),
            };
            match next {
                Next::Taken => return health.works(),
                Next::Lost => return health.ends(Fate::Failed, &why),
                Next::Again(pause) => {
                    health.fails(&why);
                    sleep(pause).await;
                }
            }
        }
    }

    /// One try: the status, and the pause that is asked for.
    async fn post(&self, body: &[u8]) -> Result<(u16, Option<std::time::Duration>), String> {
        let client = self.client.as_ref().map_err(Clone::clone)?;
        match timeout(self.hook.timeout, client.post(body)).await {
            Ok(Ok(answer)) => Ok((answer.status, answer.retry_after)),
            Ok(Err(why)) => Err(cut(&why)),
            Err(_) => Err(format!("no answer within {} s", self.hook.timeout.as_secs_f32())),
        }
    }
}

fn client(hook: &Hook) -> Result<Client, String> {
    Client::new(&Target {
        endpoint: &hook.endpoint,
        headers: &hook.headers,
        gzip: false,
        authorities: hook.authorities.as_deref(),
        authorities_setting: "alert_webhook_ca",
    })
}

/// What follows from an answer. Unlike a collector, a webhook's program may fail once and work then (500).
fn taken(status: u16, asked: Option<std::time::Duration>, tries: u32) -> Next {
    let status = if matches!(status, 408 | 425 | 500..=599) { 503 } else { status };
    delivery::after(status, asked, tries, chance(tries))
}

fn chance(tries: u32) -> u64 {
    RandomState::new().hash_one(tries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_work_later_is_tried_again_and_a_redirect_or_a_wrong_address_is_not() {
        for status in [408, 425, 429, 500, 501, 502, 503, 599] {
            assert!(matches!(taken(status, None, 1), Next::Again(_)), "{status}");
            assert_eq!(taken(status, None, delivery::TRIES_MAX), Next::Lost, "{status}");
        }
        for status in [100, 301, 302, 307, 400, 401, 403, 404, 410, 413] {
            assert_eq!(taken(status, None, 1), Next::Lost, "{status}");
        }
        assert_eq!(taken(204, None, 1), Next::Taken);
    }
}
