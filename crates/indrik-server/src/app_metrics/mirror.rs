//! Reading the files of prometheus_client, at a look and within bounds.

use std::path::Path;

use indrik_core::app_metrics::{Mirror, MirrorFile};
use indrik_core::metrics::Family;
use indrik_sys::files;

/// Files that are read at a look.
const FILES_MAX: usize = 4096;
/// Names in the directory that are looked at.
const NAMES_MAX: usize = 65_536;
/// The largest file.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// All of them together.
const BYTES_MAX: usize = 128 * 1024 * 1024;

/// What the files of a directory say, and how many could not be read whole.
pub(super) fn mirrored(directory: &Path, series_max: usize) -> (Vec<Family>, u64) {
    let mut mirror = Mirror::new(series_max);
    let Ok(listing) = std::fs::read_dir(directory) else { return (Vec::new(), 1) };
    let names = listing.take(NAMES_MAX).filter_map(|entry| Some(entry.ok()?.file_name()));
    let mut named: Vec<_> = names
        .filter_map(|name| MirrorFile::named(name.to_str()?).map(|file| (name, file)))
        .collect();
    // The same ones at each look, where there are too many.
    named.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let mut unread = named.len().saturating_sub(FILES_MAX) as u64;
    let mut left = BYTES_MAX;
    for (name, file) in named.iter().take(FILES_MAX) {
        let Ok(bytes) = files::read(&directory.join(name), FILE_BYTES_MAX) else {
            // Removed since, perhaps, as `mark_process_dead` does.
            unread += u64::from(directory.join(name).exists());
            continue;
        };
        let is_within = bytes.len() <= left;
        left = left.saturating_sub(bytes.len());
        unread += u64::from(!is_within || !mirror.add(*file, &bytes));
    }
    (mirror.families(), unread)
}
