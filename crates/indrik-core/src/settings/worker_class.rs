//! Worker classes by name: the one place where names of Gunicorn and others get their meaning.

use super::config::WorkerClass;

/// A name and what it means.
struct Known {
    name: &'static str,
    class: WorkerClass,
}

const fn known(name: &'static str, class: WorkerClass) -> Known {
    Known { name, class }
}

/// Aliases first, then import paths.
const KNOWN: &[Known] = &[
    known("auto", WorkerClass::Auto),
    known("sync", WorkerClass::Sync),
    known("gthread", WorkerClass::Gthread),
    known("asgi", WorkerClass::Asgi),
    known("gunicorn.workers.sync.SyncWorker", WorkerClass::Sync),
    known("gunicorn.workers.gthread.ThreadWorker", WorkerClass::Gthread),
    known("gunicorn.workers.gasgi.ASGIWorker", WorkerClass::Asgi),
    known("uvicorn.workers.UvicornWorker", WorkerClass::Asgi),
    known("uvicorn.workers.UvicornH11Worker", WorkerClass::Asgi),
    known("uvicorn_worker.UvicornWorker", WorkerClass::Asgi),
    known("uvicorn_worker.UvicornH11Worker", WorkerClass::Asgi),
];

/// What a name means, if we know it. `egg:gunicorn#gthread` is `gthread`.
pub(super) fn by_name(name: &str) -> Option<WorkerClass> {
    let name = name.strip_prefix("egg:gunicorn#").unwrap_or(name);
    KNOWN.iter().find(|known| known.name == name).map(|known| known.class)
}

/// The names without dots, for messages.
pub(super) fn aliases() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|known| known.name).filter(|name| !name.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_one_class() {
        assert_eq!(by_name("sync"), Some(WorkerClass::Sync));
        assert_eq!(by_name("egg:gunicorn#gthread"), Some(WorkerClass::Gthread));
        assert_eq!(by_name("uvicorn.workers.UvicornWorker"), Some(WorkerClass::Asgi));
        assert_eq!(by_name("mine.Worker"), None);
        for known in KNOWN {
            assert_eq!(KNOWN.iter().filter(|other| other.name == known.name).count(), 1);
        }
    }
}
