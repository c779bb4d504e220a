//! What has been told, in a file without a name that the server of an upgrade shares with its successor: whichever of
//! the two serves goes on from there, so nothing is told twice.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;

use rustix::fs::{FileType, MemfdFlags, fstat, memfd_create};

use crate::boot::ALERTS_VARIABLE;

/// What is written and read at most.
const KEPT_BYTES_MAX: u64 = 1 << 20;

/// The file.
#[derive(Debug)]
pub(super) struct Kept(File);

impl Kept {
    /// That of the server before this one, or a new one.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(super) fn open() -> io::Result<Self> {
        let number = std::env::var(ALERTS_VARIABLE).ok().and_then(|it| it.trim().parse().ok());
        if let Some(number) = number
            && let Ok(file) = indrik_sys::process::inherited_alone(number)
            && is_file(&file)
        {
            return Ok(Self(file.into()));
        }
        Ok(Self(memfd_create("indrik-alerts", MemfdFlags::CLOEXEC)?.into()))
    }

    /// The same file, for the successor.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(super) fn share(&self) -> io::Result<OwnedFd> {
        self.0.as_fd().try_clone_to_owned()
    }

    /// Writes it anew. What does not fit is not kept: it would be told again.
    pub(super) fn write(&self, text: &str) {
        let text = if text.len() as u64 > KEPT_BYTES_MAX { "[]" } else { text };
        // A reader in between finds what is no list, and begins anew.
        let _ = self.0.set_len(0);
        let _ = self.0.write_all_at(text.as_bytes(), 0);
    }

    /// What is there; empty if there is nothing.
    pub(super) fn read(&self) -> String {
        let bytes = self.0.metadata().map_or(0, |about| about.len().min(KEPT_BYTES_MAX));
        let mut text = vec![0; usize::try_from(bytes).unwrap_or_default()];
        match self.0.read_exact_at(&mut text, 0) {
            Ok(()) => String::from_utf8(text).unwrap_or_default(),
            Err(_) => String::new(),
        }
    }
}

/// Anything else could make this server wait.
fn is_file(file: &OwnedFd) -> bool {
    fstat(file.as_fd())
        .is_ok_and(|about| FileType::from_raw_mode(about.st_mode) == FileType::RegularFile)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_writes_the_other_reads_whatever_was_there_before() {
        let kept = Kept(memfd_create("test", MemfdFlags::CLOEXEC).unwrap().into());
        let other = Kept(kept.share().unwrap().into());
        assert_eq!(other.read(), "");
        kept.write("a long text");
        other.write("short");
        assert_eq!(kept.read(), "short");
        kept.write(&"x".repeat(2 << 20));
        assert_eq!(other.read(), "[]");
    }
}
