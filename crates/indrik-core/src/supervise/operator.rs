//! What operators and changed files ask for, and what operators are shown.

use super::event::FileChange;
use super::ladder::Rung;
use super::limits::CHANGES_MAX;
use super::machine::Supervisor;
use super::reason::{Accounts, EndReason};
use super::report::{Totals, WorkerView};
use super::state::phase::Phase;
use super::state::worker::{Worker, WorkerState};
use crate::ids::WorkerId;
use crate::logs::level::Level;

impl Supervisor {
    /// What has been done since the start.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.pool.totals
    }

    /// Starts and ends of workers, by reason.
    #[must_use]
    pub fn accounts(&self) -> &Accounts {
        &self.pool.accounts
    }

    /// Every worker whose end has not been seen, the oldest first.
    pub fn views(&self) -> impl Iterator<Item = WorkerView> + '_ {
        self.pool.workers.values().map(|worker| {
            let (state, booted, aborted) = described(worker.state);
            WorkerView {
                id: worker.id,
                pid: worker.pid,
                pool: self.pool.id,
                generation: worker.generation,
                place: worker.place + 1,
                state,
                booted,
                aborted,
                start: worker.start,
                end: worker.end,
                born: worker.born,
                beat_at: worker.life.beat_at(),
            }
        })
    }

    /// It goes as soon as its successor is ready; one that does not serve yet goes at once.
    pub(super) fn replace_worker(&mut self, id: WorkerId) {
        let Some(worker) = self.pool.workers.get(&id) else { return };
        match worker.state {
            WorkerState::Ready { retiring: false, .. } => self.retire(id, EndReason::Replaced),
            WorkerState::Forking { .. }
            | WorkerState::Booting { .. }
            | WorkerState::Warming { .. }
            | WorkerState::Waiting => {
                self.discard(id, EndReason::Replaced);
            }
            WorkerState::Ready { retiring: true, .. }
            | WorkerState::StandingBy
            | WorkerState::Cancelled { .. }
            | WorkerState::Draining { .. }
            | WorkerState::Ending(_) => {}
        }
    }

    /// Whether a worker can be replaced in its turn, or at once.
    ///
    /// # Errors
    /// Why not.
    pub fn may_replace(&self, id: WorkerId, at_once: bool) -> Result<(), String> {
        match self.server.phase {
            Phase::Starting | Phase::Serving => {}
            Phase::Leaving { .. }
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Done => {
                return Err("the server is shutting down".to_owned());
            }
        }
        let Some(worker) = self.pool.workers.get(&id) else {
            return Err("it has just ended".to_owned());
        };
        let (state, ..) = described(worker.state);
        let may = match at_once {
            true => worker.may_be_ended_by_force(),
            false => worker.holds_place() && worker.generation == self.current(),
        };
        if may { Ok(()) } else { Err(format!("it is {state}")) }
    }

    /// It goes when it is its turn and its successor is ready; one that does not serve yet goes at once.
    pub(super) fn recycle_as_asked(&mut self, id: WorkerId) {
        let is_ready = self.pool.workers.get(&id).is_some_and(Worker::is_ready);
        if is_ready { self.recycle(id, EndReason::Replaced) } else { self.replace_worker(id) }
    }

    /// It does not answer: it goes now, by force.
    pub(super) fn restart_worker(&mut self, id: WorkerId) {
        if self.may_replace(id, true).is_ok() {
            self.stuck(id, EndReason::Restarted);
        }
    }

    /// Files that a worker runs were changed. Every worker reports the same change, and those of an
    /// old generation report what their successors have read already.
    pub(super) fn code_changed(&mut self, id: WorkerId, files: Vec<FileChange>) {
        let Some(worker) = self.pool.workers.get(&id) else { return };
        let is_of_interest =
            worker.generation == self.current() || self.is_candidate(worker.generation);
        if !is_of_interest {
            return;
        }
        let pid = worker.pid;
        let new: Vec<FileChange> = files
            .into_iter()
            .filter(|change| !self.pool.reloads.changes_seen.contains(change))
            .collect();
        let Some(first) = new.first() else { return };
        let others = match new.len() - 1 {
            0 => String::new(),
            others => format!(" and {others} more"),
        };
        let text = format!("Worker reloading: {}{others} modified", first.path);
        self.log_worker(Level::Info, pid, text);
        if self.pool.reloads.changes_seen.len() + new.len() > CHANGES_MAX {
            self.pool.reloads.changes_seen.clear();
        }
        self.pool.reloads.changes_seen.extend(new.into_iter().take(CHANGES_MAX));
        match self.server.phase {
            Phase::Starting => self.pool.reloads.again = true,
            Phase::Serving if self.is_changing() || self.server.upgrade.waits_for_pre_exec() => {
                self.pool.reloads.again = true;
            }
            Phase::Serving => self.begin_candidate(),
            Phase::Leaving { .. }
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Done => {}
        }
    }
}

/// State, booted, aborted.
fn described(state: WorkerState) -> (&'static str, bool, bool) {
    match state {
        WorkerState::Forking { .. } | WorkerState::Cancelled { .. } => ("forking", false, false),
        WorkerState::Booting { .. } => ("booting", false, false),
        WorkerState::Warming { .. } => ("warming up", true, false),
        WorkerState::Waiting => ("waiting", true, false),
        WorkerState::StandingBy => ("standing by", true, false),
        WorkerState::Ready { retiring: false, .. } => ("ready", true, false),
        WorkerState::Ready { retiring: true, .. } => ("retiring", true, false),
        WorkerState::Draining { .. } => ("draining", true, false),
        WorkerState::Ending(Rung::Told { .. }) => ("stopping", true, false),
        WorkerState::Ending(Rung::Dumping { .. }) => ("stuck", true, true),
        WorkerState::Ending(Rung::Aborting { .. }) => ("aborting", true, true),
        WorkerState::Ending(Rung::Killed { .. }) => ("killed", true, true),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ids::Generation;
    use crate::supervise::limits::WORKERS_MAX;
    use crate::supervise::{
        Effect, Event, OperatorEvent, Policy, WorkerEffect, WorkerEvent, ZygoteEffect, ZygoteEvent,
    };

    const NOW: Duration = Duration::from_secs(1);

    /// Performs effects as a calm system would: everything succeeds at once.
    fn calm(machine: &mut Supervisor, log: &mut Vec<String>) {
        while let Some(effect) = machine.poll_effect() {
            let event = match effect {
                Effect::Zygote(generation, ZygoteEffect::Spawn) => {
                    let policy = Policy { workers: 2, ..Policy::default() };
                    Event::Zygote(generation, ZygoteEvent::Ready { policy })
                }
                Effect::Worker(worker, WorkerEffect::Fork { .. }) => {
                    let pid = u32::try_from(worker.0).unwrap() + 100;
                    machine.handle(Event::Worker(worker, WorkerEvent::Forked { pid }), NOW);
                    Event::Worker(worker, WorkerEvent::Ready)
                }
                Effect::Worker(worker, WorkerEffect::DrainInFront) => {
                    Event::Worker(worker, WorkerEvent::Drained)
                }
                Effect::Worker(worker, WorkerEffect::ShutDown) => {
                    let status = crate::supervise::ExitStatus::Code(0);
                    Event::Worker(worker, WorkerEvent::Exited { exit: status.into() })
                }
                Effect::Zygote(generation, ZygoteEffect::Retire { .. }) => {
                    Event::Zygote(generation, ZygoteEvent::Exited)
                }
                Effect::Log(line) => {
                    log.push(line.text);
                    continue;
                }
                _ => continue,
            };
            machine.handle(event, NOW);
        }
    }

    fn serving() -> Supervisor {
        let mut machine = Supervisor::new();
        machine.handle(Event::Start { successor: false }, NOW);
        calm(&mut machine, &mut Vec::new());
        assert_eq!(machine.census().ready, 2);
        machine
    }

    fn change(path: &str, stamp: &str) -> Vec<FileChange> {
        vec![FileChange { path: path.to_owned(), stamp: stamp.to_owned() }]
    }

    #[test]
    fn a_replaced_worker_leaves_after_its_successor_is_ready() {
        let mut machine = serving();
        let id = WorkerId(1);
        machine.handle(Event::Operator(OperatorEvent::ReplaceWorker { worker: id }), NOW);
        assert_eq!(machine.views().next().map(|view| view.state), Some("retiring"));
        let mut log = Vec::new();
        calm(&mut machine, &mut log);
        let ids: Vec<u64> = machine.views().map(|view| view.id.0).collect();
        assert_eq!(ids, [2, 3]);
        assert_eq!(machine.totals(), Totals { spawned: 3, ended: 1, ..Totals::default() });
    }

    #[test]
    fn what_starts_and_ends_is_counted_by_its_reason() {
        let mut machine = serving();
        let orders = [
            Event::Operator(OperatorEvent::WantWorkers(3)),
            Event::Operator(OperatorEvent::WantWorkers(2)),
            Event::Operator(OperatorEvent::ReplaceWorker { worker: WorkerId(2) }),
            Event::Worker(WorkerId(3), WorkerEvent::UsedUp),
            Event::Operator(OperatorEvent::Signal(crate::supervise::Signal::Hup)),
            Event::Operator(OperatorEvent::Signal(crate::supervise::Signal::Ttin)),
            Event::Operator(OperatorEvent::Signal(crate::supervise::Signal::Int)),
        ];
        for order in orders {
            machine.handle(order, NOW);
            calm(&mut machine, &mut Vec::new());
        }
        let counted = |counts: std::collections::BTreeMap<String, u64>| {
            let words = counts.iter().map(|(word, count)| format!("{word} {count}"));
            words.collect::<Vec<_>>().join(", ")
        };
        let accounts = machine.accounts();
        assert_eq!(
            counted(accounts.starts_by_word()),
            "boot 2, max_requests 1, reload 2, replaced 1, scale 2"
        );
        assert_eq!(
            counted(accounts.ends_by_word()),
            "max_requests 1, reload 2, replaced 1, scale 1"
        );
        // Those that are left were told to leave at once; their ends have not been seen.
        let ends: Vec<_> = machine.views().map(|view| view.end).collect();
        assert_eq!(ends, [Some(EndReason::ShutDown); 3]);
    }

    #[test]
    fn a_change_reported_by_every_worker_is_one_reload() {
        let mut machine = serving();
        for worker in [WorkerId(1), WorkerId(2)] {
            machine.handle(
                Event::Worker(worker, WorkerEvent::CodeChanged { files: change("a.py", "1") }),
                NOW,
            );
        }
        let mut log = Vec::new();
        calm(&mut machine, &mut log);
        assert_eq!(machine.census().generation, Generation(2));
        assert_eq!(machine.totals().reloads, 1);
        assert_eq!(log.iter().filter(|line| line.contains("a.py modified")).count(), 1);
    }

    #[test]
    fn a_change_during_a_reload_is_followed_by_another_one() {
        let mut machine = serving();
        let first =
            Event::Worker(WorkerId(1), WorkerEvent::CodeChanged { files: change("a.py", "1") });
        machine.handle(first, NOW);
        for worker in [WorkerId(1), WorkerId(2)] {
            machine.handle(
                Event::Worker(worker, WorkerEvent::CodeChanged { files: change("a.py", "2") }),
                NOW,
            );
        }
        calm(&mut machine, &mut Vec::new());
        assert_eq!((machine.census().generation, machine.totals().reloads), (Generation(3), 2));
        assert!(!machine.census().reloading);
    }

    #[test]
    fn workers_of_an_old_generation_have_no_say() {
        let mut machine = serving();
        machine.handle(Event::Operator(OperatorEvent::Signal(crate::supervise::Signal::Hup)), NOW);
        calm(&mut machine, &mut Vec::new());
        machine.handle(
            Event::Worker(WorkerId(1), WorkerEvent::CodeChanged { files: change("a.py", "1") }),
            NOW,
        );
        assert!(!machine.census().reloading);
    }

    #[test]
    fn a_reload_that_has_to_wait_for_the_start_is_told_as_one() {
        let mut machine = Supervisor::new();
        machine.handle(Event::Start { successor: false }, NOW);
        machine.handle(Event::Operator(OperatorEvent::Signal(crate::supervise::Signal::Hup)), NOW);
        assert!(machine.census().reloading);
        calm(&mut machine, &mut Vec::new());
        assert_eq!(
            (machine.census().reloading, machine.census().generation),
            (false, Generation(2))
        );
    }

    #[test]
    fn what_an_operator_scales_to_outlives_a_reload_until_the_settings_name_another_number() {
        let mut machine = serving();
        let reload = |machine: &mut Supervisor, configured: u32| {
            machine
                .handle(Event::Operator(OperatorEvent::Signal(crate::supervise::Signal::Hup)), NOW);
            while let Some(effect) = machine.poll_effect() {
                if let Effect::Zygote(generation, ZygoteEffect::Spawn) = effect {
                    let policy = Policy { workers: configured, ..Policy::default() };
                    machine.handle(Event::Zygote(generation, ZygoteEvent::Ready { policy }), NOW);
                    break;
                }
            }
            calm(machine, &mut Vec::new());
            assert!(!machine.census().reloading);
            machine.census().ready
        };
        machine.handle(Event::Operator(OperatorEvent::Scale(5)), NOW);
        calm(&mut machine, &mut Vec::new());
        assert_eq!(reload(&mut machine, 2), 5);
        assert_eq!(reload(&mut machine, 2), 5);
        assert_eq!(reload(&mut machine, 3), 3);
        assert_eq!(reload(&mut machine, 2), 2);
        machine.handle(Event::Operator(OperatorEvent::Scale(4)), NOW);
        // TTOU is Gunicorn's, and its number is forgotten at a reload.
        machine.handle(Event::Operator(OperatorEvent::Signal(crate::supervise::Signal::Ttou)), NOW);
        calm(&mut machine, &mut Vec::new());
        assert_eq!(machine.census().ready, 3);
        assert_eq!(reload(&mut machine, 2), 2);
    }

    #[test]
    fn the_number_wanted_stays_within_its_limits() {
        let mut machine = serving();
        machine.handle(Event::Operator(OperatorEvent::WantWorkers(0)), NOW);
        assert_eq!(machine.census().wanted, 1);
        machine.handle(Event::Operator(OperatorEvent::WantWorkers(u32::MAX)), NOW);
        assert_eq!(machine.census().wanted, WORKERS_MAX);
    }
}
