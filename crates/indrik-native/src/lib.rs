//! `indrik._native`: the worker's side of the channel, and the command's entry.
//!
//! The module is the only place where Rust and CPython meet. Its surface is PyO3; the paths that
//! run once per request use the C API directly, because there a microsecond is a tenth of a
//! request. Everything here runs inside a worker, except `main`, which runs the front and the
//! supervisor in a process that never runs Python again.
#![expect(
    unsafe_code,
    reason = "the C API of CPython is unsafe; every block names what makes it sound"
)]

use std::ffi::OsString;
use std::io::Write as _;

use indrik_cli::Typed;
use pyo3::prelude::*;

mod around;
mod asgi;
mod channel;
mod classes;
mod correlation;
mod inside;
mod lane;
mod log;
mod metrics;
mod options;
mod overtime;
mod process;
mod route_names;
mod routes;
mod text;
mod watch;
mod wsgi;

/// The extension's Rust side allocates from mimalloc; Python's objects keep Python's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The compiled part of Indrik; `indrik` (the Python package) is its only user.
#[pymodule]
mod _native {
    #[pymodule_export]
    use super::asgi::AsgiServer;
    #[pymodule_export]
    use super::channel::Channel;
    #[pymodule_export]
    use super::classes::worker_class_of;
    #[pymodule_export]
    use super::inside::{Helper, Sampler, await_stack, frame_stack, owners, thread_stacks};
    #[pymodule_export]
    use super::log::{set_log, write_log};
    #[pymodule_export]
    use super::main;
    #[pymodule_export]
    use super::metrics::{Metric, Series, attach_metrics, lose_metric, report_lost_metrics};
    #[pymodule_export]
    use super::process::{become_user, fork_worker, gain_no_rights, move_high, set_process_title};
    #[pymodule_export]
    use super::routes::{Routed, name_routes};
    #[pymodule_export]
    use super::watch::FileWatch;
    #[pymodule_export]
    use super::wsgi::{GreenServer, run_wsgi_sync, run_wsgi_threads};
}

/// Runs the `indrik` command, as `indrik.command` describes it. Returns the exit code. The GIL is
/// released for good: this process runs no Python while it serves.
#[pyfunction]
fn main(py: Python<'_>, command: Command) -> i32 {
    if let Err(error) = indrik_sys::streams::fill() {
        // With what is left of them.
        let _ = writeln!(std::io::stderr(), "indrik: cannot open /dev/null: {error}");
        return 1;
    }
    keep_memory_for_a_while();
    // Python's handler would wait for Python to run, and then show a traceback. A server has its own.
    indrik_sys::signals::be_ended_by_interrupt();
    py.detach(|| indrik_cli::main(command.into()))
}

/// `indrik.command.Command`.
#[derive(FromPyObject)]
struct Command {
    python: OsString,
    python_options: Vec<OsString>,
    line: Vec<OsString>,
    argv: Vec<OsString>,
    file: OsString,
}

impl From<Command> for Typed {
    fn from(command: Command) -> Self {
        let Command { python, python_options, line, argv: arguments, file } = command;
        Self { python, python_options, line, arguments, file }
    }
}

/// mimalloc's option `purge_delay`, which its bindings have no name for.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
/// How long memory that was freed stays with the process, milliseconds.
const PURGE_DELAY_MS: std::ffi::c_long = 1000;

/// The buffers that bodies are received into come and go with each request. With the default of 10 ms their
/// pages are given back between two uploads and faulted in for the next one.
fn keep_memory_for_a_while() {
    // SAFETY: no other thread of this process allocates from mimalloc yet.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, PURGE_DELAY_MS) };
}
