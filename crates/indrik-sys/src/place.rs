//! The place of a file that a setting names: its directory, held open, and its name there. What is done with the
//! file and with its neighbours is done in that directory, wherever its path leads meanwhile.
//!
//! Somebody else may write to the directory, so nothing here follows a link or waits for a pipe, and what is about
//! to be changed is told from what was put in its stead by [`Id`].

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{
    AtFlags, FileType, FlockOperation, Gid, Mode, OFlags, RenameFlags, StatxFlags, Uid, openat,
    statx,
};
use rustix::io::Errno;

use crate::files::Way;

/// Of `fcntl`: which signal tells of a lease (`asm-generic/fcntl.h`; the same on all machines that are built for).
const F_SETSIG: i32 = 10;

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    device: (u32, u32),
    inode: u64,
}

/// What the system says of a file.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Which it is.
    pub id: Id,
    /// It is a file, and no link, pipe or device.
    pub is_file: bool,
    /// How large it is.
    pub bytes: u64,
    /// How many names it has.
    pub names: u32,
    /// When it was made, or written last if that is longer ago or all that is known.
    pub begun: SystemTime,
    mode: u16,
    owner: (u32, u32),
}

/// A directory and a name in it.
#[derive(Debug)]
pub struct Place {
    directory: OwnedFd,
    name: String,
}

impl Place {
    /// The place that a path names.
    ///
    /// # Errors
    /// When there is no such directory, it is reached by a link that somebody else made, or the name is not UTF-8.
    pub fn of(path: &Path) -> io::Result<Self> {
        let mut way = Way::begin(path)?;
        let name = way.last()?.into_string();
        let name = name.map_err(|_| io::Error::other("its name is not UTF-8"))?;
        Ok(Self { directory: way.into_directory(), name })
    }

    /// The file's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is there under a name.
    ///
    /// # Errors
    /// `NotFound`, and what the system says.
    pub fn look(&self, name: &str) -> io::Result<Look> {
        look(&self.directory, name)
    }

    /// Makes a new file with the owner and permissions of another, and locks it.
    ///
    /// # Errors
    /// When something has this name, or no such file can be made.
    pub fn make_like(&self, like: &Look, name: &str) -> io::Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(openat(&self.directory, name, flags, Mode::RUSR | Mode::WUSR)?);
        let made = lock(&file).and_then(|_| {
            let (uid, gid) = like.owner;
            let now = look(&file, "")?;
            if now.owner != like.owner {
                let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
                rustix::fs::fchown(&file, Some(uid), Some(gid))?;
            }
            let mode = Mode::from_raw_mode(u32::from(like.mode & 0o777));
            rustix::fs::fchmod(&file, mode).map_err(Into::into)
        });
        match made {
            Ok(()) => Ok(file),
            Err(error) => {
                let _ = self.remove(name);
                Err(error)
            }
        }
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// When it is no file, or must not be read.
    pub fn open(&self, name: &str) -> io::Result<File> {
        let flags =
            OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = File::from(openat(&self.directory, name, flags, Mode::empty())?);
        match look(&file, "")?.is_file {
            true => Ok(file),
            false => Err(io::Error::other("it is not a file")),
        }
    }

    /// Two files change their names in one step; false: this file system cannot do that.
    ///
    /// # Errors
    /// What the system says.
    pub fn exchange(&self, one: &str, two: &str) -> io::Result<bool> {
        let at = &self.directory;
        match rustix::fs::renameat_with(at, one, at, two, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(true),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives a file another name that nothing has.
    ///
    /// # Errors
    /// `AlreadyExists`, and what the system says.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let at = &self.directory;
        match rustix::fs::renameat_with(at, from, at, to, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                if self.look(to).is_ok() {
                    return Err(Errno::EXIST.into());
                }
                rustix::fs::renameat(at, from, at, to).map_err(Into::into)
            }
            result => result.map_err(Into::into),
        }
    }

    /// Takes a name away.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        rustix::fs::unlinkat(&self.directory, name, AtFlags::empty()).map_err(Into::into)
    }

    /// The names in the directory that begin with the file's own and a dot; at most `max`.
    ///
    /// # Errors
    /// When the directory must not be read.
    pub fn neighbours(&self, max: usize) -> io::Result<Vec<String>> {
        let start = format!("{}.", self.name);
        let mut names = Vec::new();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(&self.directory, ".", flags, Mode::empty())?;
        for entry in rustix::fs::Dir::new(directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name.starts_with(start.as_bytes())
                && let Ok(name) = std::str::from_utf8(name)
            {
                names.push(name.to_owned());
                if names.len() == max {
                    break;
                }
            }
        }
        Ok(names)
    }
}

/// What the system says of an open file.
///
/// # Errors
/// What the system says.
pub fn look_at(file: impl AsFd) -> io::Result<Look> {
    look(file, "")
}

/// Locks a file for as long as it is open here. False: somebody else has it locked.
///
/// # Errors
/// What the system says; where there are no locks, nobody has one.
pub fn lock(file: &File) -> io::Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) | Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOLCK | Errno::INVAL) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether a process can write to this file by a descriptor that it has; the file is open here for reading only.
/// `None`: the system does not say (another user's file, a network).
///
/// The kernel grants a read lease only on a file that nobody has open for writing. It is given back at once; should
/// somebody open the file in between, the signal that says so is one that is ignored where nobody waits for it.
#[must_use]
pub fn has_writers(file: &File) -> Option<bool> {
    let fd = file.as_raw_fd();
    // SAFETY: no memory is involved, and the descriptor is open as long as `file` lives.
    let control = |command: i32, argument: i32| unsafe { libc::fcntl(fd, command, argument) };
    if control(F_SETSIG, libc::SIGURG) != 0 {
        return None;
    }
    if control(libc::F_SETLEASE, libc::F_RDLCK) == 0 {
        let _ = control(libc::F_SETLEASE, libc::F_UNLCK);
        return Some(false);
    }
    let error = io::Error::last_os_error();
    (error.raw_os_error() == Some(libc::EAGAIN)).then_some(true)
}

fn look(at: impl AsFd, name: &str) -> io::Result<Look> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let stat = statx(at, name, flags, wanted)?;
    let has = StatxFlags::from_bits_retain(stat.stx_mask);
    let time = |seconds: i64, nanos: u32| {
        let seconds = u64::try_from(seconds).unwrap_or(0);
        UNIX_EPOCH + Duration::new(seconds, nanos.min(999_999_999))
    };
    let written = time(stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec);
    let begun = match has.contains(StatxFlags::BTIME) {
        true => written.min(time(stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec)),
        false => written,
    };
    Ok(Look {
        id: Id { device: (stat.stx_dev_major, stat.stx_dev_minor), inode: stat.stx_ino },
        is_file: FileType::from_raw_mode(stat.stx_mode.into()) == FileType::RegularFile,
        bytes: stat.stx_size,
        names: stat.stx_nlink,
        begun,
        mode: stat.stx_mode,
        owner: (stat.stx_uid, stat.stx_gid),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn place() -> (tempfile::TempDir, Place) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("log"), "old").unwrap();
        let place = Place::of(&folder.path().join("log")).unwrap();
        (folder, place)
    }

    #[test]
    fn a_file_changes_its_name_with_a_new_one_of_the_same_permissions() {
        let (folder, place) = place();
        let log = folder.path().join("log");
        std::fs::set_permissions(&log, std::fs::Permissions::from_mode(0o640)).unwrap();
        let before = place.look("log").unwrap();
        place.make_like(&before, "log.1").unwrap();
        assert!(place.make_like(&before, "log.1").is_err(), "it is there");
        if place.exchange("log.1", "log").unwrap() {
            assert_eq!(place.look("log.1").unwrap().id, before.id);
            assert_eq!(std::fs::read(&log).unwrap(), b"");
            assert_eq!(std::fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o640);
        }
        assert_eq!(place.neighbours(10).unwrap(), ["log.1"]);
    }

    #[test]
    fn a_name_that_is_taken_is_not_taken_again() {
        let (folder, place) = place();
        std::fs::write(folder.path().join("log.1"), "precious").unwrap();
        let error = place.rename("log", "log.1").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        place.rename("log", "log.2").unwrap();
        assert_eq!(std::fs::read(folder.path().join("log.1")).unwrap(), b"precious");
    }

    #[test]
    fn links_and_pipes_are_not_opened() {
        let (folder, place) = place();
        symlink("log", folder.path().join("log.link")).unwrap();
        let pipe = folder.path().join("log.pipe");
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, mode, 0).unwrap();
        assert!(place.open("log.link").is_err());
        assert!(place.open("log.pipe").is_err());
        assert!(!place.look("log.link").unwrap().is_file);
        assert!(place.open("log").is_ok());
    }

    #[test]
    fn a_file_has_writers_for_as_long_as_one_is_open() {
        let (folder, place) = place();
        let mut writer = File::options().append(true).open(folder.path().join("log")).unwrap();
        let file = place.open("log").unwrap();
        // Where the system does not say, it never does.
        let Some(has) = has_writers(&file) else { return };
        assert!(has);
        writer.write_all(b"x").unwrap();
        drop(writer);
        assert_eq!(has_writers(&file), Some(false));
        let again = File::options().append(true).open(folder.path().join("log"));
        assert!(again.is_ok(), "the lease was given back");
    }

    #[test]
    fn a_lock_is_one_open_files() {
        let (_folder, place) = place();
        let (one, two) = (place.open("log").unwrap(), place.open("log").unwrap());
        assert!(lock(&one).unwrap());
        assert!(!lock(&two).unwrap());
        drop(one);
        assert!(lock(&two).unwrap());
    }
}
