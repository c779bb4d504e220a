//! The pid file: says where the supervisor is, and keeps a second one from starting beside it.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt};
use std::path::{Path, PathBuf};

use indrik_sys::files;

use super::error::BootError;

/// The file's permissions: Gunicorn's.
const MODE: u32 = 0o644;
/// The permissions it is made with, until it is whole.
const DRAFT_MODE: u32 = 0o600;
/// More than any number takes.
const BYTES_MAX: u64 = 64;

/// Written at start, removed when dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    pid: u32,
}

impl PidFile {
    /// Writes this process's number to `path`. A file that names a dead process is replaced.
    ///
    /// # Errors
    /// When the file names a living process, or cannot be written.
    pub fn create(path: &Path) -> Result<Self, BootError> {
        let pid = std::process::id();
        check_kind(path)?;
        if let Some(other) = read(path)
            && other != pid
            && indrik_sys::process::is_alive(other)
        {
            return Err(BootError {
                message: format!(
                    "Already running on PID {other} (or pid file '{}' is stale)",
                    path.display()
                ),
                hint: "stop that process, or remove the file if it is another program",
                in_use: false,
            });
        }
        write(path, pid).map_err(|error| BootError {
            message: format!("cannot write the pid file {}: {error}", path.display()),
            hint: "check that its directory exists and is writable, or leave pidfile out",
            in_use: false,
        })?;
        Ok(Self { path: path.to_owned(), pid })
    }

    /// Goes on under another name, whose owner has ended.
    ///
    /// # Errors
    /// As [`PidFile::create`]; then nothing has changed.
    pub fn rename(&mut self, path: &Path) -> Result<(), BootError> {
        // The old file goes with the old value.
        *self = Self::create(path)?;
        Ok(())
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Somebody else's file by now is not ours to remove.
        if read(&self.path) == Some(self.pid) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// What is no file is not replaced: somebody waits for it, or it was named by mistake.
///
/// # Errors
/// When there is something else than a file.
pub fn check_kind(path: &Path) -> Result<(), BootError> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    let kind = metadata.file_type();
    let what = match () {
        () if kind.is_fifo() => "a named pipe",
        () if kind.is_socket() => "a socket",
        () if kind.is_dir() => "a directory",
        () if kind.is_block_device() || kind.is_char_device() => "a device",
        () => return Ok(()),
    };
    Err(BootError {
        message: format!("cannot write the pid file {}: it is {what}", path.display()),
        hint: "name a file that may be replaced, or leave pidfile out",
        in_use: false,
    })
}

fn read(path: &Path) -> Option<u32> {
    files::read_text(path, BYTES_MAX).ok()?.trim().parse().ok()
}

/// Whole or not at all: whoever reads the file never sees half a number.
fn write(path: &Path, pid: u32) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{pid}.tmp"));
    let draft = PathBuf::from(name);
    let written = create(&draft).and_then(|mut file| {
        writeln!(file, "{pid}")?;
        // Whoever wants to signal the server may read it, whatever the umask says.
        file.set_permissions(PermissionsExt::from_mode(MODE))?;
        std::fs::rename(&draft, path)
    });
    written.inspect_err(|_| {
        let _ = std::fs::remove_file(&draft);
    })
}

/// The draft is a new file: what lies there, perhaps as a trap, is neither written to nor followed.
fn create(draft: &Path) -> io::Result<File> {
    match files::create_new(draft, DRAFT_MODE) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::remove_file(draft)?;
            files::create_new(draft, DRAFT_MODE)
        }
        made => made,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_holds_the_pid_and_goes_with_the_server() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("indrik.pid");
        let file = PidFile::create(&path).unwrap();
        assert_eq!(read(&path), Some(std::process::id()));
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_living_process_is_respected_and_a_dead_one_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("indrik.pid");
        std::fs::write(&path, "1\n").unwrap();
        let error = PidFile::create(&path).unwrap_err();
        assert!(error.message.contains("Already running on PID 1"), "{error}");
        std::fs::write(&path, "4194305\n").unwrap();
        assert!(PidFile::create(&path).is_ok());
    }

    #[test]
    fn a_file_can_go_on_under_another_name_and_the_old_one_goes() {
        let directory = tempfile::tempdir().unwrap();
        let (old, new) = (directory.path().join("a.pid.2"), directory.path().join("a.pid"));
        let mut file = PidFile::create(&old).unwrap();
        file.rename(&new).unwrap();
        assert_eq!((read(&old), read(&new)), (None, Some(std::process::id())));
        drop(file);
        assert!(!new.exists());
    }

    #[test]
    fn a_link_in_the_place_of_the_draft_is_not_followed_and_nothing_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let (path, victim) = (directory.path().join("a.pid"), directory.path().join("victim"));
        std::fs::write(&victim, "precious").unwrap();
        std::fs::set_permissions(&victim, PermissionsExt::from_mode(0o600)).unwrap();
        let draft = directory.path().join(format!("a.pid.{}.tmp", std::process::id()));
        std::os::unix::fs::symlink(&victim, &draft).unwrap();
        let _file = PidFile::create(&path).unwrap();
        assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&victim), mode(&path)), (0o600, MODE));
        let mut left: Vec<_> = std::fs::read_dir(directory.path())
            .unwrap()
            .map(|it| it.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["a.pid", "victim"]);
    }

    #[test]
    fn nothing_is_left_of_a_file_that_cannot_be_put_in_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.pid");
        std::fs::create_dir_all(path.join("not empty")).unwrap();
        assert!(write(&path, 7).is_err());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(PidFile::create(&path).unwrap_err().message.contains("it is a directory"));
    }

    #[test]
    fn a_named_pipe_is_refused_without_a_wait() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, mode, 0).unwrap();
        assert!(PidFile::create(&path).unwrap_err().message.contains("it is a named pipe"));
    }

    #[test]
    fn a_missing_directory_is_one_clear_line() {
        let error = PidFile::create(Path::new("/nonexistent/x.pid")).unwrap_err();
        assert!(error.message.contains("/nonexistent/x.pid"), "{error}");
    }
}
