//! How the supervisor hears what zygotes and workers say: a bounded part at a time, of each in turn.
//!
//! What one has said beyond its part waits in its own socket, and fills that and nobody's memory. One that says
//! more than its allowance is not heard for a moment: whatever it sends, the others, operators and signals are
//! heard. It is not replaced for that, since an application that logs as much does nothing wrong; it waits.

use std::time::{Duration, Instant};

use indrik_core::lane::Allowance;
use indrik_core::time::Micros;
use indrik_sys::packets::{PacketSocket, Received};
use serde::Deserialize;

/// Messages of one process before the others get their turn.
const BATCH_MESSAGES_MAX: usize = 16;
/// Bytes of them, after which its turn is over.
const BATCH_BYTES_MAX: usize = 256 * 1024;
/// How long one is not heard that has used its allowance.
const REST: Duration = Duration::from_millis(100);
/// Turns that are given to the last words of one that has ended: more than an honest one has left unheard.
const LAST_TURNS: usize = 64;

/// How much was heard of one process.
#[derive(Debug)]
pub(crate) struct Hearing {
    began: Instant,
    allowance: Allowance,
    rests_until: Option<Instant>,
    was_told: bool,
}

/// What came of a turn.
#[derive(Debug)]
pub(crate) struct Heard<M> {
    pub(crate) messages: Vec<M>,
    /// The first that made no sense, as an error text.
    pub(crate) nonsense: Option<String>,
    pub(crate) stream: Stream,
    /// It has used its allowance, for the first time.
    pub(crate) is_flood: bool,
}

/// Whether more may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Perhaps there is more already.
    Open,
    /// Nothing is waiting.
    Empty,
    Closed,
}

impl Default for Hearing {
    fn default() -> Self {
        let allowance = Allowance::of_supervisor(0);
        Self { began: Instant::now(), allowance, rests_until: None, was_told: false }
    }
}

impl Hearing {
    /// When it is heard again; `None`: now.
    pub(crate) fn rests_until(&self, now: Instant) -> Option<Instant> {
        self.rests_until.filter(|until| *until > now)
    }

    /// Gives it a turn.
    pub(crate) fn turn<M: for<'de> Deserialize<'de>>(
        &mut self,
        socket: &PacketSocket,
        now: Instant,
    ) -> Heard<M> {
        let mut heard =
            Heard { messages: Vec::new(), nonsense: None, stream: Stream::Open, is_flood: false };
        let mut bytes = 0;
        for _ in 0..BATCH_MESSAGES_MAX {
            let text = match socket.receive() {
                Ok(Received::Message(text, _)) => text,
                Ok(Received::Empty) => {
                    heard.stream = Stream::Empty;
                    break;
                }
                Ok(Received::Closed) => {
                    heard.stream = Stream::Closed;
                    break;
                }
                Err(error) => {
                    heard.nonsense.get_or_insert_with(|| error.to_string());
                    heard.stream = Stream::Closed;
                    break;
                }
            };
            match serde_json::from_slice(&text) {
                Ok(message) => heard.messages.push(message),
                Err(error) => {
                    let shown = String::from_utf8_lossy(&text[..text.len().min(200)]).into_owned();
                    heard.nonsense.get_or_insert_with(|| format!("{error}: {shown}"));
                }
            }
            bytes += text.len();
            let is_allowed = self.allowance.take(text.len(), self.micros(now));
            if !is_allowed {
                heard.is_flood = !std::mem::replace(&mut self.was_told, true);
            }
            if !is_allowed || heard.nonsense.is_some() {
                self.rests_until = Some(now + REST);
            }
            if !is_allowed || bytes >= BATCH_BYTES_MAX {
                break;
            }
        }
        heard
    }

    /// What one that has ended said last.
    pub(crate) fn last_words<M: for<'de> Deserialize<'de>>(
        &mut self,
        socket: &PacketSocket,
        now: Instant,
    ) -> Heard<M> {
        let mut all = self.turn(socket, now);
        for _ in 1..LAST_TURNS {
            if all.stream != Stream::Open {
                break;
            }
            let more = self.turn(socket, now);
            all.messages.extend(more.messages);
            all.nonsense = all.nonsense.or(more.nonsense);
            all.stream = more.stream;
        }
        all
    }

    fn micros(&self, now: Instant) -> Micros {
        let since = now.saturating_duration_since(self.began).as_micros();
        Micros::try_from(since).unwrap_or(Micros::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (PacketSocket, PacketSocket) {
        let (ours, theirs) = PacketSocket::pair().unwrap();
        rustix::io::ioctl_fionbio(&theirs, true).unwrap();
        (ours, PacketSocket::from_fd(theirs))
    }

    /// Sends until the socket is full.
    fn fill(socket: &PacketSocket, text: &str) -> usize {
        let message = serde_json::to_vec(text).unwrap();
        std::iter::from_fn(|| socket.send(&message, &[]).ok()).count()
    }

    #[test]
    fn one_that_speaks_without_end_has_a_bounded_turn_and_the_rest_waits_in_its_socket() {
        let (ours, theirs) = pair();
        let mut hearing = Hearing::default();
        let now = Instant::now();
        assert!(fill(&theirs, "short") > 2 * BATCH_MESSAGES_MAX);
        let heard = hearing.turn::<String>(&ours, now);
        assert_eq!((heard.messages.len(), heard.stream), (BATCH_MESSAGES_MAX, Stream::Open));
        assert_eq!(hearing.rests_until(now), None);
        let heard = hearing.last_words::<String>(&ours, now);
        assert_eq!(heard.stream, Stream::Empty);
    }

    #[test]
    fn large_messages_end_a_turn_sooner_and_a_flood_is_told_once_and_then_rests() {
        let (ours, theirs) = pair();
        let mut hearing = Hearing::default();
        let now = Instant::now();
        let text = "x".repeat(60_000);
        let (mut floods, mut bytes) = (0, 0);
        while hearing.rests_until(now).is_none() {
            fill(&theirs, &text);
            let heard = hearing.turn::<String>(&ours, now);
            let turn: usize = heard.messages.iter().map(String::len).sum();
            assert!(turn < BATCH_BYTES_MAX + text.len());
            floods += usize::from(heard.is_flood);
            bytes += turn;
            assert!(bytes < 64 << 20, "no end of it");
        }
        assert_eq!(floods, 1);
        let later = now + REST;
        assert_eq!(hearing.rests_until(later), None);
        fill(&theirs, &text);
        assert!(!hearing.turn::<String>(&ours, now).is_flood);
    }
}
