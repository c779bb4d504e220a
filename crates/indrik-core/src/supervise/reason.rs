//! Why workers start and end: one word each, for the log, the counters and the control interface.
//!
//! A worker's end is decided once: the first decision stands, however the process then leaves. Only
//! a death that nobody asked for (a crash, the kernel's OOM killer) takes the place of a decision.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use crate::logs::level::Level;

/// What cannot be caught, on every Linux.
pub(super) const SIGKILL: i32 = 9;
/// What workers are sent that are to end at once.
pub(super) const SIGQUIT: i32 = 3;

/// With this code a worker says that its own descriptors have been closed: there is no other way left to say so.
/// `indrik/worker.py` has the number too.
pub(super) const DESCRIPTORS_LOST: i32 = 157;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited with this code.
    Code(i32),
    /// It was ended by this signal.
    Signal(i32),
}

/// Why a worker was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StartReason {
    /// The server started.
    Boot,
    /// A new generation.
    Reload,
    /// More workers are wanted than before.
    Scale,
    /// In the place of a worker that ended, or will when this one is ready, for this reason.
    Respawn(EndReason),
}

/// Why a worker ended, or is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndReason {
    /// A new generation took over.
    Reload,
    /// Its generation was given up: it did not get ready, or did not stand.
    Rollback,
    /// Fewer workers are wanted than before.
    Scale,
    /// The server was paused (WINCH).
    Pause,
    /// The server ends.
    ShutDown,
    /// It has served as many requests as one may.
    MaxRequests,
    /// It is as old as one may get.
    Age,
    /// It uses more memory than one should.
    Memory,
    /// It has more file descriptors open than one should.
    Descriptors,
    /// It uses more memory than one can be let have.
    MemoryHard,
    /// An operator wanted another one in its place.
    Replaced,
    /// An operator wanted it ended at once: it did not answer.
    Restarted,
    /// A new zygote is made from a warmed worker.
    Refork,
    /// A request ran for too long, or its loop showed no life.
    Timeout,
    /// No thread of it got Python's lock any more.
    Deadlock,
    /// It wrote what cannot be into its channel.
    ChannelBroken,
    /// Its application closed the descriptors that the worker lives by.
    DescriptorsLost,
    /// It sent on its lane what it must not, and has none any more.
    LaneCut,
    /// Its application ended itself within a request (`sys.exit()`), and nothing else.
    Application,
    /// Somebody outside told it to leave (SIGTERM, SIGINT).
    Outside,
    /// The zygote could not make it.
    ForkFailed,
    /// The zygote died before it had made it.
    ZygoteLost,
    /// The application could not be loaded.
    BootFailed,
    /// It was not ready in time.
    BootTimeout,
    /// The kernel killed it for memory.
    Oom,
    /// It was ended by a signal that we did not send.
    Crash(i32),
    /// It exited of its own accord with this code.
    Exit(i32),
}

impl StartReason {
    /// How much its line in the log matters.
    pub(super) const fn level(self) -> Level {
        match self {
            Self::Boot | Self::Reload | Self::Scale => Level::Routine,
            Self::Respawn(end) => end.level(),
        }
    }

    /// The reason in one word: that of the end it answers, for a respawn.
    #[must_use]
    pub fn word(self) -> Cow<'static, str> {
        match self {
            Self::Boot => Cow::Borrowed("boot"),
            Self::Reload => Cow::Borrowed("reload"),
            Self::Scale => Cow::Borrowed("scale"),
            Self::Respawn(end) => end.word(),
        }
    }
}

impl EndReason {
    /// How much its line in the log matters: what was meant to happen, or was told as an error before, is a matter of
    /// course.
    pub(super) const fn level(self) -> Level {
        match self {
            Self::Reload
            | Self::Rollback
            | Self::Scale
            | Self::Pause
            | Self::ShutDown
            | Self::MaxRequests
            | Self::Replaced
            | Self::Restarted
            | Self::Refork
            | Self::BootFailed
            | Self::BootTimeout => Level::Routine,
            Self::Age
            | Self::Memory
            | Self::Descriptors
            | Self::MemoryHard
            | Self::Timeout
            | Self::Deadlock
            | Self::ChannelBroken
            | Self::DescriptorsLost
            | Self::LaneCut
            | Self::Application
            | Self::Outside
            | Self::ForkFailed
            | Self::ZygoteLost
            | Self::Oom
            | Self::Crash(_)
            | Self::Exit(_) => Level::Info,
        }
    }

    /// The reason in one word. The words are stable: people count by them.
    #[must_use]
    pub fn word(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Reload => "reload",
            Self::Rollback => "rollback",
            Self::Scale => "scale",
            Self::Pause => "pause",
            Self::ShutDown => "shutdown",
            Self::MaxRequests => "max_requests",
            Self::Age => "age",
            Self::Memory => "memory",
            Self::Descriptors => "descriptors",
            Self::MemoryHard => "memory_hard",
            Self::Replaced => "replaced",
            Self::Restarted => "restarted",
            Self::Refork => "refork",
            Self::Timeout => "timeout",
            Self::Deadlock => "deadlock",
            Self::ChannelBroken => "channel_broken",
            Self::DescriptorsLost => "descriptors_lost",
            Self::LaneCut => "lane_cut",
            Self::Application => "application",
            Self::Outside => "outside",
            Self::ForkFailed => "fork_failed",
            Self::ZygoteLost => "zygote_lost",
            Self::BootFailed => "boot_failed",
            Self::BootTimeout => "boot_timeout",
            Self::Oom => "oom",
            Self::Crash(signal) => return Cow::Owned(format!("crash:{}", signal_name(signal))),
            Self::Exit(code) => return Cow::Owned(format!("exit:{code}")),
        })
    }

    /// What is said of a worker that is to go for this reason as soon as its successor is ready.
    pub(super) const fn announcement(self) -> &'static str {
        match self {
            Self::MaxRequests => "Autorestarting worker after current request.",
            Self::Replaced => "Replacing this worker, as asked",
            Self::Age => "Replacing this worker: it is as old as one may get",
            Self::Memory | Self::MemoryHard => "Replacing this worker: it uses too much memory",
            Self::Descriptors => "Replacing this worker: it has too many file descriptors open",
            Self::Timeout => "Replacing this worker: one of its requests does not end",
            Self::Refork => "Replacing this worker by one of the warmed zygote",
            Self::LaneCut => "Replacing this worker: it misused its lane, and has none any more",
            Self::Application => "Replacing this worker: its application asked for its end",
            Self::Outside => "Replacing this worker: it was sent SIGTERM",
            Self::Reload
            | Self::Rollback
            | Self::Scale
            | Self::Pause
            | Self::ShutDown
            | Self::Restarted
            | Self::Deadlock
            | Self::ChannelBroken
            | Self::DescriptorsLost
            | Self::ForkFailed
            | Self::ZygoteLost
            | Self::BootFailed
            | Self::BootTimeout
            | Self::Oom
            | Self::Crash(_)
            | Self::Exit(_) => "Replacing this worker",
        }
    }

    /// Whether it was ended because it did not go on.
    pub(super) const fn is_hanging(self) -> bool {
        matches!(self, Self::Timeout | Self::Deadlock)
    }

    /// Whether one of its requests, and which one is not known, may have brought a worker to its end.
    pub(super) const fn may_be_of_a_request(self) -> bool {
        match self {
            Self::Memory
            | Self::Descriptors
            | Self::MemoryHard
            | Self::ChannelBroken
            | Self::DescriptorsLost
            | Self::LaneCut
            | Self::Application
            | Self::Oom
            | Self::Crash(_)
            | Self::Exit(_) => true,
            // The request that runs for too long is known, and has been answered.
            Self::Timeout
            | Self::Deadlock
            | Self::Reload
            | Self::Rollback
            | Self::Scale
            | Self::Pause
            | Self::ShutDown
            | Self::MaxRequests
            | Self::Age
            | Self::Replaced
            | Self::Restarted
            | Self::Refork
            | Self::Outside
            | Self::ForkFailed
            | Self::ZygoteLost
            | Self::BootFailed
            | Self::BootTimeout => false,
        }
    }

    /// Why a worker ended that nobody had told to.
    pub(super) const fn of_death(exit: Exit) -> Self {
        match (exit.status, exit.oom) {
            (ExitStatus::Signal(SIGKILL), Some(true)) => Self::Oom,
            (ExitStatus::Signal(signal), _) => Self::Crash(signal),
            (ExitStatus::Code(DESCRIPTORS_LOST), _) => Self::DescriptorsLost,
            (ExitStatus::Code(code), _) => Self::Exit(code),
        }
    }
}

impl fmt::Display for StartReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.word())
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.word())
    }
}

/// What is known of a process that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// By its own exit or by a signal.
    pub status: ExitStatus,
    /// Whether the kernel's OOM killer did it; `None` if the kernel cannot be asked.
    pub oom: Option<bool>,
    /// Requests it has finished.
    pub requests: u64,
}

impl Exit {
    /// Somebody killed it, and it was not the kernel for memory.
    pub(super) fn is_from_outside(self) -> bool {
        self.status == ExitStatus::Signal(SIGKILL) && self.oom == Some(false)
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        Self { status, oom: None, requests: 0 }
    }
}

/// How many workers started and ended, by reason. What started and has not ended is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Starts.
    pub starts: BTreeMap<StartReason, u64>,
    /// Ends.
    pub ends: BTreeMap<EndReason, u64>,
}

impl Accounts {
    /// Takes an entry in.
    pub(super) fn enter(&mut self, tally: Tally) {
        match tally {
            Tally::Start(reason) => *self.starts.entry(reason).or_default() += 1,
            Tally::End(reason) => *self.ends.entry(reason).or_default() += 1,
        }
    }

    /// Starts by the reason's word.
    #[must_use]
    pub fn starts_by_word(&self) -> BTreeMap<String, u64> {
        by_word(self.starts.iter().map(|(reason, count)| (reason.word(), *count)))
    }

    /// Ends by the reason's word.
    #[must_use]
    pub fn ends_by_word(&self) -> BTreeMap<String, u64> {
        by_word(self.ends.iter().map(|(reason, count)| (reason.word(), *count)))
    }
}

/// Reasons may share a word: a worker that more are wanted for, and the successor of one that
/// fewer were wanted for.
fn by_word(entries: impl Iterator<Item = (Cow<'static, str>, u64)>) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for (word, count) in entries {
        *sums.entry(word.into_owned()).or_default() += count;
    }
    sums
}

/// One entry of the accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    /// A worker was asked for.
    Start(StartReason),
    /// A worker's end was seen.
    End(EndReason),
}

impl Tally {
    /// The name of the metric that counts it. A colon would end the name on the wire.
    #[must_use]
    pub fn metric(self) -> String {
        let (what, word) = match self {
            Self::Start(reason) => ("starts", reason.word()),
            Self::End(reason) => ("ends", reason.word()),
        };
        format!("indrik.worker.{what}.{}", word.replace([':', ' '], "_"))
    }
}

/// What people look for in a log: Linux' name of a signal that ends processes.
pub(super) fn signal_name(number: i32) -> Cow<'static, str> {
    Cow::Borrowed(match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        SIGQUIT => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        SIGKILL => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        other => return Cow::Owned(format!("signal {other}")),
    })
}

#[cfg(test)]
mod tests {
    use std::iter::successors;

    use super::*;

    /// The reason behind this one in a list of all: one that is new has no place in it, and does not compile.
    fn after(reason: &EndReason) -> Option<EndReason> {
        Some(match reason {
            EndReason::Reload => EndReason::Rollback,
            EndReason::Rollback => EndReason::Scale,
            EndReason::Scale => EndReason::Pause,
            EndReason::Pause => EndReason::ShutDown,
            EndReason::ShutDown => EndReason::MaxRequests,
            EndReason::MaxRequests => EndReason::Age,
            EndReason::Age => EndReason::Memory,
            EndReason::Memory => EndReason::Descriptors,
            EndReason::Descriptors => EndReason::MemoryHard,
            EndReason::MemoryHard => EndReason::Replaced,
            EndReason::Replaced => EndReason::Restarted,
            EndReason::Restarted => EndReason::Refork,
            EndReason::Refork => EndReason::Timeout,
            EndReason::Timeout => EndReason::Deadlock,
            EndReason::Deadlock => EndReason::ChannelBroken,
            EndReason::ChannelBroken => EndReason::DescriptorsLost,
            EndReason::DescriptorsLost => EndReason::LaneCut,
            EndReason::LaneCut => EndReason::Application,
            EndReason::Application => EndReason::Outside,
            EndReason::Outside => EndReason::ForkFailed,
            EndReason::ForkFailed => EndReason::ZygoteLost,
            EndReason::ZygoteLost => EndReason::BootFailed,
            EndReason::BootFailed => EndReason::BootTimeout,
            EndReason::BootTimeout => EndReason::Oom,
            EndReason::Oom => EndReason::Crash(11),
            EndReason::Crash(_) => EndReason::Exit(7),
            EndReason::Exit(_) => return None,
        })
    }

    #[test]
    fn the_manual_names_every_reason() {
        let manual = include_str!("../../../../docs/manual/workers.md");
        let all = successors(Some(EndReason::Reload), after);
        for word in all.map(EndReason::word) {
            assert!(manual.contains(&format!("`{word}`")), "{word}");
        }
    }

    #[test]
    fn a_crash_is_named_by_its_signal_and_only_sigkill_can_be_the_kernels_for_memory() {
        let exit = |status, oom| Exit { status, oom, requests: 0 };
        let word = |status, oom| EndReason::of_death(exit(status, oom)).word().into_owned();
        assert_eq!(word(ExitStatus::Signal(11), None), "crash:SIGSEGV");
        assert_eq!(word(ExitStatus::Signal(9), None), "crash:SIGKILL");
        assert_eq!(word(ExitStatus::Signal(9), Some(false)), "crash:SIGKILL");
        assert_eq!(word(ExitStatus::Signal(SIGKILL), Some(true)), "oom");
        assert_eq!(word(ExitStatus::Signal(11), Some(true)), "crash:SIGSEGV");
        assert_eq!(word(ExitStatus::Code(0), None), "exit:0");
        assert_eq!(word(ExitStatus::Code(DESCRIPTORS_LOST), None), "descriptors_lost");
    }

    #[test]
    fn the_name_of_a_metric_has_no_sign_of_the_wire_in_it() {
        let tally = Tally::End(EndReason::Crash(11));
        assert_eq!(tally.metric(), "indrik.worker.ends.crash_SIGSEGV");
        let tally = Tally::End(EndReason::Crash(40));
        assert_eq!(tally.metric(), "indrik.worker.ends.crash_signal_40");
        let tally = Tally::Start(StartReason::Respawn(EndReason::MaxRequests));
        assert_eq!(tally.metric(), "indrik.worker.starts.max_requests");
    }

    #[test]
    fn reasons_with_one_word_are_counted_together() {
        let mut accounts = Accounts::default();
        accounts.enter(Tally::Start(StartReason::Scale));
        accounts.enter(Tally::Start(StartReason::Respawn(EndReason::Scale)));
        accounts.enter(Tally::End(EndReason::Scale));
        assert_eq!(accounts.starts_by_word(), BTreeMap::from([("scale".to_owned(), 2)]));
        assert_eq!(accounts.ends_by_word(), BTreeMap::from([("scale".to_owned(), 1)]));
    }
}
