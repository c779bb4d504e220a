//! Rotation of the logs' files, by a thread of its own that looks at them once a second.
//!
//! A file that is due changes its name in one step with a new, empty one, so the log's path is never without a file and
//! no line is lost or cut: who has the old file open writes on into it until he has opened the new one. Then the
//! outputs of this process are opened anew, and the loop is told, whose children write to the error log
//! themselves. Of two servers that share a log for a while (an upgrade) one rotates; the other sees that the path
//! leads elsewhere. Where several logs are one file, it is rotated once.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use indrik_core::logs::level::Level;
use indrik_core::logs::rotation::{self, LocalSeconds, Policy, Seen};
use indrik_core::settings::{Config, LogTarget};
use indrik_sys::bell::Bell;
use indrik_sys::place::{self, Id, Look, Place};

use super::entry::Entry;
use super::outlets::Outlets;
use super::output::{Output, reason};
use super::packing::{Complain, Packing, local_seconds};

/// How often files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Rotations within a second that get a name each.
const NAMES_MAX: u32 = 100;

/// Rotates until it is dropped.
#[derive(Debug)]
pub(crate) struct Rotation {
    /// The thread ends with it.
    _stop: Sender<()>,
    moved: Arc<AtomicBool>,
}

impl Rotation {
    /// Begins, if the settings ask for it and there is a file to rotate. `bell` is rung when files have moved.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(crate) fn start(
        config: &Config,
        outlets: &Outlets,
        bell: &Arc<Bell>,
    ) -> io::Result<Option<Self>> {
        let policy = policy(config);
        let files = files_of(outlets);
        if !policy.is_on() || files.is_empty() {
            return Ok(None);
        }
        let (stop, stopped) = mpsc::channel();
        let moved = Arc::new(AtomicBool::new(false));
        let (to, as_json) = (Arc::clone(&outlets.error), outlets.as_json);
        let complain: Complain = Arc::new(move |level, text: &str| {
            to.write(&Entry::now(level, std::process::id(), text).format(as_json));
        });
        let mut thread = Thread {
            policy,
            files,
            moved: Arc::clone(&moved),
            bell: Arc::clone(bell),
            packing: Packing::new(policy, Arc::clone(&complain)),
            complain,
        };
        let builder = thread::Builder::new().name("indrik-rotation".to_owned());
        builder.spawn(move || thread.run(&stopped))?;
        Ok(Some(Self { _stop: stop, moved }))
    }

    /// Whether files have moved since this was asked last: who writes to them himself has to open them anew.
    pub(crate) fn take_moved(&self) -> bool {
        self.moved.swap(false, Ordering::SeqCst)
    }
}

fn policy(config: &Config) -> Policy {
    Policy {
        bytes: config.log_rotate_size,
        age: config.log_rotate_age,
        keep: config.log_rotate_keep,
        packs: config.log_rotate_compress,
    }
}

/// The files that are written, each once.
fn files_of(outlets: &Outlets) -> Vec<LogFile> {
    let mut files: Vec<LogFile> = Vec::new();
    for output in [Some(&outlets.error), outlets.access.as_ref()].into_iter().flatten() {
        let LogTarget::File(path) = output.target() else { continue };
        match files.iter_mut().find(|file| file.path == *path) {
            Some(file) => file.outputs.push(Arc::clone(output)),
            None => files.push(LogFile::new(path.clone(), Arc::clone(output))),
        }
    }
    files
}

/// A file that logs are written to.
struct LogFile {
    path: PathBuf,
    /// Those of this process.
    outputs: Vec<Arc<Output>>,
    /// Which file was seen last, and when it was begun.
    known: Option<(Id, LocalSeconds)>,
    /// It was said why it is not rotated.
    told: Option<String>,
    failures: u32,
    next_try: Option<Instant>,
}

/// What was done about a file.
enum Done {
    Nothing,
    /// The path leads to another file than before.
    Moved,
}

struct Thread {
    policy: Policy,
    files: Vec<LogFile>,
    moved: Arc<AtomicBool>,
    bell: Arc<Bell>,
    packing: Packing,
    complain: Complain,
}

impl Thread {
    fn run(&mut self, stopped: &Receiver<()>) {
        for file in &self.files {
            // What an earlier server has left.
            self.packing.wants(&file.path);
        }
        loop {
            self.look_at_files();
            self.packing.go_on();
            match stopped.recv_timeout(LOOK_INTERVAL) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn look_at_files(&mut self) {
        let mut has_moved = false;
        for file in &mut self.files {
            if file.next_try.is_some_and(|at| Instant::now() < at) {
                continue;
            }
            match file.care_for(&self.policy) {
                Ok(Done::Nothing) => file.failures = 0,
                Ok(Done::Moved) => {
                    file.works_again(&self.complain);
                    self.packing.wants(&file.path);
                    has_moved = true;
                }
                Err(error) => file.fails(&error, &self.complain),
            }
        }
        if has_moved {
            self.moved.store(true, Ordering::SeqCst);
            self.bell.ring();
        }
    }
}

impl LogFile {
    fn new(path: PathBuf, output: Arc<Output>) -> Self {
        let outputs = vec![output];
        Self { path, outputs, known: None, told: None, failures: 0, next_try: None }
    }

    /// Rotates it if it is due, and follows where somebody else has.
    fn care_for(&mut self, policy: &Policy) -> io::Result<Done> {
        let place = Place::of(&self.path)?;
        let look = match place.look(place.name()) {
            Ok(look) if !look.is_file => {
                return Err(io::Error::other("it is no file; links and pipes are left alone"));
            }
            Ok(look) => look,
            // Somebody has moved it away.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.reopen(),
            Err(error) => return Err(error),
        };
        if self.outputs.iter().any(|output| !output.writes_to(look.id)) {
            return self.reopen();
        }
        let now = local_seconds(SystemTime::now());
        let begun = match self.known {
            Some((id, begun)) if id == look.id && look.bytes > 0 => begun,
            Some(_) | None if look.bytes == 0 => now,
            Some(_) | None => local_seconds(look.begun).min(now),
        };
        self.known = Some((look.id, begun));
        if !policy.is_due(Seen { bytes: look.bytes, begun }, now) || !rotate(&place, &look, now)? {
            return Ok(Done::Nothing);
        }
        self.reopen()
    }

    fn reopen(&mut self) -> io::Result<Done> {
        self.known = None;
        self.outputs.iter().try_for_each(|output| output.reopen())?;
        Ok(Done::Moved)
    }

    fn fails(&mut self, error: &io::Error, complain: &Complain) {
        self.failures += 1;
        let pause = rotation::pause_after(self.failures);
        self.next_try = Some(Instant::now() + pause);
        let why = reason(error);
        if self.told.as_ref() != Some(&why) {
            let path = self.path.display();
            let text = format!(
                "cannot rotate the log {path}: {why}; it grows on, and it is tried again in {} s",
                pause.as_secs()
            );
            complain(Level::Warning, &text);
            self.told = Some(why);
        }
    }

    fn works_again(&mut self, complain: &Complain) {
        (self.failures, self.next_try) = (0, None);
        if self.told.take().is_some() {
            let text = format!("the log {} is rotated again", self.path.display());
            complain(Level::Info, &text);
        }
    }
}

/// Gives the file another name and its own to a new one. False: somebody else is about to.
fn rotate(place: &Place, look: &Look, now: LocalSeconds) -> io::Result<bool> {
    let log = place.name();
    let old = place.open(log)?;
    if !place::lock(&old)? || place::look_at(&old)?.id != look.id {
        return Ok(false);
    }
    // Looked at again under the lock: the path may lead elsewhere by now.
    if place.look(log)?.id != look.id {
        return Ok(false);
    }
    for attempt in 0..NAMES_MAX {
        let name = rotation::name(log, now, attempt);
        let (packed, unfinished) = rotation::packed_names(&name);
        if [&packed, &unfinished].into_iter().any(|taken| place.look(taken).is_ok()) {
            continue;
        }
        match place.make_like(look, &name) {
            Ok(_new) => return exchange(place, &name).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("all names that it could get are taken"))
}

/// `name` is a new, empty file, which becomes the log.
fn exchange(place: &Place, name: &str) -> io::Result<()> {
    let log = place.name();
    match place.exchange(name, log) {
        Ok(true) => Ok(()),
        Ok(false) => {
            // Two steps where one is not possible: whoever comes between them makes the log himself.
            place.remove(name)?;
            place.rename(log, name)
        }
        Err(error) => {
            let _ = place.remove(name);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::output::Complaints;

    const POLICY: Policy = Policy { bytes: Some(10), age: None, keep: 3, packs: false };

    /// The log as a server has it.
    fn server(path: &std::path::Path) -> LogFile {
        let target = LogTarget::File(path.to_owned());
        let output = Output::open("log", &target, Complaints::default()).unwrap();
        LogFile::new(path.to_owned(), Arc::new(output))
    }

    fn says(file: &LogFile, line: &str) {
        file.outputs[0].write(line.as_bytes());
    }

    fn has_moved(file: &mut LogFile) -> bool {
        matches!(file.care_for(&POLICY).unwrap(), Done::Moved)
    }

    fn text(folder: &tempfile::TempDir) -> Vec<String> {
        let mut texts: Vec<String> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
            .collect();
        texts.sort();
        texts
    }

    #[test]
    fn of_two_servers_with_one_log_one_rotates_and_the_other_follows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (mut one, mut two) = (server(&path), server(&path));
        says(&one, "first of one\n");
        says(&two, "first of two\n");
        assert!(has_moved(&mut one));
        says(&two, "into the old\n");
        says(&one, "1\n");
        assert!(has_moved(&mut two), "it follows");
        says(&two, "2\n");
        assert!(!has_moved(&mut one) && !has_moved(&mut two), "there is nothing to do");
        assert_eq!(text(&folder), ["1\n2\n", "first of one\nfirst of two\ninto the old\n"]);
    }

    #[test]
    fn a_log_that_somebody_else_is_rotating_is_left_to_him() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut file = server(&path);
        says(&file, "large enough\n");
        let other = std::fs::File::open(&path).unwrap();
        assert!(place::lock(&other).unwrap());
        assert!(!has_moved(&mut file));
        drop(other);
        assert!(has_moved(&mut file));
    }

    #[test]
    fn names_that_are_taken_are_not_taken_again_also_not_by_compressed_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut file = server(&path);
        for round in 0..3 {
            says(&file, "large enough\n");
            assert!(has_moved(&mut file));
            // As if it was compressed at once.
            for entry in std::fs::read_dir(folder.path()).unwrap() {
                let name = entry.unwrap().path();
                if name != path && name.extension() != Some("gz".as_ref()) {
                    std::fs::rename(&name, format!("{}.gz", name.display())).unwrap();
                }
            }
            assert_eq!(text(&folder).len(), round + 2);
        }
    }

    #[test]
    fn a_file_that_cannot_be_rotated_is_told_once_and_tried_after_longer_and_longer_pauses() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = server(&folder.path().join("log"));
        let (say, said) = mpsc::channel();
        let complain: Complain = Arc::new(move |_, text: &str| say.send(text.to_owned()).unwrap());
        let error = || io::Error::from_raw_os_error(28);
        file.fails(&error(), &complain);
        let first = file.next_try.unwrap();
        file.fails(&error(), &complain);
        assert!(file.next_try.unwrap() > first + Duration::from_secs(5));
        assert!(said.try_recv().unwrap().contains("no space left on device"));
        assert!(said.try_recv().is_err(), "once");
        file.works_again(&complain);
        assert!(said.try_recv().unwrap().ends_with("is rotated again"));
        assert!(file.next_try.is_none());
    }
}
