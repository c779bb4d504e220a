//! Starting this program anew beside itself: not a child to be killed with this process, but one
//! that outlives it, with descriptors under known numbers.

use std::ffi::{CString, OsStr, OsString, c_char};
use std::io::{self, Write as _};
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::process::Child;

/// Digits of the largest process number, and the NUL behind them.
const PID_BYTES: usize = 11;

/// What to run.
#[derive(Debug)]
pub struct Program<'a> {
    /// The file to execute.
    pub file: &'a OsStr,
    /// Its arguments, its own name first.
    pub arguments: Vec<OsString>,
    /// Its environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Variables whose value is to be the new process's number.
    pub pid_variables: &'a [&'a str],
    /// Its directory.
    pub directory: &'a Path,
    /// Descriptors it keeps, under their numbers.
    pub descriptors: Vec<RawFd>,
}

/// The memory that `execve` is given. The pointers lead into the texts beside them.
struct Image {
    file: CString,
    _arguments: Vec<CString>,
    argument_list: Vec<*const c_char>,
    _environment: Vec<CString>,
    pid_texts: Vec<(Vec<u8>, usize)>,
    environment_list: Vec<*const c_char>,
}

// SAFETY: the pointers lead to memory that the value itself owns and never moves; it goes to the closure
// that runs after the fork, and nowhere else.
unsafe impl Send for Image {}
// SAFETY: as above; the closure is the only user.
unsafe impl Sync for Image {}

impl Image {
    fn new(program: &Program<'_>) -> io::Result<Self> {
        let text = |bytes: Vec<u8>| CString::new(bytes).map_err(io::Error::other);
        let arguments: Vec<CString> = program
            .arguments
            .iter()
            .map(|argument| text(argument.as_bytes().to_vec()))
            .collect::<io::Result<_>>()?;
        let own = |name: &OsString| program.pid_variables.iter().any(|own| name == own);
        let environment: Vec<CString> = program
            .environment
            .iter()
            .filter(|(name, _)| !own(name))
            .map(|(name, value)| {
                let mut bytes = name.clone().into_vec();
                bytes.push(b'=');
                bytes.extend_from_slice(value.as_bytes());
                text(bytes)
            })
            .collect::<io::Result<_>>()?;
        let pid_texts: Vec<(Vec<u8>, usize)> = program
            .pid_variables
            .iter()
            .map(|name| {
                let mut bytes = format!("{name}=").into_bytes();
                let at = bytes.len();
                bytes.resize(at + PID_BYTES, 0);
                (bytes, at)
            })
            .collect();
        let mut argument_list: Vec<_> = arguments.iter().map(|text| text.as_ptr()).collect();
        argument_list.push(std::ptr::null());
        let mut environment_list: Vec<_> = environment.iter().map(|text| text.as_ptr()).collect();
        environment_list.extend(pid_texts.iter().map(|(text, _)| text.as_ptr().cast::<c_char>()));
        environment_list.push(std::ptr::null());
        Ok(Self {
            file: text(program.file.as_bytes().to_vec())?,
            _arguments: arguments,
            argument_list,
            _environment: environment,
            pid_texts,
            environment_list,
        })
    }

    /// Writes this process's number where the variables are. No allocation: it runs after a fork.
    fn write_pid(&mut self) -> io::Result<()> {
        let pid = std::process::id();
        for (text, at) in &mut self.pid_texts {
            write!(&mut text[*at..], "{pid}")?;
        }
        Ok(())
    }
}

/// Starts the program. It has no signal blocked and none ignored, and is not killed when this
/// process dies.
///
/// # Errors
/// When the program cannot be started.
pub fn start(program: &Program<'_>) -> io::Result<Child> {
    let mut image = Image::new(program)?;
    let descriptors = program.descriptors.clone();
    let mut command = Command::new(program.file);
    command.current_dir(program.directory);
    // SAFETY: the closure runs between fork and exec and makes system calls only: no allocation, no lock.
    unsafe {
        command.pre_exec(move || {
            crate::signals::forget()?;
            for fd in &descriptors {
                if libc::fcntl(*fd, libc::F_SETFD, 0) < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            image.write_pid()?;
            // Not left to the standard library: the environment holds the number of the new process,
            // which is known only here.
            libc::execve(
                image.file.as_ptr(),
                image.argument_list.as_ptr(),
                image.environment_list.as_ptr(),
            );
            Err(io::Error::last_os_error())
        });
    }
    let child = command.spawn()?;
    Child::open(child.id())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[test]
    fn the_program_finds_its_number_its_descriptors_and_its_environment() {
        let (mut read, write) = io::pipe().unwrap();
        let fd = write.as_raw_fd();
        let script = format!("echo $OWN_PID $$ $COLOUR $(pwd) >&{fd}");
        let child = start(&Program {
            file: OsStr::new("/bin/sh"),
            arguments: vec!["sh".into(), "-c".into(), script.into()],
            environment: vec![
                ("OWN_PID".into(), "1".into()),
                ("COLOUR".into(), "green".into()),
                ("PATH".into(), "/usr/bin:/bin".into()),
            ],
            pid_variables: &["OWN_PID"],
            directory: Path::new("/"),
            descriptors: vec![fd],
        })
        .unwrap();
        drop(write);
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        assert_eq!(text, format!("{0} {0} green /\n", child.pid()));
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_here() {
        let program = Program {
            file: OsStr::new("/no/such/program"),
            arguments: vec!["x".into()],
            environment: Vec::new(),
            pid_variables: &[],
            directory: Path::new("/"),
            descriptors: Vec::new(),
        };
        assert_eq!(start(&program).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
