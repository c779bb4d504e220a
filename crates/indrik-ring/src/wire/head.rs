//! How the head of a request and of a response lie in a payload.
//!
//! Both are a fixed part followed by length-prefixed byte strings, little-endian and unaligned. The
//! encoders write into space of exactly the length that the `*_len` functions give; the decoders
//! check every length, because what a worker wrote is untrusted. Every length is a `u32`: a payload
//! is always shorter, so no string is so long that its length would be cut and what follows read
//! as something else.

use core::fmt;

const REQUEST_FIXED: usize = 28;
const RESPONSE_FIXED: usize = 8;
const HEADER_FIXED: usize = 8;

/// The head of a request. Strings are raw bytes, as they came from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead<'a> {
    /// 10 for HTTP/1.0, 11 for HTTP/1.1, 20 for HTTP/2.
    pub version: u8,
    /// Whether the client came over TLS (or a trusted proxy says so).
    pub secure: bool,
    /// Which listener of the configuration the client connected to.
    pub listener: u16,
    /// The client's port; 0 when the peer is a Unix socket.
    pub client_port: u16,
    /// The method.
    pub method: &'a [u8],
    /// The request target as sent.
    pub target: &'a [u8],
    /// The client's address as text; empty when the peer is a Unix socket.
    pub client: &'a [u8],
    /// The prefix that a trusted proxy names (SCRIPT_NAME); empty when there is none.
    pub prefix: &'a [u8],
    /// What a PROXY header said beside the client: protocol, then perhaps the address and port that the
    /// client connected to, with spaces between them. Empty without such a header.
    pub proxied: &'a [u8],
    /// The fields, names in lower case, in the order they were sent.
    pub headers: Headers<'a>,
}

/// The head of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead<'a> {
    /// The status code; not checked here.
    pub status: u16,
    /// The reason phrase; empty for the standard one.
    pub reason: &'a [u8],
    /// The fields as the application gave them.
    pub headers: Headers<'a>,
}

/// A list of fields in a payload; iterates over `(name, value)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    count: u16,
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    /// How many fields there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count as usize
    }

    /// Reads a list that fills `bytes`, as [`encode_headers`] writes it with its count in front.
    ///
    /// # Errors
    /// [`HeadError`] when a length does not fit.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, HeadError> {
        let mut input = Input(bytes);
        let count = input.u16()?;
        input.headers(count)
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        // The lengths were checked when the list was made.
        self.count = self.count.checked_sub(1)?;
        let mut input = Input(self.bytes);
        let (name, value) = input.header().ok()?;
        self.bytes = input.0;
        Some((name, value))
    }
}

/// A head whose lengths contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadError;

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the encoded head is cut short or its lengths do not fit")
    }
}

impl std::error::Error for HeadError {}

/// Bytes that a list of fields takes, without a count.
pub fn headers_len<'a>(headers: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> usize {
    headers.map(|(name, value)| HEADER_FIXED + name.len() + value.len()).sum()
}

/// Bytes that a request's head takes; `headers` is what [`headers_len`] gives for the fields, as
/// `head.headers` is not looked at.
#[must_use]
pub const fn request_len(head: &RequestHead<'_>, headers: usize) -> usize {
    let strings = head.method.len() + head.target.len() + head.client.len();
    REQUEST_FIXED + strings + head.prefix.len() + head.proxied.len() + headers
}

/// Bytes that a response's head takes; `headers` is what [`headers_len`] gives.
#[must_use]
pub const fn response_len(reason: &[u8], headers: usize) -> usize {
    RESPONSE_FIXED + reason.len() + headers
}

/// Writes the fixed part and strings of a request's head; `head.headers` is not looked at, the
/// fields come from `headers`. Returns the bytes written.
pub fn encode_request<'a>(
    into: &mut [u8],
    head: &RequestHead<'_>,
    header_count: u16,
    headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> usize {
    let mut out = Output { bytes: into, at: 0 };
    out.u8(head.version);
    out.u8(u8::from(head.secure));
    out.u16(head.listener);
    out.u16(head.client_port);
    out.u16(header_count);
    out.u32(head.method.len());
    out.u32(head.target.len());
    out.u32(head.client.len());
    out.u32(head.prefix.len());
    out.u32(head.proxied.len());
    out.put(head.method);
    out.put(head.target);
    out.put(head.client);
    out.put(head.prefix);
    out.put(head.proxied);
    out.headers(headers);
    out.at
}

/// Writes a response's head, the fields taken from `headers`. Returns the bytes written.
pub fn encode_response<'a>(
    into: &mut [u8],
    status: u16,
    reason: &[u8],
    header_count: u16,
    headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> usize {
    let mut out = Output { bytes: into, at: 0 };
    out.u16(status);
    out.u16(header_count);
    out.u32(reason.len());
    out.put(reason);
    out.headers(headers);
    out.at
}

/// Writes a list of fields with its count in front (2 + [`headers_len`] bytes), for
/// [`Headers::decode`]. Returns the bytes written.
pub fn encode_headers<'a>(
    into: &mut [u8],
    header_count: u16,
    headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> usize {
    let mut out = Output { bytes: into, at: 0 };
    out.u16(header_count);
    out.headers(headers);
    out.at
}

impl<'a> RequestHead<'a> {
    /// Reads a request's head. What lies behind it in `bytes` is ignored.
    ///
    /// # Errors
    /// [`HeadError`] when a length does not fit.
    #[inline]
    pub fn decode(bytes: &'a [u8]) -> Result<Self, HeadError> {
        let mut input = Input(bytes);
        let version = input.u8()?;
        let secure = input.u8()? != 0;
        let listener = input.u16()?;
        let client_port = input.u16()?;
        let count = input.u16()?;
        let (method, target, client) = (input.u32()?, input.u32()?, input.u32()?);
        let (prefix, proxied) = (input.u32()?, input.u32()?);
        Ok(Self {
            version,
            secure,
            listener,
            client_port,
            method: input.take(method)?,
            target: input.take(target)?,
            client: input.take(client)?,
            prefix: input.take(prefix)?,
            proxied: input.take(proxied)?,
            headers: input.headers(count)?,
        })
    }
}

impl<'a> ResponseHead<'a> {
    /// Reads a response's head. What lies behind it in `bytes` is ignored.
    ///
    /// # Errors
    /// [`HeadError`] when a length does not fit.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, HeadError> {
        let mut input = Input(bytes);
        let status = input.u16()?;
        let count = input.u16()?;
        let reason = input.u32()?;
        let reason = input.take(reason)?;
        let headers = input.headers(count)?;
        Ok(Self { status, reason, headers })
    }
}

struct Output<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Output<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    fn u16(&mut self, value: u16) {
        self.put(&value.to_le_bytes());
    }

    fn u32(&mut self, value: usize) {
        self.put(&u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes());
    }

    #[inline]
    fn headers<'a>(&mut self, headers: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
        for (name, value) in headers {
            self.u32(name.len());
            self.u32(value.len());
            self.put(name);
            self.put(value);
        }
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8], HeadError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(HeadError)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, HeadError> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16, HeadError> {
        let bytes = self.take(2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Result<usize, HeadError> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
    }

    fn header(&mut self) -> Result<(&'a [u8], &'a [u8]), HeadError> {
        let name = self.u32()?;
        let value = self.u32()?;
        Ok((self.take(name)?, self.take(value)?))
    }

    /// Checks that `count` fields are there.
    fn headers(&mut self, count: u16) -> Result<Headers<'a>, HeadError> {
        let start = self.0;
        for _ in 0..count {
            self.header()?;
        }
        let bytes = &start[..start.len() - self.0.len()];
        Ok(Headers { count, bytes })
    }
}
