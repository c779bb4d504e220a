//! What becomes of rotated files: the oldest are deleted, the others are compressed.
//!
//! One thread does it for all logs, at idle priority, and holds nothing that others wait for. A file is
//! compressed when nobody has it open for writing any more (a worker that is busy, a program that has inherited the
//! log); where the system does not say that, when it was not written to for a while. What a crash has left is
//! found at the next start, since files under the eyes of somebody are locked.

use std::fs::{File, FileTimes};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use indrik_core::logs::level::Level;
use indrik_core::logs::rotation::{Form, LocalSeconds, Policy, Rotated, packed_names, superfluous};
use indrik_sys::place::{self, Place};
use indrik_sys::{clock, sched};

use super::output::reason;

/// Names of rotated files of one log that are looked at.
const NAMES_MAX: usize = 20_000;
/// The first pause before files are looked at again that were still written to, and the longest.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Where the system does not say who writes, a file is at rest when it was not written to for so long.
const REST: Duration = Duration::from_secs(600);
/// Bytes that are read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Says something in the error log.
pub(super) type Complain = Arc<dyn Fn(Level, &str) + Send + Sync>;

/// What is to be done, and by whom.
pub(super) struct Packing {
    policy: Policy,
    complain: Complain,
    /// Logs whose rotated files are to be looked at.
    wanted: Vec<PathBuf>,
    /// Some have to be looked at again.
    left: Arc<AtomicBool>,
    last: Vec<PathBuf>,
    thread: Option<thread::JoinHandle<()>>,
    pause: Duration,
    next: Instant,
    told: Arc<AtomicBool>,
}

impl Packing {
    pub(super) fn new(policy: Policy, complain: Complain) -> Self {
        Self {
            policy,
            complain,
            wanted: Vec::new(),
            left: Arc::default(),
            last: Vec::new(),
            thread: None,
            pause: PAUSE_MIN,
            next: Instant::now(),
            told: Arc::default(),
        }
    }

    /// The rotated files of this log are to be looked at.
    pub(super) fn wants(&mut self, log: &Path) {
        if !self.wanted.iter().any(|wanted| wanted == log) {
            self.wanted.push(log.to_owned());
        }
        self.pause = PAUSE_MIN;
    }

    /// Begins what is due, unless something is under way.
    pub(super) fn go_on(&mut self) {
        if self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        if self.thread.take().is_some() && self.left.swap(false, Ordering::SeqCst) {
            let last = std::mem::take(&mut self.last);
            self.wanted.extend(last);
            self.wanted.dedup();
            self.next = Instant::now() + self.pause;
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        }
        if self.wanted.is_empty() || Instant::now() < self.next {
            return;
        }
        let logs = std::mem::take(&mut self.wanted);
        self.last.clone_from(&logs);
        let (policy, complain) = (self.policy, Arc::clone(&self.complain));
        let (left, told) = (Arc::clone(&self.left), Arc::clone(&self.told));
        let work = move || {
            // Where that is not allowed it is done all the same.
            let _ = sched::run_when_idle();
            let is_left = logs.iter().map(|log| tidy(log, &policy, &complain, &told));
            if is_left.fold(false, |any, left| any | left) {
                left.store(true, Ordering::SeqCst);
            }
        };
        let thread = thread::Builder::new().name("indrik-gzip".to_owned()).spawn(work);
        self.thread = thread.ok();
    }
}

/// Does what can be done for one log now; says whether something is left.
fn tidy(log: &Path, policy: &Policy, complain: &Complain, told: &AtomicBool) -> bool {
    match try_to_tidy(log, policy) {
        Ok(is_left) => {
            told.store(false, Ordering::SeqCst);
            is_left
        }
        Err(error) => {
            if !told.swap(true, Ordering::SeqCst) {
                let why = reason(&error);
                let text = format!(
                    "cannot compress or delete the rotated files of the log {}: {why}; it is tried again",
                    log.display()
                );
                complain(Level::Warning, &text);
            }
            true
        }
    }
}

fn try_to_tidy(log: &Path, policy: &Policy) -> io::Result<bool> {
    let place = Place::of(log)?;
    let names = place.neighbours(NAMES_MAX)?;
    let read = names.iter().filter_map(|name| Rotated::read(place.name(), name));
    let (unfinished, rotated): (Vec<_>, Vec<_>) =
        read.partition(|file| file.form == Form::Unfinished);
    let mut failed = None;
    for file in unfinished {
        go_on(remove_unless_locked(&place, &file.file_name()), &mut failed);
    }
    let now = local_seconds(SystemTime::now());
    let superfluous = superfluous(rotated.clone(), policy.keep, now);
    for file in &superfluous {
        go_on(remove_unless_locked(&place, &file.file_name()), &mut failed);
    }
    let stays = |file: &&Rotated| file.form == Form::Plain && !superfluous.contains(file);
    let mut is_left = false;
    for file in rotated.iter().filter(stays) {
        let (packed, _) = packed_names(&file.name);
        let is_packed =
            rotated.iter().any(|other| other.form == Form::Packed && other.name == file.name);
        if is_packed && place.look(&packed).is_ok() {
            // The last step was missing.
            go_on(remove_unless_locked(&place, &file.name), &mut failed);
        } else if policy.packs {
            is_left |= go_on(pack(&place, &file.name), &mut failed).is_some_and(|is_done| !is_done);
        }
    }
    failed.map_or(Ok(is_left), Err)
}

/// What cannot be done for one file, a pipe of that name perhaps, is done for the others all the same; the first
/// failure is told.
fn go_on<T>(done: io::Result<T>, failed: &mut Option<io::Error>) -> Option<T> {
    done.map_err(|error| failed.get_or_insert(error)).ok()
}

/// Somebody who has a file locked is at work on it.
fn remove_unless_locked(place: &Place, name: &str) -> io::Result<()> {
    let file = match place.open(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    if place::lock(&file)? && is_still(place, name, &file) {
        match place.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Whether the name still leads to the file that is open.
fn is_still(place: &Place, name: &str, file: &File) -> bool {
    let open = place::look_at(file).map(|look| look.id);
    place.look(name).is_ok_and(|look| open.is_ok_and(|open| open == look.id))
}

/// Compresses a file. False: somebody writes to it or is at work on it; later.
fn pack(place: &Place, name: &str) -> io::Result<bool> {
    let mut file = match place.open(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        file => file?,
    };
    let look = place::look_at(&file)?;
    // Of two names the other one is somebody else's, and stays what it is.
    if look.names > 1 {
        return Ok(true);
    }
    if !place::lock(&file)? || !is_still(place, name, &file) || !is_at_rest(&file)? {
        return Ok(false);
    }
    if look.bytes == 0 {
        // A rotation that went no further.
        return place.remove(name).map(|()| true);
    }
    let (packed, unfinished) = packed_names(name);
    let part = place.make_like(&look, &unfinished)?;
    let result = compress(&mut file, &part).and_then(|()| {
        // Nobody can have written meanwhile who has not opened it by this name.
        if place::look_at(&file)?.bytes != look.bytes || !is_at_rest(&file)? {
            return Err(io::Error::other("somebody has written to it meanwhile"));
        }
        place.rename(&unfinished, &packed)
    });
    match result {
        Ok(()) => place.remove(name).map(|()| true),
        Err(error) => {
            let _ = place.remove(&unfinished);
            Err(error)
        }
    }
}

fn compress(file: &mut File, part: &File) -> io::Result<()> {
    let written = file.metadata()?.modified()?;
    let mut encoder = GzEncoder::new(part, Compression::default());
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece)? {
            0 => break,
            count => encoder.write_all(&piece[..count])?,
        }
    }
    encoder.finish()?;
    part.set_times(FileTimes::new().set_modified(written))?;
    part.sync_all()
}

/// Whether nobody writes to a file any more.
fn is_at_rest(file: &File) -> io::Result<bool> {
    match place::has_writers(file) {
        Some(has) => Ok(!has),
        None => {
            let written = file.metadata()?.modified()?;
            // One from the future was written by a clock that was wrong, and says nothing.
            Ok(written.elapsed().map_or(true, |since| since >= REST))
        }
    }
}

/// A moment in this process's time zone.
pub(super) fn local_seconds(at: SystemTime) -> LocalSeconds {
    let seconds = match at.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX / 2),
        Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX / 2),
    };
    LocalSeconds(seconds + i64::from(clock::local(at).offset_minutes) * 60)
}

#[cfg(test)]
mod tests {
    use flate2::read::GzDecoder;

    use super::*;

    const POLICY: Policy = Policy { bytes: Some(1024), age: None, keep: 3, packs: true };

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new(names: &[&str]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            for name in names {
                std::fs::write(folder.path().join(name), name.as_bytes()).unwrap();
            }
            Self(folder)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn names(&self) -> Vec<String> {
            let entries = std::fs::read_dir(self.0.path()).unwrap();
            let mut names: Vec<String> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }

        fn tidy(&self) -> bool {
            try_to_tidy(&self.path("log"), &POLICY).unwrap()
        }
    }

    #[test]
    fn rotated_files_are_compressed_and_the_oldest_deleted() {
        let folder = Folder::new(&[
            "log",
            "log.20260101-000000.gz",
            "log.20260102-000000",
            "log.20260103-000000",
            "log.20260104-000000",
            "log.backup",
        ]);
        assert!(!folder.tidy());
        assert_eq!(
            folder.names(),
            [
                "log",
                "log.20260102-000000.gz",
                "log.20260103-000000.gz",
                "log.20260104-000000.gz",
                "log.backup"
            ]
        );
        let packed = File::open(folder.path("log.20260103-000000.gz")).unwrap();
        let mut text = String::new();
        GzDecoder::new(packed).read_to_string(&mut text).unwrap();
        assert_eq!(text, "log.20260103-000000");
    }

    #[test]
    fn what_a_crash_has_left_is_taken_up() {
        let folder = Folder::new(&[
            "log",
            "log.20260101-000000",
            "log.20260101-000000.gz",
            "log.20260102-000000",
            "log.20260102-000000.gz.part",
        ]);
        std::fs::write(folder.path("log.20260103-000000"), "").unwrap();
        assert!(!folder.tidy());
        assert_eq!(folder.names(), ["log", "log.20260101-000000.gz", "log.20260102-000000.gz"]);
    }

    #[test]
    fn a_file_that_somebody_writes_to_waits() {
        let folder = Folder::new(&["log", "log.20260101-000000"]);
        let path = folder.path("log.20260101-000000");
        let mut writer = File::options().append(true).open(&path).unwrap();
        assert!(folder.tidy(), "it is left");
        writer.write_all(b" and more").unwrap();
        drop(writer);
        if place::has_writers(&File::open(&path).unwrap()).is_none() {
            // Where the system does not say, it would wait for ten minutes.
            return;
        }
        assert!(!folder.tidy());
        let packed = File::open(folder.path("log.20260101-000000.gz")).unwrap();
        let mut text = String::new();
        GzDecoder::new(packed).read_to_string(&mut text).unwrap();
        assert_eq!(text, "log.20260101-000000 and more");
    }

    #[test]
    fn what_is_under_somebodys_lock_is_left_to_him() {
        let folder = Folder::new(&["log", "log.20260101-000000", "log.20260102-000000.gz.part"]);
        let open = |name| {
            let file = File::open(folder.path(name)).unwrap();
            assert!(place::lock(&file).unwrap());
            file
        };
        let _held = (open("log.20260101-000000"), open("log.20260102-000000.gz.part"));
        assert!(folder.tidy());
        assert_eq!(folder.names().len(), 3);
    }

    #[test]
    fn links_are_neither_compressed_nor_followed() {
        let folder = Folder::new(&["log", "victim"]);
        std::os::unix::fs::symlink("victim", folder.path("log.20260101-000000")).unwrap();
        assert!(try_to_tidy(&folder.path("log"), &POLICY).is_err());
        std::fs::remove_file(folder.path("log.20260101-000000")).unwrap();
        std::fs::hard_link(folder.path("victim"), folder.path("log.20260101-000000")).unwrap();
        assert!(!folder.tidy());
        assert_eq!(std::fs::read(folder.path("victim")).unwrap(), b"victim");
        assert_eq!(folder.names().len(), 3);
    }
}
