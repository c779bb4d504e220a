//! Profiles: what workers send of one, and the forms in which it is given on.

mod collapsed;
mod speedscope;

pub use collapsed::{Collapsed, read_worker};
pub use speedscope::speedscope;
