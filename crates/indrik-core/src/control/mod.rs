//! The control socket's language: messages as Gunicorn frames them, and the commands in them.
//!
//! A message is a length of four bytes, big end first, and so many bytes of JSON. A request is
//! `{"id": 1, "command": "show workers", "args": []}`; its answer `{"id": 1, "status": "ok",
//! "data": {…}}` or `{"id": 1, "status": "error", "error": "…"}`. [`frame`] cuts a stream into
//! messages, [`command`] reads them; what is done about them is the server's business.

mod asker;
pub mod command;
pub mod frame;
pub mod inside;
mod steer;
mod words;

pub use asker::{Asker, told};
pub use command::{Command, HELP, Request, Show, Stop, more_workers};
pub use frame::{Frames, TooLong, encode};
pub use steer::{Maintenance, MaintenanceOrder, Scale, Whom};
