//! What stuck workers were doing: their requests, and the stacks of their threads, as one entry of the
//! log.
//!
//! A worker writes its stacks in a signal handler, piece by piece, into memory that it shares with us:
//! in the log they would mix with what others write there.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use indrik_core::ids::WorkerId;
use indrik_core::supervise::Level;
use rustix::fs::MemfdFlags;

use super::Drive;
use crate::front::Running;

/// Between the signal and the look at what was written. Less than the supervisor waits before it
/// aborts the worker.
const WRITE_TIME: Duration = Duration::from_millis(150);
/// How much of the stacks is logged; a hundred deep ones.
const STACKS_BYTES_MAX: usize = 256 * 1024;
/// How many of a worker's requests are named.
const REQUESTS_MAX: usize = 50;

/// Where a worker writes its stacks.
pub(super) struct Stacks(File);

/// Workers that were asked, with what they had to do then, and when their answer is there.
#[derive(Default)]
pub(super) struct Asked(BTreeMap<WorkerId, (Instant, Vec<Running>)>);

impl Asked {
    /// When the next answer is to be read.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.values().map(|(due, _)| *due).min()
    }
}

impl Stacks {
    /// The memory: our end, and the worker's.
    pub(super) fn create() -> io::Result<(Self, OwnedFd)> {
        let ours = rustix::fs::memfd_create("indrik-stacks", MemfdFlags::CLOEXEC)?;
        let theirs = ours.try_clone()?;
        Ok((Self(File::from(ours)), theirs))
    }

    /// Takes what was written.
    fn take(&mut self) -> io::Result<String> {
        let len = usize::try_from(self.0.metadata()?.len()).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len.min(STACKS_BYTES_MAX)];
        self.0.read_exact_at(&mut bytes, 0)?;
        self.0.set_len(0)?;
        self.0.seek(SeekFrom::Start(0))?;
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        if len > STACKS_BYTES_MAX {
            let _ = write!(text, "\n[... {} bytes left out ...]", len - STACKS_BYTES_MAX);
        }
        Ok(text)
    }
}

impl Drive {
    /// A worker is about to be told to write its stacks.
    pub(super) fn ask_for_stacks(&mut self, id: WorkerId) {
        let requests = self.front.as_ref().map(|front| front.running(id, REQUESTS_MAX));
        let due = Instant::now() + WRITE_TIME;
        self.asked.0.insert(id, (due, requests.unwrap_or_default()));
    }

    /// Logs the answers that are there by now.
    pub(super) fn write_stacks(&mut self, now: Instant) {
        while let Some(id) =
            self.asked.0.iter().find(|(_, (due, _))| *due <= now).map(|(id, _)| *id)
        {
            self.write_stacks_of(id);
        }
    }

    /// Logs a worker's answer, if it was asked.
    pub(super) fn write_stacks_of(&mut self, id: WorkerId) {
        let Some((_, requests)) = self.asked.0.remove(&id) else { return };
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let Some(pid) = worker.child.as_ref().map(indrik_sys::process::Child::pid) else { return };
        let stacks = worker.stacks.take().unwrap_or_else(|error| format!("not readable: {error}"));
        self.log.write_about(Level::Critical, pid, &entry(pid, &requests, &stacks));
    }
}

fn entry(pid: u32, requests: &[Running], stacks: &str) -> String {
    let mut text = format!("What worker (pid:{pid}) was doing:");
    for request in requests {
        let Running { method, target, client, age_us, is_over, is_answered } = request;
        let age = (age_us / 1_000) as f64 / 1_000.0;
        let client = if client.is_empty() { "a local client" } else { client };
        let over = match (is_over, is_answered) {
            (true, _) => ", answered 504",
            (false, true) => ", its answer has begun",
            (false, false) => "",
        };
        let _ = write!(text, "\n  {method} {target} from {client}, for {age} s{over}");
    }
    let stacks = stacks.trim_end();
    let stacks = if stacks.is_empty() { "its threads did not answer" } else { stacks };
    text.push('\n');
    text.push_str(stacks);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_names_the_requests_and_shows_the_stacks() {
        let request = |client: &str, is_over| Running {
            method: "GET".to_owned(),
            target: "/slow?a=1".to_owned(),
            client: client.to_owned(),
            age_us: 5_213_400,
            is_over,
            is_answered: !is_over,
        };
        let requests = [request("10.0.0.1", true), request("", false)];
        assert_eq!(
            entry(7, &requests, "Thread 0x1 (most recent call first):\n  File \"a.py\"\n"),
            "What worker (pid:7) was doing:\n  GET /slow?a=1 from 10.0.0.1, for 5.213 s, answered 504\n  \
             GET /slow?a=1 from a local client, for 5.213 s, its answer has begun\nThread 0x1 (most recent call first):\n  \
             File \"a.py\""
        );
        assert!(entry(7, &[], "").ends_with("\nits threads did not answer"));
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
