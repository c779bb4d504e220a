//! Looking without serving: `--check-config`, `--print-config`, and `indrik check`, which says more.

use indrik_core::settings::{
    Config, Launch, Merged, Problem, Value, merge, render, report, resolve,
};
use indrik_server::{Rehearsal, preflight};

use crate::failure::Failure;
use crate::output::{print, print_error};

/// Whether a command line or environment asks for a look only. The configuration file may ask for
/// it as well; the server finds that out when it reads it.
pub(crate) fn is_asked_for(launch: &Launch) -> bool {
    let merged = merge(launch, None);
    ["check_config", "print_config"]
        .into_iter()
        .any(|name| merged.get(name).is_some_and(|sourced| sourced.value == Value::Bool(true)))
}

/// `--check-config` and `--print-config`: exit code 0 if the settings are right and the application
/// loads.
pub(crate) fn check_config(launch: &Launch) -> Result<(), Failure> {
    let (mut rehearsal, file) = Rehearsal::begin(launch)?;
    let config = resolve(launch, Some(&file)).map_err(Failure::settings)?;
    for notice in &config.notices {
        print_error(&format!("indrik: warning: {notice}\n"));
    }
    let merged = merge(launch, Some(&file));
    if config.print_config {
        print(&render::values(&merged, &config));
    }
    for notice in rehearsal.load(&config)?.notices {
        print_error(&format!("indrik: warning: {notice}\n"));
    }
    would_start(&config, &merged)
}

/// `indrik check`: the same in words, with everything that is set, what may be unintended, and what a start
/// would fail at.
pub(crate) fn check(launch: &Launch) -> Result<(), Failure> {
    let (mut rehearsal, file) = Rehearsal::begin(launch)?;
    let merged = merge(launch, Some(&file));
    print(&report::settings(&merged));
    let config = resolve(launch, Some(&file)).map_err(Failure::settings)?;
    print(&report::suspicions(&config, &merged, launch.cpus));
    let loaded = rehearsal.load(&config)?;
    let application = config.paste.as_ref().unwrap_or(&config.wsgi_app);
    print(&format!("The application {application} loads: {}.\n", loaded.interface));
    for notice in loaded.notices {
        print(&format!("  {notice}\n"));
    }
    would_start(&config, &merged)
}

/// What is not Python's to say.
fn would_start(config: &Config, merged: &Merged) -> Result<(), Failure> {
    match preflight(config) {
        problems if problems.is_empty() => Ok(()),
        problems => {
            let placed =
                |problem: Problem| Problem { place: merged.place_of(&problem.what), ..problem };
            Err(Failure::settings(problems.into_iter().map(placed).collect()))
        }
    }
}
