//! The supervisor as a pure state machine: what happens goes in, what to do comes out.
//!
//! The shell calls [`Supervisor::handle`] with everything that happens, performs every
//! [`Effect`] that [`Supervisor::poll_effect`] then yields, and calls again with [`Event::Tick`] at
//! [`Supervisor::poll_timeout`]. Performing an effect only ever produces a later event, so the
//! simulator in `tests/supervise_sim` replaces the whole operating system.
//!
//! To be read in this order. `event` and `effect` are the machine's language, `reason` says why workers start and
//! end, `report` is what operators are told, `policy` is made of settings, `limits` are the machine's own. `state` is
//! what it remembers, one file for each thing it looks after (`ladder`, `state/restart`: how any child is made to end,
//! and when it is started again). `machine` holds all that, `queries` is what the parts ask of it.
//!
//! Then the parts, each of which is a family of events or one concern: `zygote` (zygotes and their ends), `listen` (a
//! zygote's way to its first worker); `life` (what happens to a worker), `leave` (making one end), `exit` (ends that
//! were seen), `liveness` (whether it lives), `warmup` (before it is ready); `pool` (wanted and had), `candidate` (a
//! new generation takes over), `soak` (and is on trial), `recycle` (workers whose time has come), `refork` (a warm
//! worker as the zygote), `rest` (no zygote while nothing is to be forked), `breaker` (workers that keep failing);
//! `operator` (what operators ask for and see), `signals` (what a signal means), `health` (how the server is);
//! `upgrade` (a new program beside the old one); `shutdown` (escalation), `pause` (a server without workers),
//! `patience` (what a service manager waits for).
//! `handle` is the way in, which leads to them.

mod breaker;
mod candidate;
mod effect;
mod event;
mod exit;
mod handle;
mod health;
mod ladder;
mod leave;
mod life;
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
mod report;
mod rest;
mod shutdown;
mod signals;
mod soak;
mod state;
mod upgrade;
mod warmup;
mod zygote;

pub use crate::logs::entry::{FieldValue, Fields};
pub use crate::logs::level::Level;
pub use crate::time::Now;
pub use effect::{
    Doing, Effect, FrontEffect, KillSignal, LogLine, Notice, PoolEffect, UpgradeEffect,
    WorkerEffect, ZygoteEffect,
};
pub use event::{
    Event, Failure, FailureKind, FileChange, OperatorEvent, PoolEvent, Signal, UpgradeEvent,
    WorkerEvent, ZygoteEvent,
};
pub use machine::Supervisor;
pub use policy::{Facts, Policy, ProcessPolicy, ReloadPolicy};
pub use reason::{Accounts, EndReason, Exit, ExitStatus, StartReason, Tally};
pub use report::{Census, Health, HealthState, ReloadFailure, ReloadOutcome, Totals, WorkerView};
pub use state::liveness::{LifeLimits, Sign};
