//! A new program beside the old one: both serve from the same sockets until one of them leaves.
//!
//! That is Gunicorn's way of replacing the program without closing a socket (USR2), where an operator
//! tells the old one to leave. An upgrade (`indrik upgrade`, or USR2 with `upgrade_drains`) does that by
//! itself once the new one says that it serves. Until the old one is empty it can come back: it only
//! leaves connections in the kernel's queue, where the new one finds them.

use super::effect::{Effect, UpgradeEffect};
use super::limits::{PRE_EXEC_MAX, SUCCESSOR_SILENT_MAX, UPGRADE_MAX};
use super::machine::Supervisor;
use super::reason::ExitStatus;
use super::state::pause::Pause;
use super::state::phase::Phase;
use super::state::upgrade::{Plan, Upgrade};
use crate::logs::level::Level;

impl Supervisor {
    /// Whether a new server can be started beside this one.
    ///
    /// # Errors
    /// Why not, in Gunicorn's words.
    pub fn may_upgrade(&self) -> Result<(), &'static str> {
        match self.server.upgrade {
            Upgrade::Preparing { .. } | Upgrade::Starting { .. } | Upgrade::Predecessor { .. } => {
                Err("Child exists.")
            }
            Upgrade::Successor => Err("Parent exists."),
            Upgrade::None if self.server.pre_exec_runs => {
                Err("The hook pre_exec of the last one still runs.")
            }
            Upgrade::None if self.server.steering.hold.is_on() => Err(
                "Requests are held by a pause, which a new master would not know of: resume first.",
            ),
            Upgrade::None if self.server.phase == Phase::Serving => Ok(()),
            Upgrade::None => Err("The server starts up or shuts down."),
        }
    }

    pub(super) fn usr2(&mut self) {
        match self.may_upgrade() {
            Ok(()) => self.prepare_successor(self.pool.serving.policy.upgrade_drains),
            Err(why) => self.log(Level::Warning, format!("USR2 signal ignored. {why}")),
        }
    }

    /// Whoever asks has looked whether it may be done.
    pub(super) fn upgrade(&mut self) {
        if self.may_upgrade().is_ok() {
            self.prepare_successor(true);
        }
    }

    fn prepare_successor(&mut self, replaces: bool) {
        self.server.upgrade = Upgrade::Preparing { replaces, until: self.now + PRE_EXEC_MAX };
        self.server.pre_exec_runs = true;
        self.push(Effect::Upgrade(UpgradeEffect::RunPreExec));
    }

    /// Somebody may have told this server to stop meanwhile, or nobody waits for the hook any more.
    pub(super) fn pre_exec_done(&mut self) {
        self.server.pre_exec_runs = false;
        if let Upgrade::Preparing { replaces, .. } = self.server.upgrade {
            self.server.upgrade = Upgrade::Starting { replaces };
            self.push(Effect::Upgrade(UpgradeEffect::StartSuccessor));
        }
    }

    /// What the hook was to do is not done, so nothing is built on it.
    pub(super) fn pre_exec_lost(&mut self) {
        self.server.pre_exec_runs = false;
        if let Upgrade::Preparing { replaces, .. } = self.server.upgrade {
            let text = "The process that ran the hook pre_exec has ended in the middle of it; no new \
                        master is started";
            self.no_successor(replaces, text.to_owned());
        }
    }

    pub(super) fn successor_started(&mut self, pid: u32) {
        if let Upgrade::Starting { replaces } = self.server.upgrade {
            let plan = match replaces {
                true => Plan::Leave {
                    until: self.now + UPGRADE_MAX,
                    silent: self.now + SUCCESSOR_SILENT_MAX,
                },
                false => Plan::Stay,
            };
            self.server.upgrade = Upgrade::Predecessor { successor: pid, plan };
            self.log(Level::Info, format!("Starting new master (pid: {pid})"));
        }
    }

    pub(super) fn successor_failed(&mut self, message: &str) {
        if let Upgrade::Starting { replaces } = self.server.upgrade {
            self.no_successor(replaces, format!("Cannot start a new master: {message}"));
        }
    }

    /// The new server is on its way.
    pub(super) fn successor_lives(&mut self) {
        let next = self.now + SUCCESSOR_SILENT_MAX;
        if let Upgrade::Predecessor { plan: Plan::Leave { silent, .. }, .. } =
            &mut self.server.upgrade
        {
            *silent = next;
        }
    }

    /// The new server serves: if it is to take this one's place, what this one has is finished now.
    pub(super) fn successor_ready(&mut self) {
        let Upgrade::Predecessor { successor, plan } = self.server.upgrade else { return };
        self.push(Effect::Upgrade(UpgradeEffect::GiveWay));
        if !matches!(plan, Plan::Leave { .. }) {
            return;
        }
        if self.server.phase != Phase::Serving {
            return;
        }
        let text = format!("New master (pid:{successor}) serves; this one finishes its requests");
        self.log(Level::Info, text);
        self.server.upgrade = Upgrade::Predecessor { successor, plan: Plan::Leaving };
        self.push(Effect::Upgrade(UpgradeEffect::Done { successor }));
        match self.server.pause {
            Pause::No => self.leave_connections(),
            Pause::Emptying { .. } => {}
            Pause::Empty => self.hand_over(),
        }
    }

    /// The new server that serves in this one's place, while this one finishes its requests.
    #[must_use]
    pub fn handed_over_to(&self) -> Option<u32> {
        match self.server.upgrade {
            Upgrade::Predecessor { successor, plan: Plan::Leaving } => Some(successor),
            _ => None,
        }
    }

    pub(super) fn expire_upgrade(&mut self) {
        if self.server.upgrade.deadline().is_none_or(|until| until > self.now) {
            return;
        }
        match self.server.upgrade {
            Upgrade::Preparing { replaces, .. } => {
                let limit = PRE_EXEC_MAX.as_secs();
                let text = format!(
                    "The hook pre_exec still runs after {limit} s; no new master is started"
                );
                self.no_successor(replaces, text);
            }
            Upgrade::Predecessor { successor, plan: Plan::Leave { until, .. } } => {
                self.server.upgrade = Upgrade::Predecessor { successor, plan: Plan::Stay };
                let what = if until <= self.now {
                    "has not said in time that it serves".to_owned()
                } else {
                    format!(
                        "has said nothing for {} s (was it stopped, state T in the output of ps, or \
                         does it hang before it begins? Gunicorn says nothing at all)",
                        SUCCESSOR_SILENT_MAX.as_secs()
                    )
                };
                self.upgrade_failed(format!(
                    "New master (pid:{successor}) {what}; both go on: end one of them"
                ));
            }
            Upgrade::None
            | Upgrade::Starting { .. }
            | Upgrade::Predecessor { .. }
            | Upgrade::Successor => {}
        }
    }

    /// This server is the only one again, and serves again if it had been told to pause.
    pub(super) fn successor_exited(&mut self, status: ExitStatus) {
        let Upgrade::Predecessor { successor, plan } = self.server.upgrade else { return };
        self.server.upgrade = Upgrade::None;
        let (level, how) = match status {
            ExitStatus::Code(0) => (Level::Info, "stopped".to_owned()),
            ExitStatus::Code(code) => (Level::Error, format!("exited with code {code}")),
            ExitStatus::Signal(signal) => (Level::Error, format!("was ended by signal {signal}")),
        };
        // Somebody has stopped the service, of which this one is the rest.
        let is_stopped = plan == Plan::Leaving && status == ExitStatus::Code(0);
        let serves = self.server.phase == Phase::Serving && !is_stopped;
        let rest = if serves { "this one goes on" } else { "this one ends too" };
        let text = format!("New master (pid:{successor}) {how}; {rest}");
        self.log(level, text.clone());
        if matches!(plan, Plan::Leave { .. }) {
            self.push(Effect::Upgrade(UpgradeEffect::Failed { message: text }));
        }
        if is_stopped {
            self.shut_down_gracefully();
        }
        if serves && self.server.pause != Pause::No {
            let emptied = self.server.pause == Pause::Empty;
            self.change_wanted(if emptied {
                self.pool.serving.policy.workers
            } else {
                self.pool.serving.wanted
            });
        }
    }

    pub(super) fn predecessor_exited(&mut self) {
        if self.server.upgrade == Upgrade::Successor {
            self.server.upgrade = Upgrade::None;
            self.server.doors.left_alone();
            self.log(Level::Info, "Master has been promoted.");
            self.push(Effect::Upgrade(UpgradeEffect::Promote));
            if self.server.announced {
                self.notify_ready();
            }
        }
    }
}
