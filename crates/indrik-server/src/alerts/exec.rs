//! Messages to a command: it runs as the workers' user, apart from us, with the message on its standard input and in its
//! environment, for so long at most; then it ends with all that it left in its process group.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;

use indrik_core::alerts::Message;
use indrik_core::logs::level::Level;
use indrik_sys::process::{Child, End};
use indrik_sys::program::{self, Apart, Program};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt as _, Interest};
use tokio::net::unix::pipe;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::courier::{Health, Job};
use super::plan::Exec;
use super::shown::{Alerts, Fate};
use crate::boot::OWN_VARIABLES;
use crate::log::Log;
use crate::post::cut;

/// Commands at once.
const AT_ONCE_MAX: usize = 4;
/// More of what a command says is read and thrown away.
const OUTPUT_BYTES_MAX: usize = 4096;
const READ_BYTES: usize = 4096;

/// Runs the command for what waits, until nobody can send any more.
pub(super) async fn run(
    command: Exec,
    mut waiting: mpsc::Receiver<Job>,
    health: Arc<Health>,
    log: Arc<Log>,
    alerts: Arc<Alerts>,
) {
    let command = Arc::new(command);
    let places = Arc::new(Semaphore::new(AT_ONCE_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Some(job) = waiting.recv().await else { return };
        let (message, answer) = match job {
            Job::Message(message) => (message, None),
            Job::Test(message, answer) => (message, Some(answer)),
            Job::Refresh(_) => continue,
        };
        let (command, health) = (Arc::clone(&command), Arc::clone(&health));
        let (log, alerts) = (Arc::clone(&log), Arc::clone(&alerts));
        tokio::spawn(async move {
            let ended = perform(&command, &message, &log, &alerts).await;
            drop(place);
            match (answer, ended) {
                (Some(answer), ended) => {
                    let _ = answer.send(ended.map(|()| "it has ended with code 0".to_owned()));
                }
                (None, Ok(())) => health.works(),
                (None, Err(why)) => health.ends(Fate::Failed, &why),
            }
        });
    }
}

/// Runs it once, to its end.
async fn perform(
    command: &Exec,
    message: &Message,
    log: &Log,
    alerts: &Alerts,
) -> Result<(), String> {
    let (child, output) = start(command, message, alerts)
        .map_err(|error| format!("cannot run {}: {error}", command.words[0]))?;
    let pid = child.pid();
    let child = watched(child).map_err(|error| error.to_string())?;
    let running = Running { child, alerts };
    let mut said = Vec::new();
    let ended = timeout(command.timeout, running.hear(output, &mut said)).await;
    let end = running.end().await;
    if !said.is_empty() {
        let text = String::from_utf8_lossy(&said);
        let text = format!("alert_exec (pid {pid}) says: {}", cut(text.trim()));
        log.write(Level::Info, &text);
    }
    match (ended, end) {
        (Err(_), _) => {
            let seconds = command.timeout.as_secs_f32();
            Err(format!("it ran for more than {seconds} s and was killed"))
        }
        (Ok(()), Some(End::Code(0))) => Ok(()),
        (Ok(()), Some(End::Code(code))) => Err(format!("it ended with code {code}")),
        (Ok(()), Some(End::Signal(signal))) => Err(format!("signal {signal} ended it")),
        (Ok(()), None) => Err("how it ended is not known".to_owned()),
    }
}

#[expect(deprecated, reason = "the other one is unsafe; a child keeps its descriptor open")]
fn watched(child: Child) -> io::Result<AsyncFd<Child>> {
    AsyncFd::with_interest(child, Interest::READABLE)
}

/// A command that runs. Whoever drops it ends it.
struct Running<'a> {
    child: AsyncFd<Child>,
    alerts: &'a Alerts,
}

impl Running<'_> {
    /// Takes what it says until it ends.
    async fn hear(&self, mut output: pipe::Receiver, said: &mut Vec<u8>) {
        let mut bytes = [0; READ_BYTES];
        let mut is_open = true;
        loop {
            tokio::select! {
                biased;
                read = output.read(&mut bytes), if is_open => match read {
                    Ok(0) | Err(_) => is_open = false,
                    Ok(count) => {
                        let room = OUTPUT_BYTES_MAX.saturating_sub(said.len());
                        said.extend_from_slice(&bytes[..count.min(room)]);
                    }
                },
                _ = self.child.readable() => return,
            }
        }
    }

    /// Ends what is left of it, and waits for its end: after a kill the kernel takes no time that counts.
    async fn end(&self) -> Option<End> {
        let child = self.child.get_ref();
        let _ = child.kill_group();
        let _ = self.child.readable().await;
        child.reap().ok().flatten()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let child = self.child.get_ref();
        let _ = child.kill_group();
        let _ = child.reap();
        // If it was not reaped here, the supervisor reaps it as it does orphans.
        self.alerts.own_children().remove(&child.pid());
    }
}

/// Starts it; what it says comes from the pipe.
fn start(
    command: &Exec,
    message: &Message,
    alerts: &Alerts,
) -> io::Result<(Child, pipe::Receiver)> {
    let input = text_to_read(message)?;
    let (output, says) = io::pipe()?;
    let own = |name: &OsString| OWN_VARIABLES.iter().any(|own| name == own);
    let mut environment: Vec<(OsString, OsString)> =
        std::env::vars_os().filter(|(name, _)| !own(name)).collect();
    let variables = message.variables();
    environment.extend(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
    let identity = command.identity.as_ref();
    let words = command.words.iter();
    let program = Program {
        file: OsStr::new(&command.words[0]),
        arguments: words.map(OsString::from).collect(),
        environment,
        pid_variables: &[],
        directory: &command.directory,
        descriptors: Vec::new(),
        nowhere: Vec::new(),
        dies_with_us: true,
        apart: Some(Apart {
            streams: [input.as_raw_fd(), says.as_raw_fd(), says.as_raw_fd()],
            user: identity.map(|it| (it.uid, it.gid, it.groups.as_slice())),
        }),
    };
    // Known before the supervisor can take it for an orphan.
    let mut children = alerts.own_children();
    let child = program::start(&program)?;
    children.insert(child.pid());
    drop(children);
    Ok((child, pipe::Receiver::from_owned_fd(OwnedFd::from(output))?))
}

/// A file without a name that has the message: its reader never waits, and nobody waits for its reader.
fn text_to_read(message: &Message) -> io::Result<File> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::memfd_create("indrik-alert", flags)?);
    writeln!(file, "{}", message.json())?;
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
    Ok(file)
}
