//! Requests that may have ended a worker, and how they are kept apart.
//!
//! When a worker ends, each request that it had begun may be what ended it. Those that are run again are
//! *suspects*: where a worker runs several requests at once, each is run beside no other suspect, until it is over
//! or its answer has begun. So the one that ends its worker again is known, and takes none of the others with it.
//! Requests that were in no worker that ended are run beside them as ever: one that ends with a suspect's worker
//! is a suspect from then on.

/// What a request's past says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was in no worker that ended.
    Ordinary,
    /// A worker ended that had begun it.
    Suspect,
}
