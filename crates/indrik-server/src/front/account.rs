//! The one memory account of the front: what it holds, for which connection, and in all.
//!
//! Whoever owns a buffer keeps a [`Charge`] beside it and says with [`Charge::set`] how large it is. The
//! charge passes that on only when it has changed by [`STEP_BYTES`], so what is small costs a comparison and
//! nothing else: a request without a body and its short answer are covered by what every connection is
//! charged from its beginning. What is passed on goes to the connection's [`Holder`] and, in batches per
//! thread, to the total. So the account is behind by a few KiB for each buffer and by [`BATCH_BYTES`] for each
//! thread, and never for longer.
//!
//! What follows from it is decided in `indrik_core::memory::account`: [`Account::measure`] says which lesser
//! measures hold; `relief` cuts the connections that hold the most. Until they have gone, nothing is read from
//! clients for which more is held than their connections cost from their beginning ([`Holder::poll_room`]), and
//! nobody is let in. So the account exceeds its limit by what lies between two looks at it: a read, a step of
//! inflating, a turn of a worker's answers, for each thread.

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use indrik_core::memory::account::{Holding, Limits, Measure};
use indrik_core::time::Micros;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::clock::{self, micros};

/// Changes of a buffer that are smaller than this are not passed on.
pub(super) const STEP_BYTES: usize = 4096;
/// Changes of all buffers of a thread that are passed on to the total together.
const BATCH_BYTES: i64 = 64 * 1024;
/// Where threads gather their batches; more threads than this share some.
const SHARDS: usize = 16;
/// What a connection is charged from its beginning: its tasks and hyper's buffers, and a small request with
/// its answer. Whoever holds no more than that is read from whatever others hold.
pub(super) const CONNECTION_BYTES: usize = 24 * 1024;
/// A client that is not read from for the sake of the total waits so long; then it is cut. Those that hold more
/// are cut at once, so this is for an account that does not ease.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(10);

/// What all buffers of the front take together.
pub(super) struct Account {
    /// What threads have not passed on to `total` yet.
    shards: [Shard; SHARDS],
    total: AtomicI64,
    /// The most that was ever held.
    peak: AtomicU64,
    total_max: AtomicU64,
    connection_max: AtomicU64,
    /// The [`Measure`] that holds.
    measure: AtomicU8,
    /// Somebody holds too much.
    excess: Notify,
    /// A lesser measure holds than before.
    eased: Notify,
    cut: AtomicU64,
}

/// On a line of its own, so that threads do not disturb each other.
#[derive(Default)]
#[repr(align(64))]
struct Shard(AtomicI64);

/// A look at the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct MemoryStats {
    pub held: u64,
    /// The most since the start.
    pub peak: u64,
    pub limits: Limits,
    pub measure: Measure,
    /// Connections that were cut for what they held.
    pub cut: u64,
}

impl Account {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            shards: Default::default(),
            total: AtomicI64::new(0),
            peak: AtomicU64::new(0),
            total_max: AtomicU64::new(limits.total),
            connection_max: AtomicU64::new(limits.connection),
            measure: AtomicU8::new(Measure::None as u8),
            excess: Notify::new(),
            eased: Notify::new(),
            cut: AtomicU64::new(0),
        })
    }

    /// A reload has brought other limits.
    pub(super) fn set_limits(&self, limits: Limits) {
        self.total_max.store(limits.total, Ordering::Relaxed);
        self.connection_max.store(limits.connection, Ordering::Relaxed);
        self.look();
        self.excess.notify_one();
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            total: self.total_max.load(Ordering::Relaxed),
            connection: self.connection_max.load(Ordering::Relaxed),
        }
    }

    /// Waits until somebody holds too much.
    pub(super) async fn has_excess(&self) {
        self.excess.notified().await;
    }

    /// So many connections were cut.
    pub(super) fn note_cut(&self, connections: usize) {
        self.cut.fetch_add(connections as u64, Ordering::Relaxed);
    }

    /// What is to be done at the moment.
    pub(super) fn measure(&self) -> Measure {
        self.measure.load(Ordering::Relaxed).into()
    }

    /// Everything that is held.
    fn held(&self) -> u64 {
        let batches: i64 = self.shards.iter().map(|shard| shard.0.load(Ordering::Relaxed)).sum();
        let held = self.total.load(Ordering::Relaxed) + batches;
        u64::try_from(held).unwrap_or(0)
    }

    pub(super) fn stats(&self) -> MemoryStats {
        let held = self.held();
        MemoryStats {
            held,
            peak: self.peak.load(Ordering::Relaxed).max(held),
            limits: self.limits(),
            measure: self.measure(),
            cut: self.cut.load(Ordering::Relaxed),
        }
    }

    /// All that may be held is.
    pub(super) fn is_full(&self) -> bool {
        self.measure() == Measure::Cut
    }

    /// Waits until a lesser measure holds: than [`Measure::Hold`] for new bodies, than [`Measure::Cut`] for
    /// whatever else takes memory.
    pub(super) async fn is_below(&self, measure: Measure) {
        loop {
            let mut eased = std::pin::pin!(self.eased.notified());
            // Before the look, so that nothing is missed between the two.
            eased.as_mut().enable();
            if self.measure() < measure {
                return;
            }
            eased.await;
        }
    }

    fn add(&self, change: i64) {
        let shard = &self.shards[shard_number()].0;
        let batch = shard.fetch_add(change, Ordering::Relaxed) + change;
        if batch.abs() >= BATCH_BYTES {
            self.total.fetch_add(shard.swap(0, Ordering::Relaxed), Ordering::Relaxed);
            self.look();
        }
    }

    /// Which measure holds from now on. Whoever relieves hears of it if somebody may have to go, or may go on.
    fn look(&self) {
        let before = self.measure();
        if self.look_again() == Measure::Cut || before == Measure::Cut {
            self.excess.notify_one();
        }
    }

    /// The same for whoever relieves.
    pub(super) fn look_again(&self) -> Measure {
        let held = self.held();
        self.peak.fetch_max(held, Ordering::Relaxed);
        let measure = self.limits().measure(held);
        let before: Measure = self.measure.swap(measure as u8, Ordering::Relaxed).into();
        if measure < before {
            self.eased.notify_waiters();
        }
        measure
    }
}

/// Threads are numbered as they come here.
fn shard_number() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    NUMBER.with(|number| {
        if number.get() == usize::MAX {
            number.set(THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS);
        }
        number.get()
    })
}

/// What one connection holds.
pub(super) struct Holder {
    account: Arc<Account>,
    bytes: AtomicI64,
    /// The client, once it is known.
    ip: OnceLock<IpAddr>,
    /// It is told to end.
    is_cut: AtomicBool,
    /// Its client is not read from until others hold less.
    waiting: Mutex<Waiting>,
    /// Somebody has waited, and has not been let go on since.
    is_waiting: AtomicBool,
}

/// Who is to be woken when there is room: the connection's own task, and those of its streams that read for
/// themselves.
#[derive(Default)]
struct Waiting {
    tasks: Vec<Waiter>,
    /// Since when none of them was let go on.
    since: Option<Micros>,
}

struct Waiter {
    waker: Waker,
    /// It goes on as soon as no more than that is held.
    covered: usize,
}

impl Holder {
    pub(super) fn new(account: &Arc<Account>) -> Arc<Self> {
        Arc::new(Self {
            account: Arc::clone(account),
            bytes: AtomicI64::new(0),
            ip: OnceLock::new(),
            is_cut: AtomicBool::new(false),
            waiting: Mutex::default(),
            is_waiting: AtomicBool::new(false),
        })
    }

    /// Notes for the log who it is.
    pub(super) fn is_of(&self, ip: Option<IpAddr>) {
        if let Some(ip) = ip {
            let _ = self.ip.set(ip);
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        u64::try_from(self.bytes.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// What all may hold, and about what they do.
    pub(super) fn account(&self) -> (Limits, u64) {
        let held = self.account.total.load(Ordering::Relaxed);
        (self.account.limits(), u64::try_from(held).unwrap_or(0))
    }

    /// Whether what it may hold is half used, or what all may hold is short: nothing that can wait is
    /// to be taken for it.
    pub(super) fn is_short(&self) -> bool {
        let half = self.account.connection_max.load(Ordering::Relaxed) / 2;
        self.bytes() > half || self.account.measure() >= Measure::Spare
    }

    /// Ready when more may be held for it: while all that may be held is, it waits with more than `covered`.
    /// Asked before what takes memory, so it costs a look at two numbers.
    #[inline]
    pub(super) fn poll_room(&self, covered: usize, cx: &mut Context<'_>) -> Poll<()> {
        if !self.has_room(covered) {
            return self.wait_for_room(covered, cx);
        }
        if self.is_waiting.load(Ordering::Relaxed) {
            self.goes_on(cx);
        }
        Poll::Ready(())
    }

    fn has_room(&self, covered: usize) -> bool {
        !self.account.is_full() || self.bytes() <= covered as u64
    }

    fn wait_for_room(&self, covered: usize, cx: &Context<'_>) -> Poll<()> {
        let mut waiting = self.waiting.lock();
        waiting.since.get_or_insert_with(clock::coarse);
        self.is_waiting.store(true, Ordering::Relaxed);
        match waiting.tasks.iter_mut().find(|task| task.waker.will_wake(cx.waker())) {
            Some(task) => task.covered = covered,
            None => waiting.tasks.push(Waiter { waker: cx.waker().clone(), covered }),
        }
        drop(waiting);
        // Whoever has made room meanwhile may have looked before there was somebody to wake.
        if !self.has_room(covered) {
            return Poll::Pending;
        }
        self.goes_on(cx);
        Poll::Ready(())
    }

    /// One of the tasks reads again: whoever still waits has not waited for long.
    #[cold]
    fn goes_on(&self, cx: &Context<'_>) {
        let mut waiting = self.waiting.lock();
        waiting.tasks.retain(|task| !task.waker.will_wake(cx.waker()));
        waiting.since = (!waiting.tasks.is_empty()).then(clock::coarse);
        self.is_waiting.store(waiting.since.is_some(), Ordering::Relaxed);
    }

    /// Wakes those for whom there is room. False: there is none for one that has waited for too long.
    pub(super) fn look_for_room(&self, now: Micros) -> bool {
        if !self.is_waiting.load(Ordering::Relaxed) {
            return true;
        }
        let mut waiting = self.waiting.lock();
        // They have waited until they have been let go on: until then others may take the room.
        for task in waiting.tasks.extract_if(.., |task| self.has_room(task.covered)) {
            task.waker.wake();
        }
        let is_over = |since: Micros| now.saturating_sub(since) >= micros(ROOM_WAIT_MAX);
        waiting.tasks.is_empty() || !waiting.since.is_some_and(is_over)
    }

    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Relaxed)
    }

    fn add(&self, change: i64) {
        let bytes = self.bytes.fetch_add(change, Ordering::Relaxed) + change;
        let bytes = u64::try_from(bytes).unwrap_or(0);
        self.account.add(change);
        if bytes > self.account.connection_max.load(Ordering::Relaxed) && !self.is_cut() {
            self.account.excess.notify_one();
        }
    }
}

/// What one buffer holds; given back when it is dropped.
pub(super) struct Charge {
    holder: Arc<Holder>,
    /// What was passed on.
    bytes: usize,
}

impl Charge {
    /// For a buffer that is empty yet.
    pub(super) fn of(holder: &Arc<Holder>) -> Self {
        Self { holder: Arc::clone(holder), bytes: 0 }
    }

    pub(super) fn holder(&self) -> &Arc<Holder> {
        &self.holder
    }

    /// The buffer takes so many bytes now.
    #[inline]
    pub(super) fn set(&mut self, bytes: usize) {
        let changed = bytes.abs_diff(self.bytes);
        if changed >= STEP_BYTES || (bytes == 0 && changed != 0) {
            self.pass_on(bytes);
        }
    }

    fn pass_on(&mut self, bytes: usize) {
        self.holder.add(signed(bytes) - signed(self.bytes));
        self.bytes = bytes;
    }
}

impl Drop for Charge {
    #[inline]
    fn drop(&mut self) {
        self.set(0);
    }
}

impl std::fmt::Debug for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Holder({})", self.bytes())
    }
}

impl std::fmt::Debug for Charge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Charge({})", self.bytes)
    }
}

/// No buffer is as large as that.
fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// One that was cut: who, and what it held.
pub(super) type Cut = Holding<Option<IpAddr>>;

/// Everything that connections which were told to end hold does not count as held.
pub(super) fn held_by_others(account: &Account, by_cut: u64) -> u64 {
    account.held().saturating_sub(by_cut)
}

impl Holder {
    /// Tells that it ends.
    pub(super) fn cut(&self) -> Cut {
        self.is_cut.store(true, Ordering::Relaxed);
        Holding { key: self.ip.get().copied(), bytes: self.bytes() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn account(total: u64, connection: u64) -> Arc<Account> {
        Account::new(Limits { total, connection })
    }

    #[test]
    fn what_is_small_costs_nothing_and_what_is_large_is_counted_exactly() {
        let account = account(u64::MAX, u64::MAX);
        let holder = Holder::new(&account);
        let mut charge = Charge::of(&holder);
        charge.set(STEP_BYTES - 1);
        assert_eq!((account.held(), holder.bytes()), (0, 0));
        for bytes in [10_000, 300_000, 5_000_000, 70_000] {
            charge.set(bytes);
            assert_eq!((account.held(), holder.bytes()), (bytes as u64, bytes as u64));
        }
    }

    #[test]
    fn what_is_dropped_is_given_back_on_whatever_thread() {
        let account = account(u64::MAX, u64::MAX);
        let holder = Holder::new(&account);
        let charges: Vec<Charge> = (1..100)
            .map(|number| {
                let mut charge = Charge::of(&holder);
                charge.set(number * 10_000);
                charge
            })
            .collect();
        assert!(account.held() > 0);
        std::thread::spawn(move || drop(charges)).join().unwrap();
        assert_eq!((account.held(), holder.bytes()), (0, 0));
    }

    #[test]
    fn measures_begin_and_end_with_what_is_held() {
        let account = account(10 * MIB, u64::MAX);
        let holder = Holder::new(&account);
        let mut charge = Charge::of(&holder);
        let mut measure = |hundredths: usize| {
            charge.set(hundredths * 10 * (MIB as usize) / 100);
            account.measure()
        };
        let measures = [10, 75, 90, 100, 90, 75, 0].map(&mut measure);
        use Measure::{Cut, Hold, None, Spare};
        assert_eq!(measures, [None, Spare, Hold, Cut, Hold, Spare, None]);
    }

    #[tokio::test]
    async fn bodies_wait_until_there_is_room() {
        let account = account(MIB, u64::MAX);
        let mut charge = Charge::of(&Holder::new(&account));
        charge.set(MIB as usize);
        let mut room = std::pin::pin!(account.is_below(Measure::Hold));
        let first = poll_once(room.as_mut()).await;
        assert!(first.is_pending());
        drop(charge);
        room.await;
    }

    #[tokio::test]
    async fn too_much_wakes_whoever_relieves() {
        let total = account(MIB, u64::MAX);
        let mut charge = Charge::of(&Holder::new(&total));
        charge.set(2 * MIB as usize);
        total.excess.notified().await;
        let own = account(u64::MAX, MIB);
        let mut charge = Charge::of(&Holder::new(&own));
        charge.set(2 * MIB as usize);
        own.excess.notified().await;
    }

    async fn poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
    }
}
