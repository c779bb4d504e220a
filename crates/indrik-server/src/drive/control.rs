//! The control socket's commands: what each of them reads or makes happen.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use indrik_core::chronicle::{Kind, News};
use indrik_core::control::{Asker, Command, HELP, Request, Show, Stop, more_workers, told};
use indrik_core::logs::level::Level;
use indrik_core::record::Order;
use indrik_core::supervise::{EndReason, Event, OperatorEvent, Signal, UpgradeEvent, WorkerView};
use indrik_sys::clock;
use serde_json::{Value as Json, json};

use super::parts::{Drive, Waiting};
use super::reload::{answer, shown};
use crate::control::{Token, error};
use crate::look::shown_front;

/// Reloads that may be waited for at the same time.
const WAITING_MAX: usize = 64;

/// The settings that `show config` tells: Gunicorn's choice. Others may hold secrets.
const SHOWN_SETTINGS: [&str; 20] = [
    "bind",
    "workers",
    "worker_class",
    "threads",
    "timeout",
    "graceful_timeout",
    "keepalive",
    "max_requests",
    "max_requests_jitter",
    "worker_connections",
    "preload_app",
    "daemon",
    "pidfile",
    "proc_name",
    "reload",
    "dirty_workers",
    "dirty_apps",
    "dirty_timeout",
    "control_socket",
    "control_socket_disable",
];

/// What a command answers, and what is to happen once the answer is on its way.
pub(super) type Done = (Json, Option<Event>);

impl Drive {
    /// Serves the clients that have something to say there.
    pub(super) fn take_commands(&mut self, token: Token) {
        let now = Instant::now();
        for (client, asked) in self.outside.control.server.ready(token, now) {
            match asked {
                Ok((request, asker)) => self.take_command(client, request, &asker, now),
                Err(why) => self.outside.control.server.refuse(client, &why, now),
            }
        }
        self.call_off_looks();
    }

    fn take_command(&mut self, client: u64, request: Request, asker: &Asker, now: Instant) {
        let Request { id, words } = request;
        let command = match Command::parse(&words) {
            Ok(command) => command,
            Err(why) => {
                return self.outside.control.server.answer(client, &error(id, &why), now);
            }
        };
        let is_change = command.changes();
        if is_change && is_answered_later(&command) {
            self.note_asked(asker, &words.join(" "), "begun");
        }
        let done = match command {
            Command::ReloadAndWait => return self.reload_and_wait(client, id, now),
            Command::Inside(inside) => return self.look_inside(client, id, inside, now),
            Command::TestAlerts => return self.test_alerts(client, id, now),
            Command::Upgrade => return self.upgrade_and_wait(client, id, now),
            Command::Record(order) => return self.record(client, &id, order, now),
            command => asker.may(&command).and_then(|()| self.command(command)),
        };
        if is_change {
            self.note_asked(
                asker,
                &words.join(" "),
                &done.as_ref().map_or_else(Clone::clone, result),
            );
        }
        let (answer, event) = match done {
            Ok((data, event)) => (json!({"id": id, "status": "ok", "data": data}), event),
            Err(why) => (error(id, &why), None),
        };
        // First the answer: the event may be the end of this process.
        self.outside.control.server.answer(client, &answer, now);
        if let Some(event) = event {
            self.feed(event);
        }
    }

    /// Who has asked for what, and what came of it: in the log and in the chronicle. Written by whoever does it, before
    /// it can be the end of this process.
    pub(super) fn note_asked(&self, asker: &Asker, what: &str, result: &str) {
        let text = told(&asker.name, what, result);
        self.log.audit(&format!("Admin: {text}"));
        self.outside.admin.board.enter(News::of(Kind::Operator, text));
    }

    /// Asks for a reload; the answer comes when it is over.
    fn reload_and_wait(&mut self, client: u64, id: Json, now: Instant) {
        if self.outside.control.waiting.len() >= WAITING_MAX {
            let why = format!("{WAITING_MAX} clients wait for a reload already");
            return self.outside.control.server.answer(client, &error(id, &why), now);
        }
        let before = self.machine.last_reload().map(|outcome| outcome.generation);
        self.feed(Event::Operator(OperatorEvent::Signal(Signal::Hup)));
        if let Some(generation) = self.machine.reload_awaited() {
            self.outside.control.server.have_wait(client, now);
            self.outside.control.waiting.push(Waiting { client, id, generation });
            return;
        }
        let ended = self.machine.last_reload().filter(|it| Some(it.generation) != before).cloned();
        let answer = match ended {
            Some(outcome) => answer(&id, &outcome),
            None => error(id, "the server is shutting down"),
        };
        self.outside.control.server.answer(client, &answer, now);
    }

    /// A client of the control socket wants an upgrade; it is answered when that has ended.
    fn upgrade_and_wait(&mut self, client: u64, id: Json, now: Instant) {
        let why = match self.machine.may_upgrade() {
            _ if std::process::id() == 1 => "this server is the first process of its container, \
                which ends with it: replace the container"
                .to_owned(),
            Err(why) => format!("a new master cannot be started now: {why}"),
            Ok(()) => {
                self.outside.control.server.have_wait(client, now);
                self.outside.control.upgraders.push((client, id));
                return self.feed(Event::Upgrade(UpgradeEvent::Wanted));
            }
        };
        let data = json!({"success": false, "error": why});
        let answer = json!({"id": id, "status": "ok", "data": data});
        self.outside.control.server.answer(client, &answer, now);
    }

    /// Records requests; the client's connection is that of the recording from then on.
    fn record(&mut self, client: u64, id: &Json, order: Order, now: Instant) {
        let Some(front) = &self.front else {
            let why = "no requests are served yet";
            return self.outside.control.server.answer(client, &error(id.clone(), why), now);
        };
        if front.is_recording() {
            let why = "requests are recorded already; wait for the end of that, or stop it";
            return self.outside.control.server.answer(client, &error(id.clone(), why), now);
        }
        let answer = json!({"id": id, "status": "ok", "data": {"status": "recording"}});
        self.outside.control.server.answer(client, &answer, now);
        let Some(stream) = self.outside.control.server.give_away(client) else { return };
        let at = SystemTime::now();
        let began = clock::local(at).iso(clock::millis(at));
        let workers = self.machine.census().wanted;
        let (level, text) = match front.record(order, stream, (&began, workers)) {
            Ok(()) => (Level::Info, format!("Requests are recorded: {}", order.words())),
            Err(error) => (Level::Warning, format!("Requests are not recorded: {error}")),
        };
        self.log.write(level, &text);
    }

    /// Does it; the error is that of a command that asks for more than there may be.
    pub(super) fn command(&mut self, command: Command) -> Result<Done, String> {
        Ok(match command {
            Command::Upgrade => {
                (json!({"status": "upgrading"}), Some(Event::Upgrade(UpgradeEvent::Wanted)))
            }
            Command::Show(what) => (self.show(what), None),
            Command::AddWorkers(count) => {
                let wanted = more_workers(self.machine.census().wanted, count)?;
                let (previous, total) = self.resize(|_| wanted);
                let added = total.saturating_sub(previous);
                (json!({"added": added, "previous": previous, "total": total}), None)
            }
            Command::RemoveWorkers(count) => {
                let (previous, total) = self.resize(|wanted| wanted.saturating_sub(count));
                let removed = previous.saturating_sub(total);
                (json!({"removed": removed, "previous": previous, "total": total}), None)
            }
            Command::ReplaceWorker(pid) => self.replace_worker(pid),
            Command::Scale(scale) => (self.scale(scale)?, None),
            Command::Recycle(whom) => (self.replace(whom, false)?, None),
            Command::Restart(whom) => (self.replace(whom, true)?, None),
            Command::Pause(most) => (self.hold(most)?, None),
            Command::Resume => (self.resume(), None),
            Command::Maintenance(order) => (self.maintain(order)?, None),
            Command::Dirty => {
                (json!({"success": false, "error": "Dirty arbiter not running"}), None)
            }
            Command::TestAlerts => {
                return Err(
                    "a test is answered on the control socket: indrik alerts --test".to_owned()
                );
            }
            Command::Inside(_) => return Err("this is answered later".to_owned()),
            Command::Record(_) => {
                return Err("a recording is sent on the control socket: indrik record".to_owned());
            }
            // The other one is answered later.
            Command::Reload | Command::ReloadAndWait => {
                (json!({"status": "reloading"}), signal(Signal::Hup))
            }
            Command::Reopen => (json!({"status": "reopening"}), signal(Signal::Usr1)),
            Command::ShutDown(Stop::Graceful) => {
                (json!({"status": "shutting_down", "mode": "graceful"}), signal(Signal::Term))
            }
            Command::ShutDown(Stop::Quick) => {
                (json!({"status": "shutting_down", "mode": "quick"}), signal(Signal::Int))
            }
            Command::Help => (json!({"commands": BTreeMap::from(HELP)}), None),
        })
    }

    /// Workers wanted before and after.
    fn resize(&mut self, change: impl Fn(u32) -> u32) -> (u32, u32) {
        let previous = self.machine.census().wanted;
        self.feed(Event::Operator(OperatorEvent::WantWorkers(change(previous))));
        (previous, self.machine.census().wanted)
    }

    fn replace_worker(&self, pid: u32) -> Done {
        match self.machine.views().find(|view| view.pid == Some(pid)) {
            Some(view) => {
                let event = Event::Operator(OperatorEvent::ReplaceWorker { worker: view.id });
                (json!({"success": true, "killed": pid}), Some(event))
            }
            None => {
                let why = format!("Worker {pid} not found");
                (json!({"success": false, "error": why}), None)
            }
        }
    }

    fn show(&self, what: Show) -> Json {
        match what {
            Show::Health => self.shown_health(),
            Show::All => self.show_all(),
            Show::Workers => {
                let workers = self.shown_workers();
                json!({"count": workers.len(), "workers": workers})
            }
            Show::Dirty => json!({"enabled": false, "pid": null, "workers": [], "apps": []}),
            Show::Config => self.show_config(),
            Show::Stats => self.show_stats(),
            Show::Memory => self.show_memory(),
            Show::Look => self.show_sight(self.show_stats(), self.shown_workers()),
            Show::Events(since) => self.show_events(since),
            Show::Alerts => self.outside.admin.board.alerts().json(),
            Show::Log(since) => self.log.recent(since),
            Show::Listeners => {
                let listeners = &self.outside.control.listeners;
                json!({"count": listeners.len(), "listeners": listeners})
            }
        }
    }

    fn show_all(&self) -> Json {
        let mut workers = self.shown_workers();
        for worker in &mut workers {
            worker["type"] = "web".into();
        }
        json!({
            "arbiter": {"pid": std::process::id(), "type": "arbiter", "role": "master"},
            "web_worker_count": workers.len(),
            "web_workers": workers,
            "dirty_arbiter": null,
            "dirty_workers": [],
            "dirty_worker_count": 0,
            "health": self.shown_health(),
        })
    }

    /// Gunicorn's fields, and generation, state and requests of ours.
    fn shown_workers(&self) -> Vec<Json> {
        let loads = self.front.as_ref().map(crate::front::Front::loads).unwrap_or_default();
        let shown = |view: WorkerView| {
            let load = loads.get(&view.id);
            json!({
                "pid": view.pid,
                "age": view.id.0,
                "booted": view.booted,
                "aborted": view.aborted,
                "last_heartbeat": view.beat_at.map(|at| hundredths(self.events.now().saturating_sub(at))),
                "generation": view.generation.0,
                "state": view.state,
                "place": view.place,
                "started_for": view.start.word(),
                "ends_for": view.end.map(EndReason::word),
                "uptime_s": hundredths(self.events.now().saturating_sub(view.born)),
                "rss_bytes": self.shown_rss(view.pid),
                "requests": load.map_or(0, |load| load.served),
                "in_flight": load.map_or(0, |load| load.in_flight),
                "event_loop_blocked_s": load.map_or(0.0, |load| micros(load.blocked.loop_us)),
                "gil_wait_s": load.map_or(0.0, |load| micros(load.blocked.gil_us)),
                "blocked_by": self.front.as_ref().and_then(|front| front.blocked_by(view.id)),
            })
        };
        // One whose fork is under way is no process yet.
        self.machine.views().filter(|view| view.pid.is_some()).map(shown).collect()
    }

    fn show_stats(&self) -> Json {
        let (census, totals) = (self.machine.census(), self.machine.totals());
        let mut stats = json!({
            "uptime": hundredths(self.events.now()),
            "pid": std::process::id(),
            "workers_current": census.processes,
            "workers_target": census.wanted,
            "workers_spawned": totals.spawned,
            "workers_killed": totals.ended,
            "reloads": totals.reloads,
            "dirty_arbiter_pid": null,
            "generation": census.generation.0,
            "workers_ready": census.ready,
            "reloading": census.reloading,
            "serving": census.serving,
            "health": self.shown_health(),
            "last_reload": self.machine.last_reload().map(shown),
            "memory": super::memory::shown(),
            "starts": self.machine.accounts().starts_by_word(),
            "ends": self.machine.accounts().ends_by_word(),
        });
        if let Some(successor) = self.machine.handed_over_to() {
            stats["handed_over_to"] = successor.into();
        }
        let front = self.front.as_ref().map(|front| shown_front(&front.stats()));
        if let (Some(stats), Some(Json::Object(front))) = (stats.as_object_mut(), front) {
            stats.extend(front);
        }
        stats
    }

    fn show_config(&self) -> Json {
        let current = self.generations.config(self.machine.census().generation);
        let Some(config) = current else { return json!({}) };
        let all = serde_json::to_value(&**config).unwrap_or_default();
        let shown = SHOWN_SETTINGS.iter().map(|name| {
            let value = match *name {
                "bind" => config.bind.iter().map(ToString::to_string).collect::<Vec<_>>().into(),
                "dirty_workers" => 0.into(),
                "dirty_apps" => json!([]),
                "dirty_timeout" => 300.into(),
                name => plain(all.get(name).cloned().unwrap_or_default()),
            };
            ((*name).to_owned(), value)
        });
        Json::Object(shown.collect())
    }
}

/// Its end is told to whoever waits for it.
fn is_answered_later(command: &Command) -> bool {
    matches!(
        command,
        Command::ReloadAndWait
            | Command::Upgrade
            | Command::Record(_)
            | Command::Inside(_)
            | Command::TestAlerts
    )
}

/// What came of a command, in a few words: Gunicorn's word for failure stands in an answer that is well formed.
pub(super) fn result((data, _): &Done) -> String {
    match data.get("success") {
        Some(Json::Bool(false)) => {
            data.get("error").and_then(Json::as_str).unwrap_or("it cannot be done").to_owned()
        }
        Some(_) | None => "done".to_owned(),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the second half of what a command does")]
fn signal(signal: Signal) -> Option<Event> {
    Some(Event::Operator(OperatorEvent::Signal(signal)))
}

/// Seconds, from microseconds that a worker has counted.
fn micros(us: u64) -> f64 {
    (us / 1_000) as f64 / 1e3
}

/// Seconds, as people want to read them.
fn hundredths(time: Duration) -> f64 {
    (time.as_secs_f64() * 100.0).round() / 100.0
}

/// A whole number of seconds without the point, as users write it.
fn plain(value: Json) -> Json {
    const WHOLE_MAX: f64 = 1e15;
    match value.as_f64() {
        Some(number) if value.is_f64() && number.fract() == 0.0 && number.abs() < WHOLE_MAX => {
            format!("{number:.0}").parse::<i64>().map_or(value, Json::from)
        }
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_seconds_are_shown_as_whole_numbers() {
        assert_eq!(plain(json!(30.0)), json!(30));
        assert_eq!(plain(json!(0.5)), json!(0.5));
        assert_eq!(plain(json!("30.0")), json!("30.0"));
        assert_eq!(plain(json!(null)), json!(null));
    }
}
