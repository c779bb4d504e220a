//! Developer commands: `cargo xtask tidy` checks what can be counted, `cargo xtask circles` lists the
//! files that use each other in a circle, `cargo xtask settings` writes the settings reference.

#![forbid(unsafe_code)]

mod tidy;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask tidy | circles | settings";
const SETTINGS_PAGE: &str = "docs/reference/settings.md";

fn main() -> ExitCode {
    let command = std::env::args().nth(1).unwrap_or_default();
    let outcome = match command.as_str() {
        "tidy" => run_tidy(&repository()),
        "circles" => tidy::circles(&repository()),
        "settings" => write_settings_page(&repository()),
        _ => Err(USAGE.to_owned()),
    };
    let (text, code) = match outcome {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err(text) => (text, ExitCode::FAILURE),
    };
    // A closed standard error leaves nobody to tell.
    let _ = writeln!(std::io::stderr(), "{text}");
    code
}

fn run_tidy(root: &Path) -> Result<String, String> {
    let report = tidy::run(root)?;
    if report.problems.is_empty() {
        return Ok(format!("tidy: {} files, nothing to mend", report.files));
    }
    let lines: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    Err(format!("{}\ntidy: {} to mend", lines.join("\n"), lines.len()))
}

fn write_settings_page(root: &Path) -> Result<String, String> {
    let path = root.join(SETTINGS_PAGE);
    std::fs::write(&path, indrik_core::settings::render::reference())
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(format!("wrote {SETTINGS_PAGE}"))
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
