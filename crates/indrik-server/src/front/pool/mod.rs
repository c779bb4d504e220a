//! The workers, seen from the front: who gets a request, and what comes back.
//!
//! * `link` is the front's end of one worker: its channel, and which request is in which slot; `bodies` how a
//!   body gets there, `deliver` what comes back, `seen` what its memory showed;
//! * `placing` has all of them, and gives each request to one, or to the queue;
//! * on it stand what a request's task asks (`pieces`), what the supervisor asks (`workers`), and what io threads do
//!   (`io_threads`), who also look for requests that run too long (`overtime`) and for broken channels (`fault`);
//!   `in_flight` shows the requests to whoever looks at the server.
//! * `published` is what others see of it without the lock;
//! * `flight` reads off the channel of a worker that has ended what it had last.
//!
//! One lock guards the dispatcher and all channels; it is held for the time of a decision and a
//! copy, never over a system call that can block. Tasks are woken after it is free.

mod bell;
mod bodies;
mod by_route;
mod counts;
mod deliver;
mod fault;
mod flight;
mod in_flight;
mod io_threads;
mod link;
mod new_worker;
mod overtime;
mod pieces;
mod placing;
mod published;
mod seen;
mod workers;

pub(super) use bell::answer;
pub use counts::{Answers, Counts, Load};
pub use flight::Flown;
pub use in_flight::{InFlight, Where};
pub(super) use io_threads::Delivered;
pub use new_worker::NewWorker;
pub use overtime::Running;
pub(super) use overtime::{At, Looks};
pub(super) use pieces::Piece;
pub(super) use placing::{Pool, Submitted};
