//! Talking to a zygote and to a worker's control socket: processes, sockets, messages.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use indrik_core::ids::{Generation, WorkerId};
use indrik_core::settings::{Config, ConfigFileValues, Typed, WorkerClass};
use indrik_core::supervise::{Failure, FailureKind};
use indrik_sys::packets::PacketSocket;
use indrik_sys::process::Child;
use indrik_sys::program::{self, Program};
use serde::{Deserialize, Serialize};

use crate::app_metrics::Lease;
use crate::boot::{Identity, OWN_VARIABLES};
use crate::hearing::Hearing;

/// What the interpreter runs. `-m` would put the current directory on `sys.path` before the
/// standard library is imported, and an application's `json.py` would be taken for the real one.
const PROGRAM: &str = "import sys; sys.path[:1] == [''] and sys.path.pop(0); \
                       from indrik.zygote import main; main(int(sys.argv[1]), sys.argv[2:])";

/// A running zygote.
pub(crate) struct Zygote {
    pub(crate) child: Child,
    pub(crate) socket: PacketSocket,
    pub(crate) hearing: Hearing,
    /// It has its settings, and its handlers for signals.
    pub(crate) ready: bool,
    /// It takes the place of one that had been configured and died.
    pub(crate) again: bool,
    /// It has a Python logger that is to write the logs.
    pub(crate) logs: bool,
    /// What a preloaded application counts in it; none where nothing will be forked.
    pub(crate) metrics: Option<Lease>,
}

/// Where the standard streams of a zygote, and of its workers, lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Streams {
    /// To the same places as this process's.
    Same,
    /// Nowhere.
    Nowhere,
    /// Output to the same places, unless that is a terminal.
    NoTerminal,
}

impl Streams {
    /// Those that lead nowhere.
    fn nowhere(self) -> Vec<RawFd> {
        let is_nowhere = |fd: RawFd, is_terminal: &dyn Fn() -> bool| match self {
            Self::Same => false,
            Self::Nowhere => true,
            Self::NoTerminal => fd == 0 || is_terminal(),
        };
        let streams: [(RawFd, &dyn Fn() -> bool); 3] = [
            (0, &|| true),
            (1, &|| io::stdout().is_terminal()),
            (2, &|| io::stderr().is_terminal()),
        ];
        streams.into_iter().filter(|(fd, is)| is_nowhere(*fd, is)).map(|(fd, _)| fd).collect()
    }
}

/// How the application sees a listening socket: host and port, or `unix:PATH` and nothing.
pub(crate) type ListenerName = (String, Option<u16>);

/// A message to a zygote.
#[derive(Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum Request<'a> {
    ReadConfig {
        path: Option<&'a str>,
        chdir: Option<&'a Path>,
    },
    /// The settings, before the sockets are bound: only where hooks run then.
    Starting {
        config: &'a Config,
        generation: Generation,
        title: &'a str,
    },
    Configure {
        config: &'a Config,
        generation: Generation,
        title: &'a str,
        /// Where the front listens, in the order its requests refer to.
        listeners: &'a [ListenerName],
        /// Whom the workers become.
        identity: Option<&'a Identity>,
        /// How many workers there were before a reload; none at the start.
        workers_before: Option<u32>,
        /// Hooks are told of the start or of the reload; not again by a zygote that replaces one.
        announce: bool,
    },
    /// As `Configure`, and load the application; nothing will be forked.
    Check {
        config: &'a Config,
        generation: Generation,
        title: &'a str,
        listeners: &'a [ListenerName],
    },
    Fork {
        worker: WorkerId,
    },
    ChildExit {
        worker: WorkerId,
        pid: u32,
    },
    WorkersChanged {
        workers: u32,
    },
    /// The table for what the application counts in it, whose descriptor comes with this.
    Metrics,
    /// Run the hook. Answer: `HookDone`.
    PreExec,
    /// Run the hook. Answer: `HookDone`.
    PreStop,
    /// An entry for its Python logger.
    Log {
        level: &'static str,
        /// The process it is about.
        pid: u32,
        /// Seconds since the epoch.
        time: f64,
        text: &'a str,
    },
    /// A number for its Python logger to send to statsd.
    Metric {
        name: &'a str,
        kind: &'a str,
        value: u64,
    },
    Exit {
        /// The server ends with this zygote.
        last: bool,
    },
}

/// A message from a zygote.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Reply {
    /// Its interpreter runs.
    Here,
    /// It calls a hook; without a name, that has returned.
    Hook {
        hook: Option<String>,
    },
    Config(ConfigFileValues),
    ConfigFailed(ConfigFailure),
    Started,
    /// It has a Python logger, which is to write the logs.
    LogsReady,
    Ready {
        /// The number of workers that hooks have set.
        workers: Option<u32>,
        /// Remarks for the log.
        #[serde(default)]
        notices: Vec<String>,
        /// What its hooks have started lives in it.
        #[serde(default)]
        stays: bool,
    },
    Failed(BootFailure),
    Forked {
        worker: WorkerId,
        pid: u32,
    },
    ForkFailed {
        worker: WorkerId,
        message: String,
    },
    ForkRefused {
        worker: WorkerId,
        #[serde(flatten)]
        failure: BootFailure,
    },
    WantWorkers {
        workers: u32,
    },
    HookDone {
        hook: String,
    },
    /// It was told to leave, and does not yet.
    Stays,
    /// A metric could not be kept.
    MetricLost(LostMetric),
    Checked(Loaded),
}

/// An application that was loaded to be looked at.
#[derive(Clone, Debug, Deserialize)]
pub struct Loaded {
    /// `WSGI`, `ASGI` or `aiohttp`.
    pub interface: String,
    /// Remarks about how it would run, and with `preload_app` about what workers must not share.
    pub notices: Vec<String>,
}

/// A message from a worker.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum WorkerNote {
    Ready {
        interface: WireInterface,
        kind: WorkerClass,
        capacity: usize,
        /// Remarks for the log; every worker has the same.
        notices: Vec<String>,
    },
    BootFailed(BootFailure),
    /// It calls a hook before it is ready; without a name, that has returned.
    Hook {
        hook: Option<String>,
    },
    /// It shows why the application could not be loaded, and watches for a change.
    LoadFailed(BootFailure),
    /// It has written an entry; this is the copy for syslog and statsd.
    Logged {
        level: String,
        text: String,
        exception: bool,
    },
    /// The application raised an exception, or logged one, while it was warmed up.
    WarmUpError {
        traceback: String,
    },
    /// What somebody wanted to see of it.
    Inside(InsideNote),
    /// It was sent SIGTERM, and serves on until it is told to leave.
    SentTerm,
    /// It has ended its loop and waits for fork requests on the socket that it was given.
    Promoted,
    /// It was asked to be a zygote and cannot.
    PromotionRefused {
        why: String,
    },
    UsedUp,
    /// A metric could not be kept.
    MetricLost(LostMetric),
    /// Its application ended itself within a request; it serves on until it is told to leave.
    EndsItself,
    /// Files that it runs were changed: path and stamp of each.
    Changed {
        files: Vec<(String, String)>,
    },
}

/// A worker says something of a look into it.
#[derive(Deserialize)]
pub(crate) struct InsideNote {
    /// Of which; 0: it could not look whatever was asked.
    pub(crate) number: u64,
    #[serde(default)]
    pub(crate) begins: bool,
    pub(crate) piece: Option<String>,
    /// It has said all, but for so many characters.
    pub(crate) left_out: Option<u64>,
    /// It cannot say anything.
    pub(crate) why: Option<String>,
}

/// The first metric of a process that could not be kept, for one reason.
#[derive(Deserialize)]
pub(crate) struct LostMetric {
    pub(crate) reason: String,
    pub(crate) text: String,
}

/// What kind of application a worker runs.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WireInterface {
    Wsgi,
    Asgi,
}

/// The configuration file could not be read.
#[derive(Deserialize)]
pub(crate) struct ConfigFailure {
    message: String,
    file: Option<String>,
    line: Option<u32>,
    hint: Option<String>,
    traceback: Option<String>,
}

/// The application could not be loaded.
#[derive(Deserialize)]
pub(crate) struct BootFailure {
    kind: WireKind,
    message: String,
    hint: Option<String>,
    traceback: Option<String>,
    #[serde(default)]
    code: i32,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WireKind {
    Config,
    Import,
    Boot,
    Interface,
    Lifespan,
    Hook,
    Exit,
}

impl From<ConfigFailure> for Failure {
    fn from(failure: ConfigFailure) -> Self {
        let place = match (&failure.file, failure.line) {
            (Some(file), Some(line)) => format!(" ({file}:{line})"),
            (Some(file), None) => format!(" ({file})"),
            (None, _) => String::new(),
        };
        Self {
            kind: FailureKind::Config,
            message: format!("{}{place}", failure.message),
            hint: failure.hint.unwrap_or_default(),
            traceback: failure.traceback.unwrap_or_default(),
        }
    }
}

impl From<BootFailure> for Failure {
    fn from(failure: BootFailure) -> Self {
        Self {
            kind: match failure.kind {
                WireKind::Config => FailureKind::Config,
                WireKind::Import => FailureKind::Import,
                WireKind::Boot => FailureKind::Boot,
                WireKind::Interface => FailureKind::Interface,
                WireKind::Lifespan => FailureKind::Lifespan,
                WireKind::Hook => FailureKind::Hook,
                WireKind::Exit => FailureKind::Exit(failure.code),
            },
            message: failure.message,
            hint: failure.hint.unwrap_or_default(),
            traceback: failure.traceback.unwrap_or_default(),
        }
    }
}

impl Zygote {
    /// Starts an interpreter that waits for requests. To be called on the main thread.
    pub(crate) fn spawn(typed: &Typed, directory: &Path, streams: Streams) -> io::Result<Self> {
        let (socket, theirs) = PacketSocket::pair()?;
        let number = std::os::fd::AsRawFd::as_raw_fd(&theirs);
        let mut arguments: Vec<OsString> = vec![typed.python.clone()];
        arguments.extend(typed.python_options.iter().cloned());
        arguments.extend(["-c".into(), PROGRAM.into(), number.to_string().into()]);
        // As `indrik.command` packs it.
        arguments.push(typed.file.clone());
        arguments.push(typed.arguments.len().to_string().into());
        arguments.extend(typed.arguments.iter().chain(&typed.line).cloned());
        let is_own = |name: &OsString| OWN_VARIABLES.iter().any(|own| name == own);
        let child = program::start(&Program {
            file: typed.python.as_ref(),
            arguments,
            environment: std::env::vars_os().filter(|(name, _)| !is_own(name)).collect(),
            pid_variables: &[],
            directory,
            descriptors: vec![number],
            nowhere: streams.nowhere(),
            dies_with_us: true,
            apart: None,
        })
        .map_err(|error| {
            let python = typed.python.display();
            io::Error::new(error.kind(), format!("cannot start the interpreter {python}: {error}"))
        })?;
        let hearing = Hearing::default();
        let (ready, again, logs) = (false, false, false);
        Ok(Self { child, socket, hearing, ready, again, logs, metrics: None })
    }

    /// Sends a request. A zygote that has gone is no error: its end is heard elsewhere.
    pub(crate) fn send(&self, request: &Request<'_>, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let text = serde_json::to_vec(request)?;
        match self.socket.send(&text, fds) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }
}

/// How many descriptors a worker inherits; `messages.py` takes as many.
const WORKER_FDS: usize = 9;

/// The descriptors a worker inherits, in the order both sides agreed on.
pub(crate) struct WorkerFds<'a> {
    pub(crate) channel: indrik_ring::WorkerFds,
    pub(crate) control: OwnedFd,
    pub(crate) stacks: OwnedFd,
    pub(crate) lane: OwnedFd,
    pub(crate) metrics: &'a Lease,
}

impl WorkerFds<'_> {
    pub(crate) fn in_order(&self) -> [BorrowedFd<'_>; WORKER_FDS] {
        [
            self.channel.memory.as_fd(),
            self.channel.wake.as_fd(),
            self.channel.own.as_fd(),
            self.channel.front.as_fd(),
            self.channel.files.as_fd(),
            self.lane.as_fd(),
            self.control.as_fd(),
            self.stacks.as_fd(),
            self.metrics.as_fd(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::WORKER_FDS;

    #[test]
    fn python_takes_as_many_descriptors_as_a_worker_is_sent() {
        let python = include_str!("../../../python/indrik/messages.py");
        assert!(python.contains(&format!("\nFORK_FDS = {WORKER_FDS}\n")));
    }
}
