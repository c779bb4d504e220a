//! Zygotes, one for each generation: their starts, failures and ends.

use super::consequence::Consequence;
use super::effect::{Effect, PoolEffect, ZygoteEffect};
use super::event::{Failure, FailureKind};
use super::hooks::in_hook;
use super::ladder::{Rung, Step};
use super::limits::{BOOT_MAX, CONFIG_MAX, EXIT_HOOK_MAX, HERE_MAX, STOP_GRACE_MIN, YOUNG_AGE};
use super::machine::Supervisor;
use super::policy::Policy;
use super::reason::EndReason;
use super::state::phase::Phase;
use super::state::restart::{Backoff, Pace};
use super::state::serving::Serving;
use super::state::worker::{Worker, WorkerState};
use super::state::zygote::{Zygote, ZygoteState};
use crate::ids::Generation;
use crate::logs::level::Level;

impl Supervisor {
    pub(super) fn spawn_zygote(&mut self, generation: Generation) {
        let now = self.now;
        let boot_max = if generation == Generation::FIRST { BOOT_MAX } else { CONFIG_MAX };
        let zygote = self.pool.zygotes.entry(generation).or_insert_with(|| Zygote {
            state: ZygoteState::Starting { until: now + HERE_MAX },
            boot_max,
            here: false,
            in_hook: None,
            configured: false,
            rests: false,
            backoff: Backoff::default(),
            ready_since: now,
            wanted: true,
            been_ready: false,
            listen_failures: 0,
        });
        zygote.state = ZygoteState::Starting { until: now + HERE_MAX };
        zygote.here = false;
        zygote.in_hook = None;
        zygote.rests = false;
        self.push(Effect::Zygote(generation, ZygoteEffect::Spawn));
    }

    /// What it does from now on is the user's code.
    pub(super) fn zygote_here(&mut self, generation: Generation) {
        let now = self.now;
        let Some(zygote) = self.pool.zygotes.get_mut(&generation) else { return };
        if let ZygoteState::Starting { until } = &mut zygote.state
            && !zygote.here
        {
            zygote.here = true;
            *until = now + zygote.boot_max;
        }
    }

    /// Whatever it is waited for meanwhile is late by this.
    pub(super) fn zygote_in_hook(&mut self, generation: Generation, hook: Option<&'static str>) {
        if let Some(zygote) = self.pool.zygotes.get_mut(&generation) {
            zygote.in_hook = hook;
        }
    }

    pub(super) fn zygote_ready(&mut self, generation: Generation, policy: Policy) {
        let Some(zygote) = self.pool.zygotes.get_mut(&generation) else { return };
        if !matches!(zygote.state, ZygoteState::Starting { .. }) {
            return;
        }
        zygote.state = ZygoteState::Ready;
        zygote.ready_since = self.now;
        let first_time = !std::mem::replace(&mut zygote.been_ready, true);
        let configured = policy.workers.max(1);
        let policy = Policy { workers: self.wished_instead_of(configured), ..policy };
        if self.is_candidate(generation) {
            if let Some(candidate) = &mut self.pool.candidate {
                candidate.policy = Some(policy);
            }
        } else if generation == self.current() && first_time {
            self.pool.serving = Serving::new(generation, policy);
            self.push(Effect::Pool(
                self.pool.id,
                PoolEffect::Adopt { generation, on_trial: false },
            ));
        }
    }

    pub(super) fn zygote_failed(&mut self, generation: Generation, failure: &Failure) {
        let Some(zygote) = self.pool.zygotes.get_mut(&generation) else { return };
        if !matches!(zygote.state, ZygoteState::Starting { .. }) {
            return;
        }
        zygote.backoff.fail();
        zygote.state = ZygoteState::told(self.now + STOP_GRACE_MIN);
        self.push(Effect::Zygote(generation, ZygoteEffect::Retire { last: false }));
        if self.is_candidate(generation) {
            self.log_failure("Reload failed", failure);
            let details = failure.told("Reload failed");
            self.note_failed(generation, "it could not be loaded", details);
        } else if self.pool.ever_ready {
            self.log_failure("The application could not be loaded again", failure);
        } else {
            self.log_failure("Cannot start", failure);
            self.note(Consequence::StartFailed { kind: failure.kind });
        }
    }

    pub(super) fn zygote_exited(&mut self, generation: Generation) {
        let now = self.now;
        let Some(zygote) = self.pool.zygotes.get_mut(&generation) else { return };
        let unasked = matches!(
            zygote.state,
            ZygoteState::Starting { .. } | ZygoteState::Waiting { .. } | ZygoteState::Ready
        );
        if zygote.state == ZygoteState::Ready && now.saturating_sub(zygote.ready_since) >= YOUNG_AGE
        {
            zygote.backoff = Backoff::default();
        }
        if unasked {
            zygote.backoff.fail();
        }
        let again = zygote.wanted && self.server.phase.may_start();
        if again && zygote.rests {
            zygote.state = ZygoteState::Resting;
        } else if again {
            let delay = zygote.backoff.delay(Pace::ZYGOTE);
            zygote.state = ZygoteState::Dead { retry: now + delay };
        } else {
            self.pool.zygotes.remove(&generation);
        }
        self.forget_unforked(generation);
        if !unasked {
            return;
        }
        if self.is_candidate(generation) {
            self.note_failed(generation, "its zygote died", "");
        } else if !self.pool.ever_ready {
            self.log(Level::Critical, "Cannot start: the zygote died before a worker was ready");
            self.note(Consequence::StartFailed { kind: FailureKind::Boot });
        } else if again {
            self.log(
                Level::Error,
                format!("The zygote of generation {generation} died; its workers go on, a new one is started"),
            );
            if generation == self.current() {
                self.note_failed(generation, "its zygote died", "");
            }
        }
    }

    /// The zygote died with these requests unanswered. A worker it may just have made waits to be
    /// released, sees its control socket closed instead, and leaves.
    fn forget_unforked(&mut self, generation: Generation) {
        let unforked = |worker: &Worker| {
            worker.generation == generation
                && matches!(
                    worker.state,
                    WorkerState::Forking { .. } | WorkerState::Cancelled { .. }
                )
        };
        let current = self.current();
        let lost: Vec<Worker> = self
            .pool
            .workers
            .extract_if(.., |_, worker| unforked(worker))
            .map(|(_, worker)| worker)
            .collect();
        for worker in lost {
            let reason = worker.end.unwrap_or(EndReason::ZygoteLost);
            if worker.generation == current && worker.end.is_none() {
                self.pool.serving.restarts.vacate(worker.place, reason);
            }
            self.account_end(reason);
        }
    }

    /// It owes an answer to a fork request for too long.
    pub(super) fn zygote_silent(&mut self, generation: Generation) {
        let hook = self.pool.zygotes.get(&generation).and_then(|zygote| zygote.in_hook);
        let hint = match hook {
            Some(_) => "",
            None => {
                " (was it stopped, or does something wait that is called at a fork, with \
                 os.register_at_fork, or by a logger of the configuration?)"
            }
        };
        let text = format!(
            "The zygote of generation {generation} does not answer a request to fork{}; killing it{hint}",
            in_hook(hook)
        );
        self.log(Level::Error, text);
        if let Some(zygote) = self.pool.zygotes.get_mut(&generation) {
            zygote.backoff.fail();
            zygote.state = ZygoteState::Ending(Rung::killed(self.now));
            self.push(Effect::Zygote(generation, ZygoteEffect::Kill));
        }
        self.forget_unforked(generation);
        if self.is_candidate(generation) {
            self.note_failed(generation, "its zygote does not answer", "");
        }
    }

    /// The generation is not wanted any more. Its zygote hears of the end of its workers, and leaves
    /// after the last of them.
    pub(super) fn retire_zygote(&mut self, generation: Generation) {
        let until = self.now + STOP_GRACE_MIN;
        let Some(zygote) = self.pool.zygotes.get_mut(&generation) else { return };
        zygote.wanted = false;
        match zygote.state {
            // It imports, and would hear of its end when that is over.
            ZygoteState::Starting { .. } => {
                zygote.state = ZygoteState::Ending(Rung::killed(self.now));
                self.push(Effect::Zygote(generation, ZygoteEffect::Kill));
            }
            ZygoteState::Waiting { .. } => {
                zygote.state = ZygoteState::told(until);
                self.push(Effect::Zygote(generation, ZygoteEffect::Retire { last: false }));
            }
            ZygoteState::Dead { .. } | ZygoteState::Resting => {
                self.pool.zygotes.remove(&generation);
            }
            ZygoteState::Ready | ZygoteState::Kept | ZygoteState::Ending(_) => {}
        }
    }

    /// Tells unwanted zygotes without workers to leave; at the end of the server the current one is
    /// told last, because it stands for the server in hooks.
    pub(super) fn retire_idle_zygotes(&mut self) {
        let stopping = matches!(self.server.phase, Phase::Stopping { .. });
        let over = stopping && self.pool.workers.is_empty();
        let idle = |generation: Generation| {
            !self.pool.workers.values().any(|worker| worker.generation == generation)
        };
        // The one that was kept has what the hooks of the start made, so it runs the hook of the end.
        let kept = self.pool.zygotes.iter().find(|(_, zygote)| zygote.state == ZygoteState::Kept);
        let last_one = kept.map_or_else(|| self.current(), |(generation, _)| *generation);
        let due: Vec<(Generation, bool)> = self
            .pool
            .zygotes
            .iter()
            .filter(|(_, zygote)| !zygote.wanted)
            .filter(|(generation, zygote)| match zygote.state {
                ZygoteState::Ready if stopping && **generation == self.current() => over,
                ZygoteState::Ready => idle(**generation),
                ZygoteState::Kept => over,
                ZygoteState::Starting { .. }
                | ZygoteState::Waiting { .. }
                | ZygoteState::Ending(_)
                | ZygoteState::Resting
                | ZygoteState::Dead { .. } => false,
            })
            .map(|(generation, _)| (*generation, over && *generation == last_one))
            .collect();
        for (generation, last) in due {
            let grace = if last && self.pool.serving.policy.exit_hook {
                EXIT_HOOK_MAX
            } else {
                STOP_GRACE_MIN
            };
            if let Some(zygote) = self.pool.zygotes.get_mut(&generation) {
                zygote.state = ZygoteState::told(self.now + grace);
                self.push(Effect::Zygote(generation, ZygoteEffect::Retire { last }));
            }
        }
    }

    /// It does not leave yet, for the sake of what its hooks started.
    pub(super) fn zygote_stays(&mut self, generation: Generation) {
        // Only the first generation is told of the start, so only its hooks can have begun something.
        let may_stay = self.server.phase.may_start() && generation == Generation::FIRST;
        let Some(zygote) = self.pool.zygotes.get_mut(&generation) else { return };
        if !matches!(zygote.state, ZygoteState::Ending(Rung::Told { .. })) {
            return;
        }
        if may_stay && !zygote.wanted {
            zygote.state = ZygoteState::Kept;
        } else {
            self.push(Effect::Zygote(generation, ZygoteEffect::Retire { last: false }));
        }
    }

    /// Nobody waits for hooks any more.
    pub(super) fn kill_zygotes(&mut self) {
        let now = self.now;
        for (generation, zygote) in &mut self.pool.zygotes {
            if !matches!(zygote.state, ZygoteState::Ending(Rung::Killed { .. })) {
                zygote.state = ZygoteState::Ending(Rung::killed(now));
                self.effects.push_back(Effect::Zygote(*generation, ZygoteEffect::Kill));
            }
        }
    }

    pub(super) fn expire_zygotes(&mut self) {
        let now = self.now;
        let due: Vec<Generation> = self
            .pool
            .zygotes
            .iter()
            .filter(|(_, zygote)| zygote.deadline().is_some_and(|at| at <= now))
            .map(|(generation, _)| *generation)
            .collect();
        for generation in due {
            self.expire_zygote(generation);
        }
    }

    fn expire_zygote(&mut self, generation: Generation) {
        let killed = ZygoteState::Ending(Rung::killed(self.now));
        let Some(zygote) = self.pool.zygotes.get_mut(&generation) else { return };
        match zygote.state {
            ZygoteState::Starting { .. } => {
                let failure = not_ready(zygote);
                self.zygote_failed(generation, &failure);
            }
            // It has no handler for SIGABRT.
            ZygoteState::Ending(rung) => match rung.next(false) {
                Step::Abort | Step::Kill => {
                    zygote.state = killed;
                    self.push(Effect::Zygote(generation, ZygoteEffect::Kill));
                }
                Step::Forget => self.zygote_exited(generation),
            },
            ZygoteState::Dead { .. } => self.spawn_zygote(generation),
            ZygoteState::Waiting { .. } => self.listen_again(generation),
            ZygoteState::Ready | ZygoteState::Kept | ZygoteState::Resting => {}
        }
    }

    fn listen_again(&mut self, generation: Generation) {
        let now = self.now;
        if let Some(zygote) = self.pool.zygotes.get_mut(&generation) {
            zygote.state = ZygoteState::Starting { until: now + zygote.boot_max };
            self.push(Effect::Zygote(generation, ZygoteEffect::Listen));
        }
    }
}

/// A zygote that took too long.
fn not_ready(zygote: &Zygote) -> Failure {
    let seconds = if zygote.here { zygote.boot_max } else { HERE_MAX }.as_secs();
    let (message, hint) = if !zygote.here {
        (
            format!("the interpreter of the zygote has not come up within {seconds} s"),
            "was it stopped (state T in the output of ps), does a .pth file or sitecustomize wait for \
             something, or does the file system hang that Python lies on?",
        )
    } else if let Some(hook) = zygote.in_hook {
        (
            format!("the zygote was not ready within {seconds} s{}", in_hook(Some(hook))),
            "what does it wait for? if it really needs longer, raise max_boot_time",
        )
    } else if zygote.configured {
        (
            format!("the zygote was not ready within {seconds} s"),
            "look for a deadlock or an endless wait in the module's top-level code; \
             if it really needs longer, raise max_boot_time",
        )
    } else {
        (
            format!("the configuration was not read within {seconds} s"),
            "look for an endless wait in the configuration file, in what it imports, and in the file system \
             that these lie on",
        )
    };
    Failure { kind: FailureKind::Boot, message, hint: hint.into(), traceback: String::new() }
}

#[cfg(test)]
mod tests {
    use super::super::effect::WorkerEffect;
    use super::super::event::{Event, WorkerEvent, ZygoteEvent};
    use super::super::limits::FORK_MAX;
    use super::*;
    use crate::ids::WorkerId;
    use std::time::Duration;

    const FIRST: Generation = Generation::FIRST;

    fn handle(machine: &mut Supervisor, event: ZygoteEvent) {
        machine.handle(Event::Zygote(FIRST, event), machine.now);
    }

    fn logged(machine: &mut Supervisor) -> String {
        let effects = std::iter::from_fn(|| machine.poll_effect());
        let lines = effects.filter_map(|effect| match effect {
            Effect::Log(line) => Some(line.text + "\n"),
            _ => None,
        });
        lines.collect()
    }

    /// A server whose zygote was asked for its only worker, after hooks.
    fn asked(hooks: &[Option<&'static str>]) -> Supervisor {
        let mut machine = Supervisor::new();
        machine.handle(Event::Start { successor: false }, Duration::ZERO);
        let policy = Policy { workers: 1, ..Policy::default() };
        handle(&mut machine, ZygoteEvent::Ready { policy });
        for hook in hooks {
            handle(&mut machine, ZygoteEvent::InHook { hook: *hook });
        }
        machine
    }

    #[test]
    fn a_zygote_that_does_not_answer_is_named_with_the_hook_that_it_is_in() {
        for (hooks, named) in [
            (vec![Some("pre_fork")], Some("the hook pre_fork has not returned")),
            (vec![Some("pre_fork"), None, Some("child_exit")], Some("the hook child_exit has not")),
            (vec![Some("child_exit"), None], None),
        ] {
            let mut machine = asked(&hooks);
            machine.handle(Event::Tick, FORK_MAX);
            let said = logged(&mut machine);
            assert!(said.contains("does not answer a request to fork"), "{said}");
            assert_eq!(said.contains("the hook"), named.is_some(), "{said}");
            assert!(said.contains(named.unwrap_or("was it stopped")), "{said}");
        }
    }

    #[test]
    fn a_new_zygote_is_in_no_hook() {
        let mut machine = asked(&[]);
        let worker = WorkerId(1);
        machine.handle(Event::Worker(worker, WorkerEvent::Forked { pid: 7 }), machine.now);
        machine.handle(Event::Worker(worker, WorkerEvent::Ready), machine.now);
        handle(&mut machine, ZygoteEvent::InHook { hook: Some("child_exit") });
        handle(&mut machine, ZygoteEvent::Exited);
        machine.handle(Event::Tick, Duration::from_secs(5));
        let policy = Policy { workers: 1, ..Policy::default() };
        handle(&mut machine, ZygoteEvent::Ready { policy });
        let exit = super::super::reason::ExitStatus::Signal(9).into();
        machine.handle(Event::Worker(worker, WorkerEvent::Exited { exit }), machine.now);
        let forks = std::iter::from_fn(|| machine.poll_effect()).any(|effect| {
            effect == Effect::Worker(WorkerId(2), WorkerEffect::Fork { generation: FIRST })
        });
        assert!(forks);
        machine.handle(Event::Tick, machine.now + FORK_MAX);
        assert!(logged(&mut machine).contains("was it stopped"));
    }

    #[test]
    fn what_is_not_ready_in_time_is_named_with_the_hook_that_it_is_in() {
        let mut machine = Supervisor::new();
        machine.handle(Event::Start { successor: false }, Duration::ZERO);
        let boot_max = Duration::from_secs(7);
        handle(&mut machine, ZygoteEvent::ConfigRead { boot_max });
        handle(&mut machine, ZygoteEvent::InHook { hook: Some("when_ready") });
        machine.handle(Event::Tick, boot_max);
        let said = logged(&mut machine);
        assert!(
            said.contains("not ready within 7 s: the hook when_ready has not returned"),
            "{said}"
        );

        let mut machine = asked(&[]);
        let worker = WorkerId(1);
        machine.handle(Event::Worker(worker, WorkerEvent::Forked { pid: 7 }), machine.now);
        let hook = Some("post_fork");
        machine.handle(Event::Worker(worker, WorkerEvent::InHook { hook }), machine.now);
        machine.handle(Event::Tick, BOOT_MAX);
        let said = logged(&mut machine);
        assert!(said.contains("not ready within 1800 s: the hook post_fork has not"), "{said}");
    }
}
