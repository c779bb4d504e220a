//! Opening what a setting names, which may be anything: a file, a named pipe that nobody reads, a
//! device, a link that somebody else has put there, a place on a network that does not answer.
//!
//! Nothing here waits for another process. For a file system that does not answer there is [`within`].

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, openat};
use rustix::io::Errno;

/// Links that are followed one after the other, as the kernel has it.
const LINKS_MAX: usize = 40;
/// Threads that wait for a file system that does not answer, for ever perhaps.
const WAITING_MAX: usize = 16;
/// What `/proc` says that it is.
const PROC_MAGIC: u64 = 0x9fa0;

/// Opens a log for appending, and makes it if it is not there.
///
/// A link, in its place or on the way there, is followed only if this process's user or root made it: in a
/// directory that others may write to it may lead anywhere.
///
/// # Errors
/// When it cannot be written to, or nobody reads the named pipe that it is.
pub fn append(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOCTTY;
    let file = open(path, flags, Mode::from_raw_mode(0o666)).map_err(|error| match error {
        Errno::NXIO => other("it is a named pipe that nobody reads, or a socket"),
        error => error.into(),
    })?;
    match kind(&file)? {
        FileType::BlockDevice => Err(other("it is a block device")),
        _ => Ok(file),
    }
}

/// Reads a file of at most `bytes_max` bytes, as text or not.
///
/// # Errors
/// When it is none, is larger, or cannot be read.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    match kind(&file)? {
        FileType::RegularFile => {}
        FileType::Directory => return Err(other("it is a directory")),
        FileType::Fifo => return Err(other("it is a named pipe, not a file")),
        _ => return Err(other("it is not a file")),
    }
    let mut bytes = Vec::new();
    if file.take(bytes_max + 1).read_to_end(&mut bytes)? as u64 > bytes_max {
        return Err(other(&format!("it is larger than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// The same of text.
///
/// # Errors
/// As [`read`], and when it is not UTF-8.
pub fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    let text = String::from_utf8(read(path, bytes_max)?);
    text.map_err(|_| other("it is not text in UTF-8"))
}

/// Makes a new file for writing: whatever lies there already, a link too, is an error, and so is a link of
/// somebody else on the way there.
///
/// # Errors
/// When something is there, or the file cannot be made.
pub fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut way = Way::begin(path)?;
    let name = way.last()?;
    Ok(File::from(openat(&way.directory, &name, flags, Mode::from_raw_mode(mode))?))
}

/// Looks whether the directory of a path is reached without a link that somebody else made. One that is not there
/// is no error: it is for whoever wants it.
///
/// # Errors
/// When there is such a link, or the directory must not be looked at.
pub fn check_way(path: &Path) -> io::Result<()> {
    match Way::begin(path).and_then(|mut way| way.last()) {
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ACCESS) => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "a directory of its path must not be entered, or is a link that another user made",
        )),
        Err(error) => Err(error.into()),
    }
}

/// Gives an open file to a user and group, if it is one and has no other name: through a second name
/// it would be somebody else's file that is given away.
///
/// # Errors
/// When this process may not.
pub fn give(file: impl AsFd, uid: u32, gid: u32) -> io::Result<()> {
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        // A pipe or a terminal under a file's name is somebody else's.
        return Ok(());
    }
    if stat.st_nlink > 1 {
        return Err(other("it has another name (a hard link), and may be somebody else's file"));
    }
    let (uid, gid) = (rustix::process::Uid::from_raw(uid), rustix::process::Gid::from_raw(gid));
    rustix::fs::fchown(file, Some(uid), Some(gid))?;
    Ok(())
}

/// A socket file that this process has just made, held so that nothing put in its place meanwhile is
/// taken for it.
#[derive(Debug)]
pub struct SocketPath(OwnedFd);

impl SocketPath {
    /// Takes hold of it.
    ///
    /// # Errors
    /// When it is no socket (any more), or [`check_way`] would fail.
    pub fn hold(path: &Path) -> io::Result<Self> {
        let mut way = Way::begin(path)?;
        let name = way.last()?;
        let fd = openat(&way.directory, &name, LOOK, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
            return Err(other("somebody else has put something in its place"));
        }
        Ok(Self(fd))
    }

    /// Sets its permissions.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        // `fchmod` does not take such a descriptor; its name in /proc leads to the same file.
        let name = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        rustix::fs::chmod(name, Mode::from_raw_mode(mode))?;
        Ok(())
    }

    /// Gives it to a user and group.
    ///
    /// # Errors
    /// When this process may not.
    pub fn give(&self, uid: u32, gid: u32) -> io::Result<()> {
        let (uid, gid) = (rustix::process::Uid::from_raw(uid), rustix::process::Gid::from_raw(gid));
        rustix::fs::chownat(&self.0, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
        Ok(())
    }
}

/// Does what may wait for a file system, and gives up after `limit`: a network mount whose server has
/// gone answers nothing, ever.
///
/// # Errors
/// `TimedOut` then, and at once when too many wait already; else those of the work.
pub fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    static WAITING: AtomicUsize = AtomicUsize::new(0);
    let silent = || {
        let text = format!("the file system does not answer within {} s", limit.as_secs());
        io::Error::new(io::ErrorKind::TimedOut, text)
    };
    if WAITING.load(Ordering::Relaxed) >= WAITING_MAX {
        return Err(silent());
    }
    let (sender, receiver) = mpsc::channel();
    WAITING.fetch_add(1, Ordering::Relaxed);
    let run = move || {
        let result = work();
        WAITING.fetch_sub(1, Ordering::Relaxed);
        // Nobody waits any more if that took too long.
        let _ = sender.send(result);
    };
    if let Err(error) = std::thread::Builder::new().name("indrik-files".to_owned()).spawn(run) {
        WAITING.fetch_sub(1, Ordering::Relaxed);
        return Err(error);
    }
    receiver.recv_timeout(limit).unwrap_or_else(|_| Err(silent()))
}

/// Opens without waiting. Of links only those are followed that this user or root made.
fn open(path: &Path, flags: OFlags, mode: Mode) -> Result<File, Errno> {
    let flags_now = flags | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut way = Way::begin(path)?;
    loop {
        let name = way.last()?;
        let opened = match openat(&way.directory, &name, flags_now, mode) {
            Err(Errno::LOOP) => {
                let link = openat(&way.directory, &name, LOOK, Mode::empty())?;
                if !is_trusted(rustix::fs::fstat(&link)?.st_uid) {
                    return Err(Errno::ACCESS);
                }
                if let Link::To(target) = way.read(&link)? {
                    way.take(&target)?;
                    continue;
                }
                openat(&way.directory, &name, flags_now.difference(OFlags::NOFOLLOW), mode)?
            }
            opened => opened?,
        };
        // Only the opening must not wait; whoever writes decides for itself.
        rustix::fs::fcntl_setfl(&opened, flags & OFlags::APPEND)?;
        return Ok(File::from(opened));
    }
}

/// To look at something without opening it.
const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The way that a path leads, one name after the other. A link in it, whatever its place, counts only if this
/// process's user or root made it: whoever may write to one of the directories could lead the rest of the path to
/// where only this process may write. What somebody else's link leads to is no such place if it is his own: releases
/// are often switched by a link (`current`) of the user whose application it is.
pub(crate) struct Way {
    directory: OwnedFd,
    /// Who else made a link on the way so far.
    stranger: Option<u32>,
    /// The names that are left, the next one last.
    names: Vec<OsString>,
    links: usize,
}

/// Where a link leads.
enum Link {
    To(PathBuf),
    /// Into `/proc`, which opens what no path names (`/dev/stdout`).
    Magic,
}

impl Way {
    pub(crate) fn begin(path: &Path) -> Result<Self, Errno> {
        // The directory of this process may be one that it must not enter.
        let start = if path.is_absolute() { "/" } else { "." };
        let directory = openat(CWD, start, LOOK, Mode::empty())?;
        let mut way = Self { directory, stranger: None, names: Vec::new(), links: 0 };
        way.take(path)?;
        Ok(way)
    }

    /// Takes this path before what is left.
    fn take(&mut self, path: &Path) -> Result<(), Errno> {
        if path.is_absolute() {
            self.directory = openat(CWD, "/", LOOK, Mode::empty())?;
        }
        let names = path.components().filter(|part| !matches!(part, Component::RootDir));
        let names: Vec<OsString> = names.map(|part| part.as_os_str().to_owned()).collect();
        self.names.extend(names.into_iter().rev());
        Ok(())
    }

    /// Goes on to the directory that the last name is in.
    pub(crate) fn last(&mut self) -> Result<OsString, Errno> {
        while let Some(name) = self.names.pop() {
            if self.names.is_empty() {
                let owner = rustix::fs::fstat(&self.directory)?.st_uid;
                let is_led_astray = self.stranger.is_some_and(|stranger| stranger != owner);
                return if is_led_astray { Err(Errno::ACCESS) } else { Ok(name) };
            }
            self.enter(&name)?;
        }
        // The path is that of a directory.
        Err(Errno::ISDIR)
    }

    /// The directory that it has come to.
    pub(crate) fn into_directory(self) -> OwnedFd {
        self.directory
    }

    fn enter(&mut self, name: &OsStr) -> Result<(), Errno> {
        let found = openat(&self.directory, name, LOOK, Mode::empty())?;
        if FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) != FileType::Symlink {
            self.directory = found;
            return Ok(());
        }
        let maker = rustix::fs::fstat(&found)?.st_uid;
        if !is_trusted(maker) && *self.stranger.get_or_insert(maker) != maker {
            return Err(Errno::ACCESS);
        }
        match self.read(&found)? {
            Link::To(target) => self.take(&target),
            Link::Magic => {
                let flags = LOOK.difference(OFlags::NOFOLLOW);
                self.directory = openat(&self.directory, name, flags, Mode::empty())?;
                Ok(())
            }
        }
    }

    fn read(&mut self, link: &OwnedFd) -> Result<Link, Errno> {
        self.links += 1;
        if self.links > LINKS_MAX {
            return Err(Errno::LOOP);
        }
        let file_system = rustix::fs::fstatfs(link)?.f_type;
        if u64::try_from(file_system) == Ok(PROC_MAGIC) {
            return Ok(Link::Magic);
        }
        let text = rustix::fs::readlinkat(link, "", Vec::new())?;
        Ok(Link::To(PathBuf::from(OsStr::from_bytes(text.as_bytes()))))
    }
}

/// Whether this process does what that user's links say.
fn is_trusted(user: u32) -> bool {
    user == 0 || user == rustix::process::geteuid().as_raw()
}

fn kind(file: &File) -> io::Result<FileType> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode))
}

fn other(text: &str) -> io::Error {
    io::Error::other(text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    fn fifo(directory: &Path) -> PathBuf {
        let path = directory.join("pipe");
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        path
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_refused_at_once_and_one_that_is_read_is_written_to() {
        let directory = tempfile::tempdir().unwrap();
        let path = fifo(directory.path());
        assert!(append(&path).unwrap_err().to_string().contains("nobody reads"));
        assert!(read(&path, 10).unwrap_err().to_string().contains("named pipe"));
        let reader = rustix::fs::open(&path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty());
        let mut file = append(&path).unwrap();
        assert!(!rustix::fs::fcntl_getfl(&file).unwrap().contains(OFlags::NONBLOCK));
        file.write_all(b"x").unwrap();
        drop(reader);
    }

    #[test]
    fn links_of_this_user_are_followed_also_to_where_no_file_is_yet() {
        let directory = tempfile::tempdir().unwrap();
        let (link, again) = (directory.path().join("link"), directory.path().join("again"));
        symlink("target", &link).unwrap();
        symlink("link", &again).unwrap();
        append(&again).unwrap().write_all(b"a").unwrap();
        append(&link).unwrap().write_all(b"b").unwrap();
        assert_eq!(read(&directory.path().join("target"), 10).unwrap(), b"ab");
        let circle = directory.path().join("circle");
        symlink("circle", &circle).unwrap();
        assert!(append(&circle).is_err());
        let stdout = directory.path().join("stdout");
        symlink("/proc/self/fd/2", &stdout).unwrap();
        assert!(append(&stdout).is_ok());
    }

    #[test]
    fn a_link_that_somebody_else_made_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        symlink("target", &link).unwrap();
        let other = rustix::process::Uid::from_raw(65_534);
        let given =
            rustix::fs::chownat(CWD, &link, Some(other), None, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        // Only root can give something away.
        assert_eq!(append(&link).is_err(), given);
        assert_eq!(directory.path().join("target").exists(), !given);
    }

    #[test]
    fn a_link_on_the_way_counts_only_if_this_user_or_root_made_it() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path();
        std::fs::create_dir_all(base.join("real/inner")).unwrap();
        symlink("real/inner", base.join("way")).unwrap();
        append(&base.join("way/../inner/log")).unwrap().write_all(b"x").unwrap();
        assert_eq!(read(&base.join("real/inner/log"), 10).unwrap(), b"x");
        create_new(&base.join("way/new"), 0o600).unwrap();
        check_way(&base.join("nowhere/log")).unwrap();
        assert!(append(Path::new("/dev/fd/2")).is_ok());
        let _socket = UnixListener::bind(base.join("way/socket")).unwrap();
        assert!(SocketPath::hold(&base.join("way/socket")).is_ok());
        let other = rustix::process::Uid::from_raw(65_534);
        let flag = AtFlags::SYMLINK_NOFOLLOW;
        if rustix::fs::chownat(CWD, base.join("way"), Some(other), None, flag).is_err() {
            // Only root can give something away.
            return;
        }
        assert!(append(&base.join("way/log")).is_err());
        assert!(append(&base.join("way/other")).is_err());
        assert!(create_new(&base.join("way/newer"), 0o600).is_err());
        assert!(SocketPath::hold(&base.join("way/socket")).is_err());
        assert!(check_way(&base.join("way/socket")).is_err());
        assert!(!base.join("real/inner/other").exists() && !base.join("real/inner/newer").exists());
        // It leads to what is his.
        rustix::fs::chownat(CWD, base.join("real/inner"), Some(other), None, flag).unwrap();
        append(&base.join("way/his")).unwrap();
        check_way(&base.join("way/socket")).unwrap();
        // His link, and then one of a third user.
        let third = rustix::process::Uid::from_raw(65_533);
        symlink("../inner", base.join("real/inner/again")).unwrap();
        rustix::fs::chownat(CWD, base.join("real/inner/again"), Some(third), None, flag).unwrap();
        assert!(append(&base.join("way/again/no")).is_err());
    }

    #[test]
    fn a_new_file_replaces_nothing_and_follows_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let (victim, link) = (directory.path().join("victim"), directory.path().join("draft"));
        std::fs::write(&victim, "precious").unwrap();
        symlink("victim", &link).unwrap();
        assert!(create_new(&link, 0o600).is_err());
        assert!(create_new(&victim, 0o600).is_err());
        assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
    }

    #[test]
    fn a_file_with_a_second_name_is_not_given_away() {
        let directory = tempfile::tempdir().unwrap();
        let (one, two) = (directory.path().join("one"), directory.path().join("two"));
        std::fs::write(&one, "").unwrap();
        let metadata = std::fs::metadata(&one).unwrap();
        let file = append(&one).unwrap();
        give(&file, metadata.uid(), metadata.gid()).unwrap();
        std::fs::hard_link(&one, &two).unwrap();
        assert!(give(&file, metadata.uid(), metadata.gid()).is_err());
    }

    #[test]
    fn of_a_socket_only_the_file_that_was_made_is_changed() {
        let directory = tempfile::tempdir().unwrap();
        let (path, victim) = (directory.path().join("socket"), directory.path().join("victim"));
        let _socket = UnixListener::bind(&path).unwrap();
        std::fs::write(&victim, "").unwrap();
        let held = SocketPath::hold(&path).unwrap();
        std::fs::rename(&path, directory.path().join("moved")).unwrap();
        symlink("victim", &path).unwrap();
        held.set_mode(0o612).unwrap();
        let mode = |name: &str| {
            std::fs::metadata(directory.path().join(name)).unwrap().permissions().mode() & 0o777
        };
        assert_eq!(mode("moved"), 0o612);
        assert_ne!(mode("victim"), 0o612);
        assert!(SocketPath::hold(&path).is_err());
        assert!(SocketPath::hold(&victim).is_err());
    }

    #[test]
    fn what_is_too_large_or_no_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read_text(&path, 5).unwrap(), "12345");
        assert!(read(&path, 4).unwrap_err().to_string().contains("larger than 4 bytes"));
        assert!(read(directory.path(), 4).unwrap_err().to_string().contains("directory"));
        assert!(read(Path::new("/dev/zero"), 4).unwrap_err().to_string().contains("not a file"));
    }

    #[test]
    fn work_that_takes_too_long_is_given_up() {
        let (sender, receiver) = mpsc::channel::<()>();
        let waits = move || receiver.recv().map_err(io::Error::other);
        let error = within(Duration::from_millis(1), waits).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(sender);
        assert_eq!(within(Duration::from_secs(60), || Ok(7)).unwrap(), 7);
    }
}
