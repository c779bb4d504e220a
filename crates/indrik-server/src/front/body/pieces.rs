//! A body in memory: the pieces that it was received in, so that taking it in copies nothing.

use std::io::{self, IoSlice, Write};

use bytes::Bytes;

/// Smaller pieces are put together: each keeps the buffer alive that it was received into, which a client that
/// sends byte by byte would otherwise fill with nothing.
const JOIN_BYTES_MAX: usize = 4 * 1024;

/// A body, or a part of one.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    whole: Vec<Bytes>,
    /// Small pieces, put together; it is the end of the body.
    tail: Vec<u8>,
    len: usize,
}

impl Pieces {
    /// Adds what comes next.
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.len += piece.len();
        if piece.len() <= JOIN_BYTES_MAX {
            self.tail.extend_from_slice(&piece);
            if self.tail.len() > JOIN_BYTES_MAX {
                self.whole.push(std::mem::take(&mut self.tail).into());
            }
            return;
        }
        if !self.tail.is_empty() {
            self.whole.push(std::mem::take(&mut self.tail).into());
        }
        self.whole.push(piece);
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// What it is made of, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let tail = (!self.tail.is_empty()).then_some(&self.tail[..]);
        self.whole.iter().map(|piece| &piece[..]).chain(tail)
    }

    /// Copies it to the start of `into`, as far as there is room.
    pub(crate) fn copy_to(&self, mut into: &mut [u8]) {
        if self.len == 0 {
            return;
        }
        for piece in self.iter() {
            let Some((place, rest)) = into.split_at_mut_checked(piece.len()) else { return };
            place.copy_from_slice(piece);
            into = rest;
        }
    }

    /// Writes all of it.
    pub(crate) fn write_to(&self, file: &mut impl Write) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = self.iter().map(IoSlice::new).collect();
        let mut left = &mut slices[..];
        while !left.is_empty() {
            match file.write_vectored(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut left, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(lens: &[usize]) -> (Pieces, Vec<u8>) {
        let (mut pieces, mut all) = (Pieces::default(), Vec::new());
        for len in lens {
            let piece: Vec<u8> = (all.len()..all.len() + len).map(|at| (at % 251) as u8).collect();
            all.extend_from_slice(&piece);
            pieces.push(piece.into());
        }
        (pieces, all)
    }

    #[test]
    fn a_body_is_the_same_however_it_was_received() {
        for lens in [&[1, 1, 1][..], &[5000, 1, 2, 5000, 3], &[4096, 4096, 1], &[0, 10_000, 0], &[]]
        {
            let (pieces, all) = pieces(lens);
            assert_eq!(pieces.len(), all.len());
            let mut copied = vec![0; all.len()];
            pieces.copy_to(&mut copied);
            assert_eq!(copied, all, "{lens:?}");
            let mut written = Vec::new();
            pieces.write_to(&mut written).unwrap();
            assert_eq!(written, all, "{lens:?}");
        }
    }

    #[test]
    fn tiny_pieces_do_not_keep_a_buffer_each() {
        let (pieces, _) = pieces(&[1; 100_000]);
        assert!(pieces.whole.len() <= 100_000 / JOIN_BYTES_MAX + 1);
    }
}
