//! Why a PROXY header is refused.

use std::fmt;

/// Why a header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "Display says what each means")]
pub enum Malformed {
    LineTooLong,
    Line,
    Protocol,
    Address,
    Port,
    Version,
    Command,
    Family,
    TooShort,
    TooLong,
    Extension,
    Checksum,
}

impl Malformed {
    /// What was wrong, in words.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::LineTooLong => "the PROXY line is too long",
            Self::Line => "malformed PROXY line",
            Self::Protocol => "the PROXY line names a protocol other than TCP4, TCP6 and UNKNOWN",
            Self::Address => "malformed address in the PROXY line",
            Self::Port => "malformed port in the PROXY line",
            Self::Version => "the PROXY header has a version other than 2",
            Self::Command => "the PROXY header has an unknown command",
            Self::Family => "the PROXY header has an unknown address family or protocol",
            Self::TooShort => "the PROXY header is too short for its addresses",
            Self::TooLong => "the PROXY header is too long",
            Self::Extension => "an extension does not end where the PROXY header does",
            Self::Checksum => "the PROXY header's checksum is wrong",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Malformed {}
