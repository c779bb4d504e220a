//! `indrik explain SETTING`: its value, where it comes from, what it means. `indrik explain route METHOD
//! URL`: what happens to such a request, and which setting says so.

use indrik_core::route::{self, Around, Request, Table};
use indrik_core::settings::{
    ConfigFileValues, Launch, Problem, merge, render, resolve_without_application,
};
use indrik_server::Rehearsal;

use crate::arguments::Explained;
use crate::failure::Failure;

/// Merges the settings as a start would and explains what is asked for.
pub(crate) fn explain(launch: &Launch, explained: &Explained) -> Result<String, Failure> {
    let (_rehearsal, file) = Rehearsal::begin(launch)?;
    match explained {
        Explained::Setting(name) => setting(launch, &file, name),
        Explained::Route(method, url) => request(launch, &file, method, url),
    }
}

fn setting(launch: &Launch, file: &ConfigFileValues, name: &str) -> Result<String, Failure> {
    let merged = merge(launch, Some(file));
    let text =
        render::explain(&merged, name).map_err(|problem| Failure::settings(vec![problem]))?;
    // A wrong value somewhere makes the answer doubtful, so it is told instead.
    if merged.problems.is_empty() { Ok(text) } else { Err(Failure::settings(merged.problems)) }
}

fn request(
    launch: &Launch,
    file: &ConfigFileValues,
    method: &str,
    url: &str,
) -> Result<String, Failure> {
    let Some((host, path)) = route::read_url(url) else {
        return Err(Failure::usage(Problem {
            what: format!("'{}' is no URL and no path", url.escape_debug()),
            place: None,
            hint: Some("write it as /reports/1 or http://example.org/reports/1".to_owned()),
        }));
    };
    let config = resolve_without_application(launch, Some(file)).map_err(Failure::settings)?;
    if let Some((status, why)) = route::refusal(&config, method, url) {
        return Ok(format!("{method} {url}\n\n  the server refuses it: {status}, {why}\n"));
    }
    let merged = merge(launch, Some(file));
    let origin = |setting: &str| {
        merged.get(setting).map_or_else(String::new, |sourced| sourced.origin.to_string())
    };
    let request = Request::new(method, host.as_bytes(), path);
    Ok(route::explain(&Table::of(&config), &request, &Around::of(&config), origin))
}
