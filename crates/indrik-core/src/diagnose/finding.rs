//! What was found: what it is, since when, whose fault, and what to do.

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The file system is full.
    DiskFull,
    /// Memory is nearly used up.
    MemoryNear,
    /// The quota of processor time is used up.
    Throttled,
    /// Everything waits for a disk.
    DiskSlow,
    /// The application cannot be loaded, or answers errors.
    BrokenApplication,
    /// Workers die again and again.
    CrashLoop,
    /// The last reload failed.
    ReloadFailing,
    /// The event loop of a worker stands still.
    BlockedLoop,
    /// One thread of a worker keeps all others from running.
    KeptGil,
    /// A pool of connections is used up.
    ExhaustedPool,
    /// Requests wait for something outside: a database, another service.
    SlowBackend,
    /// Workers wait for their clients.
    SlowClients,
    /// More comes than can be served.
    FullQueue,
    /// A worker grows.
    Leak,
    /// An operator holds requests.
    Paused,
    /// An operator has requests answered by the front.
    Maintenance,
    /// Something else that the supervisor has told.
    Told,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::DiskFull,
        Self::MemoryNear,
        Self::Throttled,
        Self::DiskSlow,
        Self::BrokenApplication,
        Self::CrashLoop,
        Self::ReloadFailing,
        Self::BlockedLoop,
        Self::KeptGil,
        Self::ExhaustedPool,
        Self::SlowBackend,
        Self::SlowClients,
        Self::FullQueue,
        Self::Leak,
        Self::Paused,
        Self::Maintenance,
        Self::Told,
    ];

    /// In one word, for machines.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::DiskFull => "disk_full",
            Self::MemoryNear => "memory_near",
            Self::Throttled => "throttled",
            Self::DiskSlow => "disk_slow",
            Self::BrokenApplication => "broken_application",
            Self::CrashLoop => "crash_loop",
            Self::ReloadFailing => "reload_failing",
            Self::BlockedLoop => "blocked_loop",
            Self::KeptGil => "kept_gil",
            Self::ExhaustedPool => "exhausted_pool",
            Self::SlowBackend => "slow_backend",
            Self::SlowClients => "slow_clients",
            Self::FullQueue => "full_queue",
            Self::Leak => "leak",
            Self::Paused => "paused",
            Self::Maintenance => "maintenance",
            Self::Told => "told",
        }
    }

    /// Whether it is a state that somebody has told of, not something that one moment of load looks like.
    pub(super) const fn is_state(self) -> bool {
        match self {
            Self::DiskFull
            | Self::ReloadFailing
            | Self::Paused
            | Self::Maintenance
            | Self::Told => true,
            Self::MemoryNear
            | Self::Throttled
            | Self::DiskSlow
            | Self::BrokenApplication
            | Self::CrashLoop
            | Self::BlockedLoop
            | Self::KeptGil
            | Self::ExhaustedPool
            | Self::SlowBackend
            | Self::SlowClients
            | Self::FullQueue
            | Self::Leak => false,
        }
    }
}

/// Whose fault it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// A worker, by its place and process.
    Worker(u32, u32),
    /// A route, or a method and path.
    Route(String),
    /// Clients.
    Clients,
    /// The machine.
    Machine,
    /// The application as a whole.
    Application,
    /// An operator.
    Operator,
}

impl std::fmt::Display for Whose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Worker(place, pid) => write!(f, "worker {place} (pid {pid})"),
            Self::Route(name) => write!(f, "{name}"),
            Self::Clients => f.write_str("clients"),
            Self::Machine => f.write_str("the machine"),
            Self::Application => f.write_str("the application"),
            Self::Operator => f.write_str("an operator"),
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What is wrong.
    pub cause: Cause,
    /// The same in words, one sentence.
    pub what: String,
    /// Whose fault it is.
    pub whose: Whose,
    /// For how long at least, seconds; `None`: it is not known.
    pub for_s: Option<f64>,
    /// What to do: a command, or a sentence.
    pub advice: String,
}
