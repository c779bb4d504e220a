//! The one table of worker classes: every name that is in use, what runs under it here, and what
//! is to be said about that.

use super::suggest;
use super::types::WorkerClass;

/// One worker class under all the names it goes by.
#[derive(Debug)]
pub struct KnownClass {
    /// Names to write; the first is the usual one.
    pub names: &'static [&'static str],
    /// What runs under it.
    pub kind: WorkerClass,
    /// What differs from the class of that name, to be said once; empty if nothing does.
    pub note: &'static str,
    /// The event loop that the class of that name takes unless `asgi_loop` says another; empty if
    /// it takes the best there is.
    pub event_loop: &'static str,
    /// Whether the class of that name cancels the coroutine of a client that has gone.
    pub cancels: bool,
    /// Whether the class of that name takes the client's address from `X-Forwarded-For`, if a
    /// trusted proxy sent that.
    pub sees_through_proxies: bool,
}

const NO_TORNADO: &str = "Tornado's server is not run: a WSGI application runs as with the class \
    sync, or gthread with threads above 1. A tornado.web.Application cannot be served";
const NO_PYWSGI: &str = "gevent.pywsgi is not run: requests run as with the class gevent";
const NO_MEINHELD: &str = "meinheld is not run: the application runs as with the class sync, or \
    gthread with threads above 1";
/// Every worker class that is known by name.
pub static WORKER_CLASSES: &[KnownClass] = &[
    row(&["auto"], WorkerClass::Auto),
    row(&["sync", "gunicorn.workers.sync.SyncWorker"], WorkerClass::Sync),
    row(&["gthread", "gunicorn.workers.gthread.ThreadWorker"], WorkerClass::Gthread),
    row(&["gevent", "gunicorn.workers.ggevent.GeventWorker"], WorkerClass::Gevent),
    row(
        &["gevent_wsgi", "gevent_pywsgi", "gunicorn.workers.ggevent.GeventPyWSGIWorker"],
        WorkerClass::Gevent,
    )
    .noting(NO_PYWSGI),
    row(&["geventwebsocket.gunicorn.workers.GeventWebSocketWorker"], WorkerClass::Gevent),
    row(&["eventlet", "gunicorn.workers.geventlet.EventletWorker"], WorkerClass::Eventlet),
    row(&["tornado", "gunicorn.workers.gtornado.TornadoWorker"], WorkerClass::Sync)
        .noting(NO_TORNADO),
    row(&["meinheld", "meinheld.gmeinheld.MeinheldWorker"], WorkerClass::Sync).noting(NO_MEINHELD),
    row(&["asgi", "gunicorn.workers.gasgi.ASGIWorker"], WorkerClass::Asgi),
    row(
        &[
            "uvicorn.workers.UvicornWorker",
            "uvicorn_worker.UvicornWorker",
            "uvicorn_worker._workers.UvicornWorker",
        ],
        WorkerClass::Asgi,
    )
    .on("")
    .behind_proxies(),
    row(
        &[
            "uvicorn.workers.UvicornH11Worker",
            "uvicorn_worker.UvicornH11Worker",
            "uvicorn_worker._workers.UvicornH11Worker",
        ],
        WorkerClass::Asgi,
    )
    .on("asyncio")
    .behind_proxies(),
    row(
        &["aiohttp", "aiohttp.GunicornWebWorker", "aiohttp.worker.GunicornWebWorker"],
        WorkerClass::Aiohttp,
    )
    .on(""),
    row(
        &["aiohttp.GunicornUVLoopWebWorker", "aiohttp.worker.GunicornUVLoopWebWorker"],
        WorkerClass::Aiohttp,
    )
    .on("uvloop"),
];

const fn row(names: &'static [&'static str], kind: WorkerClass) -> KnownClass {
    KnownClass { names, kind, note: "", event_loop: "", cancels: true, sees_through_proxies: false }
}

impl KnownClass {
    const fn noting(self, note: &'static str) -> Self {
        Self { note, ..self }
    }

    const fn behind_proxies(self) -> Self {
        Self { sees_through_proxies: true, ..self }
    }

    /// Another project's worker class: its choice of a loop, and it never cancels.
    const fn on(self, event_loop: &'static str) -> Self {
        Self { event_loop, cancels: false, ..self }
    }
}

/// What a name says.
#[derive(Clone, Copy, Debug)]
pub enum Found {
    /// A row of the table.
    Known(&'static KnownClass),
    /// A dotted path or an entry point, to be looked at in Python.
    Custom,
    /// Nothing; a name that it may be meant to be.
    Unknown(Option<&'static str>),
}

impl KnownClass {
    /// Looks a name up as Gunicorn reads it: a short name, `egg:gunicorn#NAME`, or a dotted path.
    #[must_use]
    pub fn find(name: &str) -> Found {
        let name = name.trim();
        let short = name.strip_prefix("egg:gunicorn#").unwrap_or(name).trim_start_matches('#');
        let named = |row: &&Self| row.names.iter().any(|known| known.eq_ignore_ascii_case(short));
        match WORKER_CLASSES.iter().find(named) {
            Some(row) => Found::Known(row),
            None if is_dotted_path(name) || is_entry_point(name) => Found::Custom,
            None => Found::Unknown(suggest::nearest(short, aliases())),
        }
    }
}

/// What a name means: `Custom` when it is left to Python, `None` when it is no name of a class.
pub(super) fn by_name(name: &str) -> Option<WorkerClass> {
    match KnownClass::find(name) {
        Found::Known(row) => Some(row.kind),
        Found::Custom => Some(WorkerClass::Custom),
        Found::Unknown(_) => None,
    }
}

/// Whether the class of that name takes the client's address from `X-Forwarded-For` by itself.
pub(super) fn sees_through_proxies(name: &str) -> bool {
    matches!(KnownClass::find(name), Found::Known(row) if row.sees_through_proxies)
}

/// The names without dots, for messages.
pub(super) fn aliases() -> impl Iterator<Item = &'static str> {
    WORKER_CLASSES.iter().flat_map(|row| row.names.iter().copied()).filter(|n| !n.contains('.'))
}

/// `package.module.Class`.
fn is_dotted_path(name: &str) -> bool {
    let mut parts = 0;
    let is_identifier = |part: &str| {
        parts += 1;
        let mut letters = part.chars();
        letters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
            && letters.all(|letter| letter.is_alphanumeric() || letter == '_')
    };
    name.split('.').all(is_identifier) && parts > 1
}

/// `egg:DISTRIBUTION#NAME`.
fn is_entry_point(name: &str) -> bool {
    name.strip_prefix("egg:").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_dotted_paths_and_entry_points_name_the_same_class() {
        for name in ["gevent", "#gevent", "egg:gunicorn#gevent", "Gevent", " gevent "] {
            assert_eq!(by_name(name), Some(WorkerClass::Gevent), "{name}");
        }
        assert_eq!(by_name("gunicorn.workers.ggevent.GeventWorker"), Some(WorkerClass::Gevent));
        assert_eq!(by_name("uvicorn.workers.UvicornWorker"), Some(WorkerClass::Asgi));
        assert_eq!(by_name("aiohttp.GunicornUVLoopWebWorker"), Some(WorkerClass::Aiohttp));
    }

    #[test]
    fn a_class_of_the_users_is_left_to_python() {
        assert_eq!(by_name("project.workers.MyWorker"), Some(WorkerClass::Custom));
        assert_eq!(by_name("egg:project#worker"), Some(WorkerClass::Custom));
    }

    #[test]
    fn a_name_that_is_none_gets_a_suggestion() {
        assert!(matches!(KnownClass::find("gevnet"), Found::Unknown(Some("gevent"))));
        assert!(matches!(KnownClass::find("4"), Found::Unknown(None)));
        assert!(matches!(KnownClass::find(""), Found::Unknown(None)));
        assert!(matches!(KnownClass::find("a..b"), Found::Unknown(None)));
    }

    #[test]
    fn every_name_is_in_the_table_once() {
        let mut names: Vec<_> = WORKER_CLASSES.iter().flat_map(|row| row.names).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
