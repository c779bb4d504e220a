//! Signals as something to read, whichever thread the kernel gives them to.
//!
//! Our own threads block them, so that none of their waits is cut short, and a signalfd holds what comes.
//! But the process may have threads that are not ours (a library that was preloaded, a profiler), which
//! block nothing: the kernel then hands the signal to one of those. For them there is a handler, which writes to a
//! pipe. Without it the signal would do to the whole process what it does by default.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use rustix::event::epoll;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::signal::Signal;

/// The signals of one kind of process, as a stream.
///
/// They stay blocked in every thread started after [`SignalStream::open`], and in children, unless
/// these call [`forget`].
#[derive(Debug)]
pub struct SignalStream {
    /// Readable when one of the others is.
    any: OwnedFd,
    blocked: OwnedFd,
    handled: &'static OwnedFd,
}

impl SignalStream {
    /// Blocks the signals in this thread, takes them in all others, and opens the stream.
    ///
    /// # Errors
    /// When one is no signal or the process is out of file descriptors.
    pub fn open(signals: &[Signal]) -> io::Result<Self> {
        let set = set_of(signals)?;
        // SAFETY: `set` is initialised; the old mask is not asked for.
        let blocked =
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        if blocked != 0 {
            return Err(io::Error::from_raw_os_error(blocked));
        }
        let handled = handled()?;
        for signal in signals {
            // Also where it was ignored: a parent may have left SIGCHLD so, and then the kernel would reap
            // our children.
            let number = signal.number();
            set_action(number, take as extern "C" fn(libc::c_int) as libc::sighandler_t)?;
            TAKEN.fetch_or(bit(number), Ordering::Relaxed);
        }
        // SAFETY: `set` is initialised; -1 asks for a new descriptor.
        let fd = check(unsafe {
            libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        })?;
        // SAFETY: the descriptor is fresh and nobody else's.
        let blocked = unsafe { OwnedFd::from_raw_fd(fd) };
        let any = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for fd in [&blocked, handled] {
            epoll::add(&any, fd, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        }
        Ok(Self { any, blocked, handled })
    }

    /// The next signal, or `None` when none is waiting.
    ///
    /// # Errors
    /// When the descriptors cannot be read.
    pub fn next(&self) -> io::Result<Option<Signal>> {
        Ok(self.next_number()?.map(Signal::from_number))
    }

    fn next_number(&self) -> io::Result<Option<i32>> {
        if let Some(number) = self.next_blocked()? {
            return Ok(Some(number));
        }
        let mut byte = [0];
        loop {
            match rustix::io::read(self.handled, &mut byte) {
                Ok(1) if byte != [WAKE] => return Ok(Some(i32::from(byte[0]))),
                Ok(1) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) | Err(rustix::io::Errno::AGAIN) => return Ok(next_without_room()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn next_blocked(&self) -> io::Result<Option<i32>> {
        // SAFETY: signalfd_siginfo is plain data; all zero is a valid value.
        let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer is as long as said and may hold any bytes.
        let read = unsafe { libc::read(self.blocked.as_raw_fd(), (&raw mut info).cast(), size) };
        if read == size as isize {
            return Ok(i32::try_from(info.ssi_signo).ok());
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
            _ => Err(error),
        }
    }
}

impl AsFd for SignalStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.any.as_fd()
    }
}

/// Makes this thread's process take signals as if no stream had been opened: by their default action, and none
/// blocked. For a child that goes on to another program, or only waits. Makes system calls only, so it may
/// run after a fork.
///
/// # Errors
/// Never, in fact: the kernel accepts every mask.
pub fn forget() -> io::Result<()> {
    // First: what was held back would otherwise be written to the parent's pipe.
    let taken = TAKEN.load(Ordering::Relaxed);
    for signal in (1..SIGNALS_END).filter(|signal| taken & bit(*signal) != 0) {
        set_action(signal, libc::SIG_DFL)?;
    }
    // SAFETY: an all-zero sigset_t is a valid place for sigemptyset to write to.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is a live, writable sigset_t; the old mask is not asked for.
    let result = unsafe {
        libc::sigemptyset(&raw mut set);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

/// Calls `start` while this thread takes no signals: a thread that it starts never takes one.
pub fn without_signals<T>(start: impl FnOnce() -> T) -> T {
    // SAFETY: all-zero sigset_ts are valid places to be written to.
    let (mut all, mut before): (libc::sigset_t, libc::sigset_t) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: both are live and writable.
    unsafe {
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
    }
    let started = start();
    // SAFETY: `before` was written by the call above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    started
}

/// Has an interrupt (Ctrl-C) end this process at once and without a word, unless whoever started it has it
/// ignored.
pub fn be_ended_by_interrupt() {
    // SAFETY: an all-zero sigaction is a valid place to be written to.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: `now` is live and writable; nothing is changed.
    let asked = unsafe { libc::sigaction(libc::SIGINT, std::ptr::null(), &raw mut now) };
    if asked == 0 && now.sa_sigaction != libc::SIG_IGN {
        // SAFETY: the default needs no handler.
        unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
    }
}

/// Numbers from here on have no bit; the real-time signals among them are nobody's here.
const SIGNALS_END: i32 = 64;
/// In the pipe: there is something in [`NO_ROOM`].
const WAKE: u8 = 0;

/// The signals that have the handler, by [`bit`].
static TAKEN: AtomicU64 = AtomicU64::new(0);
/// The signals that found the pipe full.
static NO_ROOM: AtomicU64 = AtomicU64::new(0);
/// Where the handler writes to.
static WRITE_END: AtomicI32 = AtomicI32::new(-1);

/// The end of the pipe that is read. It lasts as long as the process, as the handlers do.
fn handled() -> io::Result<&'static OwnedFd> {
    static READ_END: OnceLock<OwnedFd> = OnceLock::new();
    if READ_END.get().is_none() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        if READ_END.set(read).is_ok() {
            WRITE_END.store(std::os::fd::IntoRawFd::into_raw_fd(write), Ordering::Relaxed);
        }
    }
    READ_END.get().ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// The handler. It runs in whatever thread the signal found, in the middle of anything.
extern "C" fn take(number: libc::c_int) {
    let fd = WRITE_END.load(Ordering::Relaxed);
    let write = |byte: u8| {
        // SAFETY: one live byte, and a descriptor that is never closed; `write` may be called in a handler.
        unsafe { libc::write(fd, (&raw const byte).cast(), 1) == 1 }
    };
    // SAFETY: the thread's own errno, which the code that was interrupted may be about to look at.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    if !u8::try_from(number).is_ok_and(write) {
        NO_ROOM.fetch_or(bit(number), Ordering::SeqCst);
        // If this fails as well, the pipe is still full, and who empties it looks at the bits afterwards.
        write(WAKE);
    }
    // SAFETY: as above.
    unsafe { *errno = before };
}

/// One of the signals for which there was no room in the pipe.
fn next_without_room() -> Option<i32> {
    let waiting = NO_ROOM.load(Ordering::SeqCst);
    let number =
        i32::try_from(waiting.trailing_zeros()).ok().filter(|number| *number < SIGNALS_END)?;
    NO_ROOM.fetch_and(!bit(number), Ordering::SeqCst);
    Some(number)
}

fn bit(signal: i32) -> u64 {
    u32::try_from(signal).ok().and_then(|shift| 1u64.checked_shl(shift)).unwrap_or(0)
}

fn set_of(signals: &[Signal]) -> io::Result<libc::sigset_t> {
    // SAFETY: an all-zero sigset_t is a valid place for sigemptyset to write to.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is a live, writable sigset_t.
    unsafe { libc::sigemptyset(&raw mut set) };
    for signal in signals {
        // SAFETY: as above; a number that is no signal is answered with an error.
        check(unsafe { libc::sigaddset(&raw mut set, signal.number()) })?;
    }
    Ok(set)
}

/// Makes system calls only.
fn set_action(signal: i32, action: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: plain data; all zero is a valid value.
    let mut what: libc::sigaction = unsafe { std::mem::zeroed() };
    what.sa_sigaction = action;
    what.sa_flags = libc::SA_RESTART | libc::SA_NOCLDSTOP;
    // SAFETY: the mask is a live, writable sigset_t; the action is the default one or `take`, which does
    // only what a handler may.
    let result = unsafe {
        libc::sigfillset(&raw mut what.sa_mask);
        libc::sigaction(signal, &raw const what, std::ptr::null_mut())
    };
    check(result).map(drop)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A thread as a preloaded library would start it, before anything was blocked.
    struct Stranger {
        done: mpsc::Sender<()>,
        thread: std::thread::JoinHandle<()>,
        id: libc::pthread_t,
    }

    impl Stranger {
        fn start() -> Self {
            let (done, wait) = mpsc::channel::<()>();
            let thread = std::thread::spawn(move || {
                let _ = wait.recv();
            });
            let id = std::os::unix::thread::JoinHandleExt::as_pthread_t(&thread);
            Self { done, thread, id }
        }

        fn signal(&self, signal: Signal) {
            // SAFETY: the thread lives until it is told to end.
            assert_eq!(unsafe { libc::pthread_kill(self.id, signal.number()) }, 0);
        }

        fn end(self) {
            drop(self.done);
            self.thread.join().unwrap();
        }
    }

    fn wait_for(stream: &SignalStream) -> Signal {
        loop {
            if let Some(number) = stream.next().unwrap() {
                return number;
            }
            let mut fds = [rustix::event::PollFd::new(stream, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut fds, None).unwrap();
        }
    }

    #[test]
    fn a_signal_to_this_thread_is_read_from_the_stream() {
        let stream = SignalStream::open(&[Signal::USR1]).unwrap();
        assert_eq!(stream.next().unwrap(), None);
        // SAFETY: the signal is blocked in this thread, so it only becomes pending.
        unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGUSR1) };
        assert_eq!(stream.next().unwrap(), Some(Signal::USR1));
        assert_eq!(stream.next().unwrap(), None);
    }

    #[test]
    fn a_signal_that_the_kernel_gives_to_a_thread_from_before_is_read_as_well() {
        let stranger = Stranger::start();
        let stream = SignalStream::open(&[Signal::USR1, Signal::TERM]).unwrap();
        stranger.signal(Signal::TERM);
        assert_eq!(wait_for(&stream), Signal::TERM);
        // SAFETY: to the whole process, of which the stranger is the only thread that takes it.
        unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
        assert_eq!(wait_for(&stream), Signal::USR1);
        assert_eq!(stream.next().unwrap(), None);
        stranger.end();
    }

    #[test]
    fn a_signal_that_finds_the_pipe_full_is_not_lost() {
        let stranger = Stranger::start();
        let stream = SignalStream::open(&[Signal::USR1, Signal::TERM]).unwrap();
        let full = [u8::try_from(libc::SIGUSR1).unwrap(); 4096];
        let fd = WRITE_END.load(Ordering::Relaxed);
        // SAFETY: the pipe's own end, which is never closed.
        while rustix::io::write(unsafe { BorrowedFd::borrow_raw(fd) }, &full).is_ok() {}
        stranger.signal(Signal::TERM);
        stranger.end();
        while wait_for(&stream) != Signal::TERM {}
        assert_eq!(stream.next().unwrap(), None);
    }

    #[test]
    fn what_comes_before_a_second_stream_is_opened_is_read_from_that() {
        let stranger = Stranger::start();
        drop(SignalStream::open(&[Signal::USR1]).unwrap());
        stranger.signal(Signal::USR1);
        let stream = SignalStream::open(&[Signal::USR1]).unwrap();
        assert_eq!(wait_for(&stream), Signal::USR1);
        stranger.end();
    }

    #[test]
    fn a_number_that_is_no_signal_is_an_error() {
        assert!(SignalStream::open(&[Signal::from_number(4711)]).is_err());
    }
}
