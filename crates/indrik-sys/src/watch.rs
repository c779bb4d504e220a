//! Watching files for changes: by looking at them again and again, and by inotify, which says when to
//! look.
//!
//! What counts is always what a look finds, compared with the look before; an event of the kernel
//! only makes the look come sooner. So files that are replaced by renaming, deleted, or made later
//! are all the same, and file systems without events (network, mounts of a virtual machine) work.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

use crate::bell::Bell;

/// A change is reported when nothing more has changed for so long: editors write several files, and
/// some delete a file before they write it anew.
const QUIET: Duration = Duration::from_millis(100);
/// Looks for quiet at most; then what has changed is reported though more may follow.
const QUIET_LOOKS_MAX: u32 = 20;
/// Bytes of events taken in one go.
const EVENT_BYTES_MAX: usize = 16 * 1024;

/// What a look at a file found; `None` where there is no file.
pub type Stamp = Option<(i64, i64, u64, u64)>;

/// A file that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its path, as given.
    pub path: PathBuf,
    /// What it is now.
    pub stamp: Stamp,
}

/// A set of files, and how they looked last. All its methods may be called from any thread; while one
/// waits, others may change what is watched.
#[derive(Debug)]
pub struct Watch {
    state: Mutex<WatchState>,
    inotify: Option<OwnedFd>,
    bell: Bell,
    /// How often to look without an event.
    interval: Duration,
}

#[derive(Debug)]
struct WatchState {
    files: BTreeMap<PathBuf, Stamp>,
    next_look: Instant,
    /// Files were given before: from now on a new one of the second kind is a change.
    begun: bool,
    stopped: bool,
    directories: HashSet<PathBuf>,
    /// Files whose directories are all followed.
    followed: HashSet<PathBuf>,
    /// The last parts of the paths; events about other files cause no look.
    names: HashSet<OsString>,
}

impl Watch {
    /// Watches nothing yet. With `events`, a look comes soon after an event as well.
    ///
    /// # Errors
    /// When the kernel gives no (further) inotify instance.
    pub fn new(events: bool, interval: Duration) -> io::Result<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let inotify = if events { Some(inotify::init(flags)?) } else { None };
        let state = WatchState {
            files: BTreeMap::new(),
            next_look: Instant::now() + interval,
            begun: false,
            stopped: false,
            directories: HashSet::new(),
            followed: HashSet::new(),
            names: HashSet::new(),
        };
        Ok(Self { state: Mutex::new(state), inotify, bell: Bell::new()?, interval })
    }

    /// Makes these the watched files. One that is new among `found` is taken as it is; one that is
    /// new among `wanted` counts as changed, except in the first call.
    pub fn update(&self, found: &[PathBuf], wanted: &[PathBuf]) {
        let mut state = self.state();
        let mut files = BTreeMap::new();
        for (paths, is_change) in [(wanted, state.begun), (found, false)] {
            for path in paths {
                let stamp = match state.files.get(path) {
                    Some(stamp) => *stamp,
                    None if is_change => None,
                    None => look_at(path),
                };
                files.insert(path.clone(), stamp);
            }
        }
        state.begun = true;
        state.files = files;
        if let Some(inotify) = &self.inotify {
            state.follow(inotify);
        }
    }

    /// Waits until files have changed and are quiet again, at most for `limit`. Returns what has changed.
    ///
    /// # Errors
    /// When waiting fails, which leaves the caller with nothing to do but to stop watching.
    pub fn wait(&self, limit: Duration) -> io::Result<Vec<Change>> {
        let end = Instant::now() + limit;
        loop {
            let next_look = self.state().next_look;
            self.sleep(end.min(next_look).saturating_duration_since(Instant::now()))?;
            let concerned = self.take_events()?;
            let now = Instant::now();
            let mut state = self.state();
            if state.stopped {
                return Ok(Vec::new());
            }
            if concerned || now >= state.next_look {
                state.next_look = now + self.interval;
                drop(state);
                let changes = self.changes_when_quiet()?;
                if !changes.is_empty() {
                    return Ok(changes);
                }
            }
            if now >= end {
                return Ok(Vec::new());
            }
        }
    }

    /// Ends every wait, now and later.
    pub fn stop(&self) {
        self.state().stopped = true;
        self.bell.ring();
    }

    fn state(&self) -> MutexGuard<'_, WatchState> {
        // Nothing is left half done where it could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep(&self, limit: Duration) -> io::Result<()> {
        let bell = PollFd::from_borrowed_fd(self.bell.as_fd(), PollFlags::IN);
        match &self.inotify {
            Some(inotify) => poll_for(&mut [bell, PollFd::new(inotify, PollFlags::IN)], limit),
            None => poll_for(&mut [bell], limit),
        }
    }

    fn changes_when_quiet(&self) -> io::Result<Vec<Change>> {
        let mut seen = self.state().look();
        for _ in 0..QUIET_LOOKS_MAX {
            if seen.is_empty() {
                return Ok(seen);
            }
            poll_for(&mut [], QUIET)?;
            let again = self.state().look();
            if again == seen {
                break;
            }
            seen = again;
        }
        let mut state = self.state();
        for change in &seen {
            state.files.insert(change.path.clone(), change.stamp);
        }
        Ok(seen)
    }

    /// Takes what the kernel tells; whether any of it concerns the files.
    fn take_events(&self) -> io::Result<bool> {
        let Some(inotify) = &self.inotify else { return Ok(false) };
        let mut space = [MaybeUninit::uninit(); EVENT_BYTES_MAX];
        let mut reader = inotify::Reader::new(inotify, &mut space);
        let mut state = self.state();
        let mut concerns = false;
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                    concerns |= name.is_none_or(|name| state.names.contains(name));
                    if event.events().contains(inotify::ReadFlags::IGNORED) {
                        // A directory was removed; if it comes back it is followed anew.
                        state.directories.clear();
                        state.followed.clear();
                    }
                }
                Err(rustix::io::Errno::AGAIN) => return Ok(concerns),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl WatchState {
    fn look(&self) -> Vec<Change> {
        let looks = self.files.iter().filter_map(|(path, before)| {
            let stamp = look_at(path);
            (stamp != *before).then(|| Change { path: path.clone(), stamp })
        });
        looks.collect()
    }

    /// Has the kernel tell of the directories of the files, and of what they are symbolic links to.
    fn follow(&mut self, inotify: &OwnedFd) {
        let new = self.files.keys().filter(|path| !self.followed.contains(*path));
        for path in new.cloned().collect::<Vec<_>>() {
            let mut all = self.follow_directory_of(&path, inotify);
            match std::fs::canonicalize(&path) {
                Ok(target) if target != path => all &= self.follow_directory_of(&target, inotify),
                Ok(_) => {}
                Err(_) => all = false,
            }
            if all {
                self.followed.insert(path);
            }
        }
    }

    /// Whether it is followed now. A directory that does not exist yet is tried again with the next
    /// update; one above the kernel's limit of watches is covered by looking.
    fn follow_directory_of(&mut self, path: &Path, inotify: &OwnedFd) -> bool {
        self.names.extend(path.file_name().map(OsStr::to_owned));
        let directory = match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => return false,
        };
        if self.directories.contains(directory) {
            return true;
        }
        let flags = inotify::WatchFlags::CLOSE_WRITE
            | inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::ATTRIB
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::DELETE
            | inotify::WatchFlags::MOVED_FROM
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::ONLYDIR;
        let added = inotify::add_watch(inotify, directory, flags).is_ok();
        if added {
            self.directories.insert(directory.to_owned());
        }
        added
    }
}

fn look_at(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.mtime(), metadata.mtime_nsec(), metadata.size(), metadata.ino()))
}

fn poll_for(fds: &mut [PollFd<'_>], limit: Duration) -> io::Result<()> {
    let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
    match poll(fds, Some(&limit)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Long enough for any machine; a change ends the wait at once.
    const LONG: Duration = Duration::from_secs(20);
    const NOW: Duration = Duration::ZERO;

    fn engines() -> [Watch; 2] {
        // By looking often, and by events alone.
        let never = Duration::from_secs(3600);
        [Watch::new(false, Duration::from_millis(5)).unwrap(), Watch::new(true, never).unwrap()]
    }

    fn paths(changes: &[Change]) -> Vec<&Path> {
        changes.iter().map(|change| change.path.as_path()).collect()
    }

    #[test]
    fn writing_renaming_over_deleting_and_making_a_file_are_changes() {
        for watch in engines() {
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join("app.py");
            fs::write(&file, "1").unwrap();
            watch.update(std::slice::from_ref(&file), &[]);
            let changed = |what: &str| {
                let changes = watch.wait(LONG).unwrap();
                assert_eq!(paths(&changes), [file.as_path()], "{what}");
                changes[0].stamp.is_some()
            };
            fs::write(&file, "22").unwrap();
            assert!(changed("written"));
            fs::write(directory.path().join("new"), "333").unwrap();
            fs::rename(directory.path().join("new"), &file).unwrap();
            assert!(changed("replaced"));
            fs::remove_file(&file).unwrap();
            assert!(!changed("deleted"));
            fs::write(&file, "4").unwrap();
            assert!(changed("made again"));
        }
    }

    #[test]
    fn files_changed_together_are_reported_together() {
        for watch in engines() {
            let directory = tempfile::tempdir().unwrap();
            let files: Vec<PathBuf> =
                (0..2000).map(|number| directory.path().join(format!("m{number}.py"))).collect();
            files.iter().for_each(|file| fs::write(file, "").unwrap());
            watch.update(&files, &[]);
            files.iter().for_each(|file| fs::write(file, "changed").unwrap());
            assert_eq!(watch.wait(LONG).unwrap().len(), files.len());
        }
    }

    #[test]
    fn a_new_module_is_no_change_and_a_new_wanted_file_is_one() {
        let directory = tempfile::tempdir().unwrap();
        let [module, template] = ["m.py", "t.html"].map(|name| directory.path().join(name));
        let watch = Watch::new(false, NOW).unwrap();
        watch.update(&[], &[]);
        fs::write(&module, "").unwrap();
        fs::write(&template, "").unwrap();
        watch.update(std::slice::from_ref(&module), &[]);
        assert_eq!(watch.wait(NOW).unwrap(), []);
        watch.update(&[module], std::slice::from_ref(&template));
        assert_eq!(paths(&watch.wait(NOW).unwrap()), [template.as_path()]);
    }

    #[test]
    fn a_file_behind_a_symbolic_link_is_followed_to_where_it_lies() {
        for watch in engines() {
            let directory = tempfile::tempdir().unwrap();
            let (there, link) = (directory.path().join("there"), directory.path().join("link.py"));
            fs::create_dir(&there).unwrap();
            fs::write(there.join("real.py"), "1").unwrap();
            std::os::unix::fs::symlink(there.join("real.py"), &link).unwrap();
            watch.update(std::slice::from_ref(&link), &[]);
            fs::write(there.join("real.py"), "22").unwrap();
            assert_eq!(paths(&watch.wait(LONG).unwrap()), [link.as_path()]);
        }
    }

    #[test]
    fn other_files_of_the_directory_wake_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("app.py");
        fs::write(&file, "1").unwrap();
        let watch = Watch::new(true, LONG).unwrap();
        watch.update(&[file], &[]);
        fs::write(directory.path().join("app.log"), "noise").unwrap();
        assert!(!watch.take_events().unwrap());
    }

    #[test]
    fn a_wait_is_ended_from_another_thread_and_later_ones_end_at_once() {
        let watch = Watch::new(true, LONG).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| watch.wait(Duration::from_secs(3600)).unwrap());
            watch.stop();
            assert_eq!(waiting.join().unwrap(), []);
        });
        assert_eq!(watch.wait(Duration::from_secs(3600)).unwrap(), []);
    }
}
