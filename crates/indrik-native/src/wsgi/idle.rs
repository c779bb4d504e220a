//! Waiting for requests.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::channel::{Channel, broken};

/// The longest sleep: then the heartbeat moves and signals are looked for.
const SLEEP_MAX: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// How long to look for a request before sleeping, if another core is there to send one.
const SPIN_MAX: Duration = Duration::from_micros(10);

/// Waits for requests of one channel; any number of threads may.
pub(crate) struct Idle {
    /// Watches the channel's wake-up, edge-triggered: each ring wakes one of the threads that
    /// wait, and nobody needs to read the counter.
    epoll: OwnedFd,
    may_spin: bool,
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
        Ok(Self { epoll: create()?, may_spin: indrik_sys::cpus::available() > 1 })
    }

    /// Looks for a request for a short while, with the GIL held. True: there is one.
    ///
    /// # Errors
    /// When the channel is broken.
    pub(crate) fn spin(&self, channel: &Channel) -> PyResult<bool> {
        if !self.may_spin {
            return Ok(false);
        }
        let end = Instant::now() + SPIN_MAX;
        loop {
            for _ in 0..16 {
                std::hint::spin_loop();
            }
            if channel.requests.lock().look().map_err(broken)? {
                return Ok(true);
            }
            if Instant::now() >= end {
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
            py.detach(|| {
                let mut events =
                    [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }];
                // However it ends, the caller looks again.
                let _ = epoll::wait(&self.epoll, &mut events, Some(&SLEEP_MAX));
            });
        }
        Ok(())
    }
}
