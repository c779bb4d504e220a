//! The lane's messages: what a worker and the front say to each other that is no request.
//!
//! A lane is a socket of whole messages beside the ring, so that whoever waits for an answer on it does not wait for
//! the owner of the ring. A message is a header of [`HEADER_BYTES`] and a payload. Whoever asks chooses the
//! number, and an answer bears the same; 0 asks for none. The other side may write anything: a message is
//! read whole and in one way, or it is a [`LaneError`].

use core::fmt;

/// The version of all this.
const VERSION: u8 = 1;
/// The header: version, kind, two bytes that are kept free, the payload's length, the number.
const HEADER_BYTES: usize = 16;
/// The largest message, with its header.
pub const LANE_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// The longest name of a route.
pub const ROUTE_NAME_BYTES_MAX: usize = 256;

/// What a message is about. A worker's are below 128.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    /// Asks for the number of a route; the payload is its name.
    Route = 1,
    /// The number of a route.
    RouteNumber = 129,
}

/// What a worker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneAsk<'a> {
    /// Which number stands for the route of this name?
    Route(&'a str),
}

/// What the front answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneAnswer {
    /// The number of the route; see [`Descriptor::route`](crate::Descriptor::route).
    Route(u16),
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneError {
    /// Not even a header, or more than the largest message.
    Size,
    /// Another version of the lane.
    Version,
    /// Bytes that are kept free are not zero.
    Reserved,
    /// The header speaks of another length.
    Length,
    /// A kind that does not exist, or that this side does not send.
    Kind,
    /// The payload is not what its kind has.
    Payload,
}

impl fmt::Display for LaneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Size => "a message of an impossible size",
            Self::Version => "a message of another version",
            Self::Reserved => "a message that uses what is kept free",
            Self::Length => "a message that says a wrong length",
            Self::Kind => "a message of a kind that does not exist",
            Self::Payload => "a message with a payload that its kind does not have",
        })
    }
}

impl std::error::Error for LaneError {}

/// Whether this may be the name of a route: text of a sensible length that breaks no line.
#[must_use]
pub fn is_route_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= ROUTE_NAME_BYTES_MAX && !name.chars().any(char::is_control)
}

impl<'a> LaneAsk<'a> {
    /// The message, under this number.
    #[must_use]
    pub fn encode(&self, number: u64) -> Vec<u8> {
        match self {
            Self::Route(name) => message(Kind::Route, number, name.as_bytes()),
        }
    }

    /// Reads a message; returns its number too.
    ///
    /// # Errors
    /// [`LaneError`] says what is wrong with it.
    pub fn decode(bytes: &'a [u8]) -> Result<(u64, Self), LaneError> {
        let (kind, number, payload) = split(bytes)?;
        if kind != Kind::Route as u8 {
            return Err(LaneError::Kind);
        }
        let name = str::from_utf8(payload).map_err(|_| LaneError::Payload)?;
        if is_route_name(name) { Ok((number, Self::Route(name))) } else { Err(LaneError::Payload) }
    }
}

impl LaneAnswer {
    /// The message, under the number of what it answers.
    #[must_use]
    pub fn encode(self, number: u64) -> Vec<u8> {
        match self {
            Self::Route(route) => message(Kind::RouteNumber, number, &route.to_le_bytes()),
        }
    }

    /// Reads a message; returns its number too.
    ///
    /// # Errors
    /// As [`LaneAsk::decode`].
    pub fn decode(bytes: &[u8]) -> Result<(u64, Self), LaneError> {
        let (kind, number, payload) = split(bytes)?;
        if kind != Kind::RouteNumber as u8 {
            return Err(LaneError::Kind);
        }
        let route = payload.try_into().map_err(|_| LaneError::Payload)?;
        Ok((number, Self::Route(u16::from_le_bytes(route))))
    }
}

fn message(kind: Kind, number: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    bytes.extend_from_slice(&[VERSION, kind as u8, 0, 0]);
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Kind, number and payload.
fn split(bytes: &[u8]) -> Result<(u8, u64, &[u8]), LaneError> {
    if bytes.len() > LANE_MESSAGE_BYTES_MAX {
        return Err(LaneError::Size);
    }
    let (header, payload) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(LaneError::Size)?;
    let [version, kind, free @ .., l0, l1, l2, l3, _, _, _, _, _, _, _, _] = header;
    if *version != VERSION {
        return Err(LaneError::Version);
    }
    if free != &[0, 0] {
        return Err(LaneError::Reserved);
    }
    if u32::from_le_bytes([*l0, *l1, *l2, *l3]) as usize != payload.len() {
        return Err(LaneError::Length);
    }
    let number = header.last_chunk().map_or(0, |number| u64::from_le_bytes(*number));
    Ok((*kind, number, payload))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_wrong_with_a_message_is_said() {
        let good = LaneAsk::Route("/a").encode(7);
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            LaneAsk::decode(&bytes).map(|(number, _)| number)
        };
        assert_eq!(with(8, 9), Ok(9));
        assert_eq!(with(0, 2), Err(LaneError::Version));
        assert_eq!(with(1, 129), Err(LaneError::Kind));
        assert_eq!(with(3, 1), Err(LaneError::Reserved));
        assert_eq!(with(4, 1), Err(LaneError::Length));
        assert_eq!(with(16, b'\n'), Err(LaneError::Payload));
        assert_eq!(with(16, 0xff), Err(LaneError::Payload));
        assert_eq!(LaneAsk::decode(&good[..15]), Err(LaneError::Size));
        assert_eq!(LaneAsk::decode(&vec![0; LANE_MESSAGE_BYTES_MAX + 1]), Err(LaneError::Size));
        let answer = LaneAnswer::Route(3).encode(7);
        assert_eq!(LaneAnswer::decode(&answer), Ok((7, LaneAnswer::Route(3))));
        assert_eq!(LaneAnswer::decode(&good), Err(LaneError::Kind));
        let long = message(Kind::RouteNumber, 1, &[0; 3]);
        assert_eq!(LaneAnswer::decode(&long), Err(LaneError::Payload));
    }

    proptest! {
        #[test]
        fn a_message_comes_back_as_it_was(name in "[^\\p{Cc}]{1,64}", number: u64, route: u16) {
            let bytes = LaneAsk::Route(&name).encode(number);
            prop_assert!(bytes.len() <= LANE_MESSAGE_BYTES_MAX);
            prop_assert_eq!(LaneAsk::decode(&bytes), Ok((number, LaneAsk::Route(&name))));
            let answer = LaneAnswer::Route(route);
            prop_assert_eq!(LaneAnswer::decode(&answer.encode(number)), Ok((number, answer)));
        }

        /// Near a good message, because a random one ends at its first byte.
        #[test]
        fn no_bytes_make_it_panic_or_are_read_in_two_ways(
            name in "[a-z/<>]{0,12}",
            changes in prop::collection::vec((0usize..40, any::<u8>()), 0..4),
            cut in 0usize..40,
        ) {
            let mut bytes = LaneAsk::Route(&name).encode(1);
            for (at, byte) in changes {
                let len = bytes.len();
                bytes[at % len] = byte;
            }
            bytes.truncate(bytes.len().saturating_sub(cut / 3));
            if let Ok((number, ask)) = LaneAsk::decode(&bytes) {
                prop_assert_eq!(ask.encode(number), bytes.clone());
            }
            if let Ok((number, answer)) = LaneAnswer::decode(&bytes) {
                prop_assert_eq!(answer.encode(number), bytes);
            }
        }
    }
}
