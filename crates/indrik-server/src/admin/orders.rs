//! What the admin listener asks of the supervision loop: a bounded queue, and an answer within a time.
//!
//! The loop may stand still. An order that was given up is not performed when it goes on: whoever asked has been told
//! that nothing came of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indrik_core::control::inside::Inside;
use indrik_core::control::{Asker, Command};
use indrik_core::settings::{Refusal, Setting};
use indrik_sys::bell::Bell;
use parking_lot::Mutex;
use serde_json::Value as Json;
use tokio::sync::oneshot;

/// Orders that wait for the loop.
const ORDERS_MAX: usize = 64;
/// How long an order waits to be taken.
pub(crate) const ANSWER_MAX: Duration = Duration::from_millis(1500);

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    /// One of the commands of the control socket's language, and as it was written.
    Command(Command, String),
    /// Other values of settings.
    Settings(Wanted),
    /// A look into workers, which takes its time.
    Inside(Inside),
}

/// Settings that are to be changed.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// By name; null: what the files say.
    pub(crate) changes: BTreeMap<String, Json>,
    /// Only what would come of it.
    pub(crate) dry_run: bool,
}

impl Wanted {
    /// What is wanted, for the log: the names, of what are settings.
    pub(crate) fn told(&self) -> String {
        let is_known = |name: &&String| Setting::find(name).is_some();
        let known: Vec<&str> = self.changes.keys().filter(is_known).map(String::as_str).collect();
        let others = self.changes.len() - known.len();
        match others {
            0 => format!("set {}", known.join(",")),
            others => format!("set {} and {others} unknown names", known.join(",")),
        }
    }
}

/// Why something is not done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum No {
    /// It is not for them.
    Forbidden(String),
    /// It cannot be done now.
    Conflict(String),
    /// It could never be done: what is wrong, each with its place.
    Wrong(Vec<Refusal>),
}

/// One order.
#[derive(Debug)]
pub(crate) struct Order {
    asker: Asker,
    wish: Wish,
    answer: Reply,
    /// Set by whoever comes first: the loop that takes it, or the client that gives up.
    is_taken: Arc<AtomicBool>,
}

/// Where its answer goes.
#[derive(Debug)]
pub(crate) struct Reply(oneshot::Sender<Outcome>);

/// What came of it: the answer's data, or why it cannot be done.
pub(crate) type Outcome = Result<Json, No>;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// Too many wait.
    Full,
    /// The loop does not answer; nothing was done, and nothing will be.
    Silent,
    /// The loop has taken it and has not answered yet: it may be done.
    Unknown,
}

impl NoAnswer {
    /// In a sentence.
    pub(crate) const fn told(self) -> &'static str {
        match self {
            Self::Full => "too many orders wait for the supervision loop; nothing was done",
            Self::Silent => "the supervision loop does not answer; nothing was done",
            Self::Unknown => {
                "the supervision loop has taken it and has not answered yet; /events tells what comes of it"
            }
        }
    }
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Orders {
    queue: Mutex<VecDeque<Order>>,
    bell: Arc<Bell>,
}

impl Orders {
    /// An empty one; `bell` wakes the loop.
    pub(crate) fn new(bell: Arc<Bell>) -> Arc<Self> {
        Arc::new(Self { queue: Mutex::default(), bell })
    }

    /// Asks the loop, and waits for its answer.
    pub(crate) async fn give(&self, asker: Asker, wish: Wish) -> Result<Outcome, NoAnswer> {
        self.ask(asker, wish, ANSWER_MAX).await
    }

    /// Asks for a look into workers, which may take so long. Whoever waits no longer ends it.
    pub(crate) async fn look(
        &self,
        asker: Asker,
        inside: Inside,
        most: Duration,
    ) -> Result<Outcome, NoAnswer> {
        // Dropped last, when nobody waits any more.
        let _told = Told(&self.bell);
        self.ask(asker, Wish::Inside(inside), most).await
    }

    /// Waits for an order to be taken, and then at most so long for its answer.
    async fn ask(&self, asker: Asker, wish: Wish, most: Duration) -> Result<Outcome, NoAnswer> {
        let (answer, answered) = oneshot::channel();
        let is_taken = Arc::new(AtomicBool::new(false));
        {
            let mut queue = self.queue.lock();
            // Those that were given up need no place.
            queue.retain(|order| !order.is_taken.load(Ordering::SeqCst));
            if queue.len() >= ORDERS_MAX {
                return Err(NoAnswer::Full);
            }
            let answer = Reply(answer);
            queue.push_back(Order { asker, wish, answer, is_taken: Arc::clone(&is_taken) });
        }
        self.bell.ring();
        let mut answered = answered;
        if let Ok(outcome) = tokio::time::timeout(ANSWER_MAX, &mut answered).await {
            return outcome.map_err(|_| NoAnswer::Unknown);
        }
        if is_taken.swap(true, Ordering::SeqCst) {
            // It is being done at this moment.
            let outcome = tokio::time::timeout(most, answered).await;
            return outcome.ok().and_then(Result::ok).ok_or(NoAnswer::Unknown);
        }
        Err(NoAnswer::Silent)
    }

    /// The next order, for the loop. One that was given up is none.
    pub(crate) fn take(&self) -> Option<Order> {
        let mut queue = self.queue.lock();
        while let Some(order) = queue.pop_front() {
            if !order.is_taken.swap(true, Ordering::SeqCst) {
                return Some(order);
            }
        }
        None
    }
}

impl Order {
    /// Who wishes what, and where the answer goes.
    pub(crate) fn open(self) -> (Asker, Wish, Reply) {
        (self.asker, self.wish, self.answer)
    }
}

/// Has the loop look up when it goes.
struct Told<'a>(&'a Bell);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.ring();
    }
}

impl Reply {
    /// Whether nobody waits for it any more.
    pub(crate) fn is_given_up(&self) -> bool {
        self.0.is_closed()
    }

    /// Says what came of it.
    pub(crate) fn give(self, outcome: Outcome) {
        // Nobody may be there to hear it any more.
        let _ = self.0.send(outcome);
    }
}

#[cfg(test)]
mod tests {
    use indrik_core::control::inside::{What, Who};
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use serde_json::json;

    use super::*;

    fn rings(bell: &Bell) -> bool {
        let mut fds = [PollFd::new(bell, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(1)
    }

    fn orders() -> Arc<Orders> {
        Orders::new(Arc::new(Bell::new().unwrap()))
    }

    fn asker() -> Asker {
        Asker { name: "token deploy".to_owned(), is_owner: false }
    }

    fn reload() -> Wish {
        Wish::Command(Command::Reload, "reload".to_owned())
    }

    /// The next order, once somebody has given one.
    async fn taken(orders: &Orders) -> Order {
        loop {
            match orders.take() {
                Some(order) => return order,
                None => tokio::task::yield_now().await,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_an_order_that_was_taken_nobody_says_that_it_is_not_done() {
        let orders = orders();
        let waiting = tokio::spawn({
            let orders = Arc::clone(&orders);
            async move { orders.give(asker(), reload()).await }
        });
        let (who, _, answer) = taken(&orders).await.open();
        assert_eq!(who, asker());
        assert_eq!(waiting.await.unwrap(), Err(NoAnswer::Unknown));
        // It is done all the same.
        answer.give(Ok(json!({})));
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_that_was_given_up_is_not_performed_later() {
        let orders = orders();
        let asked = orders.give(asker(), reload()).await;
        assert_eq!(asked, Err(NoAnswer::Silent));
        assert!(orders.take().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_is_answered_by_whoever_takes_it() {
        let orders = orders();
        let waiting = tokio::spawn({
            let orders = Arc::clone(&orders);
            async move { orders.give(asker(), reload()).await }
        });
        taken(&orders).await.open().2.give(Ok(json!({"status": "reloading"})));
        assert_eq!(waiting.await.unwrap(), Ok(Ok(json!({"status": "reloading"}))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_may_take_its_time_and_ends_when_nobody_waits_for_it() {
        let orders = orders();
        let look = |most| {
            let orders = Arc::clone(&orders);
            let inside = Inside { who: Who::All, what: What::Stacks };
            tokio::spawn(async move { orders.look(asker(), inside, most).await })
        };
        let next = async || loop {
            match orders.take() {
                Some(order) => break order.open().2,
                None => tokio::task::yield_now().await,
            }
        };
        let waiting = look(ANSWER_MAX * 10);
        let reply = next().await;
        tokio::time::sleep(ANSWER_MAX * 9).await;
        reply.give(Ok(json!({"workers": []})));
        assert_eq!(waiting.await.unwrap(), Ok(Ok(json!({"workers": []}))));
        let leaves = look(ANSWER_MAX * 10);
        let reply = next().await;
        assert!(!reply.is_given_up());
        orders.bell.clear();
        leaves.abort();
        assert!(leaves.await.unwrap_err().is_cancelled());
        assert!(reply.is_given_up() && rings(&orders.bell));
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_a_few_do_not_wait() {
        let orders = orders();
        let give = || {
            let orders = Arc::clone(&orders);
            tokio::spawn(async move { orders.give(asker(), reload()).await })
        };
        let all: Vec<_> = (0..=ORDERS_MAX).map(|_| give()).collect();
        let mut full = 0;
        for one in all {
            full += usize::from(one.await.unwrap() == Err(NoAnswer::Full));
        }
        assert_eq!(full, 1);
    }
}
