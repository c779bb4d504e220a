//! The server's own alerts: from looks at what is counted to messages that one has begun, and that it is over.
//!
//! `generated` has the alerts of `metrics.toml` and `rule` how settings change them. A [`Counted`] is what was counted until
//! a moment; `span` keeps a few of them, `measure` makes values of two. [`Watch`] is the state machine: values with time in,
//! [`Event`]s out, each beginning and each end told once. `words` and `message` say it to people and programs.

mod counted;
mod generated;
mod measure;
mod message;
mod row;
mod rule;
mod span;
mod watch;
mod words;

pub use counted::Counted;
pub use generated::ROWS;
pub use message::{Message, Server, active_for_alertmanager, test};
pub use row::{Measure, Row, Severity, Unit};
pub use rule::{Bad, Rule, check, rules};
pub use watch::{Active, Event, Moment, SUBJECTS_MAX, Watch, What};
pub use words::{shown, summary};
