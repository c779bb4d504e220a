//! What the machine remembers of each thing it looks after. Nothing here knows the machine.

pub(crate) mod ailments;
pub(crate) mod breaker;
pub(crate) mod candidate;
pub(crate) mod doors;
pub(crate) mod hold;
pub(crate) mod liveness;
pub(crate) mod patience;
pub(crate) mod pause;
pub(crate) mod phase;
pub(crate) mod recycling;
pub(crate) mod refork;
pub(crate) mod restart;
pub(crate) mod serving;
pub(crate) mod soak;
pub(crate) mod upgrade;
pub(crate) mod worker;
pub(crate) mod zygote;
