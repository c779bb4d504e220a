//! The answer to a scraper.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use indrik_core::metrics::{Family, Label, expose, generated as metrics, negotiate};
use indrik_core::settings::LogTarget;

use super::processes::Process;
use super::{complaints, machine, processes, supervised};
use crate::log::Log;
use crate::look::{Board, Look};

/// Families and samples that were left out of the last answer.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// The answer to a scraper.
pub(crate) struct Answer {
    /// What it is written in.
    pub(crate) content_type: &'static str,
    /// All families.
    pub(crate) body: Vec<u8>,
}

/// The families of all sources for a scraper that sent this `Accept`. Our own come first: where an application's family
/// has the name of one of them, it is left out and counted.
pub(crate) fn answer(accept: &str, board: &Board, log: &Log) -> Answer {
    let format = negotiate(accept);
    let families = families(board);
    complaints::tell(&families, log);
    let exposed = expose(families, format);
    LEFT_OUT.store(exposed.left_out, Ordering::Relaxed);
    Answer { content_type: format.content_type(), body: exposed.body }
}

/// What alerts are about, without what takes long to find out (disks, shares of memory).
pub(crate) fn counted(board: &Board) -> Vec<Family> {
    let look = board.look();
    let mut families = supervised::families(&look, &BTreeMap::new());
    families.push(processes::cpu(&processes(&look)));
    families.extend(machine::families());
    families.extend(board.front().into_iter().flat_map(|front| front.metrics()));
    families
}

/// The disks that the server writes to. One that does not answer takes its time.
pub(crate) fn disks(board: &Board) -> Vec<Family> {
    machine::disks(&directories(&board.look())).into()
}

fn families(board: &Board) -> Vec<Family> {
    let (look, front) = (board.look(), board.front());
    let version = Label::from(look.server.version);
    let left_out = LEFT_OUT.load(Ordering::Relaxed) as f64;
    let mut families = vec![
        metrics::BUILD.family([[version]]),
        metrics::METRICS_LEFT_OUT.family([([], left_out)]),
    ];
    let loads = front.as_ref().map(|front| front.loads()).unwrap_or_default();
    families.extend(supervised::families(&look, &loads));
    let lag = board.turns().longest(Instant::now()).as_secs_f64();
    families.push(metrics::SUPERVISOR_LAG_SECONDS.family([([], lag)]));
    families.extend(processes::families(&processes(&look)));
    families.extend(machine::families());
    families.extend(machine::disks(&directories(&look)));
    if let Some(front) = front {
        families.extend(front.metrics());
    }
    families.extend(board.alerts().families());
    families.extend(board.app_metrics().families());
    families
}

/// The workers; of two with one place the younger one comes last and is the one that is shown.
fn processes(look: &Look) -> Vec<Process> {
    let workers = look.workers.iter();
    workers.filter_map(|it| Some(Process { place: it.place, pid: it.pid? })).collect()
}

/// The directories whose disks matter, and what they are for.
pub(crate) fn directories(look: &Look) -> Vec<(&'static str, PathBuf)> {
    let mut directories = vec![("tmp", std::env::temp_dir())];
    if let Some(settings) = &look.settings {
        let config = &settings.config;
        let targets = [Some(&config.errorlog), config.accesslog.as_ref()];
        let file = targets.into_iter().flatten().find_map(|target| match target {
            LogTarget::File(path) => Some(config.chdir.join(path)),
            LogTarget::Stdout | LogTarget::Stderr => None,
        });
        directories.extend(file.and_then(|file| Some(("logs", file.parent()?.to_owned()))));
    }
    directories
}
