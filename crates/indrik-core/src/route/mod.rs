//! One table that says what happens to a request on its way: which rules it falls under, compiled once
//! for each generation of settings.
//!
//! A rule has conditions (host, path, method, headers, the client's network), all of which must hold,
//! and one consequence: a stage that answers, or a note that later steps read. Rules of one kind of
//! consequence stand in an order, and the first whose conditions hold counts. A table without rules
//! costs a request one branch.

mod condition;
mod explain;
mod refused;
mod rule;
mod rules;
mod table;

pub use condition::{Conditions, Field, HostIs, PathIs, Request, Values};
pub use explain::{Around, explain, read_url};
pub use refused::refusal;
pub use rule::{NO_LIMIT, Probe, Rule, Source, Then};
pub use rules::rules;
pub use table::{Notes, Table};
