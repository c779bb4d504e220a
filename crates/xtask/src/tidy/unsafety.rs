//! Rules on `unsafe`: only in the crates that exist for it, and each use with its reason.

use super::problem::Problem;
use super::source::Source;

const UNSAFE_CRATES: &[&str] = &["indrik-ring", "indrik-sys", "indrik-native"];
/// A SAFETY note may stand this many lines above the use (attributes and a long statement fit).
const NOTE_LINES_MAX: usize = 8;

/// `unsafe` anywhere else is a hole in the wall, and the crate root must say so to the compiler.
pub(crate) fn only_in_named_crates(source: &Source) -> Vec<Problem> {
    let Some(name) = source.crate_name() else { return Vec::new() };
    if !source.is_rust() || UNSAFE_CRATES.contains(&name) {
        return Vec::new();
    }
    let mut problems: Vec<Problem> = uses(&source.code)
        .map(|line| {
            let message = format!(
                "unsafe in {name}: move it into {}, behind a safe function",
                UNSAFE_CRATES.join(", ")
            );
            Problem::new(source, line, message)
        })
        .collect();
    let is_root = source.path.ends_with("src/lib.rs") || source.path.ends_with("src/main.rs");
    if is_root && !source.code.contains("#![forbid(unsafe_code)]") {
        problems.push(Problem::new(source, 1, "add `#![forbid(unsafe_code)]` to the crate root"));
    }
    problems
}

/// The compiler trusts us there; the note says why it may.
pub(crate) fn safety_notes(source: &Source) -> Vec<Problem> {
    if !source.is_rust() {
        return Vec::new();
    }
    let lines: Vec<&str> = source.text.lines().collect();
    uses(&source.code)
        .filter(|line| needs_note(source.code.lines().nth(line - 1).unwrap_or("")))
        .filter(|line| !has_note(&lines, *line))
        .map(|line| {
            Problem::new(
                source,
                line,
                "unsafe without a reason: say why it is sound, `// SAFETY: …`",
            )
        })
        .collect()
}

fn uses(code: &str) -> impl Iterator<Item = usize> {
    code.lines().enumerate().filter_map(|(index, line)| {
        let found = line
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|word| word == concat!("uns", "afe"));
        found.then_some(index + 1)
    })
}

/// A block or an impl asserts something; a declaration (`unsafe fn`, a function type) asks for it.
fn needs_note(code: &str) -> bool {
    let word = concat!("uns", "afe");
    [" {", "{", " impl"].iter().any(|after| code.contains(&format!("{word}{after}")))
}

fn has_note(lines: &[&str], line: usize) -> bool {
    let first = line.saturating_sub(NOTE_LINES_MAX + 1);
    lines[first..line].iter().any(|text| text.contains("SAFETY:") || text.contains("# Safety"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &str = concat!("fn a() { uns", "afe { b() } }\n");

    #[test]
    fn unsafe_is_reported_outside_the_named_crates() {
        let rest = format!("#![forbid(unsafe_code)]\n{BLOCK}");
        let outside = Source::new("crates/indrik-core/src/lib.rs", &rest);
        assert_eq!(only_in_named_crates(&outside)[0].line, 2);
        let inside = Source::new("crates/indrik-ring/src/ring.rs", BLOCK);
        assert!(only_in_named_crates(&inside).is_empty());
    }

    #[test]
    fn a_crate_root_must_forbid_it() {
        let root = Source::new("crates/indrik-core/src/lib.rs", "//! Core.\n");
        assert_eq!(only_in_named_crates(&root).len(), 1);
        let module = Source::new("crates/indrik-core/src/a.rs", "//! A.\n");
        assert!(only_in_named_crates(&module).is_empty());
    }

    #[test]
    fn the_word_in_a_comment_or_string_is_not_a_use() {
        let text = concat!("//! About uns", "afe code.\nconst A: &str = \"uns", "afe {\";\n");
        assert!(safety_notes(&Source::new("crates/indrik-ring/src/a.rs", text)).is_empty());
    }

    #[test]
    fn each_block_needs_its_note() {
        let bare = Source::new("crates/indrik-ring/src/a.rs", BLOCK);
        assert_eq!(safety_notes(&bare).len(), 1);
        let noted = format!("// SAFETY: b has no conditions.\n{BLOCK}");
        assert!(safety_notes(&Source::new("crates/indrik-ring/src/a.rs", &noted)).is_empty());
    }
}
