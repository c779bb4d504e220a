//! The queue of a sink, and how it is told that it does not work: once, and once when it works again.

use std::sync::Arc;

use indrik_core::alerts::Message;
use indrik_core::logs::level::Level;
use tokio::sync::{mpsc, oneshot};

use super::shown::{Alerts, Fate, Sink};
use crate::log::Log;

/// Messages that wait for a sink. More are lost, and counted.
const WAITING_MAX: usize = 64;

/// What a sink is to do.
pub(super) enum Job {
    Message(Arc<Message>),
    /// Once, and somebody waits for how it goes.
    Test(Arc<Message>, oneshot::Sender<Result<String, String>>),
    /// For an Alertmanager: what goes on. The next one comes soon, so it is sent once.
    Refresh(Vec<u8>),
}

/// The way into a sink. Who drops it ends the sink when what waits is done.
pub(super) struct Courier {
    sink: Sink,
    jobs: mpsc::Sender<Job>,
    health: Arc<Health>,
}

/// How a sink is.
pub(super) struct Health {
    sink: Sink,
    /// What it is called in the log.
    name: String,
    log: Arc<Log>,
    alerts: Arc<Alerts>,
    /// It was told that it does not work, and how many were not delivered by then.
    down: parking_lot::Mutex<Option<u64>>,
}

impl Courier {
    /// The two ends of a sink's queue.
    pub(super) fn new(
        sink: Sink,
        name: String,
        log: &Arc<Log>,
        alerts: &Arc<Alerts>,
    ) -> (Self, mpsc::Receiver<Job>, Arc<Health>) {
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        let health = Arc::new(Health {
            sink,
            name,
            log: Arc::clone(log),
            alerts: Arc::clone(alerts),
            down: parking_lot::Mutex::new(None),
        });
        (Self { sink, jobs, health: Arc::clone(&health) }, waiting, health)
    }

    pub(super) fn sink(&self) -> Sink {
        self.sink
    }

    /// Takes a message; never waits.
    pub(super) fn send(&self, message: &Arc<Message>) {
        if self.jobs.try_send(Job::Message(Arc::clone(message))).is_err() {
            self.health.ends(Fate::Lost, &format!("{WAITING_MAX} messages wait already"));
        }
    }

    /// Takes what goes on; where there is no room, the next one will find some.
    pub(super) fn refresh(&self, body: Vec<u8>) {
        let _ = self.jobs.try_send(Job::Refresh(body));
    }

    /// Takes a test. Where there is no room, the answer never comes: its sender is dropped.
    pub(super) fn test(&self, message: &Arc<Message>) -> oneshot::Receiver<Result<String, String>> {
        let (answer, waits) = oneshot::channel();
        let _ = self.jobs.try_send(Job::Test(Arc::clone(message), answer));
        waits
    }
}

impl Health {
    /// A message was delivered.
    pub(super) fn works(&self) {
        self.alerts.count(self.sink, Fate::Ok);
        self.works_again();
    }

    /// It works, whatever was delivered.
    pub(super) fn works_again(&self) {
        if let Some(before) = self.down.lock().take() {
            let lost = self.undelivered().saturating_sub(before);
            let name = &self.name;
            let text = format!("Alerts: {name} works again; {lost} messages were not delivered");
            self.log.write(Level::Warning, &text);
        }
    }

    /// A try has failed; the message may be delivered yet.
    pub(super) fn fails(&self, why: &str) {
        let mut down = self.down.lock();
        if down.is_none() {
            *down = Some(self.undelivered());
            let text = format!(
                "Alerts: {} does not work: {why}; this is told once\n  \
                 hint: indrik alerts --test says whether it works",
                self.name
            );
            self.log.write(Level::Warning, &text);
        }
    }

    /// A message was not delivered, and will not be.
    pub(super) fn ends(&self, fate: Fate, why: &str) {
        self.fails(why);
        self.alerts.count(self.sink, fate);
    }

    fn undelivered(&self) -> u64 {
        self.alerts.counted(self.sink, Fate::Failed) + self.alerts.counted(self.sink, Fate::Lost)
    }
}

#[cfg(test)]
mod tests {
    use indrik_core::alerts::{Server, test};

    use super::*;

    #[test]
    fn what_finds_no_room_is_lost_and_counted_and_nobody_waits() {
        let (log, alerts) = (Arc::new(Log::new()), Arc::new(Alerts::default()));
        let (courier, mut waiting, health) =
            Courier::new(Sink::Webhook, "it".into(), &log, &alerts);
        let message = Arc::new(test(Server::default(), 0));
        for _ in 0..WAITING_MAX + 3 {
            courier.send(&message);
        }
        assert_eq!(alerts.counted(Sink::Webhook, Fate::Lost), 3);
        let answer = courier.test(&message);
        assert!(answer.blocking_recv().is_err(), "there is no room for a test either");
        assert!(matches!(waiting.try_recv(), Ok(Job::Message(_))));
        courier.refresh(Vec::new());
        courier.refresh(Vec::new());
        health.works();
        let counted = |fate| alerts.counted(Sink::Webhook, fate);
        assert_eq!((counted(Fate::Ok), counted(Fate::Failed), counted(Fate::Lost)), (1, 0, 3));
    }
}
