//! What stuck workers were doing: their requests, and the stacks of their threads, as one entry of the
//! log.
//!
//! A worker writes its stacks in a signal handler, piece by piece, into memory that it shares with us:
//! in the log they would mix with what others write there.

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
use super::workers::Worker;
use crate::front::Running;

/// Between the signal and the look at what was written. Less than the supervisor waits before it
/// aborts the worker.
const WRITE_TIME: Duration = Duration::from_millis(150);
/// How much of the stacks is logged; a hundred deep ones.
const STACKS_BYTES_MAX: usize = 256 * 1024;
/// How many of a worker's requests are named.
const REQUESTS_MAX: usize = 50;

/// Where a worker writes its stacks.
pub(super) struct Stacks {
    memory: File,
    /// It was asked: when its answer is there, and what it had to do then.
    asked: Option<(Instant, Vec<Running>)>,
}

impl Stacks {
    /// The memory: our end, and the worker's.
    pub(super) fn create() -> io::Result<(Self, OwnedFd)> {
        let ours = rustix::fs::memfd_create("indrik-stacks", MemfdFlags::CLOEXEC)?;
        let theirs = ours.try_clone()?;
        Ok((Self { memory: File::from(ours), asked: None }, theirs))
    }

    fn due(&self) -> Option<Instant> {
        self.asked.as_ref().map(|(due, _)| *due)
    }

    /// Takes what was written.
    fn take(&mut self) -> io::Result<String> {
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

impl Drive {
    /// A worker is about to be told to write its stacks.
    pub(super) fn ask_for_stacks(&mut self, id: WorkerId) {
        let requests = self.front.as_ref().map(|front| front.running(id, REQUESTS_MAX));
        let due = Instant::now() + WRITE_TIME;
        if let Some(worker) = self.children.workers.get_mut(&id) {
            worker.stacks.asked = Some((due, requests.unwrap_or_default()));
        }
    }

    /// When the next answer is to be read.
    pub(super) fn stacks_due(&self) -> Option<Instant> {
        self.children.workers.values().filter_map(|worker| worker.stacks.due()).min()
    }

    /// Logs the answers that are there by now.
    pub(super) fn write_stacks(&mut self, now: Instant) {
        let is_due = |worker: &Worker| worker.stacks.due().is_some_and(|due| due <= now);
        let workers = self.children.workers.iter();
        let due: Vec<WorkerId> =
            workers.filter(|(_, worker)| is_due(worker)).map(|(id, _)| *id).collect();
        for id in due {
            self.write_stacks_of(id);
        }
    }

    /// Logs a worker's answer, if it was asked.
    pub(super) fn write_stacks_of(&mut self, id: WorkerId) {
        let Some(worker) = self.children.workers.get_mut(&id) else { return };
        let Some((_, requests)) = worker.stacks.asked.take() else { return };
        let Some(pid) = worker.child.as_ref().map(indrik_sys::process::Child::pid) else { return };
        let stacks = worker.stacks.take().unwrap_or_else(|error| format!("not readable: {error}"));
        self.log.write_about(Level::Critical, pid, &entry(pid, &requests, &stacks));
    }
}

impl Drive {
    /// A worker has ended that nobody had told to: what it was doing may have ended it.
    pub(super) fn name_requests(&self, id: WorkerId) {
        let unasked = self.machine.views().any(|view| view.id == id && view.end.is_none());
        let Some((front, pid)) = self.front.as_ref().zip(self.children.worker_pid(id)) else {
            return;
        };
        let requests = front.running(id, REQUESTS_MAX);
        if unasked && !requests.is_empty() {
            let text =
                format!("Worker {id} (pid:{pid}) ended with requests in it:{}", list(&requests));
            self.log.write(Level::Error, &text);
        }
    }
}

fn entry(pid: u32, requests: &[Running], stacks: &str) -> String {
    let mut text = format!("What worker (pid:{pid}) was doing:");
    text.push_str(&list(requests));
    let stacks = stacks.trim_end();
    let stacks = if stacks.is_empty() { "its threads did not answer" } else { stacks };
    text.push('\n');
    text.push_str(stacks);
    text
}

/// One line for each request, with a line's end before it.
fn list(requests: &[Running]) -> String {
    let mut text = String::new();
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
