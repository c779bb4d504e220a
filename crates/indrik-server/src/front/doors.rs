//! The doors: which listening sockets the front accepts from, and what each is told to do.
//!
//! An order carries a number, and a door notes the number of the order it has carried out. So the
//! front is not taken for idle between an order and what follows from it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

/// What a door is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Accept connections.
    Accept,
    /// Leave connections in the kernel's queue.
    Pause,
    /// Take what the kernel has queued, and close.
    Finish,
    /// Close; whoever shares the socket takes what is queued.
    Leave,
}

/// One door as its task sees it.
pub(super) struct Door {
    orders: watch::Receiver<(u32, Order)>,
    done: Arc<AtomicU32>,
    /// Another process accepts from the same socket.
    pub(super) shared: Arc<AtomicBool>,
}

impl Door {
    /// Waits for another order than the one given.
    pub(super) async fn other_than(&mut self, last: Order) -> Order {
        let changed = self.orders.wait_for(|(_, order)| *order != last).await;
        // Nobody can order anything any more.
        changed.map_or(Order::Leave, |order| order.1)
    }

    /// Says that the latest order, if it is this one, is carried out.
    pub(super) fn has_done(&self, order: Order) {
        let (number, latest) = *self.orders.borrow();
        if latest == order {
            self.done.store(number, Ordering::SeqCst);
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // Whatever may be ordered yet is carried out: nothing comes in here.
        self.done.store(u32::MAX, Ordering::SeqCst);
    }
}

/// One door as whoever gives orders sees it.
struct Handle {
    orders: watch::Sender<(u32, Order)>,
    done: Arc<AtomicU32>,
    shared: Arc<AtomicBool>,
}

impl Handle {
    fn give(&self, order: Order) {
        // Whoever else has the socket is not to lose what is queued in it.
        let shared = self.shared.load(Ordering::SeqCst);
        let order = if order == Order::Leave && !shared { Order::Finish } else { order };
        self.orders.send_if_modified(|(number, latest)| {
            // What is closed stays closed.
            let changes = *latest != order && matches!(latest, Order::Accept | Order::Pause);
            if changes {
                *number += 1;
                *latest = order;
            }
            changes
        });
    }

    fn is_quiet(&self) -> bool {
        let (number, latest) = *self.orders.borrow();
        let done = self.done.load(Ordering::SeqCst);
        latest != Order::Accept && (done == number || done == u32::MAX)
    }
}

/// All doors.
pub(super) struct Doors(Mutex<All>);

struct All {
    /// By the number of their socket.
    handles: BTreeMap<u16, Handle>,
    /// What all were told last.
    order: Order,
}

impl Default for Doors {
    /// None, and those that are added leave connections in the kernel's queue until they are told to accept.
    fn default() -> Self {
        Self(Mutex::new(All { handles: BTreeMap::new(), order: Order::Pause }))
    }
}

impl Doors {
    /// A new door, which does what the others do.
    pub(super) fn add(&self, number: u16, shared: Arc<AtomicBool>) -> Door {
        let mut all = self.0.lock();
        let (sender, orders) = watch::channel((0, all.order));
        let done = Arc::new(AtomicU32::new(0));
        let door = Door { orders, done: Arc::clone(&done), shared: Arc::clone(&shared) };
        all.handles.insert(number, Handle { orders: sender, done, shared });
        door
    }

    /// Tells one door.
    pub(super) fn tell(&self, number: u16, order: Order) {
        if let Some(handle) = self.0.lock().handles.get(&number) {
            handle.give(order);
        }
    }

    /// Tells all doors, and those that are added later.
    pub(super) fn tell_all(&self, order: Order) {
        let mut all = self.0.lock();
        all.order = order;
        all.handles.values().for_each(|handle| handle.give(order));
    }

    /// Nothing comes in, and nothing is about to.
    pub(super) fn are_quiet(&self) -> bool {
        let mut all = self.0.lock();
        // The tasks of these have ended.
        all.handles.retain(|_, handle| handle.done.load(Ordering::SeqCst) != u32::MAX);
        all.handles.values().all(Handle::is_quiet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(doors: &Doors, shared: bool) -> Door {
        doors.tell_all(Order::Accept);
        doors.add(0, Arc::new(AtomicBool::new(shared)))
    }

    #[tokio::test]
    async fn a_door_begins_as_the_others_are() {
        let doors = Doors::default();
        let add = |number| doors.add(number, Arc::default());
        let mut first = add(0);
        assert!(doors.are_quiet(), "it accepts before it is told to");
        assert_eq!(first.other_than(Order::Accept).await, Order::Pause);
        doors.tell_all(Order::Accept);
        assert_eq!(first.other_than(Order::Pause).await, Order::Accept);
        let mut second = add(1);
        assert_eq!(second.other_than(Order::Pause).await, Order::Accept);
        doors.tell_all(Order::Pause);
        let mut third = add(2);
        assert_eq!(third.other_than(Order::Accept).await, Order::Pause);
    }

    #[tokio::test]
    async fn a_paused_door_is_quiet_once_it_has_said_so_and_not_after_the_next_order() {
        let doors = Doors::default();
        let mut door = door(&doors, false);
        assert!(!doors.are_quiet());
        doors.tell_all(Order::Pause);
        assert!(!doors.are_quiet());
        assert_eq!(door.other_than(Order::Accept).await, Order::Pause);
        door.has_done(Order::Pause);
        assert!(doors.are_quiet());
        doors.tell_all(Order::Finish);
        door.has_done(Order::Pause);
        assert!(!doors.are_quiet(), "the queue is not taken yet");
        drop(door);
        assert!(doors.are_quiet());
    }

    #[tokio::test]
    async fn leaving_without_the_queue_is_for_sockets_that_others_share() {
        let doors = Doors::default();
        let mut alone = door(&doors, false);
        doors.tell_all(Order::Leave);
        assert_eq!(alone.other_than(Order::Accept).await, Order::Finish);
        let mut shared = door(&doors, true);
        doors.tell(0, Order::Leave);
        assert_eq!(shared.other_than(Order::Accept).await, Order::Leave);
        doors.tell(0, Order::Accept);
        assert_eq!(shared.other_than(Order::Accept).await, Order::Leave);
    }
}
