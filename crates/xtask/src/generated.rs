//! Files that are made of the tables in the repository's root: written, and compared.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Makes the text of a file.
pub(crate) type Make = fn(&Path) -> Result<String, String>;

/// Files, and what makes them, in the order they are made.
pub(crate) type Files = [(&'static str, Make)];

/// Writes all of them.
pub(crate) fn write(root: &Path, files: &Files) -> Result<String, String> {
    for (path, make) in files {
        let text = make(root)?;
        let path = root.join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)
                .map_err(|error| format!("cannot make {}: {error}", parent.display()))?;
        }
        std::fs::write(&path, text)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(format!("wrote {}", names(files)))
}

/// Says which of them is not what its table says; `command` writes them.
pub(crate) fn check(root: &Path, files: &Files, command: &str) -> Result<String, String> {
    for (path, make) in files {
        let there = std::fs::read_to_string(root.join(path))
            .map_err(|error| format!("cannot read {path}: {error}"))?;
        if there != make(root)? {
            return Err(format!("{path} is stale: run `{command}`"));
        }
    }
    Ok(format!("fresh: {}", names(files)))
}

fn names(files: &Files) -> String {
    files.iter().map(|(path, _)| *path).collect::<Vec<_>>().join(", ")
}

/// As `cargo fmt` would have it.
pub(crate) fn format(root: &Path, code: &str) -> Result<String, String> {
    let mut rustfmt = Command::new("rustfmt");
    rustfmt.args(["--edition", "2024", "--emit", "stdout"]).current_dir(root);
    rustfmt.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let failed = |error: std::io::Error| format!("cannot run rustfmt: {error}");
    let mut child = rustfmt.spawn().map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(code.as_bytes()).map_err(failed)?;
    }
    text_of(child.wait_with_output().map_err(failed)?, "rustfmt")
}

/// What a program has written, if it went well.
pub(crate) fn text_of(output: Output, what: &str) -> Result<String, String> {
    if !output.status.success() {
        return Err(format!("{what} failed:\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("{what}: {error}"))
}

/// A text within code, where outside of code brackets would be links and angles tags.
pub(crate) fn doc(text: &str) -> String {
    let mut out = String::new();
    let mut in_code = false;
    for char in text.chars() {
        in_code ^= char == '`';
        if !in_code && matches!(char, '[' | ']' | '<' | '>') {
            out.push('\\');
        }
        out.push(char);
    }
    out
}
