//! What operators have done to the server: more or fewer workers, other ones, a pause, a maintenance. Whoever asks
//! hears what became of it, or why the supervisor refuses.

use std::sync::Arc;
use std::time::Duration;

use indrik_core::control::{Maintenance as Wanted, MaintenanceOrder, Scale, Whom, more_workers};
use indrik_core::ids::WorkerId;
use indrik_core::supervise::{Event, OperatorEvent, Steered, WorkerView};
use indrik_sys::files;
use serde_json::{Value as Json, json};

use super::parts::Drive;
use crate::front::Maintenance;

/// The largest page of a maintenance.
const PAGE_BYTES_MAX: u64 = 256 * 1024;
/// How long its file system may take; the supervision loop stands meanwhile.
const PAGE_TIME_MAX: Duration = Duration::from_secs(1);

impl Drive {
    /// Another number of workers.
    pub(super) fn scale(&mut self, scale: Scale) -> Result<Json, String> {
        let before = self.machine.census();
        if !before.serving {
            return Err("the server does not serve yet, or no longer".to_owned());
        }
        let wanted = match scale {
            Scale::To(wanted) => wanted,
            Scale::Up(more) => more_workers(before.wanted, more)?,
            Scale::Down(fewer) => before.wanted.saturating_sub(fewer),
        };
        self.feed(Event::Operator(OperatorEvent::Scale(wanted)));
        Ok(json!({"previous": before.wanted, "total": self.machine.census().wanted}))
    }

    /// Other workers in the place of some: in their turn, or at once.
    pub(super) fn replace(&mut self, whom: Whom, at_once: bool) -> Result<Json, String> {
        let meant = self.meant(whom)?;
        let is_all = whom == Whom::All;
        let (mut done, mut why_not) = (Vec::new(), None);
        for view in meant {
            match self.machine.may_replace(view.id, at_once) {
                Ok(()) => {
                    self.feed(Event::Operator(order(view.id, at_once)));
                    done.push(json!({"place": view.place, "pid": view.pid}));
                }
                Err(why) => {
                    why_not = Some(format!("worker {} cannot be replaced: {why}", named(&view)))
                }
            }
        }
        match (done.is_empty(), why_not) {
            (true, Some(why)) => Err(why),
            (true, None) if is_all => Err("there are no workers".to_owned()),
            _ => Ok(json!({"workers": done, "at_once": at_once})),
        }
    }

    /// The workers that somebody means; of those at one place the one that is to stay.
    fn meant(&self, whom: Whom) -> Result<Vec<WorkerView>, String> {
        let all: Vec<WorkerView> = self.machine.views().collect();
        if whom == Whom::All {
            return Ok(all.into_iter().filter(|view| view.end.is_none()).collect());
        }
        let mut fit: Vec<WorkerView> =
            all.into_iter().filter(|view| whom.is_at(view.place, view.pid)).collect();
        if fit.len() > 1 && fit.iter().all(|view| view.place == fit[0].place) {
            fit.sort_by_key(|view| (view.end.is_some(), view.id));
            fit.truncate(1);
        }
        match fit.as_slice() {
            [] => Err("there is no such worker; show workers lists them".to_owned()),
            [_] => Ok(fit),
            [one, other, ..] => Err(format!(
                "two workers fit: {} and {}; write place:N or pid:N",
                named(one),
                named(other)
            )),
        }
    }

    /// New requests wait.
    pub(super) fn hold(&mut self, most: Duration) -> Result<Json, String> {
        self.machine.may_hold()?;
        self.feed(Event::Operator(OperatorEvent::HoldRequests { most }));
        Ok(self.shown_steering())
    }

    /// They do not wait any longer.
    pub(super) fn resume(&mut self) -> Json {
        let was_held = self.machine.steered().held.is_some();
        self.feed(Event::Operator(OperatorEvent::ResumeRequests));
        let mut shown = self.shown_steering();
        shown["was_paused"] = was_held.into();
        shown
    }

    /// The front answers requests, or no longer.
    pub(super) fn maintain(&mut self, wanted: Wanted) -> Result<Json, String> {
        self.machine.may_maintain()?;
        match wanted {
            Wanted::Off => {
                self.feed(Event::Operator(OperatorEvent::Maintain(false)));
                self.outside.control.maintenance = None;
            }
            Wanted::On(order) => {
                let page = page(&order)?;
                let maintenance = Arc::new(Maintenance::new(page, order.allow.clone()));
                self.outside.control.maintenance = Some((order, maintenance));
                self.feed(Event::Operator(OperatorEvent::Maintain(true)));
            }
        }
        Ok(self.shown_steering())
    }

    /// Goes on with the maintenance of the server whose place this one takes.
    pub(super) fn take_over_maintenance(&mut self) {
        let Some(text) = self.neighbours.heritage.inheritance.maintenance.clone() else { return };
        let order =
            serde_json::from_str::<MaintenanceOrder>(&text).map_err(|error| error.to_string());
        if let Err(why) = order.and_then(|order| self.maintain(Wanted::On(order))) {
            self.log.error(&format!("Cannot go on with the page of the maintenance: {why}"));
            // Without its page is better than to serve what must not be served.
            let _ = self.maintain(Wanted::On(MaintenanceOrder::default()));
        }
    }

    /// What operators have made of the requests that come, with what still runs.
    pub(super) fn shown_steering(&self) -> Json {
        let Steered { held, last, maintenance } = self.machine.steered();
        let stats = self.front.as_ref().map(crate::front::Front::stats);
        let order = self.outside.control.maintenance.as_ref().map(|(order, _)| order);
        json!({
            "paused": held.is_some(),
            "paused_for_s": held.map(|held| held.so_far.as_secs_f64()),
            "pause_left_s": held.map(|held| held.left.as_secs_f64()),
            "last_pause": last.map(|(why, time)| {
                json!({"ended": why.word(), "why": why.told(), "lasted_s": time.as_secs_f64()})
            }),
            "running": stats.map_or(0, |stats| stats.in_flight),
            "waiting": stats.map_or(0, |stats| stats.waiting),
            "maintenance": order.filter(|_| maintenance),
        })
    }
}

fn order(worker: WorkerId, at_once: bool) -> OperatorEvent {
    match at_once {
        true => OperatorEvent::RestartWorker { worker },
        false => OperatorEvent::RecycleWorker { worker },
    }
}

fn named(view: &WorkerView) -> String {
    let pid = view.pid.map_or_else(|| "not forked yet".to_owned(), |pid| format!("pid {pid}"));
    format!("{} ({pid})", view.place)
}

/// The page, read once.
fn page(order: &MaintenanceOrder) -> Result<Option<Vec<u8>>, String> {
    let Some(path) = &order.page else { return Ok(None) };
    let wanted = path.clone();
    let read = files::within(PAGE_TIME_MAX, move || files::read(&wanted, PAGE_BYTES_MAX));
    read.map(Some).map_err(|error| {
        let path = path.display();
        format!("cannot read the page {path}: {error}; nothing was changed (at most {PAGE_BYTES_MAX} bytes)")
    })
}
