//! Everything at one moment, as the command `show look` tells it: the server, its workers, and what they run.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use indrik_core::ids::WorkerId;
use indrik_core::supervise::WorkerView;
use indrik_sys::memory;
use serde_json::{Value as Json, json};

use super::parts::Drive;
use crate::front::{Front, Running, Where};
use crate::look::shown_findings;

/// Requests in flight that are shown of one worker, and of all together.
const SHOWN_OF_WORKER_MAX: usize = 32;
const SHOWN_MAX: usize = 512;
/// Workers whose processor time is read: with more it would keep the loop.
const CPU_READ_MAX: usize = 128;

impl Drive {
    /// The moment, the server and its workers: what is shown of both, and what goes beyond.
    pub(super) fn show_sight(&self, mut look: Json, mut workers: Vec<Json>) -> Json {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        look["at"] = at.as_secs_f64().into();
        look["server"] = self.shown_identity();
        look["alerts"] = self.outside.admin.board.alerts().json();
        look["steering"] = self.shown_steering();
        look["front_cpu_ticks"] = cpu_ticks(std::process::id()).into();
        let cpus = indrik_sys::cpus::available();
        look["cpus"] = cpus.into();
        let mut left = SHOWN_MAX;
        let views: Vec<WorkerView> =
            self.machine.views().filter(|view| view.pid.is_some()).collect();
        let read_cpu = views.len() <= CPU_READ_MAX;
        let loads = self.front.as_ref().map(Front::loads).unwrap_or_default();
        let config = self.generations.config(self.machine.census().generation);
        let class = config.map(|config| config.worker_class.to_string()).unwrap_or_default();
        // Greenlets share one loop.
        let is_green = ["gevent", "eventlet"].iter().any(|name| class.contains(name));
        look["findings"] = shown_findings(self.outside.admin.board.findings().as_deref());
        look["oldest_wait_s"] = self.oldest_wait().into();
        for (worker, view) in workers.iter_mut().zip(views) {
            if let (true, Some(pid)) = (read_cpu, view.pid) {
                worker["cpu_ticks"] = cpu_ticks(pid).into();
            }
            let load = loads.get(&view.id);
            worker["capacity"] = load.map(|load| load.capacity).into();
            worker["has_loop"] = load.is_some_and(|load| load.is_asgi || is_green).into();
            let running = self.running_in(view.id, left.min(SHOWN_OF_WORKER_MAX));
            left -= running.len();
            worker["running"] = running.into();
        }
        look["workers"] = workers.into();
        if let Some(admin) = &self.outside.admin.thread {
            look["lately"] = serde_json::to_value(admin.summary()).unwrap_or_default();
        }
        look
    }

    /// How long the request has waited that waits for longest.
    fn oldest_wait(&self) -> Option<f64> {
        let front = self.front.as_ref().filter(|front| front.stats().waiting > 0)?;
        let all = front.eye().in_flight();
        all.iter()
            .find(|request| request.phase == Where::Queue)
            .map(|request| micros(request.age_us))
    }

    /// What happened from that number on, and the number of what comes next.
    pub(super) fn show_events(&self, since: u64) -> Json {
        let entries = self.outside.admin.board.after(since.saturating_sub(1));
        let next = entries.last().map_or(since, |entry| entry.number + 1);
        let entries: Vec<_> = entries.iter().map(|entry| &**entry).collect();
        json!({"pid": std::process::id(), "entries": entries, "next": next})
    }

    /// What tells this server from others.
    fn shown_identity(&self) -> Json {
        let config = self.generations.config(self.machine.census().generation);
        let addresses = self.outside.control.listeners.iter().map(|listener| &listener["address"]);
        json!({
            "pid": std::process::id(),
            "version": env!("CARGO_PKG_VERSION"),
            "application": config.map(|config| config.wsgi_app.as_str()),
            "title": config.map(|config| config.title()),
            "directory": config.map(|config| self.launch.cwd.join(&config.chdir)),
            "addresses": addresses.collect::<Vec<_>>(),
            "pid_file": self.outside.pid_file.as_ref().map(|file| file.path().display().to_string()),
            "threads": config.map(|config| config.threads),
            "worker_class": config.map(|config| config.worker_class.to_string()),
            "queue_requests_max": config.map(|config| config.queue_requests_max),
        })
    }

    fn running_in(&self, id: WorkerId, most: usize) -> Vec<Json> {
        let running = self.front.as_ref().map(|front| Front::running(front, id, most));
        running.unwrap_or_default().into_iter().map(shown).collect()
    }
}

fn shown(running: Running) -> Json {
    json!({
        "method": running.method,
        "target": running.target,
        "route": running.route,
        "client": running.client,
        "age_s": micros(running.age_us),
        "timed_out": running.is_over,
        "answer_begun": running.is_answered,
        "waits_for_client": running.waits_for_client,
    })
}

#[expect(clippy::cast_precision_loss, reason = "a time that is shown")]
fn micros(time: u64) -> f64 {
    time as f64 / 1e6
}

/// Processor time of a process, in the kernel's hundredths of a second.
fn cpu_ticks(pid: u32) -> Option<u64> {
    let text = memory::file(Path::new(&format!("/proc/{pid}/stat")))?;
    // The name before it may hold anything, a parenthesis too.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_time_of_a_process_grows_as_it_works() {
        let before = cpu_ticks(std::process::id()).unwrap();
        let mut sum = 0_u64;
        while cpu_ticks(std::process::id()).unwrap() == before {
            sum = (0..100_000_u64).fold(sum, |sum, number| sum ^ number.wrapping_mul(sum | 1));
        }
        assert!(std::hint::black_box(sum) < u64::MAX);
        assert_eq!(cpu_ticks(0), None);
    }
}
