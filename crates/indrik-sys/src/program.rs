//! Starting programs with descriptors under known numbers: a child that is killed with this process, or this
//! program anew beside itself, which outlives it.
//!
//! Not by the standard library, which waits without a limit until the child has begun its program: one that is
//! stopped before, or hangs in its file system, would stop whoever starts it.

use std::ffi::{CString, OsStr, OsString, c_char};
use std::io::{self, Read as _, Write as _};
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Access, access};

use crate::process::{Child, die_with_parent, end_now, reap_orphan};
use crate::signal::Signal;

/// How long a child may take until it runs its program. It makes a few system calls before.
const BEGIN_MAX: Duration = Duration::from_secs(10);

/// Where the kernel cannot mark them all at once, so many are marked one by one: what a shell leaves open is below.
const DESCRIPTORS_MARKED_MAX: RawFd = 1024;

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
    /// Those of the standard streams that lead nowhere.
    pub nowhere: Vec<RawFd>,
    /// It is killed when this thread's process dies.
    pub dies_with_us: bool,
    /// It is no part of the server.
    pub apart: Option<Apart<'a>>,
}

/// A program that is no part of the server: a session and process group of its own, another user, no descriptors but its
/// streams.
#[derive(Clone, Copy, Debug)]
pub struct Apart<'a> {
    /// What are its standard input, output and error; each of them above those.
    pub streams: [RawFd; 3],
    /// Whom it becomes, and that user's groups; `None`: it stays who we are.
    pub user: Option<(u32, u32, &'a [u32])>,
}

/// The memory that `execve` is given. The pointers lead into the texts beside them.
struct Image {
    file: CString,
    directory: CString,
    _arguments: Vec<CString>,
    argument_list: Vec<*const c_char>,
    _environment: Vec<CString>,
    pid_texts: Vec<(Vec<u8>, usize)>,
    environment_list: Vec<*const c_char>,
}

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
            directory: text(program.directory.as_os_str().as_bytes().to_vec())?,
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

/// Starts the program. It has no signal blocked and none ignored.
///
/// To be called on the main thread if it is to die with this process: the kernel binds that to the thread.
///
/// # Errors
/// When the program cannot be started, or has not begun in time; then it is killed.
pub fn start(program: &Program<'_>) -> io::Result<Child> {
    let mut image = Image::new(program)?;
    let nowhere = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    let nowhere = std::os::fd::AsRawFd::as_raw_fd(&nowhere);
    let parent = std::process::id();
    let become_program = || -> io::Result<()> {
        crate::signals::forget()?;
        if let Some(apart) = &program.apart {
            enter(apart)?;
        }
        if program.dies_with_us {
            die_with_parent(parent)?;
        }
        if program.dies_with_us && program.apart.is_none() {
            // A terminal's Ctrl-C is for this process, which tells its children; they have no handler yet.
            // SAFETY: no handler is set.
            unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
        }
        for fd in &program.nowhere {
            // SAFETY: two numbers; what was open under the second one is this child's own.
            checked(unsafe { libc::dup2(nowhere, *fd) })?;
        }
        for fd in &program.descriptors {
            // SAFETY: fcntl with this command reads no memory.
            checked(unsafe { libc::fcntl(*fd, libc::F_SETFD, 0) })?;
        }
        image.write_pid()?;
        // SAFETY: the image's texts end with NUL and its lists with null, and live as long as this.
        unsafe {
            // As a shell would have it; Python ignores it again by itself.
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            checked(libc::chdir(image.directory.as_ptr()))?;
            checked(libc::execvpe(
                image.file.as_ptr(),
                image.argument_list.as_ptr(),
                image.environment_list.as_ptr(),
            ))
        }
    };
    // SAFETY: it makes system calls only: no allocation, no lock.
    let started = unsafe { run(become_program, BEGIN_MAX) };
    started.map_err(|error| not_entered(program.directory).unwrap_or(error))
}

/// In the child: leaves what is the server's. It makes system calls only.
fn enter(apart: &Apart<'_>) -> io::Result<()> {
    // SAFETY: takes nothing.
    checked(unsafe { libc::setsid() })?;
    for (number, fd) in (0..).zip(apart.streams) {
        // SAFETY: two numbers; what was open under the second one is this child's own.
        checked(unsafe { libc::dup2(fd, number) })?;
    }
    // Whoever started the server may have left descriptors open that are nobody's.
    let flags = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: three numbers; they are closed by the exec.
    if unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, flags) } < 0 {
        // A kernel before 5.11. Numbers that are not open are an error that means nothing.
        for fd in 3..DESCRIPTORS_MARKED_MAX {
            // SAFETY: fcntl with this command reads no memory.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    if let Some((uid, gid, groups)) = apart.user {
        crate::users::become_user(uid, gid, groups)?;
    }
    Ok(())
}

/// Why nothing can be run in this directory, if that is so: the number of an error does not tell whether the
/// directory or the program is missing.
fn not_entered(directory: &Path) -> Option<io::Error> {
    let error = io::Error::from(access(directory, Access::EXEC_OK).err()?);
    let text = format!("the directory {} cannot be entered: {error}", directory.display());
    Some(io::Error::new(error.kind(), text))
}

/// Starts a child that becomes a program, and hears within `limit` that it has, or why not.
///
/// # Safety
/// What it calls runs between fork and exec: it must neither allocate nor wait for a lock.
unsafe fn run(
    become_program: impl FnOnce() -> io::Result<()>,
    limit: Duration,
) -> io::Result<Child> {
    // Closed by the exec, unless there is an error to be written first.
    let (heard, mut said) = io::pipe()?;
    // SAFETY: the child calls what the caller vouches for, and ends.
    let pid = match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {
            let error = become_program().err().and_then(|error| error.raw_os_error()).unwrap_or(0);
            let _ = said.write_all(&error.to_ne_bytes());
            end_now(127)
        }
        pid => pid.unsigned_abs(),
    };
    drop(said);
    let child = Child::open(pid)?;
    let begun = has_begun(heard, limit);
    if begun.is_err() {
        // If it cannot be killed yet, whoever reaps orphans finds it.
        child.signal(Signal::KILL)?;
        reap_orphan(pid);
    }
    begun.map(|()| child)
}

/// Waits until a child has begun its program.
fn has_begun(mut said: io::PipeReader, limit: Duration) -> io::Result<()> {
    let until = Instant::now() + limit;
    loop {
        let mut fds = [PollFd::new(&said, PollFlags::IN)];
        let left = Timespec::try_from(until.saturating_duration_since(Instant::now())).ok();
        match poll(&mut fds, left.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(0) => {
                let text = format!(
                    "the new process has not begun to run it within {limit:?} and was killed \
                     (was it stopped, or does the file system hang?)"
                );
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            Ok(_) => break,
        }
    }
    let mut error = Vec::new();
    said.read_to_end(&mut error)?;
    match <[u8; 4]>::try_from(error.as_slice()) {
        // One that ended before its program was reached: its end is heard where children's ends are.
        Err(_) => Ok(()),
        Ok(number) => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(number))),
    }
}

fn checked(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;
    use crate::process::End;

    fn shell(script: String, fd: RawFd) -> Program<'static> {
        Program {
            file: OsStr::new("sh"),
            arguments: vec!["sh".into(), "-c".into(), script.into()],
            environment: vec![
                ("OWN_PID".into(), "1".into()),
                ("COLOUR".into(), "green".into()),
                ("PATH".into(), "/usr/bin:/bin".into()),
            ],
            pid_variables: &["OWN_PID"],
            directory: Path::new("/"),
            descriptors: vec![fd],
            nowhere: Vec::new(),
            dies_with_us: false,
            apart: None,
        }
    }

    fn ends(child: &Child) -> Option<End> {
        let mut fds = [PollFd::new(child, PollFlags::IN)];
        poll(&mut fds, None).unwrap();
        child.reap().unwrap()
    }

    #[test]
    fn the_program_finds_its_number_its_descriptors_and_its_environment() {
        let (mut read, write) = io::pipe().unwrap();
        let fd = write.as_raw_fd();
        let script = format!("echo $OWN_PID $$ $COLOUR $(pwd) >&{fd}");
        let child = start(&shell(script, fd)).unwrap();
        drop(write);
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        assert_eq!(text, format!("{0} {0} green /\n", child.pid()));
    }

    #[test]
    fn it_has_no_signal_blocked_its_streams_lead_nowhere_and_its_end_is_heard() {
        let (mut read, write) = io::pipe().unwrap();
        let _blocked = crate::signals::SignalStream::open(&[Signal::TERM]).unwrap();
        let fd = write.as_raw_fd();
        let script =
            format!("(grep SigBlk /proc/$$/status; readlink /proc/$$/fd/0) >&{fd}; exit 7");
        let program = Program { nowhere: vec![0], dies_with_us: true, ..shell(script, fd) };
        let child = start(&program).unwrap();
        drop(write);
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        assert_eq!(text, "SigBlk:\t0000000000000000\n/dev/null\n");
        assert_eq!(ends(&child), Some(End::Code(7)));
        child.signal(Signal::TERM).unwrap();
    }

    #[test]
    fn one_that_is_apart_has_its_streams_a_group_of_its_own_and_nothing_of_ours() {
        let (mut read, write) = io::pipe().unwrap();
        let (_ours, open) = io::pipe().unwrap();
        // SAFETY: fcntl with this command reads no memory.
        checked(unsafe { libc::fcntl(open.as_raw_fd(), libc::F_SETFD, 0) }).unwrap();
        let input = std::fs::File::open("/dev/null").unwrap();
        let script =
            "ls /proc/self/fd | wc -l; cut -d' ' -f5,6 /proc/$$/stat; echo $$ >&2; sleep 600";
        let streams = [input.as_raw_fd(), write.as_raw_fd(), write.as_raw_fd()];
        let program = Program {
            descriptors: Vec::new(),
            dies_with_us: true,
            apart: Some(Apart { streams, user: None }),
            ..shell(script.to_owned(), 0)
        };
        let child = start(&program).unwrap();
        drop((write, input));
        let (mut text, mut byte) = (Vec::new(), [0]);
        while text.iter().filter(|it| **it == b'\n').count() < 3 {
            read.read_exact(&mut byte).unwrap();
            text.push(byte[0]);
        }
        let pid = child.pid();
        // The fourth is the directory that ls reads.
        assert_eq!(String::from_utf8(text).unwrap(), format!("4\n{pid} {pid}\n{pid}\n"));
        child.kill_group().unwrap();
        assert_eq!(ends(&child), Some(End::Signal(9)));
        // All of the group have ended: nobody has the pipe any more.
        assert_eq!(read.read_to_end(&mut Vec::new()).unwrap(), 0);
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_here() {
        let (_read, write) = io::pipe().unwrap();
        let script = shell(String::new(), write.as_raw_fd());
        let program = Program { file: OsStr::new("/no/such/program"), ..script };
        assert_eq!(start(&program).unwrap_err().kind(), io::ErrorKind::NotFound);
        let program =
            Program { directory: Path::new("/no/such"), ..shell(String::new(), write.as_raw_fd()) };
        let error = start(&program).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("directory /no/such"), "{error}");
    }

    #[test]
    fn a_child_that_is_stopped_before_its_program_is_killed_and_said_to_be() {
        let stops = || {
            // SAFETY: a system call without arguments in memory.
            checked(unsafe { libc::raise(libc::SIGSTOP) })
        };
        // SAFETY: it makes one system call.
        let error = unsafe { run(stops, Duration::from_millis(1)) }.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains("was it stopped"), "{error}");
    }
}
