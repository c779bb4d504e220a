//! Where a worker writes what its threads are doing.
//!
//! It does so in a signal handler, piece by piece, into memory that it shares with us: in the log the pieces would
//! mix with what others write there.

use std::fmt::Write;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use indrik_sys::signal::Signal;
use rustix::fs::MemfdFlags;

use crate::front::Running;

/// How much of the stacks is logged; a hundred deep ones.
const STACKS_BYTES_MAX: usize = 256 * 1024;

/// A look that has not read its answer so long after that was there has been called off.
const LEFT_AFTER: Duration = Duration::from_secs(1);

/// `indrik/worker.py` has the stacks written at it.
pub(crate) const SHOW_STACKS: Signal = Signal::STKFLT;

/// Where a worker writes its stacks.
pub(crate) struct Stacks {
    memory: File,
    /// It was asked: when its answer is there, and why.
    pub(crate) asked: Option<(Instant, Why)>,
}

/// Why a worker was asked what its threads are doing.
pub(crate) enum Why {
    /// It is stuck; what it had to do.
    Stuck(Vec<Running>),
    /// A request takes long; what is said of that.
    Slow(String),
    /// A look into it, that asks itself when the answer is there.
    Look,
}

impl Stacks {
    /// The memory: our end, and the worker's.
    pub(crate) fn create() -> io::Result<(Self, OwnedFd)> {
        let ours = rustix::fs::memfd_create("indrik-stacks", MemfdFlags::CLOEXEC)?;
        let theirs = ours.try_clone()?;
        Ok((Self { memory: File::from(ours), asked: None }, theirs))
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        self.asked.as_ref().filter(|(_, why)| !matches!(why, Why::Look)).map(|(due, _)| *due)
    }

    /// Whether somebody can have it written now. A look that nobody waits for any more keeps nobody out.
    pub(crate) fn is_free(&mut self, now: Instant) -> bool {
        let is_left =
            |(due, why): &mut (Instant, Why)| matches!(why, Why::Look) && *due + LEFT_AFTER <= now;
        if self.asked.take_if(is_left).is_some() {
            // What was written for it is nobody's.
            let _ = self.take();
        }
        self.asked.is_none()
    }

    /// Takes what was written.
    pub(crate) fn take(&mut self) -> io::Result<String> {
        let len = usize::try_from(self.memory.metadata()?.len()).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len.min(STACKS_BYTES_MAX)];
        self.memory.read_exact_at(&mut bytes, 0)?;
        self.memory.set_len(0)?;
        self.memory.seek(SeekFrom::Start(0))?;
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        if len > STACKS_BYTES_MAX {
            let _ = write!(text, "\n[... {} bytes left out ...]", len - STACKS_BYTES_MAX);
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_was_called_off_keeps_nobody_out_and_leaves_nothing_behind() {
        use std::io::Write as _;
        let (mut ours, theirs) = Stacks::create().unwrap();
        let now = Instant::now();
        ours.asked = Some((now, Why::Look));
        assert!(ours.due().is_none(), "the log does not read it");
        File::from(theirs).write_all(b"late").unwrap();
        assert!(!ours.is_free(now), "its answer is not read yet");
        assert!(ours.is_free(now + LEFT_AFTER));
        assert_eq!(ours.take().unwrap(), "");
        ours.asked = Some((now, Why::Slow(String::new())));
        assert!(!ours.is_free(now + LEFT_AFTER));
    }

    #[test]
    fn what_was_written_is_taken_once_and_cut_where_it_is_too_long() {
        use std::io::Write as _;
        let (mut ours, theirs) = Stacks::create().unwrap();
        let mut theirs = File::from(theirs);
        theirs.write_all(b"first").unwrap();
        assert_eq!(ours.take().unwrap(), "first");
        assert_eq!(ours.take().unwrap(), "");
        theirs.write_all(&vec![b'x'; STACKS_BYTES_MAX + 9]).unwrap();
        assert!(ours.take().unwrap().ends_with("x\n[... 9 bytes left out ...]"));
        theirs.write_all(b"next").unwrap();
        assert_eq!(ours.take().unwrap(), "next");
    }
}
