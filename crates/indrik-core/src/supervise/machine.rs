//! The machine's state, and how what it decides gets out of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::consequence::Consequence;
use super::effect::{Effect, LogLine, Notice, UpgradeEffect, WorkerEffect};
use super::event::{Failure, FileChange};
use super::policy::Policy;
use super::reason::{Accounts, EndReason, Tally};
use super::report::{ReloadOutcome, Totals};
use super::state::ailments::Ailments;
use super::state::candidate::Candidate;
use super::state::doors::{Doors, Opening};
use super::state::hold::Steering;
use super::state::patience::Asked;
use super::state::pause::Pause;
use super::state::phase::Phase;
use super::state::serving::{Serving, Wish};
use super::state::soak::Soak;
use super::state::upgrade::Upgrade;
use super::state::worker::Worker;
use super::state::zygote::Zygote;
use crate::ids::{Generation, PoolId, WorkerId};
use crate::logs::entry::Fields;
use crate::logs::level::Level;
use crate::time::Now;

/// The machine.
#[derive(Debug)]
pub struct Supervisor {
    pub(super) now: Now,
    pub(super) server: Server,
    pub(super) pool: Pool,
    pub(super) effects: VecDeque<Effect>,
    /// What is to be acted on before the next thing is looked at.
    pub(super) consequences: VecDeque<Consequence>,
}

/// What there is once, however many pools there are.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) phase: Phase,
    pub(super) pause: Pause,
    pub(super) steering: Steering,
    pub(super) doors: Doors,
    pub(super) upgrade: Upgrade,
    /// The hook `pre_exec` was asked for, and has not returned.
    pub(super) pre_exec_runs: bool,
    /// The service manager has been told that the server is ready.
    pub(super) announced: bool,
    pub(super) asked: Asked,
    pub(super) exit_code: i32,
    /// The end has been logged.
    pub(super) said_farewell: bool,
    /// When SIGTERM came first.
    pub(super) first_term: Option<Now>,
    pub(super) next_worker: u64,
    pub(super) last_generation: Generation,
}

/// A pool: its processes, and the generations that come and go.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) id: PoolId,
    pub(super) serving: Serving,
    /// How many workers an operator wants, whatever the generation.
    pub(super) wish: Option<Wish>,
    pub(super) candidate: Option<Candidate>,
    pub(super) soak: Option<Soak>,
    pub(super) workers: BTreeMap<WorkerId, Worker>,
    pub(super) zygotes: BTreeMap<Generation, Zygote>,
    /// A zygote that a refork has replaced was told to leave, and has until then.
    pub(super) old_zygote_until: Option<Now>,
    /// A worker has been ready at some time: from then on no boot failure ends the server.
    pub(super) ever_ready: bool,
    pub(super) beginning: Beginning,
    pub(super) ailments: Ailments,
    /// When signs of life were read last.
    pub(super) signs_at: Option<Now>,
    pub(super) reloads: Reloads,
    pub(super) totals: Totals,
    pub(super) accounts: Accounts,
}

/// What decides whether the server has failed to start.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    /// A worker has finished a request, or lived for long.
    pub(super) ever_of_use: bool,
    /// Workers ended by a signal, or not forked, before any was ready.
    pub(super) crashes: u32,
}

/// What is remembered of reloads.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    pub(super) last: Option<ReloadOutcome>,
    /// One was asked for while one was under way.
    pub(super) again: bool,
    /// Changes of files that the generation in the making, or the one after it, will have read.
    pub(super) changes_seen: BTreeSet<FileChange>,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self::new()
    }
}

impl Supervisor {
    /// A supervisor that has not begun; the first event is [`Event::Start`].
    #[must_use]
    pub fn new() -> Self {
        let server = Server {
            phase: Phase::Starting,
            pause: Pause::No,
            steering: Steering::default(),
            doors: Doors::Closed(Opening::Front),
            upgrade: Upgrade::None,
            pre_exec_runs: false,
            announced: false,
            asked: Asked::default(),
            exit_code: 0,
            said_farewell: false,
            first_term: None,
            next_worker: 1,
            last_generation: Generation::FIRST,
        };
        let pool = Pool {
            id: PoolId::FIRST,
            serving: Serving::new(Generation::FIRST, Policy::default()),
            wish: None,
            candidate: None,
            soak: None,
            workers: BTreeMap::new(),
            zygotes: BTreeMap::new(),
            old_zygote_until: None,
            ever_ready: false,
            beginning: Beginning::default(),
            ailments: Ailments::default(),
            signs_at: None,
            reloads: Reloads::default(),
            totals: Totals::default(),
            accounts: Accounts::default(),
        };
        Self {
            now: Now::ZERO,
            server,
            pool,
            effects: VecDeque::new(),
            consequences: VecDeque::new(),
        }
    }

    /// The next thing to do. Call until `None` after each [`Supervisor::handle`].
    #[must_use = "an effect must be performed"]
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    pub(super) fn push(&mut self, effect: Effect) {
        self.count(&effect);
        self.effects.push_back(effect);
    }

    /// Counts what an effect that is about to be given out does.
    fn count(&mut self, effect: &Effect) {
        match effect {
            Effect::Worker(_, WorkerEffect::Fork { .. }) => self.pool.totals.spawned += 1,
            Effect::Worker(_, WorkerEffect::ShutDown) => self.pool.totals.ended += 1,
            Effect::Count(tally) => self.pool.accounts.enter(*tally),
            _ => {}
        }
    }

    pub(super) fn log(&mut self, level: Level, text: impl Into<String>) {
        self.log_with(level, None, text, Fields::new());
    }

    pub(super) fn log_worker(&mut self, level: Level, pid: Option<u32>, text: impl Into<String>) {
        self.log_with(level, pid, text, Fields::new());
    }

    pub(super) fn log_with(
        &mut self,
        level: Level,
        pid: Option<u32>,
        text: impl Into<String>,
        fields: Fields,
    ) {
        self.push(Effect::Log(LogLine { level, pid, text: text.into(), fields }));
    }

    /// While another process is the service's main one, it speaks.
    pub(super) fn notify(&mut self, notice: Notice) {
        if self.server.upgrade != Upgrade::Successor {
            self.push(Effect::Notify(notice));
        }
    }

    /// Another generation serves from now on: what belonged to the one before comes back.
    pub(super) fn swap_serving(&mut self, next: Serving) -> Serving {
        std::mem::replace(&mut self.pool.serving, next)
    }

    /// Leaves something to the parts above: they act on it as soon as the caller is done, see [`Consequence`].
    pub(super) fn note(&mut self, consequence: Consequence) {
        self.consequences.push_back(consequence);
    }

    /// The generation failed: it is given up, if there is one to go back to. `details` is what the log says already.
    pub(super) fn note_failed(
        &mut self,
        generation: Generation,
        why: impl Into<String>,
        details: impl Into<String>,
    ) {
        let (why, details) = (why.into(), details.into());
        self.note(Consequence::GenerationFailed { generation, why, details });
    }

    pub(super) fn log_failure(&mut self, what: &str, failure: &Failure) {
        self.log(Level::Error, failure.told(what));
    }

    /// Every worker that was asked for comes here once, when it has been taken off the list.
    pub(super) fn account_end(&mut self, reason: EndReason) {
        self.push(Effect::Count(Tally::End(reason)));
    }

    /// No new master is started after all. `replaces`: it was to take this one's place, and whoever asked for that is
    /// told.
    pub(super) fn no_successor(&mut self, replaces: bool, message: String) {
        self.server.upgrade = Upgrade::None;
        if replaces {
            self.upgrade_failed(message);
        } else {
            self.log(Level::Error, message);
        }
    }

    /// Whoever asked for the upgrade is told that it did not come to pass.
    pub(super) fn upgrade_failed(&mut self, message: String) {
        self.log(Level::Error, message.clone());
        self.push(Effect::Upgrade(UpgradeEffect::Failed { message }));
    }
}
