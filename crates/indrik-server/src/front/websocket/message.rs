//! Messages put together from frames: inflated, checked as UTF-8 and measured as the bytes arrive.

use bytes::Bytes;

use super::deflate::{InflateError, Inflater};
use super::violation::Violation;

/// Bytes reserved at most for a frame's announced length, so that an announcement alone takes no
/// memory.
const RESERVE_BYTES_MAX: u64 = 64 * 1024;

/// Bytes by which the room for a message grows at most: the account is behind by as much.
const RESERVE_STEP_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Bytes that a message which is waited with may have reserved too much.
const SPARE_BYTES_MAX: usize = 16 * 1024;

/// A whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text; received ones are valid UTF-8.
    Text(Bytes),
    /// Bytes.
    Binary(Bytes),
}

impl Message {
    /// A text message.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(Bytes::from(text.into()))
    }

    /// The payload's bytes.
    pub fn payload(&self) -> &Bytes {
        match self {
            Self::Text(payload) | Self::Binary(payload) => payload,
        }
    }
}

/// The message being received.
#[derive(Debug)]
struct Partial {
    text: bool,
    compressed: bool,
    payload: Vec<u8>,
    /// How much of a text's payload is known to be UTF-8; the rest is the start of one character.
    checked: usize,
    /// Bytes of the frame that were announced and have not come.
    announced: u64,
}

/// Puts messages together.
#[derive(Debug)]
pub struct Assembler {
    partial: Option<Partial>,
    size_max: usize,
    inflater: Option<Inflater>,
}

impl Assembler {
    /// For messages of up to `size_max` bytes (inflated); `inflater` if compression was negotiated.
    pub fn new(size_max: usize, inflater: Option<Inflater>) -> Self {
        Self { partial: None, size_max, inflater }
    }

    /// Whether a fragmented message is under way.
    pub fn in_message(&self) -> bool {
        self.partial.is_some()
    }

    /// Whether a compressed message is under way.
    pub fn is_inflating(&self) -> bool {
        self.partial.as_ref().is_some_and(|partial| partial.compressed)
    }

    /// Starts a message.
    ///
    /// # Errors
    /// The last one has not ended, or this one is compressed though that was not negotiated.
    pub fn begin(&mut self, text: bool, compressed: bool) -> Result<(), Violation> {
        if self.in_message() {
            return Err(Violation::protocol("a new message inside a fragmented one"));
        }
        if compressed && self.inflater.is_none() {
            return Err(Violation::protocol("a compressed message, which was not negotiated"));
        }
        self.partial =
            Some(Partial { text, compressed, payload: Vec::new(), checked: 0, announced: 0 });
        Ok(())
    }

    /// Announces a frame of `len` payload bytes.
    ///
    /// # Errors
    /// No message is under way, or the frame would make it too big.
    pub fn begin_frame(&mut self, len: u64) -> Result<(), Violation> {
        let Some(partial) = &mut self.partial else {
            return Err(Violation::protocol("a continuation of no message"));
        };
        if partial.compressed {
            return Ok(());
        }
        let room = (self.size_max - partial.payload.len()) as u64;
        if len > room {
            return Err(Violation::too_big(self.size_max));
        }
        partial.announced = len;
        partial.reserve();
        Ok(())
    }

    /// Takes unmasked payload of the announced frame.
    ///
    /// # Errors
    /// Corrupt compressed data, bad UTF-8, too many bytes.
    pub fn push(&mut self, data: &[u8]) -> Result<(), Violation> {
        let Some(partial) = &mut self.partial else { return Ok(()) };
        let inflated = match &mut self.inflater {
            Some(inflater) if partial.compressed => {
                inflater.push(data, &mut partial.payload, self.size_max)
            }
            _ => {
                partial.take(data);
                Ok(())
            }
        };
        // First what came before an error, so that the verdict is the same however the bytes are
        // split.
        partial.check_text()?;
        inflated.map_err(|error| inflate_violation(error, self.size_max))
    }

    /// Ends the message.
    ///
    /// # Errors
    /// As [`Self::push`]; also a text that ends inside a character.
    pub fn finish(&mut self) -> Result<Message, Violation> {
        let Some(mut partial) = self.partial.take() else {
            return Err(Violation::protocol("the end of no message"));
        };
        let inflated = match &mut self.inflater {
            Some(inflater) if partial.compressed => {
                inflater.finish(&mut partial.payload, self.size_max)
            }
            _ => Ok(()),
        };
        partial.check_text()?;
        inflated.map_err(|error| inflate_violation(error, self.size_max))?;
        if !partial.text {
            return Ok(Message::Binary(partial.into_bytes()));
        }
        if partial.checked < partial.payload.len() {
            return Err(Violation::invalid_data("a text that ends inside a character"));
        }
        Ok(Message::Text(partial.into_bytes()))
    }

    /// What it takes of memory, bytes.
    pub fn memory(&self) -> usize {
        let partial = self.partial.as_ref().map_or(0, |partial| partial.payload.capacity());
        partial + self.inflater.as_ref().map_or(0, Inflater::memory)
    }

    /// Forgets the message under way.
    pub fn discard(&mut self) {
        self.partial = None;
    }
}

impl Partial {
    /// Takes a part of a frame as it is.
    fn take(&mut self, data: &[u8]) {
        if self.payload.capacity() - self.payload.len() < data.len() {
            self.reserve();
        }
        self.payload.extend_from_slice(data);
        self.announced = self.announced.saturating_sub(data.len() as u64);
    }

    /// Makes room for what is announced, as far as it is not much more than what is here already: an
    /// announcement alone takes no memory, and a large message no more than its own size in the end.
    fn reserve(&mut self) {
        let step = (self.payload.len() as u64).clamp(RESERVE_BYTES_MAX, RESERVE_STEP_BYTES_MAX);
        self.payload.reserve_exact(usize::try_from(self.announced.min(step)).unwrap_or(0));
    }

    /// Gives back what a message that came in unknown sizes has reserved too much.
    fn into_bytes(mut self) -> Bytes {
        let spare = self.payload.capacity() - self.payload.len();
        if spare > SPARE_BYTES_MAX && spare > self.payload.len() / 8 {
            self.payload.shrink_to_fit();
        }
        self.payload.into()
    }

    /// Checks what has come since the last time. A wrong byte is seen at once, not at the end.
    fn check_text(&mut self) -> Result<(), Violation> {
        if !self.text {
            return Ok(());
        }
        match std::str::from_utf8(&self.payload[self.checked..]) {
            Ok(text) => self.checked += text.len(),
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(Violation::invalid_data("a text that is not UTF-8")),
        }
        Ok(())
    }
}

/// Looks whether text that comes in parts is UTF-8.
#[derive(Debug, Default)]
pub struct TextCheck {
    /// The start of a character, at the end of the last part.
    split: Vec<u8>,
}

impl TextCheck {
    /// Whether the text is UTF-8 as far as its next part goes; `end`: that is the last one.
    pub fn next(&mut self, mut part: &[u8], end: bool) -> bool {
        if let Some(first) = self.split.first() {
            let width = match first {
                0..0xe0 => 2,
                0xe0..0xf0 => 3,
                0xf0.. => 4,
            };
            let len = part.len().min(width - self.split.len());
            self.split.extend_from_slice(&part[..len]);
            part = &part[len..];
            match std::str::from_utf8(&self.split) {
                Ok(_) => self.split.clear(),
                Err(error) if error.error_len().is_none() => return !end,
                Err(_) => return false,
            }
        }
        match std::str::from_utf8(part) {
            Ok(_) => true,
            Err(error) if error.error_len().is_none() && !end => {
                self.split.extend_from_slice(&part[error.valid_up_to()..]);
                true
            }
            Err(_) => false,
        }
    }
}

fn inflate_violation(error: InflateError, size_max: usize) -> Violation {
    match error {
        InflateError::Corrupt => Violation::invalid_data("a message that cannot be inflated"),
        InflateError::TooBig => Violation::too_big(size_max),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn assemble(text: bool, size_max: usize, parts: &[&[u8]]) -> Result<Message, Violation> {
        let mut assembler = Assembler::new(size_max, None);
        assembler.begin(text, false)?;
        for part in parts {
            assembler.begin_frame(part.len() as u64)?;
            assembler.push(part)?;
        }
        assembler.finish()
    }

    #[test]
    fn a_character_may_be_split_between_parts() {
        let message = assemble(true, 100, &[b"\xe2\x82", b"\xac"]).unwrap();
        assert_eq!(message, Message::text("€"));
    }

    #[test]
    fn a_wrong_byte_is_found_before_the_message_ends() {
        let mut assembler = Assembler::new(100, None);
        assembler.begin(true, false).unwrap();
        assembler.push(b"\xf4").unwrap();
        assert_eq!(assembler.push(b"\x90").unwrap_err().code, 1007);
    }

    #[test]
    fn a_text_that_ends_inside_a_character_is_invalid() {
        assert_eq!(assemble(true, 100, &[b"\xe2\x82"]).unwrap_err().code, 1007);
    }

    #[test]
    fn the_limit_counts_all_parts_and_is_seen_in_the_announcement() {
        assert!(assemble(false, 4, &[b"ab", b"cd"]).is_ok());
        assert_eq!(assemble(false, 4, &[b"ab", b"cde"]).unwrap_err().code, 1009);
        let mut assembler = Assembler::new(4, None);
        assembler.begin(false, false).unwrap();
        assert_eq!(assembler.begin_frame(u64::MAX >> 1).unwrap_err().code, 1009);
    }

    #[test]
    fn an_announcement_alone_takes_no_memory() {
        let mut assembler = Assembler::new(usize::MAX, None);
        assembler.begin(false, false).unwrap();
        assembler.begin_frame(1 << 40).unwrap();
        assert!(assembler.partial.unwrap().payload.capacity() <= 64 * 1024);
    }

    proptest! {
        #[test]
        fn text_in_any_parts_is_judged_as_the_whole(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..12),
                "[a-zé€😀]{0,8}".prop_map(String::into_bytes),
            ],
            size in 1usize..5,
        ) {
            let mut check = TextCheck::default();
            let mut parts: Vec<&[u8]> = bytes.chunks(size).collect();
            parts.push(b"");
            let last = parts.len() - 1;
            let ok = parts.iter().enumerate().all(|(at, part)| check.next(part, at == last));
            prop_assert_eq!(ok, std::str::from_utf8(&bytes).is_ok());
        }

        #[test]
        fn a_message_that_waits_takes_little_more_than_its_bytes(
            frames in prop::collection::vec((0usize..200_000, 1usize..70_000), 1..6),
        ) {
            let mut assembler = Assembler::new(usize::MAX, None);
            assembler.begin(false, false).unwrap();
            let mut all = 0;
            for (len, piece) in frames {
                assembler.begin_frame(len as u64).unwrap();
                for at in (0..len).step_by(piece) {
                    assembler.push(&vec![7; piece.min(len - at)]).unwrap();
                    all += piece.min(len - at);
                    prop_assert!(assembler.memory() <= 2 * all + 64 * 1024);
                }
            }
            let Message::Binary(payload) = assembler.finish().unwrap() else { panic!() };
            prop_assert_eq!(payload.len(), all);
        }

        #[test]
        fn any_split_of_any_bytes_is_judged_as_the_whole(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..12),
                ".{0,8}".prop_map(String::into_bytes),
            ],
            size in 1usize..5,
        ) {
            let parts: Vec<&[u8]> = bytes.chunks(size).collect();
            let expected = std::str::from_utf8(&bytes).is_ok();
            prop_assert_eq!(assemble(true, 1000, &parts).is_ok(), expected);
        }
    }
}
