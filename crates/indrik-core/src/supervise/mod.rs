//! The supervisor as a pure state machine: what happens goes in, what to do comes out.
//!
//! The shell calls [`Supervisor::handle`] with everything that happens, performs every
//! [`Effect`] that [`Supervisor::poll_effect`] then yields, and calls again with [`Event::Tick`] at
//! [`Supervisor::poll_timeout`]. Performing an effect only ever produces a later event, so the
//! simulator in `tests/supervise_sim` replaces the whole operating system.
//!
//! `handle` is the loop, and the one place to read what leads to what: an event is led to the part that knows about
//! it, what that part has noted for others is acted on, and then the steps follow that depend on the state alone.
//!
//! The rest in the order in which it builds up; nothing calls what comes later. `event` and `effect` are the machine's
//! language, `hooks` are those that processes are waited for in, `reason` says why workers start and end, `report` is what operators are told, `policy` is made of
//! settings, `limits` are the machine's own, `consequence` is what parts note for those above them. `state` is what the
//! machine remembers, one file for each thing it looks after (`ladder`, `state/restart`: how any child is made to end,
//! and when it is started again). `machine` holds all that, and says what is decided; `queries` is what is asked of it.
//!
//! One process: `zygote` (zygotes and their ends), `listen` (a zygote's way to its first worker), `rest` (no zygote
//! while nothing is to be forked); `breaker` (workers that keep failing), `exit` (ends that were seen), `leave` (making
//! a worker end), `boot` (its way to its first request), `liveness` (whether it lives).
//!
//! Several: `wanted` (how many workers), `recycle` (workers whose time has come), `refork` (a warm worker as the
//! zygote), `reload` (asked for, begun and ended), `soak` (a new generation is on trial), `candidate` (and takes over),
//! `pool` (wanted and had).
//!
//! The server: `patience` (what a service manager waits for), `health` (how it is), `shutdown` (escalation), `pause` (a
//! server without workers), `hold` (requests that wait, and maintenance), `upgrade` (a new program beside the old one), `operator` (what operators ask for and see),
//! `signals` (what a signal means).

mod boot;
mod breaker;
mod candidate;
mod consequence;
mod effect;
mod event;
mod exit;
mod handle;
mod health;
mod hold;
mod hooks;
mod ladder;
mod leave;
pub mod limits;
mod listen;
mod liveness;
mod machine;
mod operator;
mod patience;
mod pause;
pub mod policy;
mod pool;
mod queries;
mod reason;
mod recycle;
mod refork;
mod reload;
mod report;
mod rest;
mod shutdown;
mod signals;
mod soak;
mod state;
mod upgrade;
mod wanted;
mod zygote;

pub use effect::{
    Doing, Effect, FrontEffect, KillSignal, LogLine, Notice, PoolEffect, UpgradeEffect,
    WorkerEffect, ZygoteEffect,
};
pub use event::{
    Event, Failure, FailureKind, FileChange, OperatorEvent, PoolEvent, Signal, UpgradeEvent,
    WorkerEvent, ZygoteEvent,
};
pub use hooks::awaited_hook;
pub use machine::Supervisor;
pub use policy::{Facts, Policy, ProcessPolicy, ReloadPolicy};
pub use reason::{Accounts, EndReason, Exit, ExitStatus, StartReason, Tally};
pub use report::{
    Census, Health, HealthState, Held, ReloadFailure, ReloadOutcome, Steered, Totals, WorkerView,
};
pub use state::ailments::Ailment;
pub use state::hold::HoldEnd;
pub use state::liveness::{LifeLimits, Sign};
