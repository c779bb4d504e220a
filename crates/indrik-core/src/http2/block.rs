//! What a client sends, with blocks of fields held until they are complete and mended where that is needed.

use super::field;

/// Bytes of a frame's head.
const HEAD_BYTES: usize = 9;
/// Bytes of what a client sends before its first frame.
const PREFACE_BYTES: usize = 24;
/// The largest frame that every receiver takes (RFC 9113 section 4.2).
const FRAME_BYTES_MAX: usize = 16_384;
/// Bytes of one block that are held beyond those of its fields: heads of frames, padding.
const FRAMING_BYTES_MAX: usize = 64 * 1024;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// The bytes of one direction on their way to the library.
#[derive(Debug)]
pub struct Blocks {
    /// Bytes that are passed on without a look: the preface, the payload of other frames.
    skip: usize,
    /// A block that is not complete, from its first frame's head on; or a part of any frame's head.
    held: Vec<u8>,
    /// Where in it the next frame begins.
    next: usize,
    /// Bytes that are held at most; what is beyond that is passed on as it is, for the library to refuse.
    held_max: usize,
    /// A block was too large; everything is passed on as it is.
    is_off: bool,
}

/// What is passed on.
#[derive(Debug, PartialEq, Eq)]
pub enum Passed {
    /// The bytes as they came.
    AsTheyCame,
    /// These; perhaps none.
    Others(Vec<u8>),
}

impl Blocks {
    /// For what a client sends; `fields_max`: bytes that the fields of a message may have.
    pub const fn new(fields_max: usize) -> Self {
        let held_max = fields_max.saturating_add(FRAMING_BYTES_MAX);
        Self { skip: PREFACE_BYTES, held: Vec::new(), next: 0, held_max, is_off: false }
    }

    /// Takes bytes that came. What is held comes first in what is passed on.
    pub fn pass(&mut self, bytes: &[u8]) -> Passed {
        if self.is_off {
            return Passed::AsTheyCame;
        }
        if self.held.is_empty() {
            let mut output = Output::new(bytes);
            self.scan(&mut output, 0);
            return output.passed(true);
        }
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(bytes);
        if all.len() > self.held_max {
            self.is_off = true;
            return Passed::Others(all);
        }
        if all.len() < self.next + HEAD_BYTES {
            self.held = all;
            return Passed::Others(Vec::new());
        }
        let next = std::mem::take(&mut self.next);
        if let Some(rest) = self.still_held(&all, next) {
            (self.next, self.held) = (rest, all);
            return Passed::Others(Vec::new());
        }
        let mut output = Output::new(&all);
        self.scan(&mut output, next);
        output.passed(false)
    }

    /// How much is held.
    pub fn held(&self) -> usize {
        self.held.capacity()
    }

    /// Whether a block that is held stays so, with the next frame to look at; nothing is copied then.
    fn still_held(&self, all: &[u8], next: usize) -> Option<usize> {
        let is_block = all.get(3) == Some(&HEADERS);
        match is_block.then(|| end_of_block(all, 0, next))? {
            End::At(_) => None,
            End::NotYet(next) => Some(next),
        }
    }

    /// Goes through the frames. `next`: where to go on in a block that begins at 0.
    fn scan(&mut self, output: &mut Output<'_>, mut next: usize) {
        let bytes = output.bytes;
        let mut at = 0;
        loop {
            let skipped = self.skip.min(bytes.len() - at);
            self.skip -= skipped;
            at += skipped;
            if at == bytes.len() {
                return;
            }
            let Some(head) = bytes.get(at..at + HEAD_BYTES) else {
                return self.hold(output, at, 0);
            };
            if head[3] != HEADERS {
                self.skip = HEAD_BYTES + len_of(head);
                continue;
            }
            match end_of_block(bytes, at, next.max(at)) {
                End::NotYet(next) => return self.hold(output, at, next - at),
                End::At(end) => {
                    if let Some(mended) = mend(&bytes[at..end]) {
                        output.replace(at, end, &mended);
                    }
                    (at, next) = (end, 0);
                }
            }
        }
    }

    fn hold(&mut self, output: &mut Output<'_>, from: usize, next: usize) {
        self.held = output.bytes[from..].to_vec();
        self.next = next;
        output.end_at(from);
    }
}

fn len_of(head: &[u8]) -> usize {
    usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])
}

enum End {
    At(usize),
    /// The frame that begins there is not complete.
    NotYet(usize),
}

/// Where the block ends that begins at `begin`; `next`: the first of its frames that was not looked at.
fn end_of_block(bytes: &[u8], begin: usize, mut next: usize) -> End {
    loop {
        let Some(head) = bytes.get(next..next + HEAD_BYTES) else { return End::NotYet(next) };
        if next != begin && head[3] != CONTINUATION {
            // Not what must follow; the library says so.
            return End::At(next);
        }
        let end = next + HEAD_BYTES + len_of(head);
        if end > bytes.len() {
            return End::NotYet(next);
        }
        next = end;
        if head[4] & END_HEADERS != 0 {
            return End::At(next);
        }
    }
}

/// The frames of a block with what it needs mended; `None`: nothing, or they are no block.
fn mend(frames: &[u8]) -> Option<Vec<u8>> {
    let first = frames.get(..HEAD_BYTES)?;
    let stream = &first[5..9];
    let mut block = Vec::new();
    let mut rest = frames;
    while !rest.is_empty() {
        let (head, after) = rest.split_at_checked(HEAD_BYTES)?;
        let (payload, after) = after.split_at_checked(len_of(head))?;
        block.extend_from_slice(if head[3] == HEADERS {
            fragment(head[4], payload)?
        } else {
            payload
        });
        rest = after;
    }
    let mended = field::mend(&block)?;
    let pieces = mended.chunks(FRAME_BYTES_MAX);
    let last = pieces.len().checked_sub(1)?;
    let mut bytes = Vec::with_capacity(mended.len() + (last + 1) * HEAD_BYTES);
    for (number, piece) in pieces.enumerate() {
        let len = u32::try_from(piece.len()).ok()?.to_be_bytes();
        let (kind, kept) =
            if number == 0 { (HEADERS, first[4] & END_STREAM) } else { (CONTINUATION, 0) };
        let flags = if number == last { kept | END_HEADERS } else { kept };
        bytes.extend_from_slice(&len[1..]);
        bytes.extend_from_slice(&[kind, flags]);
        bytes.extend_from_slice(stream);
        bytes.extend_from_slice(piece);
    }
    Some(bytes)
}

/// What a frame of HEADERS has of the block: without padding and priority.
fn fragment(flags: u8, payload: &[u8]) -> Option<&[u8]> {
    let (padding, payload) = match flags & PADDED {
        0 => (0, payload),
        _ => payload.split_first().map(|(len, rest)| (usize::from(*len), rest))?,
    };
    let payload = if flags & PRIORITY == 0 { payload } else { payload.get(5..)? };
    payload.get(..payload.len().checked_sub(padding)?)
}

/// What becomes of the bytes; copied only when something changes.
struct Output<'a> {
    bytes: &'a [u8],
    changed: Option<Vec<u8>>,
    copied: usize,
    end: usize,
}

impl<'a> Output<'a> {
    const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, changed: None, copied: 0, end: bytes.len() }
    }

    fn replace(&mut self, from: usize, to: usize, by: &[u8]) {
        let changed = self.changed.get_or_insert_default();
        changed.extend_from_slice(&self.bytes[self.copied..from]);
        changed.extend_from_slice(by);
        self.copied = to;
    }

    const fn end_at(&mut self, end: usize) {
        self.end = end;
    }

    fn passed(self, is_input: bool) -> Passed {
        match self.changed {
            None if is_input && self.end == self.bytes.len() => Passed::AsTheyCame,
            None => Passed::Others(self.bytes[..self.end].to_vec()),
            Some(mut changed) => {
                changed.extend_from_slice(&self.bytes[self.copied..self.end]);
                Passed::Others(changed)
            }
        }
    }
}

#[cfg(test)]
mod tests;
