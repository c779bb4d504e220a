//! From settings to what the supervisor decides by.

use std::time::Duration;

use super::state::liveness::LifeLimits;
use crate::settings::{Config, Share, WorkerClass};

/// The settings the supervisor decides by. They belong to a generation: a reload may change them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Workers wanted, at least 1.
    pub workers: u32,
    /// How long requests may go on after the end of their worker or of the server was decided.
    pub graceful_timeout: Duration,
    /// Nobody's terminal is attached, so WINCH is a command.
    pub daemon: bool,
    /// How long everything is served on after the end was announced.
    pub drain_delay: Duration,
    /// The zygote has a hook to run when the end is announced.
    pub pre_stop: bool,
    /// A new server that USR2 started takes this one's place as soon as it is ready.
    pub upgrade_drains: bool,
    /// How zygotes and workers are as processes.
    pub processes: ProcessPolicy,
    /// The last zygote has a hook to run before it leaves.
    pub exit_hook: bool,
    /// How reloads go.
    pub reload: ReloadPolicy,
    /// How long workers may show no life.
    pub life: LifeLimits,
    /// How long a worker may serve before it is replaced; zero: for ever.
    pub max_worker_age: Duration,
    /// Each worker gets up to so much longer.
    pub max_worker_age_jitter: Duration,
    /// Decides how much longer.
    pub jitter_seed: u64,
    /// Processors this server may use.
    pub cpus: u32,
    /// After how many requests a warm worker becomes the zygote; 0 is never.
    pub refork_after_requests: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            workers: 1,
            graceful_timeout: Duration::from_secs(30),
            drain_delay: Duration::ZERO,
            pre_stop: false,
            upgrade_drains: false,
            daemon: false,
            exit_hook: false,
            processes: ProcessPolicy::default(),
            refork_after_requests: 0,
            reload: ReloadPolicy::default(),
            life: LifeLimits::default(),
            max_worker_age: Duration::ZERO,
            max_worker_age_jitter: Duration::ZERO,
            jitter_seed: 0,
            cpus: 1,
        }
    }
}

/// What holds for the processes of a generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessPolicy {
    /// The zygote leaves while nothing is to be forked.
    pub zygote_rests: bool,
    /// Workers have limits of the kernel's, which may be too low.
    pub has_rlimits: bool,
}

/// How a generation takes over, and how each of its workers begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReloadPolicy {
    /// How long a worker's warm-up may take; `None`: there is none.
    pub warm_up: Option<Duration>,
    /// Processes above the number of workers.
    pub surge: Share,
    /// Workers fewer than usual that may be ready.
    pub unavailable: Share,
    /// How long the old workers stand by afterwards.
    pub soak: Duration,
    /// Above this percentage of errors among its answers a generation has not passed its soak.
    pub error_percent_max: u32,
    /// Workers that may boot at the same time, after the first one: what imports takes the processors
    /// from what serves.
    pub boots_at_once: u32,
}

impl Default for ReloadPolicy {
    fn default() -> Self {
        Self {
            warm_up: None,
            surge: Share::Percent(100),
            unavailable: Share::Count(0),
            soak: Duration::ZERO,
            error_percent_max: 10,
            boots_at_once: u32::MAX,
        }
    }
}

/// Workers that may boot at the same time, however few processors there are: most of an import's time
/// is waiting, and two that compute leave answers less than three times as late (decision 0011).
const BOOTS_AT_ONCE_MIN: u32 = 2;

/// What is known of a generation beside its settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The number of workers that hooks have set.
    pub workers: Option<u32>,
    /// It has the hook `pre_stop`.
    pub pre_stop: bool,
    /// It has the hook `on_exit`.
    pub exit_hook: bool,
    /// Its zygote has the logger that writes the logs.
    pub logs_in_zygote: bool,
    /// What its hooks have started lives in its zygote.
    pub stays: bool,
    /// Some program takes every child of this process for a worker.
    pub counts_children: bool,
    /// Its configuration has a hook that the zygote runs while the server serves.
    pub master_hooks: bool,
    /// Processors this server may use.
    pub cpus: u32,
    /// Chance.
    pub seed: u64,
}

impl Policy {
    /// What a generation with these settings is supervised by, and what has no effect in it.
    #[must_use]
    pub fn of(config: &Config, facts: &Facts) -> (Self, Option<String>) {
        let (refork_after_requests, remark) = match refork_after(config, facts) {
            Ok(after) => (after, None),
            Err(why) => (0, Some(format!("refork_after_requests has no effect {why}"))),
        };
        let workers = || u32::try_from(config.workers).unwrap_or(u32::MAX);
        let policy = Self {
            workers: facts.workers.unwrap_or_else(workers),
            graceful_timeout: config.graceful_timeout,
            drain_delay: config.drain_delay_s,
            pre_stop: facts.pre_stop,
            upgrade_drains: config.upgrade_drains,
            daemon: config.daemon,
            exit_hook: facts.exit_hook,
            processes: ProcessPolicy {
                zygote_rests: zygote_rests(config, facts),
                has_rlimits: !config.worker_rlimits.is_empty(),
            },
            refork_after_requests,
            reload: ReloadPolicy::of(config, facts.cpus),
            life: LifeLimits { timeout: config.timeout, deadlock: config.deadlock_timeout },
            max_worker_age: config.max_worker_age,
            max_worker_age_jitter: config.max_worker_age_jitter,
            jitter_seed: facts.seed,
            cpus: facts.cpus,
        };
        (policy, remark)
    }

    /// Whether it matters to know what each worker has served.
    #[must_use]
    pub const fn counts_requests(&self) -> bool {
        self.refork_after_requests > 0
    }
}

impl ReloadPolicy {
    /// How a generation with these settings takes over.
    fn of(config: &Config, cpus: u32) -> Self {
        Self {
            warm_up: (!config.warmup.is_empty()).then_some(config.warmup_timeout),
            surge: config.reload_max_surge,
            unavailable: config.reload_max_unavailable,
            soak: config.reload_soak_s,
            error_percent_max: match config.reload_error_rate_max {
                Share::Percent(percent) | Share::Count(percent) => percent,
            },
            // Half of the processors are left to what serves.
            boots_at_once: (cpus / 2).max(BOOTS_AT_ONCE_MIN),
        }
    }
}

/// Hooks that are over when the first worker is forked, or run in workers: nobody needs the zygote that has them.
const HOOKS_WITHOUT_ZYGOTE: [&str; 9] = [
    "on_starting",
    "post_fork",
    "post_worker_init",
    "worker_int",
    "worker_abort",
    "worker_exit",
    "pre_request",
    "post_request",
    "ssl_context",
];

/// Whether one of these hooks is run by the zygote while the server serves.
#[must_use]
pub fn has_master_hooks(hooks: &[String]) -> bool {
    hooks.iter().any(|hook| !HOOKS_WITHOUT_ZYGOTE.contains(&hook.as_str()))
}

/// Whether the zygote is of use for forks only, and somebody is misled by its presence.
fn zygote_rests(config: &Config, facts: &Facts) -> bool {
    let is_needed = config.preload_app || facts.master_hooks || facts.logs_in_zygote || facts.stays;
    facts.counts_children && !is_needed
}

/// After how many requests the generation reforks; 0 if that is not asked for.
///
/// # Errors
/// What prevents it.
fn refork_after(config: &Config, facts: &Facts) -> Result<u64, &'static str> {
    let obstacles = [
        (!config.preload_app, "without preload_app"),
        (config.reload, "with reload"),
        (facts.logs_in_zygote, "with a Python logger, which lives in the zygote"),
        (facts.stays, "with hooks that start threads in the zygote"),
        (!may_run_reforked(config.worker_class), "with this worker_class: sync and gthread only"),
    ];
    let found = obstacles.into_iter().find(|(is_there, _)| *is_there);
    match found.filter(|_| config.refork_after_requests > 0) {
        Some((_, why)) => Err(why),
        None => Ok(config.refork_after_requests),
    }
}

/// What runs requests on the main thread, or in threads that end with the loop.
#[must_use]
pub const fn may_run_reforked(class: WorkerClass) -> bool {
    match class {
        WorkerClass::Sync | WorkerClass::Gthread | WorkerClass::Auto | WorkerClass::Custom => true,
        WorkerClass::Gevent | WorkerClass::Eventlet | WorkerClass::Asgi | WorkerClass::Aiohttp => {
            false
        }
    }
}

/// After how many requests one worker is replaced; 0 is never. The jitter keeps workers that were
/// started together from being replaced together.
#[must_use]
pub fn requests_max(config: &Config, chance: u64) -> u64 {
    if config.max_requests == 0 {
        return 0;
    }
    let jitter = chance.checked_rem(config.max_requests_jitter.saturating_add(1)).unwrap_or(0);
    config.max_requests.saturating_add(jitter)
}

/// Whether it matters what starting a worker costs: they are recycled by what they have done.
#[must_use]
pub const fn paces_starts(config: &Config) -> bool {
    config.max_requests != 0 || !config.max_worker_age.is_zero()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{ConfigFileValues, Launch, resolve};

    fn config(change: impl Fn(&mut Config)) -> Config {
        let launch = Launch::bare("/app".into());
        let values = [("wsgi_app".to_owned(), "main:app".into())].into_iter().collect();
        let file = ConfigFileValues { values, ..ConfigFileValues::default() };
        let mut config = resolve(&launch, Some(&file)).unwrap();
        change(&mut config);
        config
    }

    #[test]
    fn hooks_decide_about_the_number_of_workers_before_the_settings_do() {
        let config = config(|config| config.workers = 3);
        let facts = Facts { cpus: 8, ..Facts::default() };
        assert_eq!(Policy::of(&config, &facts).0.workers, 3);
        let (policy, remark) = Policy::of(&config, &Facts { workers: Some(5), ..facts });
        assert_eq!((policy.workers, remark), (5, None));
        assert_eq!(policy.reload.boots_at_once, 4);
        assert_eq!(policy.life.timeout, config.timeout);
    }

    #[test]
    fn what_prevents_a_refork_is_named_where_one_is_asked_for() {
        let wants = |config: &mut Config| {
            config.refork_after_requests = 100;
            config.preload_app = true;
        };
        let policy = |config: &Config, facts: &Facts| {
            let (policy, remark) = Policy::of(config, facts);
            (policy.refork_after_requests, remark.unwrap_or_default())
        };
        assert_eq!(policy(&config(wants), &Facts::default()), (100, String::new()));
        let stays = Facts { stays: true, ..Facts::default() };
        let (after, remark) = policy(&config(wants), &stays);
        assert_eq!(after, 0);
        assert!(remark.ends_with("no effect with hooks that start threads in the zygote"));
        assert_eq!(policy(&config(|_| {}), &stays), (0, String::new()));
    }

    #[test]
    fn the_zygote_rests_only_where_somebody_counts_it_and_nobody_needs_it() {
        let rests = |change: fn(&mut Config), facts: Facts| {
            Policy::of(&config(change), &facts).0.processes.zygote_rests
        };
        let counted = Facts { counts_children: true, ..Facts::default() };
        assert!(rests(|_| {}, counted));
        assert!(!rests(|_| {}, Facts::default()));
        assert!(!rests(|config| config.preload_app = true, counted));
        assert!(!rests(|_| {}, Facts { master_hooks: true, ..counted }));
        assert!(!rests(|_| {}, Facts { logs_in_zygote: true, ..counted }));
        assert!(!rests(|_| {}, Facts { stays: true, ..counted }));
        let hooks = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(!has_master_hooks(&hooks(&["on_starting", "post_worker_init"])));
        assert!(has_master_hooks(&hooks(&["post_worker_init", "child_exit"])));
    }

    #[test]
    fn the_jitter_is_added_to_the_limit_and_to_none() {
        let config = |max, jitter| {
            config(|config| (config.max_requests, config.max_requests_jitter) = (max, jitter))
        };
        assert_eq!(requests_max(&config(0, 10), 7), 0);
        assert_eq!(requests_max(&config(100, 0), 7), 100);
        assert_eq!(requests_max(&config(100, 10), 7), 107);
        assert_eq!(requests_max(&config(100, 10), 11), 100);
        assert_eq!(requests_max(&config(100, u64::MAX), 5), 105);
    }
}
