//! The lines of a head.

use super::broken::Broken;

/// The lines of a head without their line ends; checks that a line end is CR LF.
pub(super) struct Lines<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = Result<&'a [u8], Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = memchr::memchr2(b'\r', b'\n', self.0)?;
        if self.0[at..].starts_with(b"\r\n") {
            let line = &self.0[..at];
            self.0 = &self.0[at + 2..];
            return Some(Ok(line));
        }
        self.next_broken().map(Err)
    }
}

impl Lines<'_> {
    /// What is wrong with a line that a lone CR or LF stands in; `None` if its end is not here.
    #[cold]
    fn next_broken(&mut self) -> Option<Broken> {
        let end = memchr::memchr(b'\n', self.0)?;
        let line = &self.0[..end];
        self.0 = &self.0[end + 1..];
        let has_end = line.ends_with(b"\r");
        Some(if has_end { Broken::BareCarriageReturn } else { Broken::BareLineFeed })
    }
}
