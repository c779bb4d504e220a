//! The worker's end of its channel as a Python object.
//!
//! Each end of a ring is behind a lock of its own, because with several threads (and on builds
//! without the GIL) any of them may send. The rule that makes this free of deadlocks: nobody calls
//! into Python, or waits for anything (the GIL, space, a socket), while holding one of these locks. The
//! files' lock is taken last.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use indrik_core::lane::UNKNOWN;
use indrik_ring::{
    Bell, BodyView, Control, Descriptor, FileLost, FileReceiver, FileSender, NotSent, Receiver,
    Sender, SlotState, Slots, SpaceWait, Violation, Wake, WakeLost, WorkerChannel, WorkerFds,
};
use indrik_sys::high;
use indrik_sys::origin::Origin;
use parking_lot::Mutex;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PySystemExit};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::inside::Owners;
use crate::lane::Lane;
use crate::overtime::{Pulse, Running};
use crate::route_names::Names;

/// How long a sender that found the ring, or the socket for files, full sleeps before it looks again by
/// itself.
const SPACE_WAIT_MAX: Duration = Duration::from_secs(1);

/// The shortest pause between two signs that the interpreter's lock is free.
const PULSE_PAUSE_MIN: Duration = Duration::from_millis(10);

/// Waits for the interpreter's lock that are shorter are no waits.
const GIL_WAIT_MIN: Duration = Duration::from_micros(200);
/// Who is kept from going on for so long is blocked.
const BLOCKED_MIN: Duration = Duration::from_millis(50);

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The worker's end of its channel.
#[pyclass(frozen, module = "indrik._native")]
pub(crate) struct Channel {
    /// Requests from the front.
    pub(crate) requests: Mutex<Receiver>,
    /// Responses to the front; see [`Channel::send`].
    pub(crate) responses: Mutex<Sender>,
    /// The slot table.
    pub(crate) slots: Slots,
    /// Where the bodies of requests lie.
    pub(crate) bodies: BodyView,
    /// The worker sleeps on it.
    pub(crate) wake: Wake,
    /// Shutdown flag and heartbeat.
    pub(crate) control: Control,
    front: Bell,
    own: Bell,
    /// Whether this is the worker, and not a process that the application forked from it.
    origin: Origin,
    /// Somebody closed our descriptors.
    is_lost: AtomicBool,
    /// For what is no request.
    lane: Lane,
    /// The numbers of routes.
    names: Names,
    space: SpaceWait,
    files_out: FileSender,
    files_in: Mutex<FileReceiver>,
    served: AtomicU64,
    /// Where requests are greenlets: what one calls to let the others run.
    pause: OnceLock<Py<PyAny>>,
    /// Where requests may be told to stop: which thread has which.
    running: OnceLock<Running>,
    pulse: Mutex<Option<Pulse>>,
    /// Who runs the request in each slot.
    pub(crate) owners: Owners,
}

#[pymethods]
impl Channel {
    /// Takes over the inherited file descriptors of a channel: its memory, what the worker sleeps on, what
    /// wakes it and what wakes the front, the socket for files, and the lane.
    #[new]
    fn new(
        py: Python<'_>,
        memfd: RawFd,
        wake: RawFd,
        own: RawFd,
        front: RawFd,
        files: RawFd,
        lane: RawFd,
    ) -> PyResult<Self> {
        if let Some(fd) = [memfd, wake, own, front, files, lane].iter().find(|fd| **fd < 0) {
            let text = format!("Channel: {fd} is no file descriptor");
            return Err(PyOSError::new_err(text));
        }
        // SAFETY: the caller hands these descriptors over and does not use them any more.
        let taken = |fd| unsafe { OwnedFd::from_raw_fd(fd) };
        let fds = WorkerFds {
            // Closed once it is mapped.
            memory: taken(memfd),
            wake: high::moved(taken(wake)),
            own: high::moved(taken(own)),
            front: high::moved(taken(front)),
            files: high::moved(taken(files)),
        };
        let lane = Lane::new(high::moved(taken(lane)));
        let channel = WorkerChannel::open(fds).map_err(|error| {
            PyOSError::new_err(format!("Channel: cannot open the inherited channel: {error}"))
        })?;
        let owners = Owners::new(&channel.slots);
        Ok(Self {
            control: channel.control(),
            space: channel.responses.space_wait(),
            requests: Mutex::new(channel.requests),
            responses: Mutex::new(channel.responses),
            slots: channel.slots,
            bodies: channel.bodies,
            wake: channel.wake,
            front: channel.front,
            own: channel.own,
            origin: Origin::here()?,
            is_lost: AtomicBool::new(false),
            lane,
            names: Names::new(py),
            files_out: channel.files_out,
            files_in: Mutex::new(channel.files_in),
            served: AtomicU64::new(0),
            pause: OnceLock::new(),
            running: OnceLock::new(),
            pulse: Mutex::new(None),
            owners,
        })
    }

    /// The file descriptors of this end, for a child to let go of.
    fn descriptors(&self) -> [RawFd; 5] {
        [
            self.wake.as_fd(),
            self.own.as_fd(),
            self.front.as_fd(),
            self.files_out.as_fd(),
            self.lane.as_fd(),
        ]
        .map(|fd| fd.as_raw_fd())
    }

    /// The identity of the thread that made this, whatever is patched by now.
    fn main_thread(&self) -> usize {
        self.owners.main()
    }

    /// Requests that this worker has begun to handle.
    fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// Says that requests may be told to stop, with an exception of this class. On the main thread,
    /// before there are others.
    fn limit_requests(&self, exception: Py<PyAny>) -> PyResult<()> {
        let already = |_| PyRuntimeError::new_err("the channel's requests are limited already");
        self.running.set(Running::new(exception)).map_err(already)
    }

    /// Looks for requests that shall stop; the handler of the supervisor's signal.
    fn interrupt(&self, py: Python<'_>) -> PyResult<()> {
        let interrupts = self.control.interrupts();
        let looked = self.running.get().map_or(Ok(()), |running| running.look(py, &self.slots));
        self.control.looked(interrupts);
        looked
    }

    /// From now on says each time so many seconds are over that the interpreter's lock is free.
    fn start_pulse(&self, seconds: f64) -> PyResult<()> {
        let pause = Duration::try_from_secs_f64(seconds)
            .map_err(|error| PyRuntimeError::new_err(format!("a pause of {seconds} s: {error}")))?;
        // The first one now: from it the supervisor knows that others are to follow.
        self.control.pulse();
        let pulse = Pulse::start(self.control.clone(), pause.max(PULSE_PAUSE_MIN))?;
        *self.pulse.lock() = Some(pulse);
        Ok(())
    }

    /// Ends what [`Self::start_pulse`] began, if it did.
    fn stop_pulse(&self, py: Python<'_>) {
        let pulse = self.pulse.lock().take();
        if let Some(pulse) = pulse {
            pulse.stop(py);
        }
    }

    /// Says that the worker's main loop turns. False: the application closed our descriptors, and nothing that
    /// is sent would wake the loop.
    fn heartbeat(&self) -> bool {
        self.control.beat();
        if !(self.wake.is_kept() && self.front.is_kept() && self.own.is_kept()) {
            self.noticed(Err(WakeLost));
        }
        !self.is_lost.load(Ordering::Relaxed)
    }
}

impl Channel {
    /// A thread had to wait so long for the interpreter's lock when it wanted to go on.
    #[inline]
    pub(crate) fn waited_for_gil(&self, time: Duration) {
        if time >= GIL_WAIT_MIN {
            self.note_gil_wait(time);
        }
    }

    #[cold]
    fn note_gil_wait(&self, time: Duration) {
        self.control.add_gil_waited(micros(time));
        if time >= BLOCKED_MIN
            && let Some((slot, generation)) = self.owners.only_other(&self.slots)
        {
            self.control.set_blocked_by(slot, generation);
        }
    }

    /// The coroutine of a request (none: of no request) takes a step on the event loop.
    #[inline]
    pub(crate) fn step(&self, of: Option<(u16, u32)>) {
        self.owners.step(of);
        self.control.set_step(of, indrik_sys::clock::coarse_us());
    }

    /// The event loop turned so much later than it should have.
    pub(crate) fn loop_was_late(&self, late: Duration) {
        if late >= BLOCKED_MIN {
            self.control.add_loop_blocked(micros(late));
        }
    }

    /// Counts a request.
    #[inline]
    pub(crate) fn count_request(&self) {
        self.served.fetch_add(1, Ordering::Relaxed);
    }

    /// Which thread has which request, if that is kept.
    #[inline]
    pub(crate) fn running(&self) -> Option<&Running> {
        self.running.get()
    }

    /// Says that requests are greenlets from now on, and how one lets the others run.
    ///
    /// # Errors
    /// When that was said before.
    pub(crate) fn set_pause(&self, pause: Py<PyAny>) -> PyResult<()> {
        let already = |_| PyRuntimeError::new_err("the channel is served by a hub already");
        self.pause.set(pause).map_err(already)
    }

    /// Whether requests are greenlets.
    #[inline]
    pub(crate) fn has_greenlets(&self) -> bool {
        self.pause.get().is_some()
    }

    /// Lets other greenlets run until the response in this slot may go on, or for a while.
    ///
    /// # Errors
    /// What was thrown into the greenlet meanwhile.
    pub(crate) fn pause(&self, py: Python<'_>, slot: u16) -> PyResult<()> {
        match self.pause.get() {
            Some(pause) => pause.call1(py, (slot,)).map(drop),
            None => Ok(()),
        }
    }

    /// Sends a descriptor whose payload of `len` bytes `fill` writes; waits, with the GIL released, while
    /// the ring is full. The front is not woken before [`Self::flush`].
    ///
    /// # Errors
    /// When the front wrote something impossible, so that nothing can be sent any more, or the
    /// payload is larger than the ring takes.
    #[inline]
    pub(crate) fn send(
        &self,
        py: Python<'_>,
        descriptor: Descriptor,
        len: usize,
        mut fill: impl FnMut(&mut [u8]),
    ) -> PyResult<()> {
        self.leave_if_forked(py);
        if self.responses.lock().send(descriptor, len, &mut fill).is_ok() {
            return Ok(());
        }
        self.send_when_there_is_space(py, || self.responses.lock().send(descriptor, len, &mut fill))
    }

    /// The same with a file, handed over in one operation with the descriptor.
    ///
    /// # Errors
    /// As [`Self::send`], and when the socket for files was closed.
    pub(crate) fn send_with_file(
        &self,
        py: Python<'_>,
        file: BorrowedFd<'_>,
        descriptor: Descriptor,
        len: usize,
        mut fill: impl FnMut(&mut [u8]),
    ) -> PyResult<()> {
        self.leave_if_forked(py);
        self.send_when_there_is_space(py, || {
            let with = (&self.files_out, file);
            self.responses.lock().send_with_file(with, descriptor, len, &mut fill)
        })
    }

    /// Tries until it is sent, or never will be. No lock is held, and the GIL is released, while it waits:
    /// other threads may want to send, or to wake the front, meanwhile.
    #[cold]
    fn send_when_there_is_space(
        &self,
        py: Python<'_>,
        mut send: impl FnMut() -> Result<(), NotSent>,
    ) -> PyResult<()> {
        loop {
            match send() {
                Ok(()) => return Ok(()),
                Err(NotSent::NoSpace) => py.detach(|| self.wait_for_space()),
                Err(NotSent::FilesFull) => {
                    // The front takes files with their descriptors: it must have seen those.
                    self.flush();
                    py.detach(|| self.files_out.wait(SPACE_WAIT_MAX));
                }
                Err(NotSent::Broken(violation)) => return Err(broken(violation)),
                Err(reason @ (NotSent::TooLarge | NotSent::FilesClosed)) => {
                    let text = format!("a response cannot go through the channel: {reason}");
                    return Err(PyRuntimeError::new_err(text));
                }
            }
        }
    }

    /// Sleeps until the front has taken something.
    fn wait_for_space(&self) {
        let ticket = self.space.ticket();
        let (is_full, must_wake) = {
            let mut sender = self.responses.lock();
            (sender.starve(), sender.must_wake())
        };
        if must_wake {
            self.ring_front();
        }
        if is_full {
            self.space.sleep(ticket, SPACE_WAIT_MAX);
        }
    }

    /// Wakes the front if it sleeps; after a batch of [`Self::send`].
    #[inline]
    pub(crate) fn flush(&self) {
        if self.is_forked() {
            return;
        }
        let must_wake = self.responses.lock().must_wake();
        if must_wake {
            self.ring_front();
        }
    }

    /// Wakes the front, which waits for space in the ring of requests.
    #[cold]
    pub(crate) fn ring_front(&self) {
        self.noticed(self.front.ring());
    }

    /// Wakes one of those who wait for requests here.
    pub(crate) fn ring_own(&self) {
        self.noticed(self.own.ring());
    }

    /// Reads the rings so far.
    pub(crate) fn clear_wake(&self) {
        self.noticed(self.wake.clear());
    }

    /// Remembers that our descriptors are gone.
    pub(crate) fn noticed(&self, result: Result<(), WakeLost>) {
        if result.is_err() {
            self.is_lost.store(true, Ordering::Relaxed);
        }
    }

    /// To be asked before requests are taken.
    ///
    /// # Errors
    /// When somebody closed our descriptors: the worker can only end.
    #[inline]
    pub(crate) fn check_descriptors(&self) -> PyResult<()> {
        if self.is_lost.load(Ordering::Relaxed) { Err(lost()) } else { Ok(()) }
    }

    /// Whether this is a process that the application forked from the worker.
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        !self.origin.is_here()
    }

    /// A forked child that comes back into the server has nothing to do there: the request, the ring and the
    /// connections are its parent's. It ends here, as a program does whose last line was run.
    #[inline]
    pub(crate) fn leave_if_forked(&self, py: Python<'_>) {
        if self.is_forked() {
            leave(py, None);
        }
    }

    /// The number that stands for the name of a route; 0: it is not known, or this is a forked child.
    ///
    /// # Errors
    /// `MemoryError`.
    pub(crate) fn route_number(&self, name: &Bound<'_, PyString>) -> PyResult<u16> {
        if self.is_forked() { Ok(UNKNOWN) } else { self.names.number(&self.lane, name) }
    }

    /// The same for what a framework has left, if it has; what is not as it should be there is no route.
    pub(crate) fn framework_route(&self, name: Option<Bound<'_, PyString>>) -> u16 {
        name.map_or(UNKNOWN, |name| self.route_number(&name).unwrap_or(UNKNOWN))
    }

    /// Takes the file that the front handed over for this use of a slot.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) fn take_file(&self, slot: u16, generation: u32) -> Result<OwnedFd, FileLost> {
        let is_live = |slot: u16, generation: u32| {
            slot < self.slots.count()
                && matches!(
                    self.slots.state(slot, generation),
                    SlotState::Queued | SlotState::Running
                )
        };
        self.files_in.lock().take(slot, generation, is_live)
    }
}

/// Ends a forked child, with what the code raised that it came out of, if anything.
#[cold]
pub(crate) fn leave(py: Python<'_>, raised: Option<&PyErr>) -> ! {
    let code = raised.map_or(0, |raised| exit_code(py, raised));
    for name in ["stdout", "stderr"] {
        let flushed = py.import("sys").and_then(|sys| sys.getattr(name)?.call_method0("flush"));
        // Nobody is left to tell.
        drop(flushed);
    }
    indrik_sys::process::end_now(code)
}

/// What Python itself would exit with.
fn exit_code(py: Python<'_>, raised: &PyErr) -> i32 {
    if !raised.is_instance_of::<PySystemExit>(py) {
        raised.print(py);
        return 1;
    }
    let Ok(code) = raised.value(py).getattr("code") else { return 1 };
    if code.is_none() {
        return 0;
    }
    code.extract().unwrap_or(1)
}

/// The error of a worker without descriptors.
#[cold]
fn lost() -> PyErr {
    PyRuntimeError::new_err(
        "this worker's file descriptors are gone: something in it closed what it had not opened \
         (os.closerange?)",
    )
}

/// The error of a channel whose other side wrote something impossible. The worker can only end.
pub(crate) fn broken(violation: Violation) -> PyErr {
    PyRuntimeError::new_err(format!("the channel to the front is broken: {violation}"))
}
