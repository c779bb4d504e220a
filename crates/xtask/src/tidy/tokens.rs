//! What a Rust file names: the paths in it, what it imports, and the items it has.

use std::collections::BTreeSet;

/// What a file names.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Every path with more than one part, and every import.
    pub(crate) paths: Vec<Vec<String>>,
    /// Imports: the name here, and the path.
    pub(crate) names: Vec<(String, Vec<String>)>,
    /// Functions, types, constants: what it has itself.
    pub(crate) items: BTreeSet<String>,
}

/// Keywords in front of an item's name.
const ITEMS: &[&str] =
    &["fn", "struct", "enum", "const", "static", "type", "trait", "union", "macro_rules"];

/// Reads code without comments and strings.
pub(crate) fn uses(code: &str) -> Tree {
    let tokens = tokens(code);
    let mut tree = Tree::default();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let before = at.checked_sub(1).map_or("", |at| tokens[at]);
        if *token == "use" && !["::", "."].contains(&before) {
            at = import(&tokens, at + 1, &[], &mut tree);
        } else if ITEMS.contains(token) {
            let name = tokens[at + 1..].iter().find(|token| **token != "!" && **token != "mut");
            tree.items.extend(name.filter(|name| is_name(name)).map(|name| (*name).to_owned()));
            at += 1;
        } else if is_name(token) && !["::", "."].contains(&before) {
            let (path, end) = path(&tokens, at);
            if path.len() > 1 {
                tree.paths.push(path);
            }
            at = end;
        } else {
            at += 1;
        }
    }
    tree
}

/// One import, or one branch of it, behind `prefix`; the index behind it.
fn import(tokens: &[&str], at: usize, prefix: &[String], tree: &mut Tree) -> usize {
    let (path, mut at) = path(tokens, at);
    let whole = [prefix, &path].concat();
    if tokens.get(at) == Some(&"::") {
        at += 1;
    }
    match tokens.get(at) {
        Some(&"{") => {
            at += 1;
            while at < tokens.len() && tokens[at] != "}" {
                let before = at;
                at = import(tokens, at, &whole, tree);
                if tokens.get(at) == Some(&",") || at == before {
                    at += 1;
                }
            }
            at + 1
        }
        Some(&"*") => at + 1,
        _ => {
            let renamed = (tokens.get(at) == Some(&"as")).then(|| tokens.get(at + 1)).flatten();
            let whole = match whole.split_last() {
                Some((last, before)) if last == "self" && !before.is_empty() => before.to_vec(),
                _ => whole,
            };
            if let Some(last) = whole.last() {
                let name = renamed.map_or_else(|| last.clone(), |name| (*name).to_owned());
                tree.names.push((name, whole.clone()));
                tree.paths.push(whole);
            }
            if renamed.is_some() { at + 2 } else { at }
        }
    }
}

/// Names joined by `::`, and the index behind them.
fn path(tokens: &[&str], mut at: usize) -> (Vec<String>, usize) {
    let mut path = Vec::new();
    while let Some(name) = tokens.get(at).filter(|token| is_name(token)) {
        path.push((*name).to_owned());
        at += 1;
        if tokens.get(at) != Some(&"::") || !tokens.get(at + 1).is_some_and(|next| is_name(next)) {
            break;
        }
        at += 1;
    }
    (path, at)
}

pub(crate) fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Words, `::`, and single characters.
pub(crate) fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let len = if first.is_alphanumeric() || first == '_' {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (token, behind) = rest.split_at(len);
        tokens.push(token);
        rest = behind.trim_start();
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_taken_apart() {
        let tree = uses("pub(crate) use a::{self, b::{C, D as E}, f::*}; use super::g;");
        let names: Vec<_> =
            tree.names.iter().map(|(name, path)| format!("{name}={}", path.join("::"))).collect();
        assert_eq!(names, ["a=a", "C=a::b::C", "E=a::b::D", "g=super::g"]);
    }

    #[test]
    fn paths_and_items_are_found() {
        let tree =
            uses("pub fn f<T>() -> a::B { c.d::<E>(); crate::g::h() } static mut X: u8 = 0;");
        let paths: Vec<_> = tree.paths.iter().map(|path| path.join("::")).collect();
        assert_eq!(paths, ["a::B", "crate::g::h"]);
        assert_eq!(tree.items.into_iter().collect::<Vec<_>>(), ["X", "f"]);
    }
}
