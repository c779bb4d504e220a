//! A terminal whose keys are read one by one and whose whole screen is painted; given back as it was, whatever happens.

use std::io::{self, Write as _};
use std::os::fd::AsFd;

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

/// The second screen, without a cursor.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[2J";
/// The first one again, as it was.
const LEAVE: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1049l";

/// A terminal in raw mode, until it is dropped (also while a panic unwinds).
#[derive(Debug)]
pub struct Raw {
    before: Termios,
}

impl Raw {
    /// Takes the terminal of standard input and output.
    ///
    /// # Errors
    /// When they are none.
    pub fn enter() -> io::Result<Self> {
        let (stdin, stdout) = (io::stdin(), io::stdout());
        if !isatty(&stdout) {
            return Err(io::Error::other("standard output is no terminal"));
        }
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        let this = Self { before };
        tcsetattr(&stdin, OptionalActions::Flush, &raw)?;
        stdout.lock().write_all(ENTER)?;
        Ok(this)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let mut stdout = io::stdout().lock();
        // Nobody is left to be told.
        let _ = stdout.write_all(LEAVE).and_then(|()| stdout.flush());
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}

/// Columns and rows; `None`: it is no terminal, or does not say.
#[must_use]
pub fn size(terminal: impl AsFd) -> Option<(usize, usize)> {
    let size = tcgetwinsize(terminal).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col.into(), size.ws_row.into()))
}

/// Whether it is a terminal.
#[must_use]
pub fn is_terminal(file: impl AsFd) -> bool {
    isatty(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_no_terminal_and_has_no_size() {
        let file = tempfile::tempfile().unwrap();
        assert!(!is_terminal(&file));
        assert_eq!(size(&file), None);
    }
}
