//! permessage-deflate's two halves: raw DEFLATE with a bounded inflater (RFC 7692 section 7.2).

use std::sync::atomic::{AtomicUsize, Ordering};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// What a sync flush ends with; the sender cuts it off, the receiver puts it back.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The payload of an empty message.
const EMPTY: u8 = 0x00;

/// Compression level: the answer's latency and the I/O thread's time count for more than the last
/// percent of size.
const LEVEL: u32 = 3;

/// Bytes by which an output buffer grows at least.
const GROW_BYTES: usize = 4096;

/// zlib cannot make or read raw DEFLATE with a window below 2^9.
const WINDOW_BITS_MIN: u8 = 9;

/// Why inflating stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InflateError {
    /// The data is not DEFLATE.
    Corrupt,
    /// The output would pass the limit.
    TooBig,
}

/// What a compressor takes of memory with the largest window.
const COMPRESSOR_BYTES: usize = 210 * 1024;
/// The same of an inflater.
const INFLATER_BYTES: usize = 48 * 1024;

/// Compressors kept between messages, over all connections of the process.
pub const COMPRESSORS_KEPT_MAX: usize = 256;

/// The count of kept compressors, and its limit.
#[derive(Debug)]
struct Budget {
    kept: AtomicUsize,
    kept_max: usize,
}

static BUDGET: Budget = Budget { kept: AtomicUsize::new(0), kept_max: COMPRESSORS_KEPT_MAX };

/// The right to keep one compressor.
#[derive(Debug)]
struct Permit(&'static Budget);

impl Budget {
    fn take(&'static self) -> Option<Permit> {
        let more = |kept| (kept < self.kept_max).then_some(kept + 1);
        let taken = self.kept.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok().then(|| Permit(self))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.kept.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Compresses outgoing messages.
///
/// Its memory is taken with a message and can be given back between any two: a sender may always
/// forget its window, the receiver does not depend on it. So only [`COMPRESSORS_KEPT_MAX`] are
/// kept; connections beyond that compress each message for itself.
#[derive(Debug)]
pub struct Deflater {
    compress: Option<Compress>,
    permit: Option<Permit>,
    budget: &'static Budget,
    window_bits: u8,
    no_context_takeover: bool,
    /// Something of the message under way was pushed.
    is_begun: bool,
}

impl Deflater {
    /// A compressor with the negotiated window (`8..=15` bits; 8 must not be negotiated, as zlib
    /// makes 9 of it) that forgets it after each message if `no_context_takeover`.
    pub fn new(window_bits: u8, no_context_takeover: bool) -> Self {
        let window_bits = window_bits.clamp(WINDOW_BITS_MIN, 15);
        Self {
            compress: None,
            permit: None,
            budget: &BUDGET,
            window_bits,
            no_context_takeover,
            is_begun: false,
        }
    }

    /// Compresses the next part of a message and appends what comes out, possibly nothing before
    /// the `last` part.
    pub fn push(&mut self, mut input: &[u8], out: &mut Vec<u8>, last: bool) {
        self.is_begun |= !input.is_empty();
        if last && !std::mem::take(&mut self.is_begun) {
            // An empty message (RFC 7692 section 7.2.3.6): zlib makes nothing of a flush after a flush.
            return out.push(EMPTY);
        }
        let window_bits = self.window_bits;
        let compress = self.compress.get_or_insert_with(|| {
            Compress::new_with_window_bits(Compression::new(LEVEL), false, window_bits)
        });
        let flush = if last { FlushCompress::Sync } else { FlushCompress::None };
        loop {
            out.reserve(GROW_BYTES.max(input.len() / 2));
            let before = compress.total_in();
            compress
                .compress_vec(input, out, flush)
                .expect("deflate has no invalid input and its stream is never finished");
            input = &input[(compress.total_in() - before) as usize..];
            // Room left over means that everything, the flush included, is out.
            if input.is_empty() && out.len() < out.capacity() {
                break;
            }
        }
        if last {
            debug_assert!(out.ends_with(&TAIL), "a sync flush ends with an empty stored block");
            out.truncate(out.len() - TAIL.len());
            if !self.no_context_takeover && self.permit.is_none() {
                self.permit = self.budget.take();
            }
            if self.permit.is_none() {
                self.release();
            }
        }
    }

    /// What it takes of memory, bytes.
    pub fn memory(&self) -> usize {
        if self.compress.is_some() { COMPRESSOR_BYTES } else { 0 }
    }

    /// Gives the memory back. Only between messages.
    pub fn release(&mut self) {
        self.compress = None;
        self.permit = None;
    }
}

/// Inflates incoming messages, as their bytes arrive.
#[derive(Debug)]
pub struct Inflater {
    decompress: Option<Decompress>,
    window_bits: u8,
    no_context_takeover: bool,
}

impl Inflater {
    /// An inflater with the negotiated window (`8..=15` bits) that the client resets after each
    /// message if `no_context_takeover`.
    pub fn new(window_bits: u8, no_context_takeover: bool) -> Self {
        let window_bits = window_bits.clamp(WINDOW_BITS_MIN, 15);
        Self { decompress: None, window_bits, no_context_takeover }
    }

    /// What it takes of memory, bytes.
    pub fn memory(&self) -> usize {
        if self.decompress.is_some() { INFLATER_BYTES } else { 0 }
    }

    /// Inflates a part of a message to the end of `out`, which never grows past `limit` bytes.
    ///
    /// # Errors
    /// See [`InflateError`]; the connection must be failed.
    pub fn push(
        &mut self,
        mut input: &[u8],
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), InflateError> {
        let window_bits = self.window_bits;
        let decompress = self
            .decompress
            .get_or_insert_with(|| Decompress::new_with_window_bits(false, window_bits));
        loop {
            if out.len() == out.capacity() {
                // One byte above the limit, so that a message of exactly the limit can end.
                let room = limit.saturating_add(1).saturating_sub(out.len());
                let grow = out.len().max(GROW_BYTES).min(room);
                out.reserve_exact(grow);
            }
            let before = decompress.total_in();
            let status = decompress
                .decompress_vec(input, out, FlushDecompress::Sync)
                .map_err(|_| InflateError::Corrupt)?;
            if out.len() > limit {
                return Err(InflateError::TooBig);
            }
            input = &input[(decompress.total_in() - before) as usize..];
            match status {
                // A sender may end its stream with a final block; what follows is a new stream.
                Status::StreamEnd => decompress.reset(false),
                Status::Ok | Status::BufError => {
                    if out.len() < out.capacity() {
                        return if input.is_empty() { Ok(()) } else { Err(InflateError::Corrupt) };
                    }
                }
            }
        }
    }

    /// Ends a message: puts back the tail the sender cut off.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn finish(&mut self, out: &mut Vec<u8>, limit: usize) -> Result<(), InflateError> {
        self.push(&TAIL, out, limit)?;
        if self.no_context_takeover {
            self.decompress = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn inflate(
        inflater: &mut Inflater,
        data: &[u8],
        limit: usize,
    ) -> Result<Vec<u8>, InflateError> {
        let mut out = Vec::new();
        inflater.push(data, &mut out, limit)?;
        inflater.finish(&mut out, limit)?;
        Ok(out)
    }

    #[test]
    fn the_rfc_examples_are_inflated() {
        let mut inflater = Inflater::new(15, false);
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(inflate(&mut inflater, &hello, 100).unwrap(), b"Hello");
        // The second "Hello" refers to the first one's window.
        let again = [0xf2, 0x00, 0x11, 0x00, 0x00];
        assert_eq!(inflate(&mut inflater, &again, 100).unwrap(), b"Hello");
        // A stored block, and a message with a final block.
        let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
        assert_eq!(inflate(&mut inflater, &stored, 100).unwrap(), b"Hello");
        let with_final = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
        assert_eq!(inflate(&mut inflater, &with_final, 100).unwrap(), b"Hello");
        assert_eq!(inflate(&mut inflater, &hello, 100).unwrap(), b"Hello");
    }

    #[test]
    fn a_decompression_bomb_stops_at_the_limit() {
        let mut bomb = Vec::new();
        Deflater::new(15, false).push(&vec![0; 10_000_000], &mut bomb, true);
        assert!(bomb.len() < 50_000);
        let mut out = Vec::new();
        let error = Inflater::new(15, false).push(&bomb, &mut out, 10_000).unwrap_err();
        assert_eq!(error, InflateError::TooBig);
        assert!(out.capacity() <= 10_001);
    }

    #[test]
    fn a_message_of_exactly_the_limit_passes() {
        let mut data = Vec::new();
        Deflater::new(12, false).push(&[7; 10_000], &mut data, true);
        assert_eq!(inflate(&mut Inflater::new(12, false), &data, 10_000).unwrap(), [7; 10_000]);
    }

    #[test]
    fn garbage_is_corrupt() {
        let error = inflate(&mut Inflater::new(15, false), &[0xff; 20], 100).unwrap_err();
        assert_eq!(error, InflateError::Corrupt);
    }

    #[test]
    fn only_so_many_compressors_are_kept_and_the_others_work_all_the_same() {
        let budget: &'static Budget =
            Box::leak(Box::new(Budget { kept: AtomicUsize::new(0), kept_max: 2 }));
        let mut deflaters: Vec<Deflater> =
            (0..4).map(|_| Deflater { budget, ..Deflater::new(12, false) }).collect();
        for deflater in &mut deflaters {
            let mut inflater = Inflater::new(12, false);
            for _ in 0..2 {
                let mut data = Vec::new();
                deflater.push(b"again and again", &mut data, true);
                assert_eq!(inflate(&mut inflater, &data, 100).unwrap(), b"again and again");
            }
        }
        let kept =
            |deflaters: &[Deflater]| deflaters.iter().filter(|d| d.compress.is_some()).count();
        assert_eq!(kept(&deflaters), 2);
        deflaters.remove(0);
        deflaters[2].push(b"now there is room", &mut Vec::new(), true);
        assert_eq!(kept(&deflaters), 2);
    }

    #[test]
    fn empty_messages_one_after_the_other_are_empty_messages() {
        let (mut deflater, mut inflater) = (Deflater::new(15, false), Inflater::new(15, false));
        for message in [&b""[..], b"", b"some", b"", b""] {
            let mut data = Vec::new();
            deflater.push(b"", &mut data, false);
            deflater.push(message, &mut data, true);
            assert_eq!(inflate(&mut inflater, &data, 100).unwrap(), message);
        }
    }

    #[test]
    fn a_small_window_is_kept_to() {
        // Two equal blocks of noise, 1000 bytes apart: a window of 512 bytes cannot see the first.
        let next = |x: &u32| Some(x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        let noise: Vec<u8> =
            std::iter::successors(Some(1), next).map(|x| (x >> 24) as u8).take(1000).collect();
        let data = [noise.clone(), noise].concat();
        let size = |bits| {
            let mut out = Vec::new();
            Deflater::new(bits, false).push(&data, &mut out, true);
            assert_eq!(inflate(&mut Inflater::new(bits, false), &out, 5000).unwrap(), data);
            out.len()
        };
        assert!(size(9) > size(15) + 500);
    }

    proptest! {
        #[test]
        fn what_is_deflated_in_any_pieces_inflates_in_any_pieces(
            messages in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(0u8..4, 0..3000), 1..4), 1..5),
            bits in 9u8..=15, no_context: bool, release: bool, piece in 1usize..2000,
        ) {
            let mut deflater = Deflater::new(bits, no_context);
            let mut inflater = Inflater::new(bits, no_context);
            for parts in messages {
                let mut wire = Vec::new();
                for (i, part) in parts.iter().enumerate() {
                    deflater.push(part, &mut wire, i + 1 == parts.len());
                }
                if release {
                    deflater.release();
                }
                let mut out = Vec::new();
                for chunk in wire.chunks(piece) {
                    inflater.push(chunk, &mut out, 100_000).unwrap();
                }
                inflater.finish(&mut out, 100_000).unwrap();
                prop_assert_eq!(out, parts.concat());
            }
        }

        #[test]
        fn inflating_any_bytes_never_panics_nor_passes_the_limit(
            data in prop::collection::vec(any::<u8>(), 0..200), limit in 0usize..500,
        ) {
            let mut inflater = Inflater::new(15, false);
            let mut out = Vec::new();
            if inflater.push(&data, &mut out, limit).is_ok() {
                prop_assert!(out.len() <= limit);
            }
            prop_assert!(out.capacity() <= limit + 1);
        }
    }
}
