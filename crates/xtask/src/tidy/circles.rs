//! Circles of files: files of a crate that use each other, so that none can be understood before the others.
//!
//! Tests do not count, and neither does the list of a module's children: what a file uses is what it
//! names. A name that a module only passes on (`pub use`) leads to the file that has it.

use std::collections::{BTreeMap, BTreeSet};

use super::problem::Problem;
use super::source::Source;
use super::tokens::{Tree, uses};

/// One module of a crate.
struct Module<'a> {
    source: &'a Source,
    tree: Tree,
}

/// The files of circles, circle by circle.
pub(crate) fn circles(sources: &[Source]) -> Vec<Vec<&Source>> {
    let mut crates: BTreeMap<&str, Vec<&Source>> = BTreeMap::new();
    for source in sources.iter().filter(|source| is_module(source)) {
        crates.entry(source.crate_name().unwrap_or_default()).or_default().push(source);
    }
    crates.into_values().flat_map(circles_of_crate).collect()
}

/// Every circle.
pub(crate) fn check(sources: &[Source]) -> Vec<Problem> {
    let problem = |circle: Vec<&Source>| {
        let others = names(&circle[1..]);
        let message = format!("a circle with {others}: let one of them not use the others");
        Problem::new(circle[0], 1, message)
    };
    circles(sources).into_iter().map(problem).collect()
}

/// All circles as text, the largest first.
pub(crate) fn report(sources: &[Source]) -> String {
    let mut circles = circles(sources);
    circles.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
    let lines: Vec<String> =
        circles.iter().map(|circle| format!("{} files: {}", circle.len(), names(circle))).collect();
    if lines.is_empty() { "no circles".to_owned() } else { lines.join("\n") }
}

fn names(circle: &[&Source]) -> String {
    let short = |source: &&Source| source.path.trim_start_matches("crates/").replace("/src/", ":");
    circle.iter().map(short).collect::<Vec<_>>().join(", ")
}

fn is_module(source: &Source) -> bool {
    let in_sources = source.path.split('/').nth(2) == Some("src");
    source.is_rust() && in_sources && !source.is_test_file() && !source.path.ends_with("_tests.rs")
}

/// Where a file stands in its crate: `front/pool/mod.rs` is `front::pool`.
fn module_path(source: &Source) -> Vec<String> {
    let inside = source.path.splitn(4, '/').nth(3).unwrap_or_default();
    let inside = inside.trim_end_matches(".rs");
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    match inside {
        "lib" | "main" => Vec::new(),
        inside => inside.split('/').map(str::to_owned).collect(),
    }
}

fn circles_of_crate(sources: Vec<&Source>) -> Vec<Vec<&Source>> {
    let modules: BTreeMap<Vec<String>, Module<'_>> = sources
        .iter()
        .map(|source| {
            let end = source.tests_start() - 1;
            let code: String =
                source.code.lines().take(end).flat_map(|line| [line, "\n"]).collect();
            (module_path(source), Module { source, tree: uses(&code) })
        })
        .collect();
    let paths: Vec<&Vec<String>> = modules.keys().collect();
    let index: BTreeMap<&Vec<String>, usize> =
        paths.iter().enumerate().map(|(index, path)| (*path, index)).collect();
    let edges: Vec<BTreeSet<usize>> = paths
        .iter()
        .map(|path| {
            let named = &modules[*path].tree.paths;
            let reached = named.iter().filter_map(|named| resolve(&modules, path, named, 0));
            reached.filter(|to| to != *path).map(|to| index[&to]).collect()
        })
        .collect();
    let circles = components(&edges).into_iter().filter(|circle| circle.len() > 1);
    let file = |index: usize| modules[paths[index]].source;
    let mut circles: Vec<Vec<&Source>> =
        circles.map(|circle| circle.into_iter().map(file).collect()).collect();
    for circle in &mut circles {
        circle.sort_by(|one, other| one.path.cmp(&other.path));
    }
    circles
}

/// How often a name is passed on before the search is given up.
const HOPS_MAX: usize = 8;

/// The module that has what a path names, seen from a module of the crate.
fn resolve(
    modules: &BTreeMap<Vec<String>, Module<'_>>,
    from: &[String],
    path: &[String],
    hops: usize,
) -> Option<Vec<String>> {
    if hops > HOPS_MAX {
        return None;
    }
    let (first, mut rest) = path.split_first()?;
    let mut at = from.to_vec();
    match first.as_str() {
        "crate" => at.clear(),
        "self" => {}
        "super" => {
            at.pop()?;
            while let Some((next, behind)) = rest.split_first()
                && next == "super"
            {
                at.pop()?;
                rest = behind;
            }
        }
        name => return step(modules, &at, name, rest, hops),
    }
    match rest.split_first() {
        Some((name, rest)) => step(modules, &at, name, rest, hops).or(Some(at)),
        None => Some(at),
    }
}

/// Goes on from a module by a name in it: a child, something passed on, or an item of its own.
fn step(
    modules: &BTreeMap<Vec<String>, Module<'_>>,
    at: &[String],
    name: &str,
    rest: &[String],
    hops: usize,
) -> Option<Vec<String>> {
    let child = [at, &[name.to_owned()]].concat();
    if modules.contains_key(&child) {
        return match rest.split_first() {
            Some((name, rest)) => step(modules, &child, name, rest, hops).or(Some(child)),
            None => Some(child),
        };
    }
    let tree = &modules.get(at)?.tree;
    if tree.items.contains(name) {
        return Some(at.to_vec());
    }
    let (_, target) = tree.names.iter().find(|(alias, _)| alias == name)?;
    let whole = [&target[..], rest].concat();
    resolve(modules, at, &whole, hops + 1)
}

/// The strongly connected components of a graph.
fn components(edges: &[BTreeSet<usize>]) -> Vec<Vec<usize>> {
    let reachable = |from: usize| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(node) = open.pop() {
            open.extend(edges[node].iter().filter(|next| seen.insert(**next)));
        }
        seen
    };
    let reach: Vec<BTreeSet<usize>> = (0..edges.len()).map(reachable).collect();
    let mut found: Vec<Vec<usize>> = Vec::new();
    for node in 0..edges.len() {
        let is_mate =
            |other: &Vec<usize>| reach[node].contains(&other[0]) && reach[other[0]].contains(&node);
        match found.iter_mut().find(|circle| is_mate(circle)) {
            Some(circle) => circle.push(node),
            None => found.push(vec![node]),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<Source> = files
            .iter()
            .map(|(path, text)| Source::new(&format!("crates/a/src/{path}"), text))
            .collect();
        circles(&sources).iter().map(|circle| names(circle)).collect()
    }

    #[test]
    fn files_that_use_each_other_are_a_circle() {
        let files = [
            ("lib.rs", "mod b; mod c; mod d;"),
            ("b.rs", "use super::c::C; pub struct B;"),
            ("c.rs", "pub struct C; fn f() { crate::d::g() }"),
            ("d.rs", "pub fn g() { let _ = super::b::B; }"),
        ];
        assert_eq!(found(&files), ["a:b.rs, a:c.rs, a:d.rs"]);
    }

    #[test]
    fn a_name_that_is_passed_on_leads_to_the_file_that_has_it() {
        let files = [
            ("lib.rs", "mod b;"),
            ("b/mod.rs", "mod c; mod d; pub use c::C; pub(super) use d::*;"),
            ("b/c.rs", "pub struct C;"),
            ("b/d.rs", "use super::C; pub struct D(C);"),
        ];
        assert_eq!(found(&files), Vec::<String>::new());
    }

    #[test]
    fn a_parent_whose_items_its_children_use_is_in_a_circle_with_them() {
        let files =
            [("b/mod.rs", "mod c; pub struct B; fn f() { c::g() }"), ("b/c.rs", "use super::B;")];
        assert_eq!(found(&files), ["a:b/c.rs, a:b/mod.rs"]);
    }

    #[test]
    fn tests_make_no_circle() {
        let files = [
            ("b.rs", "use crate::c::C;"),
            ("c.rs", "pub struct C;\n#[cfg(test)]\nmod tests {\n use crate::b::B;\n}"),
        ];
        assert_eq!(found(&files), Vec::<String>::new());
    }
}
