//! Values that are more than text or a number: what Python classes, log targets and the control socket are.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How a worker runs the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerClass {
    /// Decided by the application: ASGI runs as `Asgi`; WSGI as `Gthread` if `threads` is above
    /// one, else as `Sync`.
    Auto,
    /// WSGI, one request at a time. Never together with `threads` above one: that resolves to
    /// `Gthread`.
    Sync,
    /// WSGI in a pool of `threads` Python threads.
    Gthread,
    /// WSGI, a greenlet for each request in gevent's hub.
    Gevent,
    /// WSGI, a greenlet for each request in eventlet's hub.
    Eventlet,
    /// ASGI on one event loop.
    Asgi,
    /// An `aiohttp.web` application on one event loop.
    Aiohttp,
    /// A class of the user's, which the zygote looks at: there it becomes one of the others.
    Custom,
}

impl WorkerClass {
    /// The word for it, as `worker_class` takes it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Sync => "sync",
            Self::Gthread => "gthread",
            Self::Gevent => "gevent",
            Self::Eventlet => "eventlet",
            Self::Asgi => "asgi",
            Self::Aiohttp => "aiohttp",
            Self::Custom => "custom",
        }
    }
}

/// A Python class, as a setting names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassSpec {
    /// Its alias or import path.
    pub name: String,
    /// The configuration file holds the class itself: the zygote has it, and the name may not be
    /// importable.
    pub object: bool,
}

/// The socket that takes commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PathBuf", into = "PathBuf")]
pub enum ControlSocket {
    /// An abstract socket of this process.
    Auto,
    /// A socket file.
    Path(PathBuf),
}

/// Where a log goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "path", rename_all = "lowercase")]
pub enum LogTarget {
    /// The process's standard output: what `-` means for the access log.
    Stdout,
    /// The process's standard error: what `-` means for the error log.
    Stderr,
    /// A file, appended to.
    File(PathBuf),
}

impl fmt::Display for WorkerClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl From<PathBuf> for ControlSocket {
    fn from(path: PathBuf) -> Self {
        if path.as_os_str() == AUTO { Self::Auto } else { Self::Path(path) }
    }
}

impl From<ControlSocket> for PathBuf {
    fn from(socket: ControlSocket) -> Self {
        match socket {
            ControlSocket::Auto => Self::from(AUTO),
            ControlSocket::Path(path) => path,
        }
    }
}

/// How [`ControlSocket::Auto`] is written.
const AUTO: &str = "auto";

impl fmt::Display for LogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::Stderr => f.write_str("stderr"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}
