//! What no server works with, though each value by itself may be: settings that contradict each other, and
//! values below what the machinery needs.

use super::generated::Config;
use super::problem::Problem;
use super::rlimits::{Resource, WorkerRlimit};
use super::types::WorkerClass;

/// The shortest list of header fields that a request of a browser fits into.
const HEADER_LIST_BYTES_MIN: u32 = 4096;

/// Descriptors of a worker that serves, and a few for the application.
const DESCRIPTORS_MIN: u64 = 16;
/// The same where an event loop runs.
const DESCRIPTORS_WITH_LOOP_MIN: u64 = 24;

/// Everything that is wrong; `origin` says where a setting's value was written.
pub(super) fn problems(config: &Config, origin: impl Fn(&str) -> String) -> Vec<Problem> {
    let found = [probes(config), header_list(config), nofile(config), worker_max_fds(config)];
    let excluded = config.access_log_exclude.iter().filter_map(|pattern| excluded(pattern));
    found
        .into_iter()
        .flatten()
        .chain(excluded)
        .map(|(setting, what, hint)| Problem {
            what,
            place: Some(origin(setting)),
            hint: Some(hint),
        })
        .collect()
}

/// Setting, what is wrong, what to do.
type Wrong = (&'static str, String, String);

fn probes(config: &Config) -> Option<Wrong> {
    let paths = [
        ("readiness_path", &config.readiness_path),
        ("liveness_path", &config.liveness_path),
        ("metrics_path", &config.metrics_path),
    ];
    let given = paths.iter().filter_map(|(name, path)| Some((*name, path.as_ref()?)));
    let given: Vec<_> = given.collect();
    given.iter().enumerate().find_map(|(at, (name, path))| {
        let (other, _) = given[at + 1..].iter().find(|(_, other)| other == path)?;
        let what = format!("{name} and {other} are both {path}");
        let hint = "they answer differently: give each its own path";
        Some((*name, what, hint.to_owned()))
    })
}

fn header_list(config: &Config) -> Option<Wrong> {
    let bytes = config.http2_max_header_list_size;
    (1..HEADER_LIST_BYTES_MIN).contains(&bytes).then(|| {
        let what =
            format!("http2_max_header_list_size: {bytes} bytes hold no request of a browser");
        let hint = format!("give at least {HEADER_LIST_BYTES_MIN}; 0 is 1 MiB");
        ("http2_max_header_list_size", what, hint)
    })
}

/// The path of every request begins with `/`.
fn excluded(pattern: &str) -> Option<Wrong> {
    (!pattern.starts_with(['/', '*'])).then(|| {
        let what = format!("access_log_exclude: {pattern:?} is the path of no request");
        let hint = format!("begin it with /, as in \"/{pattern}\", or with *");
        ("access_log_exclude", what, hint)
    })
}

fn limit_of(config: &Config, resource: Resource) -> Option<u64> {
    let is_wanted = |limit: &&WorkerRlimit| limit.resource == resource;
    config.worker_rlimits.iter().find(is_wanted)?.soft
}

fn nofile(config: &Config) -> Option<Wrong> {
    let limit = limit_of(config, Resource::Nofile)?;
    let floor = match config.worker_class {
        WorkerClass::Sync | WorkerClass::Gthread | WorkerClass::Gevent | WorkerClass::Eventlet => {
            DESCRIPTORS_MIN
        }
        WorkerClass::Auto | WorkerClass::Custom | WorkerClass::Asgi | WorkerClass::Aiohttp => {
            DESCRIPTORS_WITH_LOOP_MIN
        }
    };
    (limit < floor).then(|| {
        let what = format!("worker_rlimits: with nofile={limit} no worker can serve");
        let hint = format!(
            "a worker of this class needs {floor} before the application opens anything: allow more than that"
        );
        ("worker_rlimits", what, hint)
    })
}

fn worker_max_fds(config: &Config) -> Option<Wrong> {
    let limit = limit_of(config, Resource::Nofile)?;
    let at = config.worker_max_fds;
    (at != 0 && at >= limit).then(|| {
        let what = format!(
            "worker_max_fds: no worker has {at} descriptors under nofile={limit} (worker_rlimits)"
        );
        let hint =
            "a worker is replaced at worker_max_fds and fails at nofile: leave room between them";
        ("worker_max_fds", what, hint.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::config_of;

    fn told(file: &str) -> Vec<String> {
        match config_of(file) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.into_iter().map(|problem| problem.what).collect(),
        }
    }

    #[test]
    fn what_contradicts_itself_or_is_too_little_is_told_by_name() {
        let wrong = [
            ("readiness_path = \"/x\"\nliveness_path = \"/x\"", "readiness_path and liveness_path"),
            ("http2_max_header_list_size = 100", "http2_max_header_list_size: 100 bytes"),
            ("access_log_exclude = [\"health\"]", "access_log_exclude: \"health\""),
            ("worker_rlimits = [\"nofile=12\"]", "worker_rlimits: with nofile=12"),
            (
                "worker_class = \"gthread\"\nworker_rlimits = [\"nofile=12\"]",
                "worker_rlimits: with nofile=12",
            ),
            (
                "worker_rlimits = [\"nofile=64\"]\nworker_max_fds = 64",
                "worker_max_fds: no worker has 64",
            ),
        ];
        for (file, what) in wrong {
            let told = told(file);
            assert!(told.len() == 1 && told[0].starts_with(what), "{file}: {told:?}");
        }
        let right = [
            "readiness_path = \"/x\"\nliveness_path = \"/y\"",
            "http2_max_header_list_size = 0",
            "access_log_exclude = [\"/health\", \"*.png\"]",
            "worker_class = \"gthread\"\nworker_rlimits = [\"nofile=16\"]",
            "worker_rlimits = [\"nofile=64\"]\nworker_max_fds = 63",
        ];
        for file in right {
            assert_eq!(told(file), Vec::<String>::new(), "{file}");
        }
    }
}
