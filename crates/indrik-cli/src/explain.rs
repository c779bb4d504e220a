//! `indrik explain SETTING`: its value, where it comes from, what it means.

use indrik_core::settings::{Launch, render, settle};
use indrik_server::Rehearsal;

use crate::Failure;

/// Settles the settings as a start would and describes one of them.
pub(crate) fn explain(launch: &Launch, name: &str) -> Result<String, Failure> {
    let (_rehearsal, file) = Rehearsal::begin(launch)?;
    let settlement = settle(launch, Some(&file));
    let text =
        render::explain(&settlement, name).map_err(|problem| Failure::settings(vec![problem]))?;
    // A wrong value somewhere makes the answer doubtful, so it is told instead.
    if settlement.problems.is_empty() {
        Ok(text)
    } else {
        Err(Failure::settings(settlement.problems))
    }
}
