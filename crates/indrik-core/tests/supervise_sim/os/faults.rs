//! What may go wrong in the simulated system, and how likely it is.

use std::time::Duration;

use indrik_core::supervise::FailureKind;

/// How likely each fault is, in percent; and what always fails.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    /// It is stopped before it has said anything.
    pub(crate) zygote_never_comes_up: u32,
    pub(crate) zygote_fails: u32,
    pub(crate) zygote_dies: u32,
    pub(crate) zygote_ignores_exit: u32,
    pub(crate) zygote_stays: u32,
    pub(crate) fork_fails: u32,
    pub(crate) fork_silent: u32,
    pub(crate) boot_fails: u32,
    pub(crate) boot_crash: u32,
    pub(crate) boot_slow: u32,
    /// The setting `max_boot_time`.
    pub(crate) boot_max: Duration,
    pub(crate) worker_dies: u32,
    pub(crate) worker_stuck: u32,
    /// Its loop turns no more, though nothing runs in it.
    pub(crate) worker_stands_still: u32,
    pub(crate) worker_used_up: u32,
    pub(crate) worker_should_go: u32,
    pub(crate) worker_grows: u32,
    pub(crate) worker_stops_itself: u32,
    pub(crate) drain_never: u32,
    pub(crate) shutdown_ignored: u32,
    pub(crate) signal_ignored: u32,
    pub(crate) front_never_idle: u32,
    pub(crate) address_taken: u32,
    /// No descriptor is left for the sockets of a new generation.
    pub(crate) sockets_lacking: u32,
    /// The front cannot start.
    pub(crate) front_fails: u32,
    /// The hook `pre_exec` takes its time.
    pub(crate) pre_exec_slow: u32,
    /// The process that runs it ends in the middle of it.
    pub(crate) pre_exec_lost: u32,
    pub(crate) successor_fails: u32,
    pub(crate) successor_dies: u32,
    pub(crate) warm_up_fails: u32,
    pub(crate) warm_up_silent: u32,
    pub(crate) answers_bad: u32,
    pub(crate) successor_never_serves: u32,
    /// Stopped before it does anything, for example.
    pub(crate) successor_hangs: u32,
    /// A worker has soon served enough for a refork.
    pub(crate) refork: u32,
    /// A worker that is to be the zygote says nothing more, or that it cannot.
    pub(crate) promotion_fails: u32,
    /// Everything that loads the application fails so.
    pub(crate) always_fails: Option<FailureKind>,
}

impl Faults {
    /// Everything works.
    pub(crate) fn calm() -> Self {
        Self {
            zygote_never_comes_up: 0,
            zygote_fails: 0,
            zygote_dies: 0,
            zygote_ignores_exit: 0,
            zygote_stays: 0,
            fork_fails: 0,
            fork_silent: 0,
            boot_fails: 0,
            boot_crash: 0,
            boot_slow: 0,
            boot_max: Duration::from_secs(1_800),
            worker_dies: 0,
            worker_stuck: 0,
            worker_stands_still: 0,
            worker_used_up: 0,
            worker_should_go: 0,
            worker_grows: 0,
            worker_stops_itself: 0,
            drain_never: 0,
            shutdown_ignored: 0,
            signal_ignored: 0,
            front_never_idle: 0,
            address_taken: 0,
            sockets_lacking: 0,
            front_fails: 0,
            pre_exec_slow: 0,
            pre_exec_lost: 0,
            successor_fails: 0,
            successor_dies: 0,
            warm_up_fails: 0,
            warm_up_silent: 0,
            answers_bad: 0,
            successor_never_serves: 0,
            successor_hangs: 0,
            refork: 0,
            promotion_fails: 0,
            always_fails: None,
        }
    }

    /// Everything works, slowly, and workers get used up.
    pub(crate) fn busy() -> Self {
        Self {
            boot_slow: 40,
            worker_used_up: 50,
            worker_should_go: 50,
            zygote_stays: 50,
            drain_never: 20,
            shutdown_ignored: 20,
            refork: 30,
            promotion_fails: 20,
            ..Self::calm()
        }
    }

    /// Nothing can be relied on.
    pub(crate) fn wild() -> Self {
        Self {
            zygote_never_comes_up: 5,
            zygote_fails: 15,
            zygote_dies: 25,
            zygote_ignores_exit: 30,
            zygote_stays: 40,
            fork_fails: 15,
            fork_silent: 5,
            boot_fails: 15,
            boot_crash: 15,
            boot_slow: 20,
            boot_max: Duration::from_secs(40),
            worker_dies: 40,
            worker_stuck: 25,
            worker_stands_still: 10,
            worker_used_up: 30,
            worker_should_go: 20,
            worker_grows: 30,
            worker_stops_itself: 15,
            drain_never: 25,
            shutdown_ignored: 30,
            signal_ignored: 30,
            front_never_idle: 40,
            address_taken: 30,
            sockets_lacking: 10,
            front_fails: 0,
            pre_exec_slow: 30,
            pre_exec_lost: 10,
            successor_fails: 30,
            successor_dies: 60,
            warm_up_fails: 10,
            warm_up_silent: 5,
            answers_bad: 20,
            successor_never_serves: 20,
            successor_hangs: 20,
            refork: 50,
            promotion_fails: 40,
            always_fails: None,
        }
    }
}
