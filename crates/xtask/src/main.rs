//! Developer commands: `cargo xtask tidy` checks what can be counted, `cargo xtask circles` lists the
//! files that use each other in a circle, `cargo xtask settings` writes what is made of `settings.toml`, and
//! `cargo xtask metrics` what is made of `metrics.toml`.

#![forbid(unsafe_code)]

mod generated;
mod metrics;
mod settings;
mod tidy;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask tidy | circles | settings [--check] | metrics [--check]";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["tidy"] => run_tidy(&repository()),
        ["circles"] => tidy::circles(&repository()),
        ["settings"] => settings::write(&repository()),
        ["settings", "--check"] => settings::check(&repository()),
        ["metrics"] => metrics::write(&repository()),
        ["metrics", "--check"] => metrics::check(&repository()),
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

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
