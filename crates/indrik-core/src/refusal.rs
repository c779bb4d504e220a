//! Requests that the front answers by itself: why, and when it is to be told that the server is overloaded.

use std::fmt::Write as _;

use crate::time::Micros;

/// While requests are refused for want of room, the log gets a line at first and then at most so often.
const TELL_INTERVAL_US: Micros = 10_000_000;
/// What was refused so long ago is no news any more: it is told when the overload is over.
const NEWS_FOR_US: Micros = 5_000_000;
/// An overload is over when no request was refused for so long.
const OVER_AFTER_US: Micros = 10_000_000;

/// Why the front answers a request by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// As many requests wait as may.
    QueueFull,
    /// As many requests wait for the worker that it belongs to as may.
    AffinityFull,
    /// No worker was free in time, though there was one.
    QueueTimeout,
    /// There was no worker at all that took requests in that time.
    NoWorker,
    /// The memory that the front may hold is used up.
    NoMemory,
    /// Clients have all descriptors that they may have.
    NoDescriptor,
    /// The head did not come in time.
    HeadTimeout,
    /// The body did not come in time.
    BodyTimeout,
    /// The body is larger than it may be.
    BodyTooLarge,
    /// The target or the fields are larger than they may be.
    HeadTooLarge,
    /// It cannot be read in one way only, or its body broke off.
    Malformed,
    /// It is not allowed: a PROXY header of this peer.
    Forbidden,
    /// The application refused the WebSocket.
    WebSocketRefused,
    /// It asks for what is not spoken here.
    Unsupported,
    /// A pause holds as many requests as may wait.
    Paused,
    /// An operator has the front answer requests itself.
    Maintenance,
    /// It was made ready for an application of another interface than a reload brought.
    InterfaceChanged,
    /// Its body found no room on the disk.
    BodyUnstored,
    /// The application took too long.
    TimedOut,
    /// The worker ended while it had it.
    WorkerLost,
    /// It was in two workers that ended.
    Poison,
    /// The application failed, or answered what must not be sent.
    Failed,
    /// Nothing was answered, or nobody can have heard it: the client had left.
    ClientLeft,
}

impl Reason {
    /// All, in their order.
    pub const ALL: [Self; 23] = [
        Self::QueueFull,
        Self::AffinityFull,
        Self::QueueTimeout,
        Self::NoWorker,
        Self::NoMemory,
        Self::NoDescriptor,
        Self::HeadTimeout,
        Self::BodyTimeout,
        Self::BodyTooLarge,
        Self::HeadTooLarge,
        Self::Malformed,
        Self::Forbidden,
        Self::WebSocketRefused,
        Self::Unsupported,
        Self::Paused,
        Self::Maintenance,
        Self::InterfaceChanged,
        Self::BodyUnstored,
        Self::TimedOut,
        Self::WorkerLost,
        Self::Poison,
        Self::Failed,
        Self::ClientLeft,
    ];

    /// What a status that has one reason only says.
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        match status {
            403 => Self::Forbidden,
            408 => Self::BodyTimeout,
            413 => Self::BodyTooLarge,
            414 | 431 => Self::HeadTooLarge,
            417 | 426 | 501 | 505 => Self::Unsupported,
            502 => Self::WorkerLost,
            503 => Self::QueueFull,
            504 => Self::TimedOut,
            507 => Self::BodyUnstored,
            500.. => Self::Failed,
            0..500 => Self::Malformed,
        }
    }

    /// Its word, for counters.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::AffinityFull => "affinity_full",
            Self::QueueTimeout => "queue_timeout",
            Self::NoWorker => "no_worker",
            Self::NoMemory => "no_memory",
            Self::NoDescriptor => "no_descriptor",
            Self::HeadTimeout => "head_timeout",
            Self::BodyTimeout => "body_timeout",
            Self::BodyTooLarge => "body_too_large",
            Self::HeadTooLarge => "head_too_large",
            Self::Malformed => "malformed",
            Self::Forbidden => "forbidden",
            Self::WebSocketRefused => "websocket_refused",
            Self::Unsupported => "unsupported",
            Self::Paused => "paused",
            Self::Maintenance => "maintenance",
            Self::InterfaceChanged => "interface_changed",
            Self::BodyUnstored => "body_unstored",
            Self::TimedOut => "timed_out",
            Self::WorkerLost => "worker_lost",
            Self::Poison => "poison",
            Self::Failed => "failed",
            Self::ClientLeft => "client_left",
        }
    }

    /// Whether the request waited for what it did not get, so that its client may have left meanwhile.
    #[must_use]
    pub const fn is_after_waiting(self) -> bool {
        matches!(self, Self::QueueTimeout | Self::NoWorker | Self::NoMemory | Self::NoDescriptor)
    }

    /// Whether the same request may be served a little later.
    #[must_use]
    pub const fn may_come_again(self) -> bool {
        self.lacks().is_some() || matches!(self, Self::InterfaceChanged)
    }

    /// Whether a 5xx for it is no error of the application's own: it was not asked, or it was too slow, or its worker
    /// ended.
    #[must_use]
    pub const fn spares_application(self) -> bool {
        self.lacks().is_some()
            || matches!(
                self,
                Self::Maintenance
                    | Self::InterfaceChanged
                    | Self::BodyUnstored
                    | Self::Unsupported
                    | Self::TimedOut
                    | Self::WorkerLost
                    | Self::Poison
            )
    }

    /// What the server lacks, if it is that.
    #[must_use]
    pub const fn lacks(self) -> Option<&'static str> {
        Some(match self {
            Self::QueueFull => "the queue is full (queue_requests_max)",
            Self::AffinityFull => "too many wait for the worker that they belong to (affinity)",
            Self::QueueTimeout => "no worker was free in time (queue_timeout)",
            Self::NoWorker => "no worker was ready in time",
            Self::NoMemory => "the front's memory is used up (front_memory_max)",
            Self::NoDescriptor => "file descriptors are used up (RLIMIT_NOFILE)",
            Self::Paused => "the queue is full of requests that a pause holds (queue_requests_max)",
            Self::HeadTimeout
            | Self::BodyTimeout
            | Self::BodyTooLarge
            | Self::HeadTooLarge
            | Self::Malformed
            | Self::Forbidden
            | Self::WebSocketRefused
            | Self::Unsupported
            | Self::Maintenance
            | Self::InterfaceChanged
            | Self::BodyUnstored
            | Self::TimedOut
            | Self::WorkerLost
            | Self::Poison
            | Self::Failed
            | Self::ClientLeft => return None,
        })
    }
}

/// Requests that were refused, by reason.
pub type ByReason = [u64; Reason::ALL.len()];

/// What is to be told of an overload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Requests are refused: a line for the log.
    Refuses(String),
    /// None was for a while.
    Over(String),
}

/// Whether requests are refused for want of room, and what of it was told.
#[derive(Clone, Debug, Default)]
pub struct Overload {
    /// When the last request was refused, while it goes on.
    last_at: Option<Micros>,
    /// When the log was told last.
    told_at: Micros,
    untold: ByReason,
    /// All since it began.
    all: ByReason,
}

impl Overload {
    /// A request is refused. The first one is told at once.
    pub fn refuses(&mut self, reason: Reason, now: Micros) -> Option<Told> {
        reason.lacks()?;
        self.untold[reason as usize] += 1;
        self.all[reason as usize] += 1;
        let is_first = self.last_at.replace(now).is_none();
        if is_first {
            return Some(self.tell(now));
        }
        self.tell_in_time(now)
    }

    /// To be asked now and then: tells what came since, and that it is over.
    pub fn look(&mut self, now: Micros) -> Option<Told> {
        let last_at = self.last_at?;
        let since = now.saturating_sub(last_at);
        if since < NEWS_FOR_US {
            return self.tell_in_time(now);
        }
        if since < OVER_AFTER_US {
            return None;
        }
        let Self { all, .. } = std::mem::take(self);
        let seconds = OVER_AFTER_US / 1_000_000;
        Some(Told::Over(format!(
            "No request was refused for {seconds} s any more; since the overload began {}",
            counted(&all)
        )))
    }

    /// Whether it goes on.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.last_at.is_some()
    }

    fn tell_in_time(&mut self, now: Micros) -> Option<Told> {
        let is_due = now.saturating_sub(self.told_at) >= TELL_INTERVAL_US;
        (is_due && self.untold.iter().any(|count| *count > 0)).then(|| self.tell(now))
    }

    fn tell(&mut self, now: Micros) -> Told {
        self.told_at = now;
        let untold = std::mem::take(&mut self.untold);
        Told::Refuses(format!("Overloaded: {}", counted(&untold)))
    }
}

/// How many were refused, and for want of what.
fn counted(refused: &ByReason) -> String {
    let count: u64 = refused.iter().sum();
    let were = if count == 1 { "request was" } else { "requests were" };
    let mut text = format!("{count} {were} answered 503: ");
    let reasons = Reason::ALL.iter().zip(refused).filter(|(_, count)| **count > 0);
    for (at, (reason, of_it)) in reasons.enumerate() {
        let lacks = reason.lacks().unwrap_or_default();
        let (before, times) = (if at == 0 { "" } else { "; " }, *of_it);
        let _ = match count == times {
            true => write!(text, "{before}{lacks}"),
            false => write!(text, "{before}{lacks}: {times}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Micros = 1_000_000;

    fn line(told: Option<Told>) -> String {
        match told {
            Some(Told::Refuses(line) | Told::Over(line)) => line,
            None => String::new(),
        }
    }

    #[test]
    fn the_number_of_a_reason_is_its_place() {
        for (at, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, at);
        }
    }

    #[test]
    fn the_first_refusal_is_told_at_once_and_the_others_together() {
        let mut overload = Overload::default();
        let first = line(overload.refuses(Reason::QueueFull, SECOND));
        assert_eq!(
            first,
            "Overloaded: 1 request was answered 503: the queue is full (queue_requests_max)"
        );
        for _ in 0..40 {
            assert_eq!(overload.refuses(Reason::QueueFull, 2 * SECOND), None);
        }
        assert_eq!(overload.refuses(Reason::QueueTimeout, 3 * SECOND), None);
        for second in 4..11 {
            assert_eq!(overload.look(second * SECOND), None);
        }
        assert_eq!(overload.refuses(Reason::QueueFull, 10 * SECOND), None);
        let next = line(overload.look(11 * SECOND));
        assert_eq!(
            next,
            "Overloaded: 42 requests were answered 503: the queue is full (queue_requests_max): 41; \
             no worker was free in time (queue_timeout): 1"
        );
    }

    #[test]
    fn it_is_over_when_nothing_was_refused_for_a_while_and_the_next_one_is_told_at_once() {
        let mut overload = Overload::default();
        assert_eq!(overload.look(50 * SECOND), None);
        assert!(overload.refuses(Reason::NoMemory, 51 * SECOND).is_some());
        assert!(overload.is_on());
        assert_eq!(overload.look(60 * SECOND), None);
        let over = line(overload.look(61 * SECOND));
        let all = "since the overload began 1 request was answered 503: the front's memory is used up (front_memory_max)";
        assert!(over.ends_with(all), "{over}");
        assert!(!overload.is_on());
        assert!(overload.refuses(Reason::NoMemory, 62 * SECOND).is_some());
    }

    #[test]
    fn nothing_is_told_as_news_that_is_long_ago() {
        let mut overload = Overload::default();
        assert!(overload.refuses(Reason::QueueFull, SECOND).is_some());
        assert_eq!(overload.refuses(Reason::QueueTimeout, SECOND + 100), None);
        for tenth in 10..110 {
            assert_eq!(overload.look(tenth * SECOND / 10), None);
        }
        assert_eq!(
            line(overload.look(12 * SECOND)),
            "No request was refused for 10 s any more; since the overload began 2 requests were answered 503: \
             the queue is full (queue_requests_max): 1; no worker was free in time (queue_timeout): 1"
        );
    }

    #[test]
    fn what_is_a_clients_or_an_applications_fault_is_no_overload() {
        let mut overload = Overload::default();
        for reason in Reason::ALL.into_iter().filter(|reason| reason.lacks().is_none()) {
            assert_eq!(overload.refuses(reason, SECOND), None);
        }
        assert!(!overload.is_on());
    }

    proptest! {
        #[test]
        fn lines_are_few_and_nothing_that_was_refused_is_lost(
            steps in prop::collection::vec((0u64..2 * SECOND, 0usize..6, any::<bool>()), 1..400),
        ) {
            let (mut overload, mut now) = (Overload::default(), SECOND);
            let (mut lines, mut refused, mut overs) = (Vec::new(), 0u64, Vec::new());
            let mut refused_at = 0;
            let mut note = |told: Option<Told>, now, refused_at| match told {
                Some(Told::Refuses(line)) => lines.push((now, line, overs.len(), refused_at)),
                Some(Told::Over(line)) => overs.push(line),
                None => {}
            };
            for (pause, reason, refuses) in steps {
                now += pause;
                note(overload.look(now), now, refused_at);
                if refuses {
                    (refused, refused_at) = (refused + 1, now);
                    note(overload.refuses(Reason::ALL[reason], now), now, refused_at);
                }
            }
            note(overload.look(now + 10 * SECOND), now + 10 * SECOND, refused_at);
            prop_assert!(!overload.is_on());
            let of = |words: &str| words.split(' ').next().and_then(|word| word.parse::<u64>().ok());
            let count = |line: &str, before: &str| line.split_once(before).and_then(|(_, rest)| of(rest));
            let told: u64 = overs.iter().filter_map(|line| count(line, "overload began ")).sum();
            prop_assert_eq!(told, refused);
            let warned: u64 = lines.iter().filter_map(|(_, line, ..)| count(line, "Overloaded: ")).sum();
            prop_assert!(warned <= refused);
            // News is new.
            for (at, _, _, refused_at) in &lines {
                prop_assert!(at - refused_at < NEWS_FOR_US);
            }
            let overs = overs.len();
            // At most one line in ten seconds, and one more for each time that it began.
            prop_assert!(lines.len() as u64 <= now / (10 * SECOND) + 2 + overs as u64);
            for pair in lines.windows(2) {
                let is_new = pair[1].2 > pair[0].2;
                prop_assert!(is_new || pair[1].0 - pair[0].0 >= 10 * SECOND);
            }
        }
    }
}
