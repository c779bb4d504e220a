//! What stuck workers were doing: their requests, and the stacks of their threads, as one entry of the
//! log.

use std::fmt::Write;
use std::time::{Duration, Instant};

use indrik_core::ids::WorkerId;
use indrik_core::logs::level::Level;

use super::parts::{Drive, SHOW_STACKS, Why, Worker};
use crate::front::{Flown, Running};

/// Between the signal and the look at what was written. Less than the supervisor waits before it
/// aborts the worker.
const WRITE_TIME: Duration = Duration::from_millis(150);
/// How much of its worker's stacks is logged with a slow request.
const SLOW_STACKS_BYTES_MAX: usize = 16 * 1024;
/// How many of a worker's requests are named.
const REQUESTS_MAX: usize = 50;
/// How many of those that it had before.
const FLOWN_MAX: usize = 16;

impl Drive {
    /// A worker is about to be told to write its stacks.
    pub(super) fn ask_for_stacks(&mut self, id: WorkerId) {
        let requests = self.front.as_ref().map(|front| front.running(id, REQUESTS_MAX));
        let due = Instant::now() + WRITE_TIME;
        if let Some(worker) = self.children.workers.get_mut(&id) {
            let why = Why::Stuck(requests.unwrap_or_default());
            let before = worker.stacks.asked.replace((due, why));
            // What it has written so far is part of what comes.
            if let (Some((_, Why::Slow(text))), Some(child)) = (before, &worker.child) {
                self.log.write_about(Level::Warning, child.pid(), &text);
            }
        }
    }

    /// A request takes long in a worker: that is logged with what the worker does just now.
    pub(super) fn show_slow(&mut self, id: WorkerId, text: String) {
        let Some(worker) = self.children.workers.get_mut(&id) else {
            return self.log.write(Level::Warning, &text);
        };
        // One answer at a time: nobody could tell two apart.
        let is_free = worker.stacks.is_free(Instant::now());
        let Some(child) = &worker.child else { return };
        if !is_free || child.signal(SHOW_STACKS).is_err() {
            return self.log.write_about(Level::Warning, child.pid(), &text);
        }
        worker.stacks.asked = Some((Instant::now() + WRITE_TIME, Why::Slow(text)));
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
        let is_ours = |(_, why): &mut (Instant, Why)| !matches!(why, Why::Look);
        let Some((_, why)) = worker.stacks.asked.take_if(is_ours) else { return };
        let Some(pid) = worker.child.as_ref().map(indrik_sys::process::Child::pid) else { return };
        let stacks = worker.stacks.take().unwrap_or_else(|error| format!("not readable: {error}"));
        match why {
            Why::Stuck(requests) => {
                self.log.write_about(Level::Critical, pid, &entry(pid, &requests, &stacks));
            }
            Why::Slow(text) => {
                let stacks = shortened(stacks.trim_end());
                self.log.write_about(Level::Warning, pid, &format!("{text}\n{stacks}"));
            }
            Why::Look => {}
        }
    }
}

impl Drive {
    /// A worker has ended: what it had, and had had before, one line each. If nobody had told it to, that is logged:
    /// it may have ended it.
    pub(super) fn name_requests(&self, id: WorkerId) -> Vec<String> {
        let unasked = self.machine.views().any(|view| view.id == id && view.end.is_none());
        let Some((front, pid)) = self.front.as_ref().zip(self.children.worker_pid(id)) else {
            return Vec::new();
        };
        let (running, flown) = (front.running(id, REQUESTS_MAX), front.flown(id, FLOWN_MAX));
        let (level, how) = match (running.is_empty(), flown.is_empty()) {
            (false, _) => (Level::Error, "with requests in it:"),
            (true, false) => (Level::Warning, "with no request in it"),
            (true, true) => return Vec::new(),
        };
        let (running, flown) = (list(&running), list_flown(&flown));
        if unasked {
            let text = format!("Worker {id} (pid:{pid}) ended {how}{running}{flown}");
            self.log.write(level, &text);
        }
        let lines = running.lines().chain(flown.lines().filter(|line| !line.ends_with(':')));
        lines.map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }
}

/// What is logged of a slow request's stacks.
fn shortened(stacks: &str) -> &str {
    let most = stacks.floor_char_boundary(SLOW_STACKS_BYTES_MAX);
    if stacks.is_empty() { "its threads did not answer" } else { &stacks[..most] }
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
        let Running { method, target, client, age_us, is_over, is_answered, route, .. } = request;
        let route = route.as_deref().map_or_else(String::new, |route| format!(" (route {route})"));
        let age = (age_us / 1_000) as f64 / 1_000.0;
        let client = if client.is_empty() { "a local client" } else { client };
        let over = match (is_over, is_answered) {
            (true, _) => ", answered 504",
            (false, true) => ", its answer has begun",
            (false, false) => "",
        };
        let _ = write!(text, "\n  {method} {target}{route} from {client}, for {age} s{over}");
    }
    text
}

/// What a worker had before it ended; nothing, if that was nothing.
fn list_flown(requests: &[Flown]) -> String {
    let mut text = String::new();
    if !requests.is_empty() {
        text.push_str("\n  before, the last first:");
    }
    for request in requests {
        let Flown { method, target, client, route, status, app_us, is_answered } = request;
        let what = match method.is_empty() {
            true => "a request that was written over".to_owned(),
            false => format!("{method} {target}"),
        };
        let route = route.as_deref().map_or_else(String::new, |route| format!(" (route {route})"));
        let client = if client.is_empty() { "a local client" } else { client };
        let answer = match (status, is_answered) {
            (Some(status), _) => format!(", answered {status}"),
            (None, true) => ", answered".to_owned(),
            (None, false) => String::new(),
        };
        let took = app_us.map_or_else(String::new, |us| format!(" in {} ms", f64::from(us) / 1e3));
        let _ = write!(text, "\n  {what}{route} from {client}{answer}{took}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_names_the_requests_and_shows_the_stacks() {
        let request = |client: &str, is_over: bool| Running {
            place: (0, 0),
            method: "GET".to_owned(),
            target: "/slow?a=1".to_owned(),
            route: is_over.then(|| "/slow".to_owned()),
            client: client.to_owned(),
            age_us: 5_213_400,
            is_over,
            is_answered: !is_over,
            waits_for_client: false,
        };
        let requests = [request("10.0.0.1", true), request("", false)];
        assert_eq!(
            entry(7, &requests, "Thread 0x1 (most recent call first):\n  File \"a.py\"\n"),
            "What worker (pid:7) was doing:\n  GET /slow?a=1 (route /slow) from 10.0.0.1, for 5.213 s, answered 504\n  \
             GET /slow?a=1 from a local client, for 5.213 s, its answer has begun\nThread 0x1 (most recent call first):\n  \
             File \"a.py\""
        );
        assert!(entry(7, &[], "").ends_with("\nits threads did not answer"));
    }
}
