//! What looks into a worker while it serves: a thread that is there only while somebody looks, the stacks of
//! threads and tasks, and a sampler.

mod frames;
mod helper;
mod owner;
mod sampler;
mod tally;

pub(crate) use frames::{await_stack, frame_stack, owners, thread_stacks};
pub(crate) use helper::Helper;
pub(crate) use owner::Owners;
pub(crate) use sampler::Sampler;
