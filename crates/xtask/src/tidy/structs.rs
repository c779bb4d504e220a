//! Rules on structs: what a reader of the supervision must hold in mind at once.

use super::problem::Problem;
use super::source::Source;
use super::tokens::{is_name, tokens};

/// Fields of a struct.
const FIELDS_MAX: usize = 15;

/// Where it is looked.
const PLACES: &[&str] = &[
    "crates/indrik-server/src/drive.rs",
    "crates/indrik-server/src/drive/",
    "crates/indrik-core/src/supervise/",
];

/// Structs that are still larger. This list is there to become empty.
const STILL_LARGER: &[&str] = &[];

/// A struct with more fields is several things.
pub(crate) fn fields(source: &Source) -> Vec<Problem> {
    if !source.is_rust() || !PLACES.iter().any(|place| source.path.starts_with(place)) {
        return Vec::new();
    }
    let found = structs(&source.code).into_iter();
    found
        .filter(|(name, _, fields)| *fields > FIELDS_MAX && !STILL_LARGER.contains(name))
        .map(|(name, line, fields)| {
            let message = format!(
                "{name} has {fields} fields, {FIELDS_MAX} are allowed: put together what belongs together"
            );
            Problem::new(source, line, message)
        })
        .collect()
}

/// Name, line and number of fields of each struct with names for its fields.
fn structs(code: &str) -> Vec<(&str, usize, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("struct ") {
        let rest = &code[at + "struct ".len()..];
        let Some(open) = rest.find(['{', ';', '(']) else { continue };
        if !rest[open..].starts_with('{') {
            continue;
        }
        let name = tokens(&rest[..open]).into_iter().find(|token| is_name(token)).unwrap_or("");
        let line = code[..at].matches('\n').count() + 1;
        found.push((name, line, count(&rest[open..])));
    }
    found
}

/// Names followed by a colon, in the outermost braces.
fn count(body: &str) -> usize {
    let tokens = tokens(body);
    let (mut depth, mut fields) = (0usize, 0);
    for (at, token) in tokens.iter().enumerate() {
        match *token {
            "{" | "(" | "[" | "<" => depth += 1,
            // The arrow of a function's type closes nothing.
            ">" if at > 0 && tokens[at - 1] == "-" => {}
            "}" | ")" | "]" | ">" => depth = depth.saturating_sub(1),
            ":" if depth == 1 => fields += 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_a_struct_are_counted() {
        let code = "struct A { a: u8, pub b: Map<K, V>, c: Box<dyn Fn(x: u8) -> y::Z>, }\nstruct B;\n\
            struct C(u8);\nstruct D<T: X> { d: T }";
        assert_eq!(structs(code), [("A", 1, 3), ("D", 4, 1)]);
    }
}
