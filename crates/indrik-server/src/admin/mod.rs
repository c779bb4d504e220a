//! The admin listener: looking at the server and steering it over HTTP, on a thread of its own.
//!
//! It answers from what the supervision loop has hung up ([`Board`](crate::look::Board)) and from what the front shows
//! of itself, so it needs neither the loop nor a worker, and no thread that serves clients. What changes the server is an
//! order to the loop (`orders`), in the language of the control socket.
//!
//! `thread` is the thread, `serve` accepts within `places` (`socket` is a connection's, `stall` gives up who takes nothing), `request` reads and checks one request (`guard` knows the
//! tokens), `endpoints` is the table of what there is, `pages` are those that answer.

mod answer;
mod body;
mod caller;
mod context;
mod dashboard;
mod endpoints;
mod guard;
mod orders;
mod pages;
mod places;
mod request;
mod scraped;
mod serve;
mod socket;
mod stall;
mod thread;

pub(crate) use orders::{No, Order, Orders, Outcome, Reply, Wanted, Wish};
pub(crate) use thread::{Admin, Rules};
