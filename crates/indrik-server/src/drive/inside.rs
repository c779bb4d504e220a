//! Looks into workers: an order on the worker's socket, a signal that has it read, and the answer in pieces.
//!
//! Nothing here waits: the client is answered when all workers have said what they had to say, have ended, or have
//! had their time. A client that leaves ends its look. What a worker says may be anything.

use std::time::{Duration, Instant};

use indrik_core::control::inside::{Inside, Mode, Profile, What, Who};
use indrik_core::ids::WorkerId;
use indrik_core::lane::RouteId;
use indrik_core::profile::{Collapsed, read_worker};
use indrik_core::supervise::WorkerView;
use indrik_sys::signal::Signal;
use serde_json::{Value as Json, json};

use super::parts::{Asker, Drive, Look, Part, Stage, Why};
use crate::admin::{No, Reply};
use crate::control::error;
use crate::front::Running;
use crate::zygote::InsideNote;

/// Looks at the same time.
const LOOKS_MAX: usize = 8;
/// How long a worker may take until it has begun.
const BEGIN_MAX: Duration = Duration::from_secs(2);
/// How long it may take beside what was asked for, with its answer.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// How long writing stacks takes in a signal's handler.
const NATIVE_TIME: Duration = Duration::from_millis(300);
/// What workers may say together in one look.
const TEXT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How many of a worker's requests are named.
const REQUESTS_MAX: usize = 1_000;
/// A worker reads orders at it. Ignored where nobody does.
const LOOK: Signal = Signal::WINCH;
/// `indrik/worker.py` has the stacks written at it.
const SHOW_STACKS: Signal = Signal::STKFLT;

const NOT_BACK: &str = "its main thread has not come back to Python for 2 s: it runs code in C, or waits there; \
     if that keeps the interpreter's lock (GIL), no thread of this worker goes on";

const STUCK: &str = "it is taken for stuck: what it does is written to the error log just now";

impl Drive {
    /// A client wants to look into workers; it is answered later.
    pub(super) fn look_inside(&mut self, client: u64, id: Json, inside: Inside, now: Instant) {
        match self.ask_workers(inside, now) {
            Ok((what, parts)) => {
                let asker = Asker::Client(client, id);
                self.outside.control.looks.begin(Look { asker, what, parts });
                self.outside.control.server.have_wait(client, now);
            }
            Err(why) => self.outside.control.server.answer(client, &error(id, &why), now),
        }
        self.end_looks(now);
    }

    /// The same for somebody at the admin listener.
    pub(super) fn look_inside_for(&mut self, reply: Reply, inside: Inside) {
        let now = Instant::now();
        match self.ask_workers(inside, now) {
            Ok((what, parts)) => {
                let asker = Asker::Admin(reply);
                self.outside.control.looks.begin(Look { asker, what, parts });
            }
            Err(why) => reply.give(Err(No::Conflict(why))),
        }
        self.end_looks(now);
    }

    fn ask_workers(&self, inside: Inside, now: Instant) -> Result<(What, Vec<Part>), String> {
        if self.outside.control.looks.jobs.len() >= LOOKS_MAX {
            return Err(format!("{LOOKS_MAX} looks into workers are under way already"));
        }
        let Inside { who, what } = inside;
        let number = self.outside.control.looks.next();
        let order = what.order(number).to_string();
        let mut parts = Vec::new();
        for view in self.machine.views().filter(|view| is_meant(view, who)) {
            let Some(pid) = view.pid else { continue };
            let mut part = Part {
                worker: view.id,
                generation: view.generation,
                pid,
                stage: Stage::Asked(now + BEGIN_MAX),
                text: String::new(),
                left_out: 0,
                why: None,
            };
            if let Err(why) = self.order(view.id, &order) {
                part.fail(why);
            }
            parts.push(part);
        }
        if parts.is_empty() {
            return Err(match who {
                Who::All => "there is no worker just now".to_owned(),
                Who::One(number) => format!("there is no worker {number}"),
            });
        }
        Ok((what, parts))
    }

    /// Sends an order to a worker, and has it read.
    fn order(&self, id: WorkerId, order: &str) -> Result<(), String> {
        let worker = self.children.workers.get(&id).ok_or("it has ended")?;
        let child = worker.child.as_ref().ok_or("it is not there yet")?;
        worker
            .control
            .send(order.as_bytes(), &[])
            .map_err(|error| format!("it cannot be told: {error}"))?;
        child.signal(LOOK).map_err(|error| format!("it cannot be woken: {error}"))
    }

    /// A worker says something of a look.
    pub(super) fn hear_inside(&mut self, id: WorkerId, note: InsideNote) {
        let now = Instant::now();
        let InsideNote { number, begins, piece, left_out, why } = note;
        if number == 0 {
            // It could not even read what it was asked.
            let why = why.unwrap_or_default();
            self.outside.control.looks.of(id).for_each(|part| part.fail(why.clone()));
            return self.end_looks(now);
        }
        let room = self.room_of(number);
        let time = self.outside.control.looks.jobs.get(&number).map(|look| time_for(&look.what));
        let Some((part, time)) = self.outside.control.looks.part(number, id).zip(time) else {
            return;
        };
        if !part.hears() {
            // It was given up, or its stacks are had otherwise by now.
            return;
        }
        if begins {
            part.stage = Stage::Begun(now + time);
        }
        if let Some(piece) = piece {
            if piece.len() > room {
                part.fail("the answer is too long".to_owned());
            } else {
                part.text.push_str(&piece);
            }
        }
        if let Some(why) = why {
            part.fail(why);
        } else if let Some(count) = left_out {
            part.left_out = count;
            part.stage = Stage::Done;
        }
        self.end_looks(now);
    }

    /// What may still be said in a look.
    fn room_of(&self, number: u64) -> usize {
        let parts = self.outside.control.looks.jobs.get(&number).map(|look| &look.parts);
        let said: usize = parts.into_iter().flatten().map(|part| part.text.len()).sum();
        TEXT_BYTES_MAX.saturating_sub(said)
    }

    /// A worker has ended: what it has said counts.
    pub(super) fn look_lost(&mut self, id: WorkerId) {
        let why = "it ended before it had answered";
        self.outside.control.looks.of(id).for_each(|part| part.fail(why.to_owned()));
        self.end_looks(Instant::now());
    }

    /// When [`Self::watch_looks`] is due.
    pub(super) fn looks_due(&self) -> Option<Instant> {
        self.outside.control.looks.due()
    }

    /// Goes on with workers that have had their time.
    pub(super) fn watch_looks(&mut self, now: Instant) {
        let mut looks = std::mem::take(&mut self.outside.control.looks);
        for look in looks.jobs.values_mut() {
            for part in &mut look.parts {
                match part.stage {
                    Stage::Asked(due) if due <= now => self.is_late(&look.what, part, now),
                    Stage::Begun(due) if due <= now => {
                        part.fail("it has not answered in time".to_owned());
                    }
                    Stage::Native(due) if due <= now => self.read_native(part),
                    Stage::Asked(_) | Stage::Begun(_) | Stage::Native(_) | Stage::Done => {}
                }
            }
        }
        self.outside.control.looks = looks;
        self.end_looks(now);
    }

    /// A worker has not begun. Its stacks can be had all the same.
    fn is_late(&mut self, what: &What, part: &mut Part, now: Instant) {
        part.why = Some(NOT_BACK.to_owned());
        part.text.clear();
        part.stage = Stage::Done;
        let worker = self.children.workers.get_mut(&part.worker);
        let Some(worker) = worker else { return };
        // There is one memory for it, and whoever has asked first reads it.
        let is_free = worker.stacks.is_free(now);
        let Some(child) = &worker.child else { return };
        if *what == What::Stacks && is_free && child.signal(SHOW_STACKS).is_ok() {
            let due = now + NATIVE_TIME;
            worker.stacks.asked = Some((due, Why::Look));
            part.stage = Stage::Native(due);
        }
    }

    fn read_native(&mut self, part: &mut Part) {
        part.stage = Stage::Done;
        let Some(worker) = self.children.workers.get_mut(&part.worker) else { return };
        match worker.stacks.asked.take_if(|(_, why)| matches!(why, Why::Look)) {
            Some(_) => part.text = worker.stacks.take().unwrap_or_default(),
            None => part.why = Some(STUCK.to_owned()),
        }
    }

    /// Answers the looks that are over, and ends those whose client has left.
    fn end_looks(&mut self, now: Instant) {
        let mut looks = std::mem::take(&mut self.outside.control.looks);
        let numbers: Vec<u64> = looks.jobs.keys().copied().collect();
        for number in numbers {
            let Some(look) = looks.jobs.get(&number) else { continue };
            let has_left = match &look.asker {
                Asker::Client(client, _) => !self.outside.control.server.has(*client),
                Asker::Admin(reply) => reply.is_given_up(),
            };
            if has_left {
                self.call_off(number, look);
            }
            let is_over = look.parts.iter().all(|part| part.stage == Stage::Done);
            if (is_over || has_left)
                && let Some(look) = looks.jobs.remove(&number)
            {
                let seen = self.seen(&look);
                match look.asker {
                    Asker::Client(client, id) => {
                        let answer = json!({"id": id, "status": "ok", "data": seen});
                        self.outside.control.server.answer(client, &answer, now);
                    }
                    Asker::Admin(reply) => reply.give(Ok(seen)),
                }
            }
        }
        self.outside.control.looks = looks;
    }

    /// Clients may have left.
    pub(super) fn call_off_looks(&mut self) {
        if !self.outside.control.looks.jobs.is_empty() {
            self.end_looks(Instant::now());
        }
    }

    fn call_off(&self, number: u64, look: &Look) {
        let order = json!({"inside": "stop", "number": number}).to_string();
        for part in look.parts.iter().filter(|part| part.stage != Stage::Done) {
            // One that cannot be told ends by itself when the time is over.
            let _ = self.order(part.worker, &order);
        }
    }

    /// The answer.
    fn seen(&self, look: &Look) -> Json {
        let workers = look.parts.iter().map(|part| {
            let mut seen = json!({
                "pid": part.pid,
                "worker": part.worker.0,
                "generation": part.generation.0,
                "left_out_chars": part.left_out,
                "why": part.why,
            });
            match &look.what {
                What::Stacks => self.add_stacks(part, &mut seen),
                What::Profile(profile) => self.add_profile(part, profile, &mut seen),
                What::Trace(_) => {
                    seen["memory"] = serde_json::from_str(&part.text).unwrap_or_default();
                }
            }
            seen
        });
        json!({"workers": workers.collect::<Vec<_>>()})
    }

    fn add_stacks(&self, part: &Part, seen: &mut Json) {
        let requests = self.front.as_ref().map(|front| front.running(part.worker, REQUESTS_MAX));
        let requests = requests.unwrap_or_default();
        if part.why.is_some() {
            // What a handler in C wrote, newest first as well.
            seen["native"] = part.text.trim_end().into();
        } else if let Ok(mut stacks) = serde_json::from_str::<Json>(&part.text) {
            name_requests(&mut stacks, &requests);
            seen["stacks"] = stacks;
        } else {
            seen["why"] = "what it said makes no sense".into();
        }
        seen["requests"] = requests.iter().map(shown).collect();
    }

    fn add_profile(&self, part: &Part, profile: &Profile, seen: &mut Json) {
        let (samples, stacks) = read_worker(&part.text);
        let name = |route| {
            let route = RouteId::new(part.generation, route);
            self.front.as_ref().and_then(|front| front.route_name(route))
        };
        let mut collapsed = Collapsed::default();
        let mut routes = Collapsed::default();
        for (route, stack, weight) in stacks {
            let route = name(route);
            routes.add(route.as_deref().unwrap_or("-"), weight);
            if profile.route.is_none() || profile.route == route {
                collapsed.add(stack, weight);
            }
        }
        seen["samples"] = samples.into();
        seen["unit"] = "microseconds".into();
        seen["of"] = if profile.mode == Mode::Cpu { "cpu" } else { "wall" }.into();
        seen["collapsed"] = collapsed.text().into();
        let routes = routes.stacks().map(|(route, weight)| (route.to_owned(), weight.into()));
        seen["routes"] = Json::Object(routes.collect());
    }
}

fn is_meant(view: &WorkerView, who: Who) -> bool {
    match who {
        Who::All => true,
        Who::One(number) => view.pid == Some(number) || view.id.0 == u64::from(number),
    }
}

/// How long a worker may take from its beginning on.
fn time_for(what: &What) -> Duration {
    match what {
        What::Stacks | What::Trace(_) => ANSWER_MAX,
        What::Profile(profile) => Duration::from_millis(profile.millis.into()) + ANSWER_MAX,
    }
}

/// Puts requests in the place of the slots that a worker has named.
fn name_requests(stacks: &mut Json, requests: &[Running]) {
    let named = |of: &Json| {
        let of = of.as_array().and_then(|of| Some((of.first()?.as_u64()?, of.get(1)?.as_u64()?)));
        let request = of.and_then(|(slot, generation)| {
            let of = (u16::try_from(slot).ok()?, u32::try_from(generation).ok()?);
            requests.iter().find(|request| request.place == of)
        });
        request.map_or(Json::Null, shown)
    };
    for kind in ["threads", "tasks", "greenlets"] {
        for group in stacks.get_mut(kind).and_then(Json::as_array_mut).into_iter().flatten() {
            if let Some(of) = group.get_mut("request") {
                *of = named(of);
            }
            for of in group.get_mut("requests").and_then(Json::as_array_mut).into_iter().flatten() {
                *of = named(of);
            }
        }
    }
}

/// A request, for showing.
fn shown(request: &Running) -> Json {
    json!({
        "method": request.method,
        "target": request.target,
        "route": request.route,
        "client": request.client,
        "age_s": (request.age_us / 1_000) as f64 / 1e3,
        "is_over": request.is_over,
        "is_answered": request.is_answered,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_become_requests_and_nonsense_becomes_nothing() {
        let request = Running {
            place: (3, 9),
            method: "GET".to_owned(),
            target: "/slow".to_owned(),
            route: None,
            client: String::new(),
            age_us: 1_500_000,
            is_over: false,
            is_answered: false,
            waits_for_client: false,
        };
        let mut stacks = json!({
            "threads": [{"request": [3, 9]}, {"request": [3, 8]}, {"request": "x"}, 7],
            "tasks": [{"requests": [[3, 9], null]}],
            "greenlets": "nonsense",
        });
        name_requests(&mut stacks, &[request]);
        assert_eq!(stacks["threads"][0]["request"]["target"], "/slow");
        assert_eq!(stacks["threads"][0]["request"]["age_s"], 1.5);
        assert!(stacks["threads"][1]["request"].is_null());
        assert!(stacks["threads"][2]["request"].is_null());
        assert_eq!(stacks["tasks"][0]["requests"][0]["target"], "/slow");
    }
}
