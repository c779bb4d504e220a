//! Small parts in one piece, for one plain write.

use std::io;

/// A response up to this size is written in one piece.
pub(super) const JOIN_BYTES_MAX: usize = 512;

/// The parts in one piece, if they are few bytes: one plain write of those is cheaper than a gathering one.
pub(super) fn joined<'a>(
    parts: &[io::IoSlice<'_>],
    buffer: &'a mut [u8; JOIN_BYTES_MAX],
) -> Option<&'a [u8]> {
    let len = parts.iter().map(|part| part.len()).sum::<usize>();
    if len > JOIN_BYTES_MAX {
        return None;
    }
    let mut at = 0;
    for part in parts {
        buffer[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    Some(&buffer[..len])
}
