//! Waiting for requests.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use indrik_core::spin::SpinBudget;
use indrik_ring::{KeptFd, RINGS_UNREAD_MAX, WakeLost};
use indrik_sys::high;
use parking_lot::Mutex;
use pyo3::prelude::*;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

use crate::channel::{Channel, broken};

/// The longest sleep: then the heartbeat moves and signals are looked for.
const SLEEP_MAX: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// How long to look for a request before sleeping, if another core is there to send one.
/// Twice a wake-up across cores on a virtual machine: what it takes a client that waits for its
/// answer to send the next request.
const SPIN_MAX_US: u32 = 150;

/// Waits for requests of one channel; any number of threads may.
pub(crate) struct Idle {
    /// Watches the channel's wake-up, edge-triggered: each ring wakes one of the threads that wait.
    epoll: KeptFd,
    spin: Mutex<SpinBudget>,
    /// Rings since they were read last.
    unread: AtomicU32,
}

impl Idle {
    /// Prepares to wait.
    ///
    /// # Errors
    /// When the process is out of file descriptors.
    pub(crate) fn new(channel: &Channel) -> PyResult<Self> {
        let create = || -> std::io::Result<OwnedFd> {
            let epoll = epoll::create(CreateFlags::CLOEXEC)?;
            let flags = EventFlags::IN | EventFlags::ET;
            epoll::add(&epoll, &channel.wake, EventData::new_u64(0), flags)?;
            Ok(epoll)
        };
        let another_core = indrik_sys::cpus::available() > 1;
        let spin = SpinBudget::new(if another_core { SPIN_MAX_US } else { 0 });
        Ok(Self {
            epoll: high::moved(create()?).into(),
            spin: Mutex::new(spin),
            unread: AtomicU32::new(0),
        })
    }

    /// Looks for a request for a short while, with the GIL held. True: there is one.
    ///
    /// # Errors
    /// When the channel is broken.
    pub(crate) fn spin(&self, channel: &Channel) -> PyResult<bool> {
        let budget_us = self.spin.lock().next_us();
        if budget_us == 0 {
            return Ok(false);
        }
        let end = Instant::now() + Duration::from_micros(u64::from(budget_us));
        loop {
            for _ in 0..16 {
                std::hint::spin_loop();
            }
            if channel.requests.lock().look().map_err(broken)? {
                self.spin.lock().found();
                return Ok(true);
            }
            if Instant::now() >= end {
                self.spin.lock().missed();
                return Ok(false);
            }
        }
    }

    /// Sleeps, with the GIL released, until there is a request, a signal comes or a second is over.
    ///
    /// # Errors
    /// When the channel is broken.
    pub(crate) fn sleep(&self, py: Python<'_>, channel: &Channel) -> PyResult<()> {
        if channel.requests.lock().prepare_sleep().map_err(broken)? {
            let woken = py.detach(|| {
                let mut events =
                    [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }];
                // However it ends, the caller looks again.
                match epoll::wait(&self.epoll, &mut events, Some(&SLEEP_MAX)) {
                    // Told of each new ring, nobody needs to read them; but in a socket that is full none
                    // arrives.
                    Ok(woken) => {
                        let unread = self.unread.fetch_add(1, Ordering::Relaxed);
                        if woken == 0 || unread >= RINGS_UNREAD_MAX {
                            self.unread.store(0, Ordering::Relaxed);
                            channel.clear_wake();
                        }
                    }
                    Err(Errno::INTR) => {}
                    Err(_) => channel.noticed(Err(WakeLost)),
                }
                Instant::now()
            });
            channel.waited_for_gil(woken.elapsed());
        }
        Ok(())
    }
}
