//! A channel's memory, and the two ends of it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

use crate::bodies::{BodyArea, BodyMemory, BodyView};
use crate::handoff::{FileReceiver, FileSender, both_ways, files_pair};
use crate::kept::{Close, KeptFd};
use crate::layout::{ChannelLimits, Header, MAGIC, Map, VERSION};
use crate::ring::{Receiver, RingMemory, Sender};
use crate::slot::Slots;
use crate::sync::Ordering;
use crate::wake::{Bell, Wake, wake_pair_of_front};
use crate::wire::Direction;

/// [`Header::attached`]: the front's end is open.
const FRONT_ATTACHED: u32 = 1;
/// [`Header::attached`]: the worker's end is open.
const WORKER_ATTACHED: u32 = 2;

/// The front's end of a channel as file descriptors.
#[derive(Debug)]
pub struct FrontFds {
    /// The memory.
    pub memory: OwnedFd,
    /// Wakes the worker.
    pub worker: Bell,
    /// The front sleeps on it.
    pub wake: Wake,
    /// Files travel by it, both ways.
    pub files: OwnedFd,
}

/// The worker's end; what a worker inherits of its channel.
#[derive(Debug)]
pub struct WorkerFds {
    /// The memory.
    pub memory: OwnedFd,
    /// The worker sleeps on it.
    pub wake: OwnedFd,
    /// Wakes the worker: its threads wake each other.
    pub own: OwnedFd,
    /// Wakes the front.
    pub front: OwnedFd,
    /// Files travel by it, both ways.
    pub files: OwnedFd,
}

/// Makes a new channel: the front's end of it, and the worker's.
///
/// # Errors
/// When a limit is out of range, or the system is out of memory or descriptors.
pub fn channel_pair(limits: ChannelLimits) -> io::Result<(FrontFds, WorkerFds)> {
    limits.check().map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = rustix::fs::memfd_create("indrik-channel", flags)?;
    rustix::fs::ftruncate(&memory, limits.map().total as u64)?;
    // Nobody can shrink it under the other's feet.
    rustix::fs::fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Mapping::map(&memory, limits)?.write_header();
    let (worker, worker_wake) = wake_pair_of_front()?;
    let (front, front_wake) = wake_pair_of_front()?;
    let (files, files_of_worker) = files_pair()?;
    let own = worker.as_fd().try_clone_to_owned()?;
    let theirs = WorkerFds {
        memory: memory.try_clone()?,
        wake: worker_wake.as_fd().try_clone_to_owned()?,
        own,
        front: front.as_fd().try_clone_to_owned()?,
        files: files_of_worker,
    };
    Ok((FrontFds { memory, worker, wake: front_wake, files }, theirs))
}

/// The front's end of a channel.
pub struct FrontChannel {
    /// Sends requests.
    pub requests: Sender,
    /// Receives responses.
    pub responses: Receiver,
    /// The slot table.
    pub slots: Slots,
    /// Where bodies of requests lie.
    pub bodies: BodyArea,
    /// Rings the worker.
    pub worker: Bell,
    /// The front sleeps on it.
    pub wake: Wake,
    /// Hands files over with [`Sender::send_with_file`].
    pub files_out: FileSender,
    /// Takes the files that descriptors name.
    pub files_in: FileReceiver,
    control: Control,
}

impl FrontChannel {
    /// Opens the front's end of a channel that [`channel_pair`] made with the same limits.
    /// To be called once per channel.
    ///
    /// # Errors
    /// When the memory cannot be mapped, or this end is open already.
    pub fn open(fds: FrontFds, limits: ChannelLimits) -> io::Result<Self> {
        Self::open_closing(fds, limits, drop)
    }

    /// The same, with how to close a file that the worker chose: that may wait.
    ///
    /// # Errors
    /// As [`FrontChannel::open`].
    pub fn open_closing(fds: FrontFds, limits: ChannelLimits, close: Close) -> io::Result<Self> {
        let mapping = Arc::new(Mapping::map(&fds.memory, limits)?);
        mapping.attach(FRONT_ATTACHED)?;
        let (files_out, files_in) = both_ways(KeptFd::alone(fds.files, close), close);
        // SAFETY: `attach` let us pass, so the front's ends of the rings are made only here.
        unsafe {
            Ok(Self {
                requests: Sender::new(Mapping::requests(&mapping)),
                responses: Receiver::new(Mapping::responses(&mapping)),
                slots: Mapping::slots(&mapping),
                bodies: BodyArea::new(Mapping::bodies(&mapping)),
                worker: fds.worker,
                wake: fds.wake,
                files_out,
                files_in,
                control: Control(mapping),
            })
        }
    }

    /// The part of the channel that the supervisor uses.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Wakes the worker if it sleeps; to be called after a batch of sends.
    pub fn flush(&self) {
        if self.requests.must_wake() {
            // One that is gone is noticed elsewhere.
            let _ = self.worker.ring();
        }
    }
}

/// The worker's end of a channel.
pub struct WorkerChannel {
    /// Receives requests.
    pub requests: Receiver,
    /// Sends responses.
    pub responses: Sender,
    /// The slot table.
    pub slots: Slots,
    /// Where bodies of requests lie.
    pub bodies: BodyView,
    /// Rings the front.
    pub front: Bell,
    /// The worker sleeps on it.
    pub wake: Wake,
    /// Rings the worker itself.
    pub own: Bell,
    /// Hands files over with [`Sender::send_with_file`].
    pub files_out: FileSender,
    /// Takes the files that descriptors name.
    pub files_in: FileReceiver,
    control: Control,
}

impl WorkerChannel {
    /// Opens the worker's end of an inherited channel; the limits are read from it. To be called
    /// once per channel.
    ///
    /// # Errors
    /// When the memory is not a channel of this version, cannot be mapped, or this end is open
    /// already.
    pub fn open(fds: WorkerFds) -> io::Result<Self> {
        let limits = Mapping::read_limits(&fds.memory)?;
        let mapping = Arc::new(Mapping::map(&fds.memory, limits)?);
        mapping.attach(WORKER_ATTACHED)?;
        let (files_out, files_in) = both_ways(fds.files, drop);
        // SAFETY: as in `FrontChannel::open`.
        unsafe {
            Ok(Self {
                requests: Receiver::new(Mapping::requests(&mapping)),
                responses: Sender::new(Mapping::responses(&mapping)),
                slots: Mapping::slots(&mapping),
                bodies: BodyView::new(Mapping::bodies(&mapping)),
                wake: Wake::from_fd(fds.wake),
                own: Bell::from_fd(fds.own),
                front: Bell::from_fd(fds.front),
                files_out,
                files_in,
                control: Control(mapping),
            })
        }
    }

    /// The part of the channel that can be used from anywhere.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Wakes the front if it sleeps; to be called after a batch of sends.
    pub fn flush(&self) {
        if self.responses.must_wake() {
            let _ = self.front.ring();
        }
    }
}

/// A use of a slot as a word; 0: none.
fn word_of(of: Option<(u16, u32)>) -> u64 {
    of.map_or(0, |(slot, generation)| 1 << 63 | u64::from(slot) << 32 | u64::from(generation))
}

fn use_of(word: u64) -> Option<(u16, u32)> {
    (word >> 63 == 1).then_some(((word >> 32) as u16, word as u32))
}

/// How long a worker could not go on, microseconds since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blocked {
    /// Its event loop did not turn.
    pub loop_us: u64,
    /// Its threads waited for the interpreter's lock.
    pub gil_us: u64,
    /// The request that was the last cause: its slot, and which use of it.
    pub by: Option<(u16, u32)>,
}

/// Flags of a channel that concern the worker as a whole.
#[derive(Clone)]
pub struct Control(Arc<Mapping>);

impl Control {
    /// Asks the worker to leave when its ring is empty. Ring its wake afterwards.
    pub fn shut_down(&self) {
        self.0.header().shutdown.0.store(1, Ordering::SeqCst);
    }

    /// Whether the worker was asked to leave.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.0.header().shutdown.0.load(Ordering::SeqCst) != 0
    }

    /// Says that the worker's main loop turns.
    pub fn beat(&self) {
        self.0.header().heartbeat.0.fetch_add(1, Ordering::Relaxed);
    }

    /// A number that moves while the worker's main loop turns.
    #[must_use]
    pub fn beats(&self) -> u64 {
        self.0.header().heartbeat.0.load(Ordering::Relaxed)
    }

    /// Says that a thread of the worker has had the interpreter's lock.
    pub fn pulse(&self) {
        self.0.header().pulse.0.fetch_add(1, Ordering::Relaxed);
    }

    /// A number that moves while threads of the worker get the interpreter's lock; 0 if nobody
    /// looks.
    #[must_use]
    pub fn pulses(&self) -> u64 {
        self.0.header().pulse.0.load(Ordering::Relaxed)
    }

    /// The worker's event loop did not turn for so long although it should have.
    pub fn add_loop_blocked(&self, us: u64) {
        self.0.header().loop_blocked.0.fetch_add(us, Ordering::Relaxed);
    }

    /// A thread of the worker has waited so long for the interpreter's lock.
    pub fn add_gil_waited(&self, us: u64) {
        self.0.header().gil_waited.0.fetch_add(us, Ordering::Relaxed);
    }

    /// The request in this use of a slot kept the loop or the lock.
    pub fn set_blocked_by(&self, slot: u16, generation: u32) {
        self.0.header().blocked_by.0.store(word_of(Some((slot, generation))), Ordering::Relaxed);
    }

    /// The coroutine of this request (none: of no request) takes a step since that time, as the writer counts it.
    pub fn set_step(&self, of: Option<(u16, u32)>, since_us: u64) {
        let (step, since) = &self.0.header().step.0;
        since.store(since_us, Ordering::Relaxed);
        step.store(word_of(of), Ordering::Release);
    }

    /// What [`Self::set_step`] was told last. The worker may have written anything.
    #[must_use]
    pub fn step(&self) -> Option<((u16, u32), u64)> {
        let (step, since) = &self.0.header().step.0;
        let of = use_of(step.load(Ordering::Acquire))?;
        Some((of, since.load(Ordering::Relaxed)))
    }

    /// How long the worker's loop was blocked and its threads waited for the interpreter's lock, and by which request it
    /// was last. The worker may have written anything.
    #[must_use]
    pub fn blocked(&self) -> Blocked {
        let header = self.0.header();
        let by = use_of(header.blocked_by.0.load(Ordering::Relaxed));
        Blocked {
            loop_us: header.loop_blocked.0.load(Ordering::Relaxed),
            gil_us: header.gil_waited.0.load(Ordering::Relaxed),
            by,
        }
    }

    /// Counts a request that shall stop (see [`Slots::set_overtime`]); the worker has to be told by
    /// other means. Returns what [`Self::has_looked`] is asked with.
    pub fn interrupt(&self) -> u32 {
        self.0.header().interrupts.0.fetch_add(1, Ordering::SeqCst).wrapping_add(1)
    }

    /// The worker says that it has looked for requests that shall stop; returned by
    /// [`Self::interrupts`] before it looked.
    pub fn looked(&self, interrupts: u32) {
        self.0.header().interrupts_seen.0.store(interrupts, Ordering::SeqCst);
    }

    /// How often the worker was told to look.
    #[must_use]
    pub fn interrupts(&self) -> u32 {
        self.0.header().interrupts.0.load(Ordering::SeqCst)
    }

    /// Whether the worker has looked since this interrupt.
    #[must_use]
    pub fn has_looked(&self, interrupt: u32) -> bool {
        let seen = self.0.header().interrupts_seen.0.load(Ordering::SeqCst);
        seen.wrapping_sub(interrupt) < u32::MAX / 2
    }
}

/// The mapped memory.
struct Mapping {
    base: NonNull<u8>,
    map: Map,
    limits: ChannelLimits,
}

// SAFETY: the memory is shared through atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn map(memory: &OwnedFd, limits: ChannelLimits) -> io::Result<Self> {
        let map = limits.map();
        let size = rustix::fs::fstat(memory)?.st_size;
        if u64::try_from(size).unwrap_or(0) < map.total as u64 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the channel is too short"));
        }
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice; the seals keep its size.
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                map.total,
                protection,
                MapFlags::SHARED,
                memory,
                0,
            )?
        };
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, map, limits })
    }

    /// The limits that the maker wrote down; read from the file, before anything is mapped.
    fn read_limits(memory: &OwnedFd) -> io::Result<ChannelLimits> {
        let mut bytes = [0u8; 32];
        rustix::io::pread(memory, &mut bytes, 0)?;
        let word = |at: usize| {
            u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let magic = u64::from(word(0)) | u64::from(word(4)) << 32;
        if magic != MAGIC || word(8) != VERSION {
            let text = "not a channel of this version of Indrik";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let limits = ChannelLimits {
            slots: u16::try_from(word(12)).unwrap_or(0),
            descriptors: word(16),
            request_area: word(20),
            response_area: word(24),
            body_area: word(28),
        };
        limits.check().map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        Ok(limits)
    }

    fn write_header(&self) {
        let header = self.base.cast::<Header>().as_ptr();
        // SAFETY: the memory is ours alone so far; the offsets are those of `Header`.
        unsafe {
            (&raw mut (*header).magic).write(MAGIC);
            (&raw mut (*header).version).write(VERSION);
            (&raw mut (*header).slots).write(u32::from(self.limits.slots));
            (&raw mut (*header).descriptors).write(self.limits.descriptors);
            (&raw mut (*header).request_area).write(self.limits.request_area);
            (&raw mut (*header).response_area).write(self.limits.response_area);
            (&raw mut (*header).body_area).write(self.limits.body_area);
        }
    }

    fn header(&self) -> &Header {
        // SAFETY: the mapping is at least a page; fresh memory is zero, which is valid for atomics.
        unsafe { self.base.cast::<Header>().as_ref() }
    }

    /// Takes one end of the channel: a ring with two producers or two consumers would tear.
    fn attach(&self, end: u32) -> io::Result<()> {
        if self.header().attached.0.fetch_or(end, Ordering::AcqRel) & end == 0 {
            return Ok(());
        }
        let text = "this end of the channel is open already; make a new channel for each worker";
        Err(io::Error::new(io::ErrorKind::AlreadyExists, text))
    }

    /// # Safety
    /// Each end is made once per channel.
    unsafe fn requests(this: &Arc<Self>) -> RingMemory {
        let area = (this.map.request_area, this.limits.request_area);
        // SAFETY: the offsets come from the same map as the length of the mapping.
        unsafe { Self::ring(this, Direction::Requests, this.map.request_cells, area) }
    }

    /// # Safety
    /// As for [`Self::requests`].
    unsafe fn responses(this: &Arc<Self>) -> RingMemory {
        let area = (this.map.response_area, this.limits.response_area);
        // SAFETY: as above.
        unsafe { Self::ring(this, Direction::Responses, this.map.response_cells, area) }
    }

    /// # Safety
    /// The offsets lie inside the mapping.
    unsafe fn ring(
        this: &Arc<Self>,
        direction: Direction,
        cells: usize,
        area: (usize, u32),
    ) -> RingMemory {
        // SAFETY: the caller promises it.
        let (cells, start) = unsafe { (this.base.add(cells).cast(), this.base.add(area.0)) };
        let head = match direction {
            Direction::Requests => &this.header().requests,
            Direction::Responses => &this.header().responses,
        };
        RingMemory {
            head: NonNull::from(head),
            cells,
            cell_count: this.limits.descriptors,
            area: start,
            area_len: area.1,
            slot_count: this.limits.slots,
            direction,
            _keep: Arc::<Self>::clone(this),
        }
    }

    fn bodies(this: &Arc<Self>) -> BodyMemory {
        // SAFETY: the offset lies inside the mapping, and the area ends with it.
        let start = unsafe { this.base.add(this.map.bodies) };
        BodyMemory { start, len: this.limits.body_area, _keep: Arc::<Self>::clone(this) }
    }

    fn slots(this: &Arc<Self>) -> Slots {
        // SAFETY: the offset lies inside the mapping, and fresh memory is zero.
        unsafe {
            Slots::new(
                this.base.add(this.map.slots).cast(),
                this.limits.slots,
                Arc::<Self>::clone(this),
            )
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and everything that points into it keeps it.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.map.total) };
    }
}
