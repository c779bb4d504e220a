//! Whether this is the process that something was made in, or one that was forked from it: told apart by one
//! load, whoever forked and by whatever call.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags};

/// A page; the kernel wipes whole ones.
const PAGE: usize = 4096;
const HERE: u32 = 1;

/// A word that a child finds wiped.
#[derive(Debug)]
pub struct Origin(NonNull<AtomicU32>);

// SAFETY: the word is atomic, and the mapping lives as long as the value.
unsafe impl Send for Origin {}
// SAFETY: as above.
unsafe impl Sync for Origin {}

impl Origin {
    /// This process.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn here() -> io::Result<Self> {
        let protection = ProtFlags::READ.union(ProtFlags::WRITE);
        // SAFETY: a fresh mapping at an address of the kernel's choice, of the size that is advised on.
        let page = unsafe {
            let page = rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                PAGE,
                protection,
                MapFlags::PRIVATE,
            )?;
            rustix::mm::madvise(page, PAGE, Advice::LinuxWipeOnFork)?;
            page
        };
        let word = NonNull::new(page.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let origin = Self(word);
        origin.word().store(HERE, Ordering::Relaxed);
        Ok(origin)
    }

    /// Whether this is the process that it was made in.
    #[inline]
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.word().load(Ordering::Relaxed) == HERE
    }

    fn word(&self) -> &AtomicU32 {
        // SAFETY: the page is mapped until the drop, and zero is a valid atomic.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        // SAFETY: mapped by `here` with this length, and nothing points into it any more.
        let _ = unsafe { rustix::mm::munmap(self.0.as_ptr().cast(), PAGE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forked_child_is_told_from_its_parent() {
        let origin = Origin::here().unwrap();
        assert!(origin.is_here());
        // SAFETY: the child only reads a word and leaves.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(i32::from(origin.is_here())) }
        }
        let mut status = -1;
        // SAFETY: waits for the child that was just made.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0, "the child took itself for the parent");
        assert!(origin.is_here());
    }
}
