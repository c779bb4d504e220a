//! The other side of the control socket: finding a running server and asking it.

use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indrik_core::control::encode;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use serde_json::{Value as Json, json};

use super::find::{Marks, described};
use super::name;

/// How long a server may take to answer: it may be busy with a configuration.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// The same where several servers are asked which of them serves.
const LOOK_MAX: Duration = Duration::from_secs(2);
/// How long connecting may take, and how long it rests between two tries.
const CONNECT_MAX: Duration = Duration::from_secs(2);
const CONNECT_PAUSE: Duration = Duration::from_millis(20);
/// Servers that are asked what they are, where one is to be told from others.
const ASKED_MAX: usize = 32;
/// The longest answer taken: thousands of workers fit.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Which server is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The one whose control socket is here; `@name` is an abstract one.
    Socket(PathBuf),
    /// The one with this process number.
    Pid(u32),
    /// The one that wrote this pid file.
    PidFile(PathBuf),
    /// The only one this user runs.
    Only,
    /// The only one of them that has these marks.
    Marked(Marks),
}

/// What went wrong, in one line, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What and where.
    pub what: String,
    /// What to do.
    pub hint: String,
    /// Of which kind it is.
    pub kind: Kind,
}

/// What kind of trouble there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// There is no such server, or it is not to be told which one is meant.
    NoServer,
    /// The server does not answer, or no longer.
    Silent,
    /// The server says no.
    Refused,
}

fn trouble(what: impl Into<String>, hint: impl Into<String>) -> Trouble {
    Trouble { what: what.into(), hint: hint.into(), kind: Kind::NoServer }
}

pub(super) fn silent(what: impl Into<String>, hint: impl Into<String>) -> Trouble {
    Trouble { kind: Kind::Silent, ..trouble(what, hint) }
}

/// A connection to a server.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    asked: u64,
}

impl Connection {
    /// Finds the server and connects.
    ///
    /// # Errors
    /// When there is none, or several, or it belongs to somebody else.
    pub fn open(target: &Target) -> Result<Self, Trouble> {
        let stream = match target {
            Target::Socket(path) => connect_path(path)?,
            Target::Pid(pid) => connect_pid(*pid)?,
            Target::PidFile(path) => connect_pid(read_pid(path)?)?,
            Target::Only => connect_pid(only_one(&Marks::default())?)?,
            Target::Marked(marks) => connect_pid(only_one(marks)?)?,
        };
        Self::on(stream)
    }

    fn on(stream: UnixStream) -> Result<Self, Trouble> {
        let limit = Some(ANSWER_MAX);
        let set = stream.set_read_timeout(limit).and_then(|()| stream.set_write_timeout(limit));
        set.map_err(|error| trouble(format!("cannot use the control socket: {error}"), ""))?;
        Ok(Self { stream, asked: 0 })
    }

    /// The server that a change is to be asked of. After an upgrade the one that was named finishes its requests,
    /// perhaps for long, and another one serves: that one, and the connection to the first, which ends
    /// with it.
    ///
    /// # Errors
    /// When the one that was named by its number is not the one that serves, or cannot be asked.
    pub fn that_serves(mut self, target: &Target) -> Result<(Self, Option<Self>), Trouble> {
        let stats = self.call("show stats")?;
        let successor = stats.get("handed_over_to").and_then(Json::as_u64);
        let Some(pid) = successor.and_then(|pid| u32::try_from(pid).ok()) else {
            return Ok((self, None));
        };
        if let Target::Pid(named) = target {
            return Err(trouble(
                format!(
                    "server {named} has handed over to server {pid} and ends with its last request"
                ),
                format!("name the one that serves: --pid {pid}"),
            ));
        }
        Ok((Self::on(connect_pid(pid)?)?, Some(self)))
    }

    /// Waits for the next answers as long as the server takes, which has limits of its own.
    ///
    /// # Errors
    /// When the system cannot wait so long.
    pub fn be_patient(&mut self) -> Result<(), Trouble> {
        let set = self.stream.set_read_timeout(None);
        set.map_err(|error| trouble(format!("cannot use the control socket: {error}"), ""))
    }

    /// Has the server do a command; its answer's data.
    ///
    /// # Errors
    /// When the connection breaks, or the server says no.
    pub fn call(&mut self, command: &str) -> Result<Json, Trouble> {
        self.ask(command, &[])
    }

    /// As [`Self::call`], with words that stand for themselves, whatever is in them.
    ///
    /// # Errors
    /// When the connection breaks, or the server says no.
    pub fn call_with(&mut self, words: &[&str]) -> Result<Json, Trouble> {
        let (command, arguments) = words.split_first().unwrap_or((&"", &[]));
        self.ask(command, arguments)
    }

    fn ask(&mut self, command: &str, arguments: &[&str]) -> Result<Json, Trouble> {
        self.asked += 1;
        let request = json!({"id": self.asked, "command": command, "args": arguments}).to_string();
        let mut answer = self.exchange(request.as_bytes()).map_err(|error| {
            silent(
                format!("the server did not answer: {error}"),
                "it may have ended; its log says why",
            )
        })?;
        if answer.get("status").and_then(Json::as_str) == Some("ok") {
            return Ok(answer.get_mut("data").map_or(Json::Null, Json::take));
        }
        let text = answer.get("error").and_then(Json::as_str).unwrap_or("no reason given");
        // Nothing was asked yet when it said so.
        let is_refused = answer.get("id").and_then(Json::as_u64) == Some(0);
        let hint = match is_refused {
            true => "try again: a client that asks nothing for 2 s gives its place to another",
            false => "indrik ctl help lists the commands",
        };
        Err(Trouble { kind: Kind::Refused, ..trouble(text, hint) })
    }

    /// As [`Self::call`], for what may take as long as it takes.
    ///
    /// # Errors
    /// When the connection breaks, or the server says no.
    pub fn call_patiently(&mut self, command: &str) -> Result<Json, Trouble> {
        let set = self.stream.set_read_timeout(None);
        set.map_err(|error| trouble(format!("cannot wait for the server: {error}"), ""))?;
        self.call(command)
    }

    /// Waits until the server has ended: then it closes the connection.
    ///
    /// # Errors
    /// When that cannot be waited for.
    pub fn wait_for_end(&mut self) -> Result<(), Trouble> {
        let waited = self.stream.set_read_timeout(None).and_then(|()| {
            let mut nothing = Vec::new();
            self.stream.read_to_end(&mut nothing)
        });
        match waited {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            Err(error) => Err(trouble(format!("cannot wait for the server's end: {error}"), "")),
        }
    }

    pub(super) fn into_stream(self) -> UnixStream {
        self.stream
    }

    fn exchange(&mut self, request: &[u8]) -> io::Result<Json> {
        let asked = self.stream.write_all(&encode(request));
        // A server that has no place for another client says so and closes, without waiting to be asked.
        let refused = asked.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        if !refused {
            asked?;
        }
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > ANSWER_BYTES_MAX {
            let text = format!("an answer of {length} bytes is above the limit");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        Ok(serde_json::from_slice(&answer)?)
    }
}

fn connect_path(path: &Path) -> Result<UnixStream, Trouble> {
    let name = path.to_str().and_then(|text| text.strip_prefix('@'));
    let stream = match name {
        Some(name) => SocketAddr::from_abstract_name(name).and_then(|name| connect(&name)),
        None => SocketAddr::from_pathname(path).and_then(|name| connect(&name)),
    };
    stream.map_err(|error| {
        let what = format!("cannot connect to the control socket {}: {error}", path.display());
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => "run this as the server's user or as root",
            io::ErrorKind::ConnectionRefused => "no server listens there any more; start it",
            _ => "check control_socket in the server's settings",
        };
        trouble(what, hint)
    })
}

/// Connects without waiting for ever: a server that takes no connections has a full queue, and a stopped one may.
fn connect(name: &SocketAddr) -> io::Result<UnixStream> {
    let address = match (name.as_abstract_name(), name.as_pathname()) {
        (Some(name), _) => rustix::net::SocketAddrUnix::new_abstract_name(name)?,
        (None, path) => rustix::net::SocketAddrUnix::new(path.unwrap_or_else(|| Path::new("")))?,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let end = Instant::now() + CONNECT_MAX;
    while let Err(error) = rustix::net::connect(&socket, &address) {
        if error != rustix::io::Errno::AGAIN {
            return Err(error.into());
        }
        if Instant::now() >= end {
            let text = "it takes no connections; is it stopped (state T in the output of ps)?";
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        std::thread::sleep(CONNECT_PAUSE);
    }
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn connect_pid(pid: u32) -> Result<UnixStream, Trouble> {
    let running = name::running(None).map_err(|error| no_proc(&error))?;
    let Some((user, _)) = running.into_iter().find(|(_, found)| *found == pid) else {
        return Err(trouble(
            format!("process {pid} is no Indrik server with a control socket"),
            "give the number of the master process; if its control socket is disabled, signals work",
        ));
    };
    let stream = name::address(user, pid).and_then(|name| connect(&name));
    let stream = stream.map_err(|error| {
        trouble(format!("cannot connect to the server {pid}: {error}"), "it may just have ended")
    })?;
    // Anybody may listen under that name.
    let owner = socket_peercred(&stream).map(|peer| peer.uid);
    let ours = rustix::process::geteuid();
    if owner.is_ok_and(|owner| {
        owner.as_raw() == user && (owner == ours || ours.is_root() || owner.is_root())
    }) {
        return Ok(stream);
    }
    Err(trouble(
        format!("the control socket of process {pid} belongs to another user"),
        "run this as the server's user or as root",
    ))
}

fn read_pid(path: &Path) -> Result<u32, Trouble> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        trouble(
            format!("cannot read the pid file {}: {error}", path.display()),
            "is the server running, and is this the path of its --pid?",
        )
    })?;
    text.trim().parse().map_err(|_| {
        trouble(format!("{} holds no process number", path.display()), "name the server's pid file")
    })
}

/// Root may mean anybody's server, everybody else their own.
fn only_one(marks: &Marks) -> Result<u32, Trouble> {
    let user = rustix::process::geteuid();
    let user = (!user.is_root()).then_some(user.as_raw());
    let running = name::running(user).map_err(|error| no_proc(&error))?;
    match running.as_slice() {
        [(_, pid)] if marks.are_none() => Ok(*pid),
        [] => Err(trouble(
            "no server of this user is running here",
            "start one, or name its control socket with --socket PATH",
        )),
        several => {
            let pids = several.iter().map(|(_, pid)| *pid);
            let known: Vec<(u32, Option<Json>)> =
                pids.take(ASKED_MAX).map(|pid| (pid, asked(pid))).collect();
            chosen(&known, marks)
        }
    }
}

/// What a server says of itself; one that does not answer in time says nothing.
fn asked(pid: u32) -> Option<Json> {
    let mut connection = connect_pid(pid).and_then(Connection::on).ok()?;
    connection.stream.set_read_timeout(Some(LOOK_MAX)).ok()?;
    connection.call("show look").or_else(|_| connection.call("show stats")).ok()
}

/// The one that is meant. After an upgrade the old one finishes its requests, and the new one is meant.
fn chosen(known: &[(u32, Option<Json>)], marks: &Marks) -> Result<u32, Trouble> {
    let nothing = Json::Null;
    let server =
        |look: &Option<Json>| look.as_ref().map_or(Json::Null, |look| look["server"].clone());
    let fitting: Vec<&(u32, Option<Json>)> =
        known.iter().filter(|(_, look)| marks.are_none() || marks.fit(&server(look))).collect();
    let serves =
        |look: &Option<Json>| look.as_ref().unwrap_or(&nothing).get("handed_over_to").is_none();
    let serving: Vec<_> = fitting.iter().filter(|(_, look)| serves(look)).collect();
    let left = if serving.is_empty() { fitting.iter().collect() } else { serving };
    let list = |of: &mut dyn Iterator<Item = &(u32, Option<Json>)>| {
        let lines = of.map(|(pid, look)| match look {
            Some(_) => described(*pid, &server(look)),
            None => format!("{pid}: it does not answer"),
        });
        lines.collect::<Vec<_>>().join("\n  ")
    };
    match left.as_slice() {
        [(pid, _)] => Ok(*pid),
        [] => Err(trouble(
            format!("none of the running servers is meant by that:\n  {}", list(&mut known.iter())),
            "--bind, --chdir and --app name a server as it was started",
        )),
        several => Err(trouble(
            format!("several servers are running:\n  {}", list(&mut several.iter().map(|it| **it))),
            "choose one with --bind ADDRESS, --chdir DIRECTORY, --app MODULE:NAME or --pid PID",
        )),
    }
}

fn no_proc(error: &io::Error) -> Trouble {
    trouble(
        format!("cannot look for servers in /proc: {error}"),
        "name the control socket with --socket PATH",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(application: &str, handed_over_to: Option<u32>) -> Option<Json> {
        let mut look =
            json!({"server": {"application": application, "addresses": ["127.0.0.1:1"]}});
        if let Some(pid) = handed_over_to {
            look["handed_over_to"] = pid.into();
        }
        Some(look)
    }

    #[test]
    fn of_two_servers_of_an_upgrade_the_new_one_is_meant() {
        let any = Marks::default();
        let pair = [(10, server("a:a", Some(11))), (11, server("a:a", None))];
        assert_eq!(chosen(&pair, &any), Ok(11));
        let marks = Marks { application: Some("a:a".to_owned()), ..Marks::default() };
        assert_eq!(chosen(&pair, &marks), Ok(11));
        let silent = [(10, None), (11, server("a:a", None))];
        assert_eq!(chosen(&silent, &marks), Ok(11));
    }

    #[test]
    fn where_several_fit_or_none_all_are_listed_with_how_to_choose() {
        let two = [(10, server("a:a", None)), (11, server("b:b", None)), (12, None)];
        let error = chosen(&two, &Marks::default()).unwrap_err();
        assert!(
            error.what.contains("10: a:a at 127.0.0.1:1") && error.hint.contains("--bind"),
            "{error:?}"
        );
        assert!(error.what.contains("12: it does not answer"), "{error:?}");
        let marks = Marks { application: Some("c:c".to_owned()), ..Marks::default() };
        let error = chosen(&two, &marks).unwrap_err();
        assert!(
            error.what.contains("none of the running") && error.what.contains("11: b:b"),
            "{error:?}"
        );
    }

    #[test]
    fn a_socket_whose_queue_is_full_is_given_up_in_time() {
        let name =
            SocketAddr::from_abstract_name(format!("indrik-test-{}", std::process::id())).unwrap();
        let listener = std::os::unix::net::UnixListener::bind_addr(&name).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let mut kept = Vec::new();
        let error = loop {
            match connect(&name) {
                Ok(stream) if kept.len() < 64 => kept.push(stream),
                Ok(_) => panic!("no queue is full"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
