//! Why the screen refuses a message.

use std::fmt;

/// Why a message's framing is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "Display says what each means")]
pub enum Broken {
    TlsHandshake,
    BareLineFeed,
    BareCarriageReturn,
    EmptyLine,
    FoldedField,
    RequestLine,
    Method,
    Target,
    Version,
    FieldName,
    FieldValue,
    RequestLineTooLong,
    TooManyFields,
    FieldTooLarge,
    HeadTooLarge,
    ContentLength,
    ContentLengthTwice,
    LengthAndEncoding,
    TransferEncoding,
    ChunkSize,
    ChunkExtension,
    ChunkEnd,
    Trailer,
}

impl Broken {
    /// The status that says it.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::RequestLineTooLong => 414,
            Self::TooManyFields | Self::FieldTooLarge | Self::HeadTooLarge => 431,
            Self::Version => 505,
            Self::TlsHandshake
            | Self::BareLineFeed
            | Self::BareCarriageReturn
            | Self::EmptyLine
            | Self::FoldedField
            | Self::RequestLine
            | Self::Method
            | Self::Target
            | Self::FieldName
            | Self::FieldValue
            | Self::ContentLength
            | Self::ContentLengthTwice
            | Self::LengthAndEncoding
            | Self::TransferEncoding
            | Self::ChunkSize
            | Self::ChunkExtension
            | Self::ChunkEnd
            | Self::Trailer => 400,
        }
    }

    /// What was wrong, in words.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::TlsHandshake => {
                "a TLS handshake came to a port without TLS: use http://, or set certfile"
            }
            Self::BareLineFeed => "a line ends with a bare LF",
            Self::BareCarriageReturn => "a CR without LF",
            Self::EmptyLine => "an empty line where a request line belongs",
            Self::FoldedField => "a folded field line",
            Self::RequestLine => "malformed request line",
            Self::Method => "malformed method",
            Self::Target => "malformed request target",
            Self::Version => "HTTP/1.0 and HTTP/1.1 are spoken here, not this version",
            Self::FieldName => "malformed field name",
            Self::FieldValue => "a control character in a field",
            Self::RequestLineTooLong => "the request line is too long",
            Self::TooManyFields => "too many header fields",
            Self::FieldTooLarge => "a header field is too large",
            Self::HeadTooLarge => "the header fields together are too large",
            Self::ContentLength => "Content-Length is not a plain number",
            Self::ContentLengthTwice => "more than one Content-Length",
            Self::LengthAndEncoding => "Content-Length beside Transfer-Encoding",
            Self::TransferEncoding => "Transfer-Encoding must end with one `chunked`",
            Self::ChunkSize => "malformed chunk size",
            Self::ChunkExtension => "malformed chunk extension",
            Self::ChunkEnd => "a chunk does not end where its size says",
            Self::Trailer => "malformed or forbidden trailer",
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Broken {}
