//! The files without names in `tmp_upload_dir`, and what all of them may have together.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// Makes one. It goes when it is closed, whoever dies.
///
/// # Errors
/// When the directory takes no files.
pub(crate) fn unnamed_file(directory: Option<PathBuf>) -> io::Result<File> {
    match directory {
        Some(directory) => tempfile::tempfile_in(directory),
        None => tempfile::tempfile(),
    }
}

/// Whether a file lies in memory (tmpfs, ramfs).
pub(crate) fn is_in_memory(file: &File) -> bool {
    const TMPFS: i64 = 0x0102_1994;
    const RAMFS: i64 = 0x8584_58f6;
    rustix::fs::fstatfs(file).is_ok_and(|it| matches!(it.f_type, TMPFS | RAMFS))
}

/// Adds to what all have, before anything is written, unless that were more than `most`. Returns whether it was added.
pub(crate) fn reserve(all: &AtomicU64, bytes: u64, most: u64) -> bool {
    let more = |had: u64| had.checked_add(bytes).filter(|has| *has <= most);
    all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_reserve_at_once_is_never_more_than_all_may_have() {
        let all = AtomicU64::new(0);
        let granted: u64 = std::thread::scope(|scope| {
            let one = || (0..1000).filter(|_| reserve(&all, 3, 1000)).count() as u64;
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!((granted, all.into_inner()), (333, 999));
    }

    #[test]
    fn a_file_in_memory_is_known() {
        let Ok(file) = unnamed_file(Some("/dev/shm".into())) else { return };
        assert!(is_in_memory(&file));
    }
}
