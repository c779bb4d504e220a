//! How a request's body gets to its worker: behind the head, in memory that the worker has mapped already, or
//! in a file.

use std::fs::File;
use std::sync::Arc;

use indrik_ring::{BodyPlace, Flags};

use super::super::body::Pieces;
use super::super::descriptors::CountedFile;

/// Where a body lies while its request is sent.
pub(super) enum Carried<'a> {
    Payload(&'a Pieces),
    Placed(BodyPlace),
    File(Arc<CountedFile>),
    /// Closed again when it is handed over, under the pool's lock: one at a time.
    NewFile(File),
}

impl Carried<'_> {
    /// Bytes behind the head.
    pub(super) const fn len(&self) -> usize {
        match self {
            Self::Payload(body) => body.len(),
            Self::Placed(_) => BodyPlace::LEN,
            Self::File(_) | Self::NewFile(_) => 0,
        }
    }

    /// Writes what stands behind the head.
    pub(super) fn fill(&self, into: &mut [u8]) {
        match self {
            Self::Payload(body) => body.copy_to(into),
            Self::Placed(place) => place.encode(into),
            Self::File(_) | Self::NewFile(_) => {}
        }
    }

    pub(super) const fn flags(&self) -> Flags {
        match self {
            Self::Payload(_) => Flags::NONE,
            Self::Placed(_) => Flags::BODY_PLACED,
            Self::File(_) | Self::NewFile(_) => Flags::BODY_FILE,
        }
    }

    pub(super) fn file(&self) -> Option<&File> {
        match self {
            Self::File(file) => Some(file),
            Self::NewFile(file) => Some(file),
            Self::Payload(_) | Self::Placed(_) => None,
        }
    }

    pub(super) const fn place(&self) -> Option<BodyPlace> {
        match self {
            Self::Placed(place) => Some(*place),
            _ => None,
        }
    }
}
