//! Leaving the terminal: a process of its own session, and the one before it that waits for word
//! how the start went.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal as _, Read as _, Write as _};

use rustix::fs::Mode;
use rustix::process::{Pid, WaitOptions};

/// The mask of a daemon, as in Gunicorn.
const UMASK: Mode = Mode::from_raw_mode(0o022);

/// Which process the call returned in.
#[derive(Debug)]
pub enum Detached {
    /// The one that the shell waits for: the daemon's word, or `None` if it died without one.
    Foreground(Option<i32>),
    /// The daemon. Its standard streams are still the foreground's.
    Daemon(Word),
}

/// The daemon's word to the process in the foreground.
#[derive(Debug)]
pub struct Word(io::PipeWriter);

impl Word {
    /// Lets the foreground end with this code.
    pub fn give(mut self, code: i32) {
        // It may have been killed meanwhile, and then nobody waits.
        let _ = self.0.write_all(&code.to_ne_bytes());
    }
}

/// Forks twice. The foreground process takes signals again as if nothing had been blocked, so that
/// it can be interrupted, and waits for the daemon's word.
///
/// To be called before this program has started a thread. Those of a preloaded library stay behind.
///
/// # Errors
/// When the system is out of processes or descriptors.
pub fn detach() -> io::Result<Detached> {
    let (read, write) = io::pipe()?;
    // SAFETY: no thread of ours holds a lock; what a preloaded library locks in a thread of its own is
    // the business of its at-fork handlers.
    match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {}
        between => {
            drop(write);
            return wait_for_word(read, between).map(Detached::Foreground);
        }
    }
    drop(read);
    rustix::process::setsid()?;
    // SAFETY: as above.
    match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {}
        _ => leave(0),
    }
    rustix::process::umask(UMASK);
    Ok(Detached::Daemon(Word(write)))
}

fn wait_for_word(mut read: io::PipeReader, between: libc::pid_t) -> io::Result<Option<i32>> {
    crate::signals::forget()?;
    if let Some(pid) = Pid::from_raw(between) {
        // Its only work is to leave.
        let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
    }
    let mut code = [0; 4];
    Ok(read.read_exact(&mut code).ok().map(|()| i32::from_ne_bytes(code)))
}

/// Makes this process's standard streams lead nowhere; with `keep_output`, only input, and output
/// that goes to a terminal.
///
/// # Errors
/// When there is no `/dev/null`.
pub fn close_terminal(keep_output: bool) -> io::Result<()> {
    let nowhere = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nowhere)?;
    if !keep_output || io::stdout().is_terminal() {
        rustix::stdio::dup2_stdout(&nowhere)?;
    }
    if !keep_output || io::stderr().is_terminal() {
        rustix::stdio::dup2_stderr(&nowhere)?;
    }
    Ok(())
}

/// Ends this process without the exit handlers of the program it was forked from.
pub fn leave(code: i32) -> ! {
    // SAFETY: ends the process; nothing of it is used afterwards.
    unsafe { libc::_exit(code) }
}
