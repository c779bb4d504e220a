//! Every process of the server: its memory and its processors' time, read from /proc when somebody asks.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indrik_core::machine;
use indrik_core::memory::process;
use indrik_core::metrics::{Family, Label, generated as metrics};
use indrik_sys::memory;
use parking_lot::Mutex;

/// The kernel walks over all pages of a process for its share of memory: it is asked so seldom.
const PSS_AGE_MAX: Duration = Duration::from_secs(10);
/// And for so long at most for one answer; what is older stays until the next one.
const PSS_TIME_MAX: Duration = Duration::from_millis(20);

/// A worker's process.
#[derive(Clone, Debug)]
pub(super) struct Process {
    /// The worker's place.
    pub(super) place: u32,
    pub(super) pid: u32,
}

/// What is known of shares of memory, by process.
static SHARES: Mutex<BTreeMap<u32, (Instant, f64)>> = Mutex::new(BTreeMap::new());

/// All of it. Of two workers with one place the last one is shown.
pub(super) fn families(processes: &[Process]) -> [Family; 5] {
    let places: BTreeMap<u32, u32> = processes.iter().map(|it| (it.place, it.pid)).collect();
    let workers: Vec<(Label, u32)> =
        places.iter().map(|(place, pid)| (Label::from(place.to_string()), *pid)).collect();
    let page = memory::page_bytes();
    let rss = |pid: u32| process::rss(&memory::statm(pid)?, page).map(|bytes| bytes as f64);
    let shares = shares(&workers);
    let of_workers = |read: &dyn Fn(u32) -> Option<f64>| -> Vec<_> {
        let samples = workers.iter();
        samples.filter_map(|(place, pid)| Some(([place.clone()], read(*pid)?))).collect()
    };
    let own = std::process::id();
    [
        metrics::WORKER_RSS_BYTES.family(of_workers(&rss)),
        metrics::WORKER_PSS_BYTES.family(of_workers(&|pid| shares.get(&pid).copied())),
        metrics::WORKER_CPU_SECONDS.family(of_workers(&cpu_seconds)),
        metrics::FRONT_RSS_BYTES.family(rss(own).map(|bytes| ([], bytes))),
        cpu(processes),
    ]
}

/// Processors' time of all processes, and of those that have ended.
pub(super) fn cpu(processes: &[Process]) -> Family {
    // Its own first: what a worker had that is reaped meanwhile is among that afterwards, and would count twice.
    let all = [std::process::id()].into_iter().chain(processes.iter().map(|it| it.pid));
    metrics::CPU_SECONDS.family([([], never_less(all.filter_map(cpu_seconds).sum()))])
}

/// The most that was told. A worker that is reaped between two looks at it is missing in one answer.
static CPU_SECONDS: Mutex<f64> = Mutex::new(0.0);

fn never_less(seconds: f64) -> f64 {
    let mut most = CPU_SECONDS.lock();
    *most = most.max(seconds);
    *most
}

/// Processors' time of a process and of the children that it has waited for.
fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = memory::file(format!("/proc/{pid}/stat").as_ref())?;
    machine::cpu_seconds(&stat)
}

/// Each worker's share of memory, those that are known longest read anew as far as there is time.
fn shares(workers: &[(Label, u32)]) -> BTreeMap<u32, f64> {
    let began = Instant::now();
    let mut known = SHARES.lock();
    known.retain(|pid, _| workers.iter().any(|(_, it)| it == pid));
    let mut due: Vec<_> =
        workers.iter().map(|(_, pid)| (known.get(pid).map(|it| it.0), *pid)).collect();
    due.sort_unstable();
    for (read_at, pid) in due {
        let is_fresh = read_at.is_some_and(|at| began.duration_since(at) < PSS_AGE_MAX);
        if is_fresh || began.elapsed() > PSS_TIME_MAX {
            break;
        }
        let pss = memory::smaps_rollup(pid).as_deref().and_then(process::pss);
        if let Some(pss) = pss {
            known.insert(pid, (began, pss as f64));
        }
    }
    known.iter().map(|(pid, (_, pss))| (*pid, *pss)).collect()
}

#[cfg(test)]
mod tests {
    use indrik_core::metrics::Value;

    use super::*;

    #[test]
    fn what_was_told_of_processors_time_is_never_taken_back() {
        let told = |processes: &[Process]| match &cpu(processes).samples[0].value {
            Value::Number(seconds) => *seconds,
            other => panic!("{other:?}"),
        };
        let here = Process { place: 3, pid: std::process::id() };
        let many = told(&[here.clone(), here]);
        // They are gone, and so is their time.
        assert!(told(&[]) >= many);
    }

    #[test]
    fn a_process_is_read_and_one_that_is_gone_is_left_out() {
        let here = Process { place: 3, pid: std::process::id() };
        let gone = Process { place: 4, pid: u32::MAX };
        let families = families(&[here, gone]);
        for family in &families[..3] {
            assert_eq!(family.samples.len(), 1, "{}", family.name);
            assert_eq!(family.samples[0].labels[0].1, "3");
        }
    }
}
