//! What is seen of a server at one moment. What is not known is `None`, and no rule guesses it.

use std::collections::BTreeMap;

/// A server at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sight {
    /// When, in seconds of the server's own clock.
    pub at: f64,
    /// What the supervisor says is wrong; empty if nothing.
    pub why: String,
    /// The supervisor.
    pub server: Server,
    /// The front.
    pub front: Front,
    /// The machine, or what the server may use of it.
    pub machine: Machine,
    /// Workers that serve, and those to come and to go.
    pub workers: Vec<Worker>,
    /// Pools of connections in the application.
    pub pools: Vec<Pool>,
}

/// What the supervisor knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Server {
    /// Workers wanted.
    pub wanted: u32,
    /// Workers that take requests.
    pub ready: u32,
    /// Ends of workers since the start, by reason.
    pub ends: BTreeMap<String, u64>,
    /// How the last reload failed, if it did.
    pub reload_failed: Option<String>,
    /// Requests are held by an operator's pause, for so many seconds at most.
    pub paused_s: Option<f64>,
    /// The front answers requests itself, as an operator wanted.
    pub maintenance: bool,
}

/// What the front knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Front {
    /// Requests that wait for a worker, and as many as may.
    pub waiting: u64,
    /// As many as may wait.
    pub waiting_max: Option<u64>,
    /// How long the first of them has waited, seconds.
    pub oldest_wait_s: Option<f64>,
    /// Requests that workers have.
    pub in_flight: u64,
    /// Open connections.
    pub connections: u64,
    /// What the front has answered itself since the start, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Answers of the application since the start, and those of them that are errors (5xx).
    pub answers: Option<(u64, u64)>,
    /// The same of each route that ever answered an error.
    pub failing: BTreeMap<String, (u64, u64)>,
    /// What it holds for clients, and may hold, bytes.
    pub memory: Option<(u64, u64)>,
}

/// What the machine gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    /// Processors that may be used.
    pub cpus: f64,
    /// Seconds that the server was kept from running by its quota, since the start.
    pub throttled_s: Option<f64>,
    /// Memory used and allowed, bytes.
    pub memory: Option<(u64, u64)>,
    /// Places that are written to: path, bytes free, bytes in all.
    pub disks: Vec<(String, u64, u64)>,
    /// Seconds since the start in which every process of the server that could run waited: for memory, and for a disk
    /// (the kernel's pressure stall information, `full`).
    pub stalled_s: Stalled,
    /// Seconds since the start in which some process waited for a processor (the same, `some`).
    pub cpu_wanted_s: Option<f64>,
}

/// For how long everything has waited for something, seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stalled {
    /// For memory: the kernel took pages away that were needed.
    pub memory: Option<f64>,
    /// For a disk.
    pub io: Option<f64>,
}

/// A worker.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Worker {
    /// Its place, from 1.
    pub place: u32,
    /// Its process.
    pub pid: u32,
    /// In one word.
    pub state: String,
    /// Since it was asked for, seconds.
    pub uptime_s: f64,
    /// How many requests it runs at once; `None`: as many as come.
    pub capacity: Option<u32>,
    /// An event loop runs its requests.
    pub has_loop: bool,
    /// Requests that it has.
    pub in_flight: u64,
    /// Requests that it has finished.
    pub served: u64,
    /// Its processor time so far, seconds.
    pub cpu_s: Option<f64>,
    /// Its main thread's processor time so far, seconds.
    pub main_cpu_s: Option<f64>,
    /// How often its main thread has gone to sleep by itself.
    pub main_sleeps: Option<u64>,
    /// Its resident memory, bytes.
    pub rss: Option<u64>,
    /// Since its main thread showed life, seconds.
    pub silent_s: Option<f64>,
    /// For how long its event loop has stood still so far, seconds.
    pub loop_blocked_s: Option<f64>,
    /// For how long threads of it have waited for the GIL so far, seconds.
    pub gil_waited_s: Option<f64>,
    /// The request that was last found to have kept its loop or the GIL.
    pub blocked_by: Option<String>,
    /// What the application has of it, the oldest first.
    pub running: Vec<Running>,
}

/// A request that the application has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Running {
    /// Its route, or its method and path.
    pub name: String,
    /// For how long, seconds.
    pub age_s: f64,
    /// Its answer has begun.
    pub answer_begun: bool,
    /// Its worker goes on only when its client has taken more of the answer.
    pub waits_for_client: bool,
    /// Its coroutine has been on the event loop all the time for a while, without an await.
    pub holds_loop: bool,
    /// Its client.
    pub client: String,
    /// How long requests of its route take as a rule, seconds.
    pub usual_s: Option<f64>,
}

/// A pool of connections in one worker's application.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// The place of its worker.
    pub place: u32,
    /// Connections that are in use.
    pub in_use: u64,
    /// As many as may be.
    pub max: u64,
    /// Who waits for one.
    pub waiting: u64,
    /// Who has waited for one since the start, in vain or not.
    pub waited: u64,
    /// And of these, in vain.
    pub refused: u64,
}

impl Worker {
    /// It takes requests.
    #[must_use]
    pub fn serves(&self) -> bool {
        matches!(self.state.as_str(), "ready" | "retiring")
    }

    /// It can take no other request.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.capacity.is_some_and(|capacity| self.in_flight >= u64::from(capacity))
    }
}
