//! What workers may take of the machine: checked with the settings, imposed on each worker between
//! its fork and the word to go, while this process still has the rights that workers give up.

use std::io;

use indrik_core::ids::Generation;
use indrik_core::limits::groups::GroupLimits;
use indrik_core::limits::oom;
use indrik_core::logs::level::Level;
use indrik_core::settings::{Config, WorkerRlimit};
use indrik_core::supervise::{Failure, FailureKind};
use indrik_sys::limits;

use super::parts::Drive;
use crate::boot::{BootError, Groups};

/// Whether this process may impose what the settings ask for.
///
/// # Errors
/// The first that it may not.
pub(super) fn check_limits(config: &Config) -> Result<(), BootError> {
    for limit in &config.worker_rlimits {
        let resource = limits::resource(limit.resource.name());
        if !resource.is_some_and(|resource| limits::may_have_hard_limit(resource, limit.hard)) {
            return Err(too_high(limit));
        }
    }
    match config.worker_nice {
        Some(niceness) if !limits::may_have_niceness(niceness) => Err(BootError {
            message: format!(
                "worker_nice: this process may not run workers with the niceness {niceness}"
            ),
            hint: "choose a higher number, or start with CAP_SYS_NICE (systemd: LimitNICE=)",
            in_use: false,
        }),
        Some(_) | None => Ok(()),
    }
}

fn too_high(limit: &WorkerRlimit) -> BootError {
    let own = limits::resource(limit.resource.name()).and_then(limits::hard_limit);
    let own = own.map_or_else(String::new, |own| format!(", its own hard limit is {own}"));
    BootError {
        message: format!("worker_rlimits: this process may not give workers {limit}{own}"),
        hint: "lower it, or raise the limit where the server is started (systemd: LimitNOFILE= \
               and its like)",
        in_use: false,
    }
}

impl Drive {
    /// Divides this server's control group, if a generation asks for it.
    pub(super) fn prepare_groups(&mut self, config: &Config) -> Result<(), Failure> {
        let wanted = GroupLimits::of(config);
        let divided = match &self.usage.confinement.groups {
            Some(groups) => groups.change(&wanted),
            None if wanted.is_empty() => Ok(()),
            None => Groups::of_this_process(&wanted)
                .map(|groups| self.usage.confinement.groups = Some(groups)),
        };
        match divided {
            Ok(()) => Ok(()),
            Err(error) if config.worker_cgroup_required => Err(error.failure(FailureKind::Config)),
            Err(error) => {
                self.tell_once(vec![error.to_string()]);
                Ok(())
            }
        }
    }

    /// A zygote is to die after its workers and before the front.
    pub(super) fn expose_zygote(&self, generation: Generation) {
        let Some(zygote) = self.children.zygotes.get(&generation) else { return };
        let Some(config) = self.generations.config(generation) else { return };
        let Ok(own) = limits::oom_score_adj() else { return };
        if let Some(score) = oom::scores(own, config.worker_oom_score_adj).zygote
            && let Err(error) = limits::set_oom_score_adj(zygote.child.pid(), score)
        {
            let text = format!("Cannot set oom_score_adj of the zygote to {score}: {error}");
            self.log.write(Level::Debug, &text);
        }
    }

    /// A worker has become the zygote: it is bounded like one from now on, as far as a limit can be
    /// taken back.
    pub(super) fn spare_zygote(&mut self, generation: Generation, pid: u32) {
        if let Some(groups) = &mut self.usage.confinement.groups
            && let Err(error) = groups.take_out(pid)
        {
            let text = format!("The zygote keeps the limits of a worker's memory: {error}");
            self.log.write(Level::Warning, &text);
        }
        self.expose_zygote(generation);
    }

    /// Imposes on a new worker what the settings say. It runs nothing yet.
    ///
    /// A worker that serves with less than all of it is better than none: what can be foreseen has
    /// stopped the start.
    pub(super) fn confine(&mut self, generation: Generation, pid: u32) {
        let Some(config) = self.generations.config_of(generation) else { return };
        // A zygote that was a worker has given up its rights, and its limits come along with the fork.
        let inherits =
            config.refork_after_requests > 0 && self.generations.identity(generation).is_some();
        let is_there =
            |error: &io::Error| inherits && error.kind() == io::ErrorKind::PermissionDenied;
        let mut failures = Vec::new();
        for limit in &config.worker_rlimits {
            let set = limits::resource(limit.resource.name())
                .map(|resource| limits::limit(pid, resource, limit.soft, limit.hard));
            if let Some(Err(error)) = set
                && !is_there(&error)
            {
                failures.push(format!("Cannot give workers {limit} (worker_rlimits): {error}"));
            }
        }
        if let Some(niceness) = config.worker_nice
            && let Err(error) = limits::set_niceness(pid, niceness)
            && !is_there(&error)
        {
            failures.push(format!("Cannot set worker_nice: {error}"));
        }
        failures.extend(expose(&config, pid));
        let wanted = GroupLimits::of(&config);
        if !wanted.is_empty()
            && let Some(groups) = &mut self.usage.confinement.groups
            && let Err(error) = groups.add(pid, &wanted)
        {
            // Without the number, which differs from worker to worker.
            let error = error.replace(&pid.to_string(), "PID");
            failures.push(format!("Cannot put workers into control groups: {error}"));
        }
        self.tell_once(failures);
    }

    /// A worker has ended, and what there is to read of its group has been read.
    pub(super) fn release_group(&mut self, pid: u32) {
        if let Some(groups) = &mut self.usage.confinement.groups {
            groups.remove(pid);
        }
    }
}

/// Says how likely the worker is killed for memory. Unless somebody asked for it, it is done where it
/// can be done.
fn expose(config: &Config, pid: u32) -> Option<String> {
    let set = limits::oom_score_adj().and_then(|own| {
        let score = oom::scores(own, config.worker_oom_score_adj).worker;
        limits::set_oom_score_adj(pid, score)
    });
    let asked = config.worker_oom_score_adj.is_some();
    let error = set.err().filter(|_| asked)?;
    Some(format!("Cannot set worker_oom_score_adj: {error}"))
}
