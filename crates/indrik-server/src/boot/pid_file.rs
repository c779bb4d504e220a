//! The pid file: says where the supervisor is, and keeps a second one from starting beside it.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::BootError;

/// The file's permissions: Gunicorn's.
const MODE: u32 = 0o644;

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
            hint: "check that its directory exists and is writable, or leave --pid out",
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

fn read(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Whole or not at all: whoever reads the file never sees half a number.
fn write(path: &Path, pid: u32) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{pid}.tmp"));
    let draft = PathBuf::from(name);
    std::fs::write(&draft, format!("{pid}\n"))?;
    // Whoever wants to signal the server may read it, whatever the umask says.
    std::fs::set_permissions(&draft, PermissionsExt::from_mode(MODE))
        .and_then(|()| std::fs::rename(&draft, path))
        .inspect_err(|_| {
            let _ = std::fs::remove_file(&draft);
        })
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
    fn a_missing_directory_is_one_clear_line() {
        let error = PidFile::create(Path::new("/nonexistent/x.pid")).unwrap_err();
        assert!(error.message.contains("/nonexistent/x.pid"), "{error}");
    }
}
