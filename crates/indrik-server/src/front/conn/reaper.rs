//! All open connections, and the timeouts of theirs.
//!
//! There is no timer per request or per connection. Each connection notes in two atomics what it
//! waits for and since when; one reaper per process looks at all of them a few times a second and
//! tells those whose time is over. A timeout is therefore late by up to [`SWEEP_INTERVAL`].

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use indrik_core::descriptors::{Waiting, Waits, to_shed};
use indrik_core::memory::account::{Holding, to_cut};
use indrik_core::settings::Config;
use indrik_core::time::Micros;
use parking_lot::Mutex;
use slab::Slab;

use crate::front::account::{Account, Cut, Holder, held_by_others};
use crate::front::clock::{self, micros};

/// How often the reaper looks.
pub(crate) const SWEEP_INTERVAL: Duration = Duration::from_millis(200);
/// An idle connection gives its buffers back after this time.
const PARK_AFTER: Duration = Duration::from_millis(800);
/// While draining, a connection without a request may still bring one for this long.
const DRAIN_IDLE: Duration = Duration::from_secs(1);

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// For its next request.
    Idle = 0,
    /// For the rest of a head.
    Head = 1,
    /// For the application, or for a body (which has its own timeouts).
    Busy = 2,
    /// For the client to take bytes.
    Writing = 3,
    /// As `Idle`, with its buffers given back.
    Parked = 4,
    /// For the rest of a TLS handshake, which has its own time.
    Handshake = 5,
}

/// What a connection is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
#[repr(u8)]
pub(crate) enum Order {
    None = 0,
    /// Look whether the client has reset the connection.
    Look = 1,
    /// Give the buffers back.
    Park = 2,
    /// The server drains: a WebSocket is closed, an HTTP connection with its next answer.
    Finish = 3,
    /// Nothing has come for too long: close, unless something has after all.
    Expire = 4,
    /// The same for the sake of a new connection: nobody waits for the client to close as well.
    Shed = 5,
    /// A head is not complete in time: answer that, and close.
    Late = 6,
    /// Close now.
    Close = 7,
}

/// One connection, as others see it.
#[derive(Debug)]
pub(crate) struct Watch {
    phase: AtomicU8,
    since: AtomicU64,
    order: AtomicU8,
    /// It was chosen to make room for others, and is on its way out.
    is_shed: AtomicBool,
    /// Requests being served: more than one in HTTP/2 only. Written by the connection's thread alone.
    in_flight: AtomicU32,
    /// It has brought a request.
    has_begun: AtomicBool,
    /// A part of a head lies behind the requests that are being served: it has its time once they are over.
    /// Written by the connection's thread alone.
    has_half_head: AtomicBool,
    /// The client has closed its direction and waits for the answer: nothing but the reaper makes its
    /// task look at the socket again.
    is_half_closed: AtomicBool,
    /// We close it, whatever its client does.
    is_cut: AtomicBool,
    /// The client has broken off within a body, or reset the connection.
    has_left: AtomicBool,
    /// The connection's task; the same for its whole life.
    task: OnceLock<Waker>,
    /// What it holds of memory.
    holder: Arc<Holder>,
    /// Bytes of bodies that were given out to be written and are not. Written by the connection's thread
    /// alone: in HTTP/1.1 as hyper takes and writes them, in HTTP/2 by who counts what is held of its streams.
    unwritten: AtomicUsize,
}

impl Watch {
    fn new(account: &Arc<Account>) -> Self {
        Self {
            phase: AtomicU8::new(Phase::Idle as u8),
            since: AtomicU64::new(clock::coarse()),
            order: AtomicU8::new(Order::None as u8),
            is_shed: AtomicBool::new(false),
            in_flight: AtomicU32::new(0),
            has_begun: AtomicBool::new(false),
            has_half_head: AtomicBool::new(false),
            is_half_closed: AtomicBool::new(false),
            is_cut: AtomicBool::new(false),
            has_left: AtomicBool::new(false),
            task: OnceLock::new(),
            holder: Holder::new(account),
            unwritten: AtomicUsize::new(0),
        }
    }

    /// Bytes of a body are given out to be written.
    pub(crate) fn gives_out(&self, bytes: usize) {
        self.set_unwritten(self.unwritten() + bytes);
    }

    /// The socket took bytes, of a body or of what frames it.
    pub(crate) fn wrote(&self, bytes: usize) {
        self.set_unwritten(self.unwritten().saturating_sub(bytes));
    }

    /// Everything that was given out is written.
    pub(crate) fn wrote_all(&self) {
        self.set_unwritten(0);
    }

    /// Bytes of bodies, at most, that were given out and are not written.
    pub(crate) fn unwritten(&self) -> usize {
        self.unwritten.load(Ordering::Relaxed)
    }

    pub(super) fn set_unwritten(&self, bytes: usize) {
        self.unwritten.store(bytes, Ordering::Relaxed);
    }

    /// What it holds of memory.
    pub(crate) fn holder(&self) -> &Arc<Holder> {
        &self.holder
    }

    /// HTTP begins: what was waited for until now does not count.
    pub(crate) fn begin_waiting(&self) {
        self.set(Phase::Idle);
        let (expire, none) = (Order::Expire as u8, Order::None as u8);
        // Other orders stand.
        let _ = self.order.compare_exchange(expire, none, Ordering::SeqCst, Ordering::Relaxed);
    }

    /// For how long the head came that is there now; most are there at once.
    pub(crate) fn head_time(&self, now: Micros) -> Micros {
        match self.phase() {
            Phase::Head => now.saturating_sub(self.since()),
            Phase::Idle | Phase::Busy | Phase::Writing | Phase::Parked | Phase::Handshake => 0,
        }
    }

    /// A request begins.
    pub(crate) fn begin(&self) {
        self.in_flight.store(self.in_flight() + 1, Ordering::Relaxed);
        self.has_begun.store(true, Ordering::Relaxed);
        self.set(Phase::Busy);
    }

    /// A request is over, but for what the socket has not taken yet.
    pub(crate) fn end(&self) {
        let others = self.in_flight().saturating_sub(1);
        self.in_flight.store(others, Ordering::Relaxed);
        if others == 0 && self.phase() == Phase::Busy {
            self.set(self.rest());
        }
    }

    /// What it waits for when nothing is served.
    fn rest(&self) -> Phase {
        if self.has_half_head.load(Ordering::Relaxed) { Phase::Head } else { Phase::Idle }
    }

    /// Whether a part of a head has come, and not all of it.
    pub(crate) fn set_half_head(&self, has_half: bool) {
        if has_half != self.has_half_head.load(Ordering::Relaxed) {
            self.has_half_head.store(has_half, Ordering::Relaxed);
        }
    }

    /// Whether a request is being served.
    pub(crate) fn is_in_flight(&self) -> bool {
        self.in_flight() != 0
    }

    /// How many are.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// The client has closed its direction and waits for the answer.
    pub(crate) fn set_half_closed(&self) {
        self.is_half_closed.store(true, Ordering::Relaxed);
    }

    /// The client sends no more: within a body, or not.
    pub(super) fn ends(&self, in_body: bool) {
        if in_body {
            self.has_left.store(true, Ordering::Relaxed);
        }
    }

    /// What a look at the socket gave: a connection that has failed has no client any more.
    pub(super) fn heard(&self, read: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        if matches!(read, Poll::Ready(Err(_))) {
            self.has_left.store(true, Ordering::Relaxed);
        }
        read
    }

    /// Whether the client has broken off within a body, or reset the connection.
    pub(crate) fn has_left(&self) -> bool {
        self.has_left.load(Ordering::Relaxed)
    }

    /// Whether it ends because we close it, not because its client has left.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Relaxed)
    }

    /// The socket takes bytes again.
    pub(crate) fn written(&self) {
        self.set(if self.is_in_flight() { Phase::Busy } else { self.rest() });
    }

    pub(crate) fn set(&self, phase: Phase) {
        self.since.store(clock::coarse(), Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// A request may be about to come, or its head has begun. The first one has its time from the connection's
    /// start on.
    pub(crate) fn waits_for_head(&self, phase: Phase) {
        if self.has_begun.load(Ordering::Relaxed) {
            self.set(phase);
        } else {
            self.phase.store(phase as u8, Ordering::Relaxed);
        }
    }

    /// For how long it may be idle, where one that has brought a request may be so for `idle`.
    fn idle_max(&self, idle: Duration, head: Duration) -> Duration {
        let is_first = !self.has_begun.load(Ordering::Relaxed);
        if is_first && !head.is_zero() { head } else { idle }
    }

    /// The buffers are given back; the waiting goes on.
    pub(crate) fn set_parked(&self) {
        self.phase.store(Phase::Parked as u8, Ordering::Relaxed);
    }

    /// Since when it is waited for what its phase says.
    pub(crate) fn since(&self) -> Micros {
        self.since.load(Ordering::Relaxed)
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Idle,
            1 => Phase::Head,
            2 => Phase::Busy,
            3 => Phase::Writing,
            4 => Phase::Parked,
            _ => Phase::Handshake,
        }
    }

    /// Takes the order, if any; otherwise the task is woken when there is one.
    pub(crate) fn poll_order(&self, cx: &Context<'_>) -> Order {
        self.task.get_or_init(|| {
            // Only from now on it can be waited for what the client sends.
            self.since.store(clock::coarse(), Ordering::Relaxed);
            cx.waker().clone()
        });
        self.take_order()
    }

    /// What it waits for, if it may be closed in favour of others and is not being closed yet.
    fn waits(&self) -> Option<Waits> {
        let is_leaving = self.order.load(Ordering::Relaxed) >= Order::Shed as u8;
        if is_leaving || self.is_shed.load(Ordering::Relaxed) {
            return None;
        }
        match self.phase() {
            Phase::Idle | Phase::Parked => self.is_polled().then_some(Waits::Idle),
            Phase::Head | Phase::Handshake => Some(Waits::Head),
            Phase::Busy | Phase::Writing => None,
        }
    }

    /// It is to make room for others. Chosen and marked are one step, so that the next one who looks for room
    /// finds another, however long this one takes to go.
    fn shed(&self, waits: Waits) {
        self.is_shed.store(true, Ordering::Relaxed);
        self.give(match waits {
            // Unless it brings a request at this moment.
            Waits::Idle => Order::Shed,
            Waits::Head => Order::Close,
        });
    }

    /// It was to make room for others, but a request has come: others go before it from now on.
    pub(crate) fn stays(&self) {
        self.since.store(clock::coarse(), Ordering::Relaxed);
        self.is_shed.store(false, Ordering::Relaxed);
    }

    /// Does what asks for no orders itself. `None`: the connection is to close before it is done.
    pub(crate) async fn unless_closed<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|cx| match self.poll_order(cx) {
            Order::Shed | Order::Close => Poll::Ready(None),
            Order::None
            | Order::Look
            | Order::Park
            | Order::Finish
            | Order::Expire
            // The answer to a late head is such work.
            | Order::Late => work.as_mut().poll(cx).map(Some),
        })
        .await
    }

    /// Its task has begun.
    fn is_polled(&self) -> bool {
        self.task.get().is_some()
    }

    fn take_order(&self) -> Order {
        if self.order.load(Ordering::Relaxed) == Order::None as u8 {
            return Order::None;
        }
        self.order.swap(Order::None as u8, Ordering::SeqCst).into()
    }

    pub(super) fn give(&self, order: Order) {
        if order == Order::Close {
            self.is_cut.store(true, Ordering::Relaxed);
        }
        self.order.fetch_max(order as u8, Ordering::SeqCst);
        self.wake();
    }

    /// Has the connection's task look at what there is to do.
    pub(crate) fn wake(&self) {
        // Before the first poll there is nobody to wake: that poll sees what it was to hear.
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }
}

impl From<u8> for Order {
    fn from(value: u8) -> Self {
        match value {
            0 => Self::None,
            1 => Self::Look,
            2 => Self::Park,
            3 => Self::Finish,
            4 => Self::Expire,
            5 => Self::Shed,
            6 => Self::Late,
            _ => Self::Close,
        }
    }
}

/// All open connections.
#[derive(Default)]
pub(crate) struct Connections {
    all: Mutex<Slab<Arc<Watch>>>,
    /// Those there have been.
    ever: AtomicU64,
}

/// The connections as nginx counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "nginx's names")]
pub struct Flow {
    pub open: usize,
    pub accepted: u64,
    pub handled: u64,
    pub requests: u64,
    pub reading: usize,
    pub writing: usize,
    pub waiting: usize,
}

impl Connections {
    pub(crate) fn add(&self, account: &Arc<Account>) -> (usize, Arc<Watch>) {
        let watch = Arc::new(Watch::new(account));
        self.ever.fetch_add(1, Ordering::Relaxed);
        (self.all.lock().insert(Arc::clone(&watch)), watch)
    }

    /// How they are; `requests`: that have been served on them.
    pub(crate) fn flow(&self, requests: u64) -> Flow {
        let ever = self.ever.load(Ordering::Relaxed);
        let mut flow = Flow { accepted: ever, handled: ever, requests, ..Flow::default() };
        for (_, watch) in self.all.lock().iter() {
            flow.open += 1;
            match watch.phase() {
                Phase::Idle | Phase::Parked => flow.waiting += 1,
                Phase::Head | Phase::Handshake => flow.reading += 1,
                Phase::Busy | Phase::Writing => flow.writing += 1,
            }
        }
        flow
    }

    pub(crate) fn remove(&self, key: usize) {
        self.all.lock().remove(key);
    }

    pub(crate) fn count(&self) -> usize {
        self.all.lock().len()
    }

    /// How many wait for what.
    pub(crate) fn states(&self) -> [(&'static str, usize); 4] {
        let (mut idle, mut head, mut busy, mut writing) = (0, 0, 0, 0);
        for (_, watch) in self.all.lock().iter() {
            match watch.phase() {
                Phase::Idle | Phase::Parked => idle += 1,
                Phase::Head | Phase::Handshake => head += 1,
                Phase::Busy => busy += 1,
                Phase::Writing => writing += 1,
            }
        }
        [("idle", idle), ("head", head), ("busy", busy), ("writing", writing)]
    }

    /// Every connection closes after its current request.
    pub(crate) fn drain(&self) {
        self.each(|watch| match watch.phase() {
            // These may be about to send one; the reaper ends them.
            Phase::Idle | Phase::Parked => watch.set(watch.phase()),
            Phase::Head | Phase::Busy | Phase::Writing => watch.give(Order::Finish),
            Phase::Handshake => {}
        });
    }

    pub(crate) fn close_all(&self) {
        self.each(|watch| watch.give(Order::Close));
    }

    /// Cuts those that hold too much. Returns who they were.
    pub(crate) fn cut(&self, account: &Account) -> Vec<Cut> {
        let list = self.all.lock();
        let (mut holders, mut by_cut) = (Vec::new(), 0);
        for (key, watch) in &*list {
            let bytes = watch.holder.bytes();
            if watch.holder.is_cut() {
                by_cut += bytes;
            } else {
                holders.push(Holding { key, bytes });
            }
        }
        let held = held_by_others(account, by_cut);
        let cut = to_cut(account.limits(), held, holders);
        let cut = cut.into_iter().filter_map(|holding| list.get(holding.key)).map(|watch| {
            let cut = watch.holder.cut();
            watch.wake();
            cut
        });
        cut.collect()
    }

    /// Reads again from those that wait for room, if there is some. Cuts those that have waited for too long;
    /// returns who they were.
    pub(crate) fn look_for_room(&self, now: Micros) -> Vec<Cut> {
        let list = self.all.lock();
        let late = list.iter().map(|(_, watch)| watch).filter(|watch| {
            let holder = &watch.holder;
            !holder.is_cut() && !holder.look_for_room(now)
        });
        let cut = late.map(|watch| {
            let cut = watch.holder.cut();
            watch.wake();
            cut
        });
        cut.collect()
    }

    /// Closes the connection that is the first to go for a new one. Whether there is any.
    pub(crate) fn shed(&self, now: Micros) -> bool {
        let list = self.all.lock();
        let waiting = list.iter().filter_map(|(key, watch)| {
            let waits = watch.waits()?;
            Some(Waiting { key, waits, since: watch.since.load(Ordering::Relaxed) })
        });
        let shed = to_shed(waiting, now);
        let Some((shed, watch)) = shed.and_then(|shed| Some((shed.waits, list.get(shed.key)?)))
        else {
            return false;
        };
        watch.shed(shed);
        true
    }

    fn each(&self, act: impl Fn(&Watch)) {
        for (_, watch) in &*self.all.lock() {
            act(watch);
        }
    }
}

/// One look at all connections; while the server drains, idle ones have less time.
pub(crate) fn sweep(connections: &Connections, config: &Config, is_draining: bool) {
    let now = clock::now();
    let idle = match config.keepalive {
        _ if !is_draining => config.keepalive,
        Duration::ZERO => DRAIN_IDLE,
        keepalive => keepalive.min(DRAIN_IDLE),
    };
    let first = if is_draining { Duration::ZERO } else { config.header_read_timeout };
    connections.each(|watch| {
        let waited = now.saturating_sub(watch.since.load(Ordering::Relaxed));
        match watch.phase() {
            // Its thread has not come to it yet: what it sent may lie there unread.
            Phase::Idle if !watch.is_polled() => {}
            Phase::Idle | Phase::Parked if over(waited, watch.idle_max(idle, first)) => {
                watch.give(Order::Expire);
            }
            Phase::Idle if over(waited, PARK_AFTER) => watch.give(Order::Park),
            Phase::Head if over(waited, config.header_read_timeout) => watch.give(Order::Late),
            Phase::Writing if over(waited, config.write_timeout) => watch.give(Order::Close),
            Phase::Busy if watch.is_half_closed.load(Ordering::Relaxed) => watch.give(Order::Look),
            Phase::Idle | Phase::Parked | Phase::Head | Phase::Busy | Phase::Writing => {}
            Phase::Handshake => {}
        }
    });
}

/// Whether a wait is over; a limit of zero means that there is none.
fn over(waited: Micros, limit: Duration) -> bool {
    !limit.is_zero() && waited >= micros(limit)
}

#[cfg(test)]
mod tests {
    use indrik_core::memory::account::Limits;

    use std::task::Waker;

    use indrik_core::descriptors::{HEAD_LEAST_US, IDLE_LEAST_US};
    use proptest::prelude::*;

    use super::*;
    use crate::front::account::{CONNECTION_BYTES, Charge};

    #[test]
    fn the_largest_holder_is_cut_and_counts_no_more_while_it_ends() {
        let account = Account::new(Limits { total: 1 << 20, connection: u64::MAX });
        let connections = Connections::default();
        let watches: Vec<_> = (0..10).map(|_| connections.add(&account).1).collect();
        let mut charges: Vec<_> = watches.iter().map(|watch| Charge::of(watch.holder())).collect();
        for (charge, bytes) in charges.iter_mut().zip((0..).map(|number| 50_000 + number * 1_000)) {
            charge.set(bytes);
        }
        assert_eq!(connections.cut(&account), []);
        charges[4].set(900_000);
        let cut = connections.cut(&account);
        assert_eq!(cut, [Holding { key: None, bytes: 900_000 }]);
        assert!(watches[4].holder().is_cut());
        // What it holds until it has ended is nobody else's fault.
        assert_eq!(connections.cut(&account), []);
    }

    /// What a connection's first read takes at most, and any.
    const READS: (usize, usize) = (8 * 1024, 256 * 1024);

    /// One client of the simulation below.
    struct Taker {
        watch: Arc<Watch>,
        charge: Charge,
        bytes: usize,
        /// What the next read takes; the buffer for it doubles.
        read: usize,
        /// Steps until it has ended.
        ends_in: Option<usize>,
    }

    impl Taker {
        fn new(connections: &Connections, account: &Arc<Account>) -> Self {
            let watch = connections.add(account).1;
            let mut charge = Charge::of(watch.holder());
            charge.set(CONNECTION_BYTES);
            Self { watch, charge, bytes: CONNECTION_BYTES, read: READS.0, ends_in: None }
        }

        /// It reads once more, if it may. What it holds is given back once it has ended.
        fn step(&mut self, cx: &mut Context<'_>, ends_after: usize) {
            let holder = Arc::clone(self.watch.holder());
            match self.ends_in {
                Some(0) => self.bytes = 0,
                Some(left) => self.ends_in = Some(left - 1),
                None if holder.is_cut() => self.ends_in = Some(ends_after),
                None if holder.poll_room(CONNECTION_BYTES, cx).is_ready() => {
                    self.bytes += self.read;
                    self.read = (2 * self.read).min(READS.1);
                }
                None => {}
            }
            self.charge.set(self.bytes);
        }
    }

    proptest! {
        /// Many clients that only ever take more, each below what one may have; whoever relieves comes to it
        /// late, and who is cut ends late.
        #[test]
        fn the_total_is_kept_however_late_it_is_relieved(
            order in prop::collection::vec(0usize..120, 2_000),
            relieved_every in 1usize..400,
            ends_after in 0usize..10,
        ) {
            let total: u64 = 8 << 20;
            let account = Account::new(Limits { total, connection: u64::MAX });
            let connections = Connections::default();
            let mut takers: Vec<_> =
                (0..120).map(|_| Taker::new(&connections, &account)).collect();
            let cx = &mut Context::from_waker(Waker::noop());
            for (step, taker) in order.into_iter().enumerate() {
                takers[taker].step(cx, ends_after);
                if step % relieved_every == 0 {
                    account.look_again();
                    connections.cut(&account);
                    prop_assert!(connections.look_for_room(0).is_empty(), "nobody has waited for long");
                }
            }
            // A first read of each, one of any, and what is not passed on yet.
            let peak = account.stats().peak;
            prop_assert!(peak <= total * 5 / 4, "{peak} of {total}");
        }
    }

    #[test]
    fn a_client_that_waits_for_room_is_woken_when_there_is_some_and_cut_when_there_is_none_for_long()
     {
        let account = Account::new(Limits { total: 1 << 20, connection: u64::MAX });
        let connections = Connections::default();
        let watches: Vec<_> = (0..2).map(|_| connections.add(&account).1).collect();
        let mut charges: Vec<_> = watches.iter().map(|watch| Charge::of(watch.holder())).collect();
        charges[0].set(100_000);
        charges[1].set(1 << 20);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let waiting = watches[0].holder();
        assert!(waiting.poll_room(CONNECTION_BYTES, &mut Context::from_waker(&waker)).is_pending());
        assert_eq!(connections.look_for_room(clock::coarse()), []);
        let much_later = clock::coarse() + 60_000_000;
        assert!(waiting.look_for_room(much_later - 59_000_000));
        assert!(!waiting.look_for_room(much_later), "it has waited for long enough");
        drop(charges.pop());
        assert_eq!(connections.look_for_room(much_later), []);
        assert!(woken.0.load(Ordering::Relaxed), "there is room, and nobody says so");
        assert!(waiting.poll_room(CONNECTION_BYTES, &mut Context::from_waker(&waker)).is_ready());
    }

    #[test]
    fn each_of_a_connections_tasks_is_woken_and_so_is_one_whose_client_holds_little_again() {
        let account = Account::new(Limits { total: 1 << 20, connection: u64::MAX });
        let connections = Connections::default();
        let watches: Vec<_> = (0..2).map(|_| connections.add(&account).1).collect();
        let mut charges: Vec<_> = watches.iter().map(|watch| Charge::of(watch.holder())).collect();
        charges[0].set(100_000);
        charges[1].set(1 << 20);
        let tasks: Vec<_> = (0..3).map(|_| Arc::new(Woken::default())).collect();
        let wakers: Vec<_> = tasks.iter().map(|task| Waker::from(Arc::clone(task))).collect();
        let holder = watches[0].holder();
        let waits = |at: usize| {
            let cx = &mut Context::from_waker(&wakers[at]);
            holder.poll_room(CONNECTION_BYTES, cx).is_pending()
        };
        assert!((0..3).all(waits) && waits(0), "a task that asks twice is one");
        let is_woken = |at: usize| tasks[at].0.swap(false, Ordering::Relaxed);
        assert_eq!(connections.look_for_room(clock::coarse()), []);
        assert!(!(0..3).any(is_woken));
        // Others still hold all of it.
        charges[0].set(CONNECTION_BYTES);
        assert_eq!(connections.look_for_room(clock::coarse()), []);
        assert!((0..3).all(is_woken));
        // One goes on; what the others have waited for counts from then.
        assert!(!waits(0));
        charges[0].set(100_000);
        assert!(waits(1));
        assert_eq!(connections.look_for_room(clock::coarse() + 9_000_000), []);
        assert_eq!(connections.look_for_room(clock::coarse() + 60_000_000).len(), 1);
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// How a connection takes the word that it is to make room.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Takes {
        /// It hears it, and stays open for as long as it likes.
        Lingers,
        /// It does not come to hear it.
        Sleeps,
        /// A request has come at the same moment.
        Serves,
    }

    proptest! {
        #[test]
        fn whoever_looks_for_room_finds_another_connection_each_time(
            clients in prop::collection::vec(
                (
                    prop_oneof![Just(Phase::Idle), Just(Phase::Parked), Just(Phase::Head), Just(Phase::Handshake)],
                    prop_oneof![Just(Takes::Lingers), Just(Takes::Sleeps), Just(Takes::Serves)],
                ),
                1..40,
            ),
        ) {
            let account = Account::new(Limits { total: u64::MAX, connection: u64::MAX });
            let connections = Connections::default();
            let watches: Vec<_> = clients.iter().map(|_| connections.add(&account).1).collect();
            let cx = Context::from_waker(Waker::noop());
            for (watch, (phase, _)) in watches.iter().zip(&clients) {
                prop_assert_eq!(watch.poll_order(&cx), Order::None);
                watch.set(*phase);
            }
            let now = clock::coarse() + IDLE_LEAST_US.max(HEAD_LEAST_US);
            for _ in &clients {
                prop_assert!(connections.shed(now), "some are left that were not chosen yet");
                for (watch, (phase, takes)) in watches.iter().zip(&clients) {
                    if *takes == Takes::Sleeps || watch.order.load(Ordering::Relaxed) == 0 {
                        continue;
                    }
                    if watch.poll_order(&cx) == Order::Shed && *takes == Takes::Serves {
                        watch.begin();
                        watch.stays();
                    }
                    prop_assert!(*takes == Takes::Serves || watch.phase() == *phase);
                }
            }
            prop_assert!(!connections.shed(now), "all are on their way out, or have a request");
            // And who has stayed is chosen again when its request is over.
            for (watch, _) in watches.iter().zip(&clients).filter(|(watch, _)| watch.is_in_flight()) {
                watch.end();
                prop_assert!(watch.waits().is_some());
            }
        }
    }
}
