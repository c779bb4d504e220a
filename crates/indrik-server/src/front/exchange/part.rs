//! A piece of an answer's body, in the worker's channel or copied out of it.

use bytes::Bytes;
use indrik_ring::Lent;

/// A piece of an answer's body.
#[derive(Debug)]
pub(crate) enum Part {
    Own(Bytes),
    /// It lies in the worker's ring and holds up what comes behind it there.
    Lent(Lent),
}

impl Part {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Own(bytes) => bytes.len(),
            Self::Lent(lent) => lent.as_ref().len(),
        }
    }

    /// The bytes, out of the channel.
    pub(crate) fn into_own(self) -> Bytes {
        match self {
            Self::Own(bytes) => bytes,
            Self::Lent(lent) => Bytes::copy_from_slice(lent.as_ref()),
        }
    }

    /// Takes it out of the channel.
    pub(super) fn copy_out(&mut self) {
        if let Self::Lent(lent) = self {
            *self = Self::Own(Bytes::copy_from_slice(lent.as_ref()));
        }
    }
}
