//! What is seen of a recorded request's body while it is read: how long it is and, if that is wanted, its beginning.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Bytes that are kept of one body.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;
/// Bytes that are kept of all bodies at once; of more nothing is kept.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What is kept of all bodies of a recording.
#[derive(Debug, Default)]
pub(super) struct Kept(AtomicUsize);

/// What is seen of one body.
#[derive(Debug)]
pub(super) struct Tap {
    bytes: AtomicU64,
    is_cut: AtomicBool,
    /// None: only its length is wanted.
    beginning: Option<(Mutex<Vec<u8>>, Arc<Kept>)>,
}

impl Tap {
    /// `kept`: where bodies are wanted, what is kept of all of them.
    pub(super) fn new(kept: Option<&Arc<Kept>>) -> Arc<Self> {
        let beginning = kept.map(|kept| (Mutex::default(), Arc::clone(kept)));
        Arc::new(Self { bytes: AtomicU64::new(0), is_cut: AtomicBool::new(false), beginning })
    }

    /// These bytes were read.
    pub(super) fn sees(&self, data: &[u8]) {
        self.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
        let Some((beginning, kept)) = &self.beginning else { return };
        if self.is_cut.load(Ordering::Relaxed) {
            return;
        }
        let mut beginning = beginning.lock();
        let has_room = beginning.len() + data.len() <= BODY_BYTES_MAX;
        let before = kept.0.fetch_add(data.len(), Ordering::Relaxed);
        if has_room && before + data.len() <= KEPT_BYTES_MAX {
            beginning.extend_from_slice(data);
            return;
        }
        kept.0.fetch_sub(data.len() + beginning.len(), Ordering::Relaxed);
        *beginning = Vec::new();
        self.is_cut.store(true, Ordering::Relaxed);
    }

    /// How many bytes were read.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// All of it, and whether that is so; none, if it was not wanted.
    pub(super) fn whole(&self) -> Option<(Vec<u8>, bool)> {
        let (beginning, _) = self.beginning.as_ref()?;
        Some((beginning.lock().clone(), !self.is_cut.load(Ordering::Relaxed)))
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if let Some((beginning, kept)) = &self.beginning {
            kept.0.fetch_sub(beginning.lock().len(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_kept_whole_or_not_at_all_and_all_of_them_within_a_limit() {
        let kept = Arc::new(Kept::default());
        let small = Tap::new(Some(&kept));
        small.sees(b"ab");
        small.sees(b"c");
        assert_eq!((small.bytes(), small.whole()), (3, Some((b"abc".to_vec(), true))));
        let large = Tap::new(Some(&kept));
        large.sees(&[b'x'; BODY_BYTES_MAX]);
        large.sees(b"y");
        assert_eq!(
            (large.bytes(), large.whole()),
            (BODY_BYTES_MAX as u64 + 1, Some((vec![], false)))
        );
        assert_eq!(kept.0.load(Ordering::Relaxed), 3);
        let many: Vec<_> = (0..KEPT_BYTES_MAX / BODY_BYTES_MAX)
            .map(|_| {
                let tap = Tap::new(Some(&kept));
                tap.sees(&[b'x'; BODY_BYTES_MAX]);
                tap
            })
            .collect();
        assert_eq!(many.last().and_then(|tap| tap.whole()), Some((vec![], false)));
        drop((many, small, large));
        assert_eq!(kept.0.load(Ordering::Relaxed), 0);
        let counted = Tap::new(None);
        counted.sees(b"abc");
        assert_eq!((counted.bytes(), counted.whole()), (3, None));
    }
}
