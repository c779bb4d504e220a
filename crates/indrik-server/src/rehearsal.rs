//! A zygote that never forks: it reads the configuration file and, if asked, loads the
//! application, for commands that look and do not serve.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use indrik_core::ids::Generation;
use indrik_core::settings::{Config, ConfigFileValues, Launch};
use indrik_core::supervise::limits::HERE_MAX;
use indrik_core::supervise::{Failure, FailureKind};
use indrik_sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::boot::Identity;
use crate::hearing::Stream;
use crate::preflight::look_at_config;
use crate::zygote::{Loaded, Reply, Request, Streams, Zygote};

/// How long the zygote may take to end when it is told to; then it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// The zygote, alive. Reading and loading take as long as the user's code takes.
pub struct Rehearsal {
    zygote: Zygote,
}

impl Rehearsal {
    /// Starts Python, which reads the configuration file of `launch`. To be called on the main
    /// thread, like everything that starts processes.
    ///
    /// # Errors
    /// When Python cannot be started or the file is wrong.
    pub fn begin(launch: &Launch) -> Result<(Self, ConfigFileValues), Failure> {
        let zygote = Zygote::spawn(&launch.typed, &launch.cwd, Streams::Same).map_err(no_python)?;
        let mut rehearsal = Self { zygote };
        rehearsal.wait_until_here()?;
        look_at_config(launch).map_err(wrong_config)?;
        let path = launch.config_request();
        let request = Request::ReadConfig { path: path.as_deref(), chdir: None };
        match rehearsal.ask(&request)? {
            Reply::Config(values) => Ok((rehearsal, values)),
            Reply::ConfigFailed(failure) => Err(failure.into()),
            _ => Err(no_python(io::Error::other("its answer makes no sense"))),
        }
    }

    /// Loads the application as a worker would.
    ///
    /// # Errors
    /// When it cannot be loaded, or the workers are to become somebody who does not exist.
    pub fn load(&mut self, config: &Config) -> Result<Loaded, Failure> {
        Identity::look_up(config).map_err(|error| Failure {
            kind: FailureKind::Config,
            message: error.message,
            hint: error.hint.to_owned(),
            traceback: String::new(),
        })?;
        let title = config.title();
        let generation = Generation::FIRST;
        match self.ask(&Request::Check { config, generation, title, listeners: &[] })? {
            Reply::Checked(loaded) => Ok(loaded),
            Reply::Failed(failure) => Err(failure.into()),
            _ => Err(no_python(io::Error::other("its answer makes no sense"))),
        }
    }

    fn wait_until_here(&self) -> Result<(), Failure> {
        if !self.wait(Some(HERE_MAX)).map_err(no_python)? {
            let text = format!("it has not come up within {} s", HERE_MAX.as_secs());
            return Err(no_python(io::Error::other(text)));
        }
        Ok(())
    }

    fn ask(&mut self, request: &Request<'_>) -> Result<Reply, Failure> {
        self.zygote.send(request, &[]).map_err(no_python)?;
        loop {
            self.wait(None).map_err(no_python)?;
            let heard = self.zygote.hearing.turn::<Reply>(&self.zygote.socket, Instant::now());
            let answer = heard.messages.into_iter().rfind(|reply| !matches!(reply, Reply::Here));
            if let Some(reply) = answer {
                return Ok(reply);
            }
            if let Some(text) = heard.nonsense {
                return Err(no_python(io::Error::other(text)));
            }
            if heard.stream == Stream::Closed {
                return Err(no_python(io::Error::other("it ended without an answer")));
            }
        }
    }

    /// Whether there is something to be read, or to be seen, in time.
    fn wait(&self, limit: Option<Duration>) -> io::Result<bool> {
        let mut fds = [PollFd::new(&self.zygote.socket, PollFlags::IN)];
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let ready = rustix::io::retry_on_intr(|| poll(&mut fds, limit.as_ref()))?;
        Ok(ready > 0)
    }
}

/// What the application started on import must not outlive the command; what it printed must not be
/// lost.
impl Drop for Rehearsal {
    fn drop(&mut self) {
        let _ = self.zygote.send(&Request::Exit { last: true }, &[]);
        let child = self.zygote.child.as_fd();
        let mut fds = [PollFd::from_borrowed_fd(child, PollFlags::IN)];
        let limit = Timespec::try_from(END_TIMEOUT).ok();
        if !matches!(poll(&mut fds, limit.as_ref()), Ok(1)) {
            let _ = self.zygote.child.signal(Signal::KILL);
        }
    }
}

fn wrong_config(error: io::Error) -> Failure {
    Failure {
        kind: FailureKind::Config,
        message: error.to_string(),
        hint: String::new(),
        traceback: String::new(),
    }
}

fn no_python(error: io::Error) -> Failure {
    Failure {
        kind: FailureKind::Boot,
        message: format!("Python cannot be asked: {error}"),
        hint: "check that this Python runs and has indrik installed".to_owned(),
        traceback: String::new(),
    }
}
