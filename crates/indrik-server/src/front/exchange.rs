//! One request and its response, as the connection's task and the worker's side share it.
//!
//! The worker's side (the [`Pool`](super::pool::Pool)) puts events into the inbox; the connection's
//! task takes them out in order. What lies in the inbox is bounded by the response window, because
//! the worker gets credit only for what was taken out (for WSGI a little earlier, see
//! [`ahead`](super::ahead)).

mod event;
mod inbox;
mod part;

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use indrik_core::dispatch::{Key, RequestId, Standing};
use indrik_core::ids::WorkerId;
use indrik_core::lane::RouteId;
use indrik_core::time::Micros;
use indrik_core::upload::Taker;
use indrik_ring::{Flags, RequestHead};
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::account::{Charge, Holder};
use super::ahead::{Ahead, Buffered};
use super::body::Pieces;
use super::descriptors::CountedFile;
use super::served::Served;
pub(super) use event::{Event, Next, Spool, SpoolReader};
use inbox::Inbox;
pub(super) use part::Part;

/// What an inbox may hold, bytes with what each event costs beside its payload. A worker that keeps to its
/// windows stays far below, even with pieces of one byte; one that does not is cut off.
const INBOX_BYTES_MAX: usize = 32 * 1024 * 1024;
/// A time that is not known.
const UNKNOWN: u32 = u32::MAX;

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Location {
    /// Not submitted, or over.
    Nowhere,
    /// Its worker is gone or does not have it any more. Whoever has the request hears of it by
    /// [`Event::WorkerLost`].
    Lost,
    /// In the central queue, under this number.
    Queue(u64),
    /// At a worker.
    Worker { id: WorkerId, slot: u16, generation: u32 },
}

impl Location {
    /// Who takes the next piece of the request's body.
    pub(super) const fn taker(self) -> Taker {
        match self {
            Self::Worker { .. } => Taker::Application,
            Self::Lost | Self::Queue(_) => Taker::NobodyYet,
            Self::Nowhere => Taker::Nobody,
        }
    }
}

/// What a worker is sent for a request; kept until the end, so that another worker can have it.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// The descriptor's flags.
    pub(super) flags: Flags,
    /// The head.
    pub(super) payload: Vec<u8>,
    /// The body, if it is here and lies in no file.
    pub(super) body: Pieces,
    /// The body's file, or the application's end of its WebSocket.
    pub(super) file: Option<HandedOver>,
    /// What of it lies in memory, bytes.
    pub(super) file_bytes: usize,
    /// What it has in common with others that go to the same worker.
    pub(super) key: Option<Key>,
}

impl Outgoing {
    /// The worker has begun to answer, so no other one is sent the file: only the worker has it from now on.
    pub(super) fn let_go_of_file(&self) {
        if let Some(file) = &self.file {
            file.0.lock().take();
        }
    }

    /// Method and target, for the log.
    pub(super) fn shown(&self) -> String {
        RequestHead::decode(&self.payload).map_or_else(
            |_| String::new(),
            |head| {
                let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                format!("{} {}", text(head.method), text(head.target))
            },
        )
    }
}

/// A file that a worker is given: kept here as long as another worker may have to be given it.
#[derive(Debug)]
pub(super) struct HandedOver(Mutex<Option<Arc<CountedFile>>>);

impl HandedOver {
    pub(super) fn new(file: CountedFile) -> Self {
        Self(Mutex::new(Some(Arc::new(file))))
    }

    /// `None`: no other worker is to have it.
    pub(super) fn get(&self) -> Option<Arc<CountedFile>> {
        self.0.lock().clone()
    }
}

#[derive(Debug)]
struct Progress {
    location: Location,
    inbox: Inbox,
    waker: Option<Waker>,
    /// Wakes the task that sends the request's body.
    upload_waker: Option<Waker>,
    /// The account of a WSGI response that comes in pieces.
    ahead: Option<Ahead>,
    spooling: Spooling,
    /// What the request and the inbox take.
    charge: Charge,
}

/// Whether a response goes by way of a file.
#[derive(Debug)]
enum Spooling {
    /// Not (yet), or never.
    No,
    /// When its worker would have to wait for the client.
    Permitted(Permit),
    /// The connection's side is to be told.
    Begins(Arc<dyn Spool>),
    Goes(Arc<dyn Spool>),
}

/// Leave for a response to go into a file, and what is needed for it.
pub(super) struct Permit {
    spooler: Arc<dyn Spooler>,
    runtime: Handle,
}

/// What has files for responses.
pub(super) trait Spooler: Send + Sync {
    /// Gives a response a file, if there is one for it; what fills it runs on `runtime`.
    fn begin(self: Arc<Self>, exchange: &Arc<Exchange>, runtime: &Handle)
    -> Option<Arc<dyn Spool>>;
}

impl Permit {
    /// To be asked on one of the io threads.
    pub(super) fn new(spooler: Arc<dyn Spooler>) -> Self {
        Self { spooler, runtime: Handle::current() }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}

impl Progress {
    /// The response is over; returns who takes it in.
    fn end_spooling(&mut self) -> Option<Waker> {
        match std::mem::replace(&mut self.spooling, Spooling::No) {
            Spooling::No | Spooling::Permitted(_) => None,
            Spooling::Begins(spool) | Spooling::Goes(spool) => {
                spool.close();
                self.waker.take()
            }
        }
    }
}

/// One request and its response.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) outgoing: Outgoing,
    /// What it takes while it is kept, bytes.
    outgoing_bytes: usize,
    /// How long it may run; 0: as long as it likes.
    pub(super) limit: Micros,
    /// The process of the worker that has it or had it last; for the access log.
    worker_pid: AtomicU32,
    /// The same worker's number; 0: none has had it.
    worker_id: AtomicU64,
    /// How long the application has had it so far, microseconds.
    app_us: AtomicU32,
    /// The [`RouteId`] of what the application chose.
    route: AtomicU64,
    /// How long it waited for the application, microseconds; [`UNKNOWN`] until the application says.
    queue_us: AtomicU32,
    /// How much of that in the queue, until it was given to a worker.
    queued_us: AtomicU32,
    /// When it arrived.
    arrived: AtomicU64,
    /// The number under which it stood in the queue last.
    number: AtomicU64,
    /// A worker ended that had begun it.
    is_suspect: AtomicBool,
    /// The client's side has lost interest. Written under the lock, and looked at without it where that is
    /// only to save work.
    abandoned: AtomicBool,
    state: Mutex<Progress>,
}

impl Exchange {
    /// A request of a connection that is charged for it.
    pub(super) fn new(outgoing: Outgoing, limit: Micros, holder: &Arc<Holder>) -> Arc<Self> {
        let outgoing_bytes =
            outgoing.payload.capacity() + outgoing.body.len() + outgoing.file_bytes;
        let mut charge = Charge::of(holder);
        charge.set(outgoing_bytes);
        let state = Mutex::new(Progress {
            location: Location::Nowhere,
            inbox: Inbox::default(),
            waker: None,
            upload_waker: None,
            ahead: None,
            spooling: Spooling::No,
            charge,
        });
        Arc::new(Self {
            outgoing,
            outgoing_bytes,
            limit,
            worker_pid: AtomicU32::new(0),
            worker_id: AtomicU64::new(0),
            app_us: AtomicU32::new(0),
            route: AtomicU64::new(RouteId::UNKNOWN.to_bits()),
            queue_us: AtomicU32::new(UNKNOWN),
            queued_us: AtomicU32::new(0),
            arrived: AtomicU64::new(0),
            number: AtomicU64::new(0),
            is_suspect: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            state,
        })
    }

    // --- the connection's side

    /// The next event.
    pub(super) async fn next(&self) -> Event {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next event.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Event> {
        // With room, there is always an event.
        self.poll_next_for(true, cx).map(|event| event.unwrap_or(Event::Done))
    }

    /// The next event. `None`: it brings bytes of the body, and there is no room for them; they stay here.
    pub(super) fn poll_next_for(
        &self,
        has_room: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Event>> {
        let mut state = self.state.lock();
        if let Spooling::Begins(spool) = &state.spooling {
            let spool = Arc::clone(spool);
            state.spooling = Spooling::Goes(Arc::clone(&spool));
            return Poll::Ready(Some(Event::Spooled(spool)));
        }
        if !has_room && state.inbox.iter().next().is_some_and(Event::brings_bytes) {
            return Poll::Ready(None);
        }
        if let Some(event) = state.inbox.pop() {
            self.weigh(&mut state);
            return Poll::Ready(Some(event));
        }
        register(&mut state.waker, cx);
        Poll::Pending
    }

    /// What is said of an application that has failed already when the head of its answer is about to
    /// be sent, if the answer is to be an error instead: it is short of its length, or there is no
    /// byte of it (`nothing`: none came with the head). What was given goes out in every other case.
    pub(super) fn take_failure(&self, nothing: bool) -> Option<(Bytes, bool)> {
        let mut state = self.state.lock();
        let found = state.inbox.iter().enumerate().find_map(|(at, event)| match event {
            Event::Failed { message, short } if *short || (nothing && at == 0) => {
                Some((message.clone(), *short))
            }
            _ => None,
        });
        if found.is_some() {
            state.inbox.clear();
        }
        found
    }

    /// The client's side took a piece of the response's body. Says where it is, and for how many
    /// bytes the worker gets credit.
    pub(super) fn took(&self, bytes: usize) -> (Location, u64) {
        let mut state = self.state.lock();
        let bytes = bytes as u64;
        let Progress { ahead, charge, .. } = &mut *state;
        let credit = ahead.as_mut().map_or(bytes, |ahead| ahead.taken(bytes, charge.holder()));
        (state.location, credit)
    }

    /// The response may go into a file when its worker would have to wait for the client.
    pub(super) fn permit_spool(self: &Arc<Self>, permit: Permit) {
        let mut state = self.state.lock();
        state.spooling = Spooling::Permitted(permit);
        self.spool_if_held_up(&mut state);
    }

    fn spool_if_held_up(self: &Arc<Self>, state: &mut Progress) {
        let is_held_up = state.ahead.as_ref().is_some_and(Ahead::holds_up);
        if !is_held_up || !matches!(state.spooling, Spooling::Permitted(_)) {
            return;
        }
        if let Spooling::Permitted(Permit { spooler, runtime }) =
            std::mem::replace(&mut state.spooling, Spooling::No)
            && let Some(spool) = spooler.begin(self, &runtime)
        {
            state.spooling = Spooling::Begins(spool);
        }
    }

    /// The next pieces of the body for the file, about `most` bytes, and what comes behind them. `None`:
    /// nobody wants the response any more.
    pub(super) fn poll_pieces(
        &self,
        cx: &mut Context<'_>,
        most: usize,
    ) -> Poll<Option<(Vec<Bytes>, Option<Event>)>> {
        let mut state = self.state.lock();
        if self.is_abandoned() {
            return Poll::Ready(None);
        }
        let (mut pieces, mut behind, mut len) = (Vec::new(), None, 0);
        while len < most && behind.is_none() {
            match state.inbox.pop() {
                Some(Event::Body { part, end: false }) => {
                    len += part.len();
                    pieces.push(part.into_own());
                }
                Some(mut event) => {
                    // It waits until the client has read the file.
                    event.copy_out();
                    behind = Some(event);
                }
                None => break,
            }
        }
        if pieces.is_empty() && behind.is_none() {
            register(&mut state.waker, cx);
            return Poll::Pending;
        }
        self.weigh(&mut state);
        Poll::Ready(Some((pieces, behind)))
    }

    /// Whether the worker waits until the client takes something.
    pub(super) fn holds_worker_up(&self) -> bool {
        self.state.lock().ahead.as_ref().is_some_and(Ahead::holds_up)
    }

    /// The connection that is charged for it.
    pub(super) fn holder(&self) -> Arc<Holder> {
        Arc::clone(self.state.lock().charge.holder())
    }

    /// Whether its response is credited when it comes here, within limits of its own.
    pub(super) fn runs_ahead(&self) -> bool {
        self.state.lock().ahead.is_some()
    }

    /// Where it is.
    pub(super) fn location(&self) -> Location {
        self.state.lock().location
    }

    /// The worker that has it or had it last.
    pub(super) fn worker_id(&self) -> WorkerId {
        WorkerId(self.worker_id.load(Ordering::Relaxed))
    }

    /// The process of the worker that has it or had it last.
    pub(super) fn worker_pid(&self) -> u32 {
        self.worker_pid.load(Ordering::Relaxed)
    }

    /// Who served it, and for how long.
    pub(super) fn served(&self) -> Served {
        let queue_us = match self.queue_us.load(Ordering::Relaxed) {
            UNKNOWN => 0,
            queue_us => queue_us,
        };
        Served {
            pid: self.worker_pid(),
            app_us: self.app_us.load(Ordering::Relaxed),
            queue_us,
            ahead_us: queue_us.saturating_sub(self.queued_us.load(Ordering::Relaxed)),
            submitted: self.arrived(),
            route: self.route(),
        }
    }

    /// The route that the application chose for it.
    pub(super) fn route(&self) -> RouteId {
        RouteId::from_bits(self.route.load(Ordering::Relaxed))
    }

    /// When it arrived.
    pub(super) fn arrived(&self) -> Micros {
        self.arrived.load(Ordering::Relaxed)
    }

    /// Registers the task that sends the request's body, to be woken when there may be room.
    pub(super) fn wait_upload(&self, cx: &mut Context<'_>) {
        register(&mut self.state.lock().upload_waker, cx);
    }

    /// The response is complete; what the application still does concerns nobody.
    pub(super) fn leave(&self) {
        let waker = {
            let mut state = self.state.lock();
            self.abandoned.store(true, Ordering::Relaxed);
            state.inbox.clear();
            state.ahead = None;
            self.weigh(&mut state);
            [state.end_spooling(), state.upload_waker.take()]
        };
        waker.into_iter().flatten().for_each(Waker::wake);
    }

    /// The client's side wants nothing more; says where it is.
    pub(super) fn abandon(&self) -> Location {
        let mut state = self.state.lock();
        self.abandoned.store(true, Ordering::Relaxed);
        state.inbox.clear();
        state.ahead = None;
        self.weigh(&mut state);
        let waker = state.end_spooling();
        state.waker = None;
        let location = state.location;
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        location
    }

    // --- the pool's side

    /// The application says how long it has had the request; the first time, when it began is known by it.
    pub(super) fn times(&self, app_us: u32, now: Micros) {
        self.app_us.store(app_us, Ordering::Relaxed);
        if self.queue_us.load(Ordering::Relaxed) == UNKNOWN {
            let waited = now.saturating_sub(self.arrived()).saturating_sub(app_us.into());
            let waited = u32::try_from(waited).unwrap_or(UNKNOWN).min(UNKNOWN - 1);
            self.queue_us.store(waited, Ordering::Relaxed);
        }
    }

    /// The application has chosen a route for it.
    pub(super) fn set_route(&self, route: RouteId) {
        self.route.store(route.to_bits(), Ordering::Relaxed);
    }

    /// The application had it for so long when its worker ended or its time was over.
    pub(super) fn was_run_for(&self, time: Micros, now: Micros) {
        self.times(u32::try_from(time).unwrap_or(u32::MAX), now);
    }

    /// Its worker ended, which had begun it, and may have ended because of it.
    pub(super) fn may_have_ended_worker(&self) {
        self.is_suspect.store(true, Ordering::Relaxed);
    }

    pub(super) fn standing(&self) -> Standing {
        match self.is_suspect.load(Ordering::Relaxed) {
            true => Standing::Suspect,
            false => Standing::Ordinary,
        }
    }

    /// What the dispatcher calls it, if it is kept apart from others.
    pub(super) fn suspect(&self) -> Option<RequestId> {
        let number = self.number.load(Ordering::Relaxed);
        (self.standing() == Standing::Suspect).then_some(RequestId(number))
    }

    /// A piece of a WSGI response's body is about to be put in. Says for how many bytes the worker
    /// gets credit at once.
    pub(super) fn receives(self: &Arc<Self>, bytes: usize, wakers: &mut Vec<Waker>) -> u64 {
        let mut state = self.state.lock();
        if self.is_abandoned() {
            return bytes as u64;
        }
        let Progress { ahead, charge, .. } = &mut *state;
        let credit = ahead.as_mut().map_or(0, |it| it.received(bytes as u64, charge.holder()));
        self.spool_if_held_up(&mut state);
        if matches!(state.spooling, Spooling::Begins(_)) {
            // Before what fills the file, which may run on another thread already, waits here in its place.
            wakers.extend(state.waker.take());
        }
        credit
    }

    /// It lies in the queue from now on, counted from `arrived`.
    pub(super) fn set_in_queue(&self, number: u64, arrived: Micros) {
        self.arrived.store(arrived, Ordering::Relaxed);
        self.number.store(number, Ordering::Relaxed);
        self.state.lock().location = Location::Queue(number);
    }

    /// It is at a worker from `now` on. Says how much of the response that may send before anything of it was
    /// taken, where responses run ahead of their clients: `all` is what the front holds of them.
    pub(super) fn set_at_worker(
        &self,
        (arrived, now): (Micros, Micros),
        location: Location,
        pid: u32,
        all: Option<&Arc<Buffered>>,
    ) -> u64 {
        self.worker_pid.store(pid, Ordering::Relaxed);
        // What a worker had it for that it was lost with is waiting now.
        self.app_us.store(0, Ordering::Relaxed);
        self.queue_us.store(UNKNOWN, Ordering::Relaxed);
        let queued = u32::try_from(now.saturating_sub(arrived)).unwrap_or(u32::MAX);
        self.queued_us.store(queued, Ordering::Relaxed);
        if let Location::Worker { id, .. } = location {
            self.worker_id.store(id.0, Ordering::Relaxed);
        }
        self.arrived.store(arrived, Ordering::Relaxed);
        let mut state = self.state.lock();
        state.location = location;
        let Some(all) = all else { return 0 };
        if self.is_abandoned() {
            return 0;
        }
        // What it has from another worker is given back first.
        state.ahead = None;
        let (ahead, credit) = Ahead::begin(all, state.charge.holder());
        state.ahead = Some(ahead);
        credit
    }

    /// Its worker does not have it any more; the event that says so follows.
    pub(super) fn set_lost(&self) {
        self.state.lock().location = Location::Lost;
    }

    /// It is neither in the queue nor at a worker any more.
    pub(super) fn set_nowhere(&self) {
        self.state.lock().location = Location::Nowhere;
    }

    /// Puts what a worker sent into the inbox; `done`: the application has returned with it. The
    /// wakers go to `wakers`, to be woken after all locks are free. False: the worker has sent more
    /// than it may.
    #[must_use]
    pub(super) fn deliver(
        &self,
        event: Option<Event>,
        done: bool,
        wakers: &mut Vec<Waker>,
    ) -> bool {
        let mut state = self.state.lock();
        if done {
            state.location = Location::Nowhere;
            wakers.extend(state.upload_waker.take());
        }
        if self.is_abandoned() {
            return true;
        }
        let complete = event.as_ref().is_some_and(Event::ends_response);
        if (complete || done)
            && let Some(ahead) = &mut state.ahead
        {
            ahead.is_complete();
        }
        if let Some(event) = event {
            state.inbox.push(event);
        }
        if done && !complete {
            state.inbox.push(Event::Done);
        }
        self.weigh(&mut state);
        wakers.extend(state.waker.take());
        state.inbox.bytes <= INBOX_BYTES_MAX
    }

    /// Puts an event into the inbox. The waker, if any, is to be woken after all locks are free.
    pub(super) fn put(&self, event: Event) -> Option<Waker> {
        let mut state = self.state.lock();
        if self.is_abandoned() {
            return None;
        }
        state.inbox.push(event);
        self.weigh(&mut state);
        state.waker.take()
    }

    /// What of the response nobody has taken is taken out of the worker's channel.
    pub(super) fn copy_out(&self) {
        self.state.lock().inbox.copy_out();
    }

    /// The application has returned. Returns who waits for that.
    pub(super) fn finish(&self) -> Option<Waker> {
        let mut state = self.state.lock();
        state.location = Location::Nowhere;
        state.upload_waker.take()
    }

    /// There may be room for more of the request's body.
    pub(super) fn take_upload_waker(&self) -> Option<Waker> {
        self.state.lock().upload_waker.take()
    }

    fn weigh(&self, state: &mut Progress) {
        let bytes = self.outgoing_bytes + state.inbox.bytes;
        state.charge.set(bytes);
    }

    /// Whether the client's side has lost interest.
    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }
}

fn register(waiting: &mut Option<Waker>, cx: &Context<'_>) {
    match waiting {
        Some(waker) if waker.will_wake(cx.waker()) => {}
        _ => *waiting = Some(cx.waker().clone()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use indrik_core::memory::account::Limits;

    use super::super::account::Account;
    use super::*;

    fn exchange() -> Arc<Exchange> {
        let outgoing = Outgoing {
            flags: Flags::NONE,
            payload: Vec::new(),
            body: Pieces::default(),
            file: None,
            file_bytes: 0,
            key: None,
        };
        let none = Limits { total: u64::MAX, connection: u64::MAX };
        Exchange::new(outgoing, 0, &Holder::new(&Account::new(none)))
    }

    #[test]
    fn a_worker_that_ignores_its_window_is_noticed_before_memory_is_gone() {
        let exchange = exchange();
        let piece = Bytes::from(vec![0; 64 * 1024]);
        let pieces = (1..10_000).take_while(|_| {
            let event = Event::Body { part: Part::Own(piece.clone()), end: false };
            exchange.deliver(Some(event), false, &mut Vec::new())
        });
        let bytes = pieces.count() * piece.len();
        assert!(bytes > 4 * 1024 * 1024, "an honest worker was cut off");
        assert!(bytes <= INBOX_BYTES_MAX);
    }

    /// A file for every response; what fills it is run by the test.
    #[derive(Debug)]
    struct Files;

    impl Spooler for Files {
        fn begin(
            self: Arc<Self>,
            _exchange: &Arc<Exchange>,
            _runtime: &Handle,
        ) -> Option<Arc<dyn Spool>> {
            Some(self)
        }
    }

    impl Spool for Files {
        fn close(&self) {}

        fn reader(self: Arc<Self>) -> Box<dyn SpoolReader> {
            unreachable!("the test asks for none")
        }
    }

    #[tokio::test]
    async fn the_connection_hears_of_the_file_also_if_what_fills_it_runs_before_the_worker_s_side_goes_on()
     {
        let exchange = exchange();
        let told = Arc::new(Told::default());
        let connection = Waker::from(Arc::clone(&told));
        assert!(exchange.poll_next(&mut Context::from_waker(&connection)).is_pending());
        exchange.permit_spool(Permit::new(Arc::new(Files)));
        exchange.set_at_worker((0, 0), Location::Nowhere, 0, Some(&Arc::default()));
        let mut wakers = Vec::new();
        exchange.receives(1 << 30, &mut wakers);
        // On another thread.
        let mut filler = Context::from_waker(Waker::noop());
        assert!(exchange.poll_pieces(&mut filler, 1).is_pending());
        let event = Event::Body { part: Part::Own(Bytes::from_static(b"x")), end: false };
        assert!(exchange.deliver(Some(event), false, &mut wakers));
        wakers.into_iter().for_each(Waker::wake);
        assert!(told.0.load(Ordering::Relaxed), "nobody tells the connection of the file");
        let next = exchange.poll_next(&mut Context::from_waker(&connection));
        assert!(matches!(next, Poll::Ready(Event::Spooled(_))));
    }

    #[derive(Default)]
    struct Told(AtomicBool);

    impl std::task::Wake for Told {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
