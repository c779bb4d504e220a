//! The lanes: one thread of the front that hears all workers about what is no request.
//!
//! Each worker has one socket of whole messages to it. The thread holds one message at a time, whoever sent
//! it; what a worker has sent beyond that waits in its own socket's buffer, so that it fills that and nobody
//! else's. A worker that sends what is no message, or more than its allowance, loses its lane, and whoever
//! listens is told: the worker is replaced, without hurry. One whose lane is gone serves requests as before. Nothing here waits for a worker: an
//! answer that its socket has no room for is dropped.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use indrik_core::ids::{Generation, WorkerId};
use indrik_core::lane::Allowance;
use indrik_core::time::Micros;
use indrik_ring::{LANE_MESSAGE_BYTES_MAX, LaneAnswer, LaneAsk, LaneError};
use indrik_sys::bell::Bell;
use parking_lot::Mutex;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

/// Messages of one lane before the others get their turn.
const BATCH_MESSAGES_MAX: usize = 16;
/// Lanes that one wait reports.
const EVENTS_MAX: usize = 64;
/// What the bell's events bear: no worker has this number.
const BELL: u64 = u64::MAX;

/// Who answers what workers ask.
pub(crate) trait Listens: Send + Sync {
    /// Answers one message of a worker.
    fn answer(&self, who: (Generation, WorkerId), ask: LaneAsk<'_>) -> LaneAnswer;
    /// A lane was cut.
    fn cut(&self, id: WorkerId, fault: LaneFault);
    /// A worker has closed its end; its process may be about to end.
    fn closed(&self, id: WorkerId);
}

/// Why a lane was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneFault {
    /// What came is no message.
    Garbage(LaneError),
    /// More came than any honest worker sends.
    Flood,
}

impl fmt::Display for LaneFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Garbage(error) => write!(f, "{error} came on its lane"),
            Self::Flood => f.write_str("more messages came on its lane than a worker may send"),
        }
    }
}

/// The lanes of all workers.
pub(crate) struct Lanes(Arc<Shared>);

/// Answers that were dropped, because the worker did not take those before.
pub(crate) struct Dropped(Arc<Shared>);

impl Dropped {
    /// How many.
    pub(crate) fn count(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }
}

struct Shared {
    bell: Bell,
    orders: Mutex<Vec<Order>>,
    dropped: AtomicU64,
}

enum Order {
    Add(Generation, WorkerId, OwnedFd),
    Remove(WorkerId),
}

impl Lanes {
    /// Starts the thread; it lives as long as the process.
    ///
    /// # Errors
    /// When the thread or a descriptor cannot be had.
    pub(crate) fn start(listener: Arc<dyn Listens>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            bell: Bell::new()?,
            orders: Mutex::default(),
            dropped: AtomicU64::new(0),
        });
        let poll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&poll, &shared.bell, EventData::new_u64(BELL), EventFlags::IN)?;
        let lanes = HashMap::new();
        let worked =
            Thread { shared: Arc::clone(&shared), listener, poll, lanes, began: Instant::now() };
        thread::Builder::new().name("indrik-lanes".to_owned()).spawn(move || worked.run())?;
        Ok(Self(shared))
    }

    /// Listens to a worker of this generation from now on.
    pub(crate) fn add(&self, generation: Generation, id: WorkerId, socket: OwnedFd) {
        self.order(Order::Add(generation, id, socket));
    }

    /// A worker has ended.
    pub(crate) fn remove(&self, id: WorkerId) {
        self.order(Order::Remove(id));
    }

    /// What counts the answers that were dropped.
    pub(crate) fn dropped(&self) -> Dropped {
        Dropped(Arc::clone(&self.0))
    }

    fn order(&self, order: Order) {
        self.0.orders.lock().push(order);
        self.0.bell.ring();
    }
}

struct Thread {
    shared: Arc<Shared>,
    listener: Arc<dyn Listens>,
    poll: OwnedFd,
    lanes: HashMap<WorkerId, Lane>,
    began: Instant,
}

struct Lane {
    who: (Generation, WorkerId),
    socket: OwnedFd,
    allowance: Allowance,
}

/// How a turn of a lane ended.
enum Turn {
    /// There may be more.
    Open,
    Closed,
    Cut(LaneFault),
}

impl Thread {
    fn run(mut self) {
        let mut buffer = vec![0; LANE_MESSAGE_BYTES_MAX];
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            events.clear();
            match epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                // Its arguments are right, so nothing else is possible.
                Err(_) => return,
            }
            for event in &events {
                let number = event.data.u64();
                if number == BELL {
                    self.shared.bell.clear();
                    self.follow_orders();
                } else {
                    self.hear(WorkerId(number), &mut buffer);
                }
            }
        }
    }

    fn follow_orders(&mut self) {
        let orders = std::mem::take(&mut *self.shared.orders.lock());
        for order in orders {
            match order {
                Order::Add(generation, id, socket) => {
                    let added =
                        epoll::add(&self.poll, &socket, EventData::new_u64(id.0), EventFlags::IN);
                    if added.is_ok() {
                        let allowance = Allowance::of_front(self.now());
                        self.lanes.insert(id, Lane { who: (generation, id), socket, allowance });
                    } else {
                        self.listener.closed(id);
                    }
                }
                Order::Remove(id) => {
                    if let Some(lane) = self.lanes.remove(&id) {
                        self.forget(&lane);
                    }
                }
            }
        }
    }

    /// Gives one lane its turn.
    fn hear(&mut self, id: WorkerId, buffer: &mut [u8]) {
        let now = self.now();
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let turn = lane.turn(buffer, now, &*self.listener, &self.shared.dropped);
        if let Turn::Open = turn {
            return;
        }
        if let Some(lane) = self.lanes.remove(&id) {
            self.forget(&lane);
        }
        match turn {
            Turn::Open => {}
            Turn::Closed => self.listener.closed(id),
            Turn::Cut(fault) => self.listener.cut(id, fault),
        }
    }

    /// Its end here is closed with the value, but a child of the worker may keep the other one.
    fn forget(&self, lane: &Lane) {
        let _ = epoll::delete(&self.poll, &lane.socket);
    }

    fn now(&self) -> Micros {
        Micros::try_from(self.began.elapsed().as_micros()).unwrap_or(Micros::MAX)
    }
}

impl Lane {
    fn turn(
        &mut self,
        buffer: &mut [u8],
        now: Micros,
        listener: &dyn Listens,
        dropped: &AtomicU64,
    ) -> Turn {
        for _ in 0..BATCH_MESSAGES_MAX {
            // Descriptors that come with a message are closed by the kernel: there is no room for them.
            let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
            let (message, len) = match rustix::net::recv(&self.socket, &mut *buffer, flags) {
                // An empty message is as good as the end.
                Ok((_, 0)) => return Turn::Closed,
                Ok((taken, len)) => (&buffer[..taken], len),
                Err(Errno::AGAIN) => return Turn::Open,
                Err(Errno::INTR) => continue,
                Err(_) => return Turn::Closed,
            };
            if len > LANE_MESSAGE_BYTES_MAX {
                return Turn::Cut(LaneFault::Garbage(LaneError::Size));
            }
            if !self.allowance.take(len, now) {
                return Turn::Cut(LaneFault::Flood);
            }
            let (number, ask) = match LaneAsk::decode(message) {
                Ok(asked) => asked,
                Err(error) => return Turn::Cut(LaneFault::Garbage(error)),
            };
            let answer = listener.answer(self.who, ask);
            if number != 0 && !self.send(&answer.encode(number)) {
                dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        Turn::Open
    }

    fn send(&self, message: &[u8]) -> bool {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        rustix::io::retry_on_intr(|| rustix::net::send(self.socket.as_fd(), message, flags)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    /// Answers with the length of the name, and passes on what becomes of lanes.
    struct Recorder(Mutex<Sender<(WorkerId, Option<LaneFault>)>>);

    impl Listens for Recorder {
        fn answer(&self, _: (Generation, WorkerId), ask: LaneAsk<'_>) -> LaneAnswer {
            let LaneAsk::Route(name) = ask;
            LaneAnswer::Route(u16::try_from(name.len()).unwrap())
        }

        fn cut(&self, id: WorkerId, fault: LaneFault) {
            self.0.lock().send((id, Some(fault))).unwrap();
        }

        fn closed(&self, id: WorkerId) {
            self.0.lock().send((id, None)).unwrap();
        }
    }

    fn started() -> (Lanes, Receiver<(WorkerId, Option<LaneFault>)>) {
        let (sender, receiver) = channel();
        (Lanes::start(Arc::new(Recorder(Mutex::new(sender)))).unwrap(), receiver)
    }

    fn added(lanes: &Lanes, id: u64) -> OwnedFd {
        let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
        let (ours, theirs) = socketpair(family, kind, SocketFlags::CLOEXEC, None).unwrap();
        lanes.add(Generation::FIRST, WorkerId(id), ours);
        theirs
    }

    fn tell(lane: &OwnedFd, message: &[u8]) {
        rustix::net::send(lane, message, SendFlags::NOSIGNAL).unwrap();
    }

    fn asked(lane: &OwnedFd, number: u64) -> (u64, LaneAnswer) {
        tell(lane, &LaneAsk::Route("/four").encode(number));
        let mut buffer = [0; 64];
        let (_, len) = rustix::net::recv(lane, &mut buffer[..], RecvFlags::empty()).unwrap();
        LaneAnswer::decode(&buffer[..len]).unwrap()
    }

    #[test]
    fn each_worker_gets_its_answers_whatever_becomes_of_other_lanes() {
        let (lanes, ends) = started();
        let (good, bad, gone) = (added(&lanes, 1), added(&lanes, 2), added(&lanes, 3));
        assert_eq!(asked(&good, 7), (7, LaneAnswer::Route(5)));
        tell(&bad, b"garbage");
        let fault = LaneFault::Garbage(LaneError::Size);
        assert_eq!(ends.recv().unwrap(), (WorkerId(2), Some(fault)));
        drop(gone);
        assert_eq!(ends.recv().unwrap(), (WorkerId(3), None));
        // Its own end of a lane that was cut is closed.
        assert!(rustix::net::send(&bad, b"x", SendFlags::NOSIGNAL).is_err());
        assert_eq!(asked(&good, 8), (8, LaneAnswer::Route(5)));
        lanes.remove(WorkerId(1));
        let mut buffer = [0; 1];
        assert_eq!(rustix::net::recv(&good, &mut buffer[..], RecvFlags::empty()).unwrap().1, 0);
    }

    #[test]
    fn answers_that_nobody_takes_are_dropped_until_it_is_a_flood() {
        let (lanes, ends) = started();
        let (greedy, good) = (added(&lanes, 1), added(&lanes, 2));
        let message = LaneAsk::Route("/four").encode(1);
        while rustix::net::send(&greedy, &message, SendFlags::NOSIGNAL).is_ok() {}
        assert_eq!(ends.recv().unwrap(), (WorkerId(1), Some(LaneFault::Flood)));
        assert!(lanes.dropped().count() > 0);
        assert_eq!(asked(&good, 7), (7, LaneAnswer::Route(5)));
    }

    #[test]
    fn a_number_of_zero_asks_for_no_answer() {
        let (lanes, _ends) = started();
        let lane = added(&lanes, 1);
        tell(&lane, &LaneAsk::Route("/").encode(0));
        assert_eq!(asked(&lane, 9), (9, LaneAnswer::Route(5)));
    }
}
