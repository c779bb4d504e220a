//! Heads of frames (RFC 9113 section 4.1), read out of a stream of bytes that comes in any pieces.

use std::ops::ControlFlow;

/// Bytes of a frame's head.
const HEAD_BYTES: usize = 9;
/// The same with the byte behind it that says how much padding there is.
const HEAD_BYTES_MAX: usize = HEAD_BYTES + 1;
/// Bytes of what a client sends before its first frame (RFC 9113 section 3.4).
const PREFACE_BYTES: u32 = 24;

/// Flags of frames.
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of RFC 9113 section 6")]
pub enum FrameKind {
    Data,
    Headers,
    Priority,
    Reset,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// Of an extension; whoever does not know it passes over it.
    Unknown,
}

impl From<u8> for FrameKind {
    fn from(code: u8) -> Self {
        match code {
            0 => Self::Data,
            1 => Self::Headers,
            2 => Self::Priority,
            3 => Self::Reset,
            4 => Self::Settings,
            5 => Self::PushPromise,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            _ => Self::Unknown,
        }
    }
}

/// The head of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// Bytes behind the head.
    pub len: u32,
    /// Its type, which decides how the rest is read.
    pub kind: FrameKind,
    /// The stream that it belongs to; 0: the connection.
    pub stream: u32,
    /// Bytes behind the head that are none of a body: padding, and its length.
    padding: u32,
    flags: u8,
}

impl FrameHead {
    fn new(head: &[u8; HEAD_BYTES_MAX]) -> Self {
        let mut this = Self {
            len: u32::from_be_bytes([0, head[0], head[1], head[2]]),
            kind: head[3].into(),
            stream: u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]),
            padding: 0,
            flags: head[4],
        };
        if this.has_padding() {
            this.padding = 1 + u32::from(head[HEAD_BYTES]);
        }
        this
    }

    /// Whether the first byte behind the head says how much padding there is.
    fn has_padding(&self) -> bool {
        self.kind == FrameKind::Data && self.flags & PADDED != 0 && self.len > 0
    }

    /// Bytes of a body in it.
    #[must_use]
    pub const fn body_len(&self) -> usize {
        match self.kind {
            FrameKind::Data => self.len.saturating_sub(self.padding) as usize,
            _ => 0,
        }
    }

    /// A head as it is read, for tests.
    #[cfg(test)]
    pub(super) fn made(kind: FrameKind, len: u32, ends: bool) -> Self {
        Self {
            len,
            kind,
            stream: 1,
            padding: 0,
            flags: if ends { END_STREAM | END_HEADERS } else { END_HEADERS },
        }
    }

    /// Whether its stream ends with it, as far as its sender is concerned.
    pub fn ends_stream(&self) -> bool {
        matches!(self.kind, FrameKind::Data | FrameKind::Headers) && self.flags & END_STREAM != 0
    }

    /// Whether it is a part of a block of fields that goes on in the next frame.
    fn leaves_block_open(&self) -> bool {
        let has_block = matches!(self.kind, FrameKind::Headers | FrameKind::Continuation);
        has_block && self.flags & END_HEADERS == 0
    }
}

/// Finds the heads in the bytes of one direction.
#[derive(Clone, Debug)]
pub struct FrameReader {
    /// Bytes to pass over before the next head: the rest of a frame, or of the preface.
    skip: u32,
    head: [u8; HEAD_BYTES_MAX],
    head_len: usize,
    preface_left: u32,
    /// A block of fields has begun and not ended; its frame may be passing still.
    in_block: bool,
    /// The frame that passes is the last one of its block.
    ends_block: bool,
}

impl FrameReader {
    /// For what a client sends.
    pub const fn of_client() -> Self {
        Self { preface_left: PREFACE_BYTES, ..Self::of_server() }
    }

    /// For what a server sends.
    pub const fn of_server() -> Self {
        Self {
            skip: 0,
            head: [0; HEAD_BYTES_MAX],
            head_len: 0,
            preface_left: 0,
            in_block: false,
            ends_block: false,
        }
    }

    /// Reads on. Each head is shown to `see` once, when it is complete; when that breaks off, reading ends there
    /// for good. Returns how many of the bytes come before the frame at which it broke off: all, if it did not.
    pub fn read(
        &mut self,
        bytes: &[u8],
        mut see: impl FnMut(FrameHead) -> ControlFlow<()>,
    ) -> usize {
        let mut at = self.pass_preface(bytes);
        // Of a head that began before these bytes, all of them are a part.
        let mut begins_at = 0;
        while at < bytes.len() {
            if self.skip > 0 {
                at += self.pass_payload(bytes.len() - at);
                continue;
            }
            if self.head_len == 0 {
                begins_at = at;
            }
            let len = (self.head_bytes() - self.head_len).min(bytes.len() - at);
            self.head[self.head_len..self.head_len + len].copy_from_slice(&bytes[at..at + len]);
            self.head_len += len;
            at += len;
            if self.head_len < self.head_bytes() {
                continue;
            }
            let head = FrameHead::new(&self.head);
            if see(head).is_break() {
                return begins_at;
            }
            self.begin_payload(&head);
        }
        at
    }

    /// Whether the preface has not come whole yet.
    pub const fn is_before_frames(&self) -> bool {
        self.preface_left > 0
    }

    /// Whether a block of fields has begun, and its end has not come yet.
    pub const fn is_in_block(&self) -> bool {
        self.in_block
    }

    fn pass_preface(&mut self, bytes: &[u8]) -> usize {
        let passed = self.preface_left.min(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.preface_left -= passed;
        passed as usize
    }

    /// Bytes after which all of the head is there that comes now, as far as that is known.
    fn head_bytes(&self) -> usize {
        let is_read = self.head_len >= HEAD_BYTES;
        if is_read && FrameHead::new(&self.head).has_padding() {
            HEAD_BYTES_MAX
        } else {
            HEAD_BYTES
        }
    }

    fn begin_payload(&mut self, head: &FrameHead) {
        // Of the payload, the length of the padding is read already.
        self.skip = head.len - u32::from(head.has_padding());
        self.head_len = 0;
        if matches!(head.kind, FrameKind::Headers | FrameKind::Continuation) {
            (self.in_block, self.ends_block) = (true, !head.leaves_block_open());
        }
        self.end_payload();
    }

    fn pass_payload(&mut self, most: usize) -> usize {
        let passed = self.skip.min(u32::try_from(most).unwrap_or(u32::MAX));
        self.skip -= passed;
        self.end_payload();
        passed as usize
    }

    fn end_payload(&mut self) {
        if self.skip == 0 && self.ends_block {
            (self.in_block, self.ends_block) = (false, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, len: usize) -> Vec<u8> {
        let size = u32::try_from(len).unwrap().to_be_bytes();
        let mut bytes = vec![size[1], size[2], size[3], kind, flags, 0, 0, 0, 1];
        bytes.resize(HEAD_BYTES + len, 0xAA);
        bytes
    }

    fn read(reader: &mut FrameReader, bytes: &[u8]) -> Vec<(FrameKind, u32)> {
        let mut seen = Vec::new();
        let all = reader.read(bytes, |head| {
            seen.push((head.kind, head.len));
            ControlFlow::Continue(())
        });
        assert_eq!(all, bytes.len());
        seen
    }

    #[test]
    fn nothing_of_the_preface_is_taken_for_a_frame() {
        let mut reader = FrameReader::of_client();
        assert_eq!(read(&mut reader, b"PRI * HTTP/2.0\r\n\r\nSM\r\n"), []);
        assert!(reader.is_before_frames());
        let mut rest = b"\r\n".to_vec();
        rest.extend(frame(4, 0, 6));
        assert_eq!(read(&mut reader, &rest), [(FrameKind::Settings, 6)]);
        assert!(!reader.is_before_frames());
    }

    #[test]
    fn reading_ends_before_the_frame_that_is_refused() {
        let mut reader = FrameReader::of_server();
        let bytes = [frame(0, 0, 5), frame(6, 0, 8), frame(0, 0, 5)].concat();
        let passed = reader.read(&bytes, |head| match head.kind {
            FrameKind::Ping => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        assert_eq!(passed, HEAD_BYTES + 5);
    }

    #[test]
    fn padding_is_no_part_of_a_body_whatever_it_says() {
        let mut reader = FrameReader::of_client();
        let mut bytes = vec![0; PREFACE_BYTES as usize];
        let padded = |len, padding| {
            let mut bytes = frame(0, PADDED, len);
            if len > 0 {
                bytes[HEAD_BYTES] = padding;
            }
            bytes
        };
        for (len, padding) in [(10, 0), (10, 9), (300, 255), (10, 200), (1, 0), (0, 0)] {
            bytes.extend(padded(len, padding));
        }
        bytes.extend(frame(0, 0, 7));
        // Of another kind, the flag says something else.
        bytes.extend(frame(6, PADDED, 8));
        let mut seen = Vec::new();
        for byte in bytes {
            reader.read(&[byte], |head| {
                seen.push(head.body_len());
                ControlFlow::Continue(())
            });
        }
        assert_eq!(seen, [9, 0, 44, 0, 0, 0, 7, 0]);
    }

    #[test]
    fn a_block_of_fields_is_open_until_the_last_byte_of_its_last_frame() {
        let mut reader = FrameReader::of_server();
        read(&mut reader, &frame(1, 0, 3));
        assert!(reader.is_in_block());
        let last = frame(9, END_HEADERS, 2);
        read(&mut reader, &last[..last.len() - 1]);
        assert!(reader.is_in_block());
        read(&mut reader, &last[last.len() - 1..]);
        assert!(!reader.is_in_block());
        read(&mut reader, &frame(1, END_HEADERS, 0));
        assert!(!reader.is_in_block());
    }

    proptest! {
        #[test]
        fn the_pieces_in_which_bytes_come_make_no_difference(
            frames in prop::collection::vec((0u8..12, any::<u8>(), 0usize..40), 0..20),
            cuts in prop::collection::vec(1usize..30, 1..20),
        ) {
            let bytes: Vec<u8> =
                frames.iter().flat_map(|(kind, flags, len)| frame(*kind, *flags, *len)).collect();
            let mut reader = FrameReader::of_server();
            let mut whole = FrameReader::of_server();
            let (mut seen, mut rest) = (Vec::new(), &bytes[..]);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                seen.extend(read(&mut reader, piece));
                rest = after;
            }
            let expected: Vec<_> = frames
                .iter()
                .map(|(kind, _, len)| (FrameKind::from(*kind), u32::try_from(*len).unwrap()))
                .collect();
            prop_assert_eq!(&seen, &expected);
            prop_assert_eq!(read(&mut whole, &bytes), expected);
            prop_assert_eq!(whole.is_in_block(), reader.is_in_block());
        }

        #[test]
        fn whatever_comes_is_passed_over_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            read(&mut FrameReader::of_client(), &bytes);
            read(&mut FrameReader::of_server(), &bytes);
        }
    }
}
