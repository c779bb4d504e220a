//! Safe wrappers over what Indrik asks of Linux and what `rustix` does not have ready-made.
//!
//! One file per thing: `signal` (their names), `signals` (a stream of them), `packets` (message sockets that carry
//! file descriptors), `rights` (files that came by a socket), `process` (children, their ends, the sub-reaper),
//! `fork` (a worker's double fork), `program` (starting one), `daemon` (leaving the terminal), `streams` (the
//! standard ones), `files` (opening what a setting names), `place` (what lies beside it), `users`, `terminal` (its
//! whole screen), `title` (what `ps` shows), `bell` (waking a poll loop), `clock` (local time), `cpus`, `sched`
//! (sharing a core), `limits` (what a process may take), `memory` (what the kernel says of it), `hops` (from how far
//! away packets may come), `watch` (files that change).
#![expect(
    unsafe_code,
    reason = "system calls without a safe wrapper; every block names its invariant"
)]

pub mod bell;
pub mod clock;
pub mod cpus;
pub mod daemon;
pub mod files;
pub mod fork;
pub mod high;
pub mod hops;
pub mod limits;
pub mod memory;
pub mod origin;
pub mod packets;
pub mod place;
pub mod process;
pub mod program;
pub mod rights;
pub mod sched;
pub mod signal;
pub mod signals;
pub mod streams;
pub mod terminal;
pub mod title;
pub mod users;
pub mod watch;
