//! How a request can be followed: by its id, through the application and the logs.

mod chance;
mod mark;

pub(super) use mark::{Mark, Marking, ReturnedId};
