//! Frames on the wire: header decoding and encoding, masking (RFC 6455 section 5).

use bytes::{BufMut, BytesMut};

use super::violation::Violation;

/// The longest payload of a control frame, in bytes.
pub const CONTROL_PAYLOAD_MAX: usize = 125;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpCode {
    /// A further part of a message.
    Continuation,
    /// The first part of a text message.
    Text,
    /// The first part of a binary message.
    Binary,
    /// The end of the connection.
    Close,
    /// A question whether the peer is there.
    Ping,
    /// The answer to a Ping.
    Pong,
}

impl OpCode {
    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    /// Whether this is a control frame: short, whole, and allowed between a message's fragments.
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A client's frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The last (or only) frame of its message.
    pub fin: bool,
    /// The first reserved bit: permessage-deflate's "this message is compressed".
    pub rsv1: bool,
    /// What the frame is.
    pub opcode: OpCode,
    /// The masking key.
    pub mask: [u8; 4],
    /// Bytes of payload that follow.
    pub payload_len: u64,
}

impl Header {
    /// Reads the header at the start of `input`, and how many bytes it takes; `None` when more
    /// bytes are needed. What the first two bytes show to be wrong is refused without the others.
    ///
    /// A length written longer than needed is accepted: the rule binds the sender, nothing depends
    /// on it here, and small clients break it.
    ///
    /// # Errors
    /// Anything RFC 6455 forbids in a client's header, whatever the connection's state.
    pub fn decode(input: &[u8]) -> Result<Option<(Self, usize)>, Violation> {
        let [first, second, ..] = *input else { return Ok(None) };
        let (fin, rsv1) = (first & 0x80 != 0, first & 0x40 != 0);
        if first & 0x30 != 0 {
            return Err(Violation::protocol("a frame with reserved bits set"));
        }
        let Some(opcode) = OpCode::from_bits(first & 0x0f) else {
            return Err(Violation::protocol("a frame with a reserved opcode"));
        };
        if second & 0x80 == 0 {
            return Err(Violation::protocol("a frame from a client without a mask"));
        }
        let short_len = second & 0x7f;
        if opcode.is_control() {
            if !fin {
                return Err(Violation::protocol("a fragmented control frame"));
            }
            if usize::from(short_len) > CONTROL_PAYLOAD_MAX {
                return Err(Violation::protocol("a control frame of more than 125 bytes"));
            }
        }
        let rest = &input[2..];
        let (payload_len, rest) = match short_len {
            126 => match rest.split_first_chunk() {
                Some((len, rest)) => (u64::from(u16::from_be_bytes(*len)), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((len, rest)) => (u64::from_be_bytes(*len), rest),
                None => return Ok(None),
            },
            len => (u64::from(len), rest),
        };
        if payload_len >> 63 != 0 {
            return Err(Violation::protocol("a frame length of 2^63 bytes or more"));
        }
        let Some((mask, rest)) = rest.split_first_chunk() else { return Ok(None) };
        let header = Self { fin, rsv1, opcode, mask: *mask, payload_len };
        Ok(Some((header, input.len() - rest.len())))
    }
}

/// Appends the header of a server's frame (never masked), with the shortest length that fits.
pub fn encode_header(out: &mut BytesMut, fin: bool, rsv1: bool, opcode: OpCode, len: usize) {
    out.put_u8(u8::from(fin) << 7 | u8::from(rsv1) << 6 | opcode.bits());
    if let Ok(short) = u8::try_from(len)
        && usize::from(short) <= CONTROL_PAYLOAD_MAX
    {
        out.put_u8(short);
    } else if let Ok(medium) = u16::try_from(len) {
        out.put_u8(126);
        out.put_u16(medium);
    } else {
        out.put_u8(127);
        out.put_u64(len as u64);
    }
}

/// Removes (or puts on) the mask, eight bytes at a time; `offset` is the position of `data` in the
/// frame's payload.
pub fn unmask(data: &mut [u8], mask: [u8; 4], offset: u64) {
    let mut mask = mask;
    mask.rotate_left((offset % 4) as usize);
    let [a, b, c, d] = mask;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = data.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_rfc_example_of_a_masked_hello_is_read() {
        let mut bytes = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        let (header, len) = Header::decode(&bytes).unwrap().unwrap();
        assert_eq!(
            (header.fin, header.opcode, header.payload_len, len),
            (true, OpCode::Text, 5, 6)
        );
        unmask(&mut bytes[6..], header.mask, 0);
        assert_eq!(&bytes[6..], b"Hello");
    }

    #[test]
    fn a_bad_header_is_refused_on_its_first_two_bytes() {
        for bytes in [
            [0xA1, 0x80], // RSV2
            [0x91, 0x80], // RSV3
            [0x83, 0x80], // reserved data opcode
            [0x8B, 0x80], // reserved control opcode
            [0x81, 0x05], // no mask
            [0x09, 0x80], // fragmented ping
            [0x89, 0xFE], // long ping
        ] {
            assert_eq!(Header::decode(&bytes).unwrap_err().code, 1002, "{bytes:x?}");
        }
    }

    #[test]
    fn a_length_with_the_top_bit_set_is_refused() {
        assert!(Header::decode(b"\x82\xff\x80\0\0\0\0\0\0\0").is_err());
    }

    #[test]
    fn encoded_lengths_are_the_shortest_that_fit() {
        for (len, size) in [(0, 2), (125, 2), (126, 4), (65535, 4), (65536, 10)] {
            let mut out = BytesMut::new();
            encode_header(&mut out, true, false, OpCode::Binary, len);
            assert_eq!(out.len(), size, "{len}");
        }
    }

    proptest! {
        #[test]
        fn unmasking_in_pieces_is_unmasking_byte_by_byte(
            data in prop::collection::vec(any::<u8>(), 0..100), mask: [u8; 4], cut in 0usize..100,
        ) {
            let expected: Vec<u8> =
                data.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]).collect();
            let mut actual = data;
            let cut = cut.min(actual.len());
            let (left, right) = actual.split_at_mut(cut);
            unmask(left, mask, 0);
            unmask(right, mask, cut as u64);
            prop_assert_eq!(actual, expected);
        }

        #[test]
        fn decoding_any_bytes_never_panics_and_never_reads_past_them(
            bytes in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            if let Ok(Some((_, len))) = Header::decode(&bytes) {
                prop_assert!(len <= bytes.len());
            }
        }
    }
}
