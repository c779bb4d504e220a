//! Refork: a worker that is warm becomes the zygote of its generation, and the others follow it.
//!
//! What an application loads and caches at its first requests is then shared as well. Counted are the
//! requests of all workers; the worker that served most is the warmest. It leaves service like any
//! worker that is replaced, its successor first. It then ends its loop and says whether it can fork:
//! only with that word the zygote changes. Whatever fails before leaves the old zygote where it is.

use std::collections::BTreeMap;

use super::effect::{Effect, PoolEffect, WorkerEffect, ZygoteEffect};
use super::ladder::Rung;
use super::limits::{REFORK_OLD_ZYGOTE_MAX, STOP_GRACE_MIN};
use super::machine::Supervisor;
use super::reason::EndReason;
use super::state::pause::Pause;
use super::state::phase::Phase;
use super::state::refork::Stage;
use super::state::worker::{Worker, WorkerState};
use super::state::zygote::ZygoteState;
use crate::ids::WorkerId;
use crate::logs::level::Level;

impl Supervisor {
    /// How many requests each worker has served since it was added to the front.
    pub(super) fn workers_served(&mut self, counts: &BTreeMap<WorkerId, u64>) {
        self.pool.serving.refork.by_worker.retain(|id, _| self.pool.workers.contains_key(id));
        for (id, count) in counts {
            let is_ours =
                self.pool.workers.get(id).is_some_and(|worker| worker.generation == self.current());
            if is_ours {
                let before = self.pool.serving.refork.by_worker.insert(*id, *count).unwrap_or(0);
                self.pool.serving.refork.served += count.saturating_sub(before);
            }
        }
    }

    /// Takes the next step. Runs after every event, before workers are started and drained.
    pub(super) fn advance_refork(&mut self) {
        if self.pool.old_zygote_until.is_some_and(|until| until <= self.now) {
            self.pool.old_zygote_until = Some(self.now + REFORK_OLD_ZYGOTE_MAX);
            self.push(Effect::Pool(self.pool.id, PoolEffect::KillOldZygote));
        }
        match self.pool.serving.refork.stage {
            Stage::Counting => self.begin_refork(),
            Stage::Leaving(id) => {
                let leaves = |worker: &Worker| {
                    matches!(worker.state, WorkerState::Ready { .. } | WorkerState::Draining { .. })
                };
                if !self.refork_can_go_on(id, leaves) {
                    self.pool.serving.refork.restart();
                }
            }
            // One that has been told says what has become of it, or its time runs out.
            Stage::Promoting(id) => {
                if !self.refork_can_go_on(id, is_stopping) {
                    self.pool.serving.refork.restart();
                }
            }
            Stage::Promoted(id) => {
                if self.refork_can_go_on(id, is_stopping) {
                    self.change_zygote(id);
                } else {
                    self.pool.serving.refork.restart();
                    self.end_promoted(id);
                }
            }
            Stage::Following { below } => self.follow_refork(below),
        }
    }

    fn begin_refork(&mut self) {
        let after = self.pool.serving.policy.refork_after_requests;
        if after == 0 || self.pool.serving.refork.served < after || self.pool.serving.refork.refused
        {
            return;
        }
        if self.pool.old_zygote_until.is_some() || !self.is_calm() {
            return;
        }
        let served = |worker: &&Worker| {
            self.pool.serving.refork.by_worker.get(&worker.id).copied().unwrap_or(0)
        };
        let ours = self.pool.workers.values().filter(|worker| worker.generation == self.current());
        let Some(id) = ours.max_by_key(served).map(|worker| worker.id) else { return };
        self.pool.serving.refork.stage = Stage::Leaving(id);
        self.retire(id, EndReason::Refork);
    }

    /// Every worker that is wanted serves, none comes or goes, and nothing else is under way.
    fn is_calm(&self) -> bool {
        let ours =
            || self.pool.workers.values().filter(|worker| worker.generation == self.current());
        self.server.phase == Phase::Serving
            && self.server.pause == Pause::No
            && self.pool.candidate.is_none()
            && self.pool.soak.is_none()
            && self.can_fork(self.current())
            && ours().count() == self.pool.serving.wanted as usize
            && ours().all(Worker::is_staying)
    }

    /// Nothing has come between: the worker is there, in this state, and its zygote could be replaced.
    fn refork_can_go_on(&self, id: WorkerId, is: impl Fn(&Worker) -> bool) -> bool {
        let is_ours = |worker: &Worker| {
            worker.generation == self.current()
                && worker.end == Some(EndReason::Refork)
                && is(worker)
        };
        let zygote = self.pool.zygotes.get(&self.current()).map(|zygote| zygote.state);
        self.server.phase == Phase::Serving
            && self.pool.candidate.is_none()
            && zygote == Some(ZygoteState::Ready)
            && self.pool.workers.get(&id).is_some_and(is_ours)
    }

    /// Whether the drained worker is the one chosen; then it is told what to become.
    pub(super) fn promote_if_chosen(&mut self, id: WorkerId) {
        if self.pool.serving.refork.stage == Stage::Leaving(id)
            && self.refork_can_go_on(id, is_stopping)
        {
            self.pool.serving.refork.stage = Stage::Promoting(id);
            self.push(Effect::Worker(id, WorkerEffect::Promote));
        }
    }

    /// It says that it can fork.
    pub(super) fn worker_promoted(&mut self, id: WorkerId) {
        if self.pool.serving.refork.stage == Stage::Promoting(id) {
            self.pool.serving.refork.stage = Stage::Promoted(id);
        } else {
            self.end_promoted(id);
        }
    }

    /// It says that it cannot, and leaves as a worker does.
    pub(super) fn promotion_refused(&mut self, id: WorkerId, why: &str) {
        if self.pool.serving.refork.stage != Stage::Promoting(id) {
            return;
        }
        self.pool.serving.refork.restart();
        self.pool.serving.refork.refused = true;
        let text = format!(
            "Worker {id} cannot become the zygote: {why}. The old one stays; no other worker of \
             generation {} is asked",
            self.current()
        );
        self.log(Level::Warning, text);
    }

    /// Something came between. It has left its loop, and would serve nobody.
    fn end_promoted(&mut self, id: WorkerId) {
        if self.pool.workers.get(&id).is_some_and(is_stopping) {
            self.log(Level::Info, format!("Worker {id} is not needed as the zygote any more"));
            self.kill(id);
        }
    }

    /// As soon as the old zygote owes no answer.
    fn change_zygote(&mut self, id: WorkerId) {
        let generation = self.current();
        let owed = |worker: &Worker| {
            matches!(worker.state, WorkerState::Forking { .. } | WorkerState::Cancelled { .. })
        };
        if self.count_of(generation, owed) > 0 {
            return;
        }
        let Some(worker) = self.pool.workers.remove(&id) else { return };
        self.zygote_in_hook(generation, None);
        self.pool.serving.refork.stage =
            Stage::Following { below: WorkerId(self.server.next_worker) };
        self.pool.old_zygote_until = Some(self.now + STOP_GRACE_MIN);
        self.push(Effect::Zygote(generation, ZygoteEffect::ChangeTo { worker: id }));
        if worker.in_front {
            self.push(Effect::Worker(id, WorkerEffect::Gone { blameless: true }));
        }
        self.account_end(EndReason::Refork);
        let pid = worker.pid.unwrap_or(0);
        let text = format!(
            "Worker {id} (pid:{pid}) is the zygote of generation {generation} now; the other \
             workers follow"
        );
        self.log_with(Level::Info, None, text, worker.fields(&EndReason::Refork.word()));
    }

    fn follow_refork(&mut self, below: WorkerId) {
        let is_old = |worker: &&Worker| worker.generation == self.current() && worker.id < below;
        let old = self.pool.workers.values().find(is_old).map(|worker| worker.id);
        match old {
            None => self.pool.serving.refork.restart(),
            Some(id) if self.is_calm() => self.retire(id, EndReason::Refork),
            Some(_) => {}
        }
    }

    /// The old zygote's process ended.
    pub(super) fn old_zygote_exited(&mut self) {
        self.pool.old_zygote_until = None;
    }

    pub(super) fn worker_drained(&mut self, id: WorkerId) {
        let (until, soon) = (self.stop_deadline(), self.now + STOP_GRACE_MIN);
        let Some(worker) = self.pool.workers.get_mut(&id) else { return };
        if matches!(worker.state, WorkerState::Draining { .. }) {
            // What it still has is not going to end.
            let hangs = worker.end == Some(EndReason::Timeout);
            let until = if hangs { until.min(soon) } else { until };
            worker.state = WorkerState::told(until);
            self.promote_if_chosen(id);
            self.push(Effect::Worker(id, WorkerEffect::ShutDown));
        }
    }
}

fn is_stopping(worker: &Worker) -> bool {
    matches!(worker.state, WorkerState::Ending(Rung::Told { .. }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ids::{Generation, PoolId};
    use crate::supervise::{
        Event, ExitStatus, LogLine, OperatorEvent, Policy, PoolEvent, WorkerEvent, ZygoteEvent,
    };

    const NOW: Duration = Duration::from_secs(1);
    fn policy() -> Policy {
        Policy { workers: 3, refork_after_requests: 100, ..Policy::default() }
    }

    /// A calm system, which keeps what it is asked about reforking, and lines of the log.
    #[derive(Default)]
    struct Calm {
        told: Vec<Effect>,
        log: Vec<LogLine>,
        refuses: bool,
        /// The zygote answers no fork request.
        silent: bool,
        /// Requests go on in this worker.
        busy: Option<WorkerId>,
    }

    impl Calm {
        fn performs(&mut self, machine: &mut Supervisor) {
            while let Some(effect) = machine.poll_effect() {
                let event = match effect {
                    Effect::Zygote(generation, ZygoteEffect::Spawn) => {
                        Event::Zygote(generation, ZygoteEvent::Ready { policy: policy() })
                    }
                    Effect::Worker(_, WorkerEffect::Fork { .. }) if self.silent => continue,
                    Effect::Worker(worker, WorkerEffect::Fork { .. }) => {
                        let pid = u32::try_from(worker.0).unwrap() + 100;
                        machine.handle(Event::Worker(worker, WorkerEvent::Forked { pid }), NOW);
                        Event::Worker(worker, WorkerEvent::Ready)
                    }
                    Effect::Worker(worker, WorkerEffect::DrainInFront)
                        if self.busy == Some(worker) =>
                    {
                        continue;
                    }
                    Effect::Worker(worker, WorkerEffect::DrainInFront) => {
                        Event::Worker(worker, WorkerEvent::Drained)
                    }
                    Effect::Worker(worker, WorkerEffect::Promote) => {
                        self.told.push(effect);
                        if self.refuses {
                            Event::Worker(
                                worker,
                                WorkerEvent::PromotionRefused { why: "it has 2 threads".into() },
                            )
                        } else {
                            Event::Worker(worker, WorkerEvent::Promoted)
                        }
                    }
                    Effect::Worker(worker, WorkerEffect::ShutDown) => {
                        let turned =
                            self.told.contains(&Effect::Worker(worker, WorkerEffect::Promote));
                        if turned && !self.refuses {
                            continue;
                        }
                        Event::Worker(
                            worker,
                            WorkerEvent::Exited { exit: ExitStatus::Code(0).into() },
                        )
                    }
                    Effect::Worker(worker, WorkerEffect::Kill { .. }) => Event::Worker(
                        worker,
                        WorkerEvent::Exited { exit: ExitStatus::Signal(9).into() },
                    ),
                    Effect::Zygote(_, ZygoteEffect::ChangeTo { .. }) => {
                        self.told.push(effect);
                        Event::Pool(PoolId::FIRST, PoolEvent::OldZygoteExited)
                    }
                    Effect::Zygote(generation, ZygoteEffect::Retire { .. }) => {
                        Event::Zygote(generation, ZygoteEvent::Exited)
                    }
                    Effect::Log(line) => {
                        self.log.push(line);
                        continue;
                    }
                    _ => continue,
                };
                machine.handle(event, NOW);
            }
        }
    }

    fn serving() -> Supervisor {
        let mut machine = Supervisor::new();
        machine.handle(Event::Start { successor: false }, NOW);
        Calm::default().performs(&mut machine);
        assert_eq!(machine.census().ready, 3);
        machine
    }

    fn served(counts: &[(u64, u64)]) -> Event {
        let counts = counts.iter().map(|(id, count)| (WorkerId(*id), *count)).collect();
        Event::Pool(PoolId::FIRST, PoolEvent::Served { counts })
    }

    fn ids(machine: &Supervisor) -> Vec<u64> {
        machine.views().map(|view| view.id.0).collect()
    }

    #[test]
    fn the_worker_that_served_most_becomes_the_zygote_and_the_others_follow() {
        let (mut machine, mut system) = (serving(), Calm::default());
        machine.handle(served(&[(1, 20), (2, 50), (3, 29)]), NOW);
        system.performs(&mut machine);
        assert_eq!(ids(&machine), [1, 2, 3]);
        machine.handle(served(&[(1, 20), (2, 51), (3, 29)]), NOW);
        system.performs(&mut machine);
        let (worker, generation) = (WorkerId(2), Generation::FIRST);
        let change = Effect::Zygote(generation, ZygoteEffect::ChangeTo { worker });
        assert_eq!(system.told, [Effect::Worker(worker, WorkerEffect::Promote), change]);
        // 4 was forked by the old zygote, so that nothing was missing meanwhile.
        assert_eq!(ids(&machine), [5, 6, 7]);
        assert_eq!(machine.census().ready, 3);
        assert_eq!(machine.accounts().ends[&EndReason::Refork], 4);
        machine.handle(served(&[(5, 40), (6, 30), (7, 29)]), NOW);
        system.performs(&mut machine);
        assert_eq!(ids(&machine), [5, 6, 7], "they are counted anew");
    }

    #[test]
    fn a_worker_that_cannot_is_replaced_and_no_other_one_is_asked() {
        let (mut machine, mut system) = (serving(), Calm { refuses: true, ..Calm::default() });
        machine.handle(served(&[(1, 100)]), NOW);
        system.performs(&mut machine);
        assert_eq!(system.told, [Effect::Worker(WorkerId(1), WorkerEffect::Promote)]);
        assert_eq!(ids(&machine), [2, 3, 4]);
        let warnings = system.log.iter().filter(|line| line.level == Level::Warning);
        assert_eq!(warnings.filter(|line| line.text.contains("it has 2 threads")).count(), 1);
        machine.handle(served(&[(2, 1_000)]), NOW);
        system.performs(&mut machine);
        assert_eq!(ids(&machine), [2, 3, 4]);
    }

    #[test]
    fn the_zygote_changes_when_the_old_one_owes_no_worker() {
        let (mut machine, mut system) =
            (serving(), Calm { busy: Some(WorkerId(1)), ..Calm::default() });
        machine.handle(served(&[(1, 100)]), NOW);
        system.performs(&mut machine);
        system.silent = true;
        machine.handle(Event::Operator(OperatorEvent::WantWorkers(4)), NOW);
        machine.handle(Event::Worker(WorkerId(1), WorkerEvent::Drained), NOW);
        system.performs(&mut machine);
        assert_eq!(system.told, [Effect::Worker(WorkerId(1), WorkerEffect::Promote)]);
        machine.handle(Event::Operator(OperatorEvent::WantWorkers(5)), NOW);
        let effects: Vec<Effect> = std::iter::from_fn(|| machine.poll_effect()).collect();
        let forks = effects
            .iter()
            .any(|effect| matches!(effect, Effect::Worker(_, WorkerEffect::Fork { .. })));
        assert!(!forks, "the old zygote is asked for nothing more: {effects:?}");
        machine.handle(Event::Worker(WorkerId(5), WorkerEvent::Forked { pid: 105 }), NOW);
        let change =
            Effect::Zygote(Generation::FIRST, ZygoteEffect::ChangeTo { worker: WorkerId(1) });
        let effects: Vec<Effect> = std::iter::from_fn(|| machine.poll_effect()).collect();
        let at = |wanted: &Effect| effects.iter().position(|effect| effect == wanted).unwrap();
        let fork =
            Effect::Worker(WorkerId(6), WorkerEffect::Fork { generation: Generation::FIRST });
        assert!(at(&change) < at(&fork), "{effects:?}");
    }

    #[test]
    fn a_reload_that_comes_between_has_no_use_for_it() {
        let (mut machine, mut system) =
            (serving(), Calm { busy: Some(WorkerId(1)), ..Calm::default() });
        machine.handle(served(&[(1, 100)]), NOW);
        system.performs(&mut machine);
        machine.handle(Event::Operator(OperatorEvent::Signal(crate::supervise::Signal::Hup)), NOW);
        machine.handle(Event::Worker(WorkerId(1), WorkerEvent::Drained), NOW);
        system.performs(&mut machine);
        assert_eq!(system.told, []);
        assert_eq!(machine.census().generation, Generation(2));
        assert_eq!(machine.census().processes, 3);
    }

    #[test]
    fn an_old_zygote_that_stays_is_killed_and_no_refork_begins_meanwhile() {
        let mut machine = serving();
        machine.pool.old_zygote_until = Some(NOW + STOP_GRACE_MIN);
        machine.handle(served(&[(1, 100)]), NOW);
        assert_eq!(machine.poll_effect(), None);
        assert_eq!(machine.poll_timeout(), Some(NOW + STOP_GRACE_MIN));
        machine.handle(Event::Tick, NOW + STOP_GRACE_MIN);
        assert_eq!(
            machine.poll_effect(),
            Some(Effect::Pool(PoolId::FIRST, PoolEffect::KillOldZygote))
        );
    }
}
