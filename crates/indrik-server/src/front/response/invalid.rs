//! A response that cannot be sent.

/// A response that is invalid; the reason is for the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Invalid(pub(crate) String);
