//! Cutting a stream of bytes into messages.

/// The longest message taken from a client. Commands are short; Gunicorn would take 16 MiB.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

const LENGTH_BYTES: usize = 4;

/// A client announced a message of this many bytes, more than [`MESSAGE_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong(pub u32);

/// What has arrived and is not a whole message yet.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    /// More has arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message, without its length.
    ///
    /// # Errors
    /// When its length is above the limit: nothing after it can be read any more.
    pub fn take_message(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        let Some((length, rest)) = self.bytes.split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let announced = u32::from_be_bytes(*length);
        let length = announced as usize;
        if length > MESSAGE_BYTES_MAX {
            return Err(TooLong(announced));
        }
        let Some(message) = rest.get(..length).map(<[u8]>::to_vec) else { return Ok(None) };
        self.bytes.drain(..LENGTH_BYTES + length);
        Ok(Some(message))
    }

    /// A message has begun and is not complete.
    #[must_use]
    pub fn is_midway(&self) -> bool {
        !self.bytes.is_empty()
    }
}

/// A message with its length before it.
#[must_use]
pub fn encode(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), message].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_whole_wherever_the_stream_is_cut() {
        let stream = [encode(b"{\"id\": 1}"), encode(b""), encode(b"third")].concat();
        for step in 1..stream.len() {
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for part in stream.chunks(step) {
                frames.push(part);
                while let Some(message) = frames.take_message().unwrap() {
                    found.push(message);
                }
            }
            assert_eq!(found, [b"{\"id\": 1}".to_vec(), Vec::new(), b"third".to_vec()]);
            assert!(!frames.is_midway());
        }
    }

    #[test]
    fn a_length_above_the_limit_is_refused_before_its_bytes_arrive() {
        let mut frames = Frames::default();
        frames.push(&[0xff, 0xff, 0xff]);
        assert_eq!(frames.take_message(), Ok(None));
        assert!(frames.is_midway());
        frames.push(&[0xff]);
        assert_eq!(frames.take_message(), Err(TooLong(u32::MAX)));
    }
}
