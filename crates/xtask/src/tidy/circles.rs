//! Circles of files: files of a crate that use each other, so that none can be understood before the others.
//!
//! A file uses another whose items it names, or whose methods it calls: one type's methods may stand in several
//! files, and a reader has to know all of those that call each other. Tests do not count, and neither does the
//! list of a module's children. A name that a module only passes on (`pub use`) leads to the file that has it.

use std::collections::{BTreeMap, BTreeSet};

use super::methods::{Call, Methods, methods};
use super::problem::Problem;
use super::source::Source;
use super::tokens::{Tree, uses};

/// Files that are in a circle yet. This list is there to become empty.
const STILL_IN_CIRCLES: &[&str] = &[];

/// One module of a crate.
struct Module<'a> {
    source: &'a Source,
    tree: Tree,
    methods: Methods,
}

/// Files that use each other.
pub(crate) struct Circle<'a> {
    pub(crate) files: Vec<&'a Source>,
    /// Who uses whom by which methods.
    calls: Vec<String>,
}

/// All circles.
pub(crate) fn circles(sources: &[Source]) -> Vec<Circle<'_>> {
    let mut crates: BTreeMap<&str, Vec<&Source>> = BTreeMap::new();
    for source in sources.iter().filter(|source| is_module(source)) {
        crates.entry(source.crate_name().unwrap_or_default()).or_default().push(source);
    }
    let names = |sources: &[&Source]| -> BTreeSet<String> {
        let methods = sources.iter().map(|source| methods(&code_of(source)));
        methods.flat_map(|it| it.inherent.into_iter().map(|(_, name)| name)).collect()
    };
    let names: BTreeMap<&str, BTreeSet<String>> =
        crates.iter().map(|(name, sources)| (*name, names(sources))).collect();
    let circles = crates.into_iter().flat_map(|(name, sources)| {
        let others = names.iter().filter(|(other, _)| **other != name);
        circles_of_crate(&sources, &others.flat_map(|(_, names)| names).collect())
    });
    circles.collect()
}

/// What a file has besides its tests.
fn code_of(source: &Source) -> String {
    let end = source.tests_start() - 1;
    source.code.lines().take(end).flat_map(|line| [line, "\n"]).collect()
}

/// Every circle that is not one of the known ones, and of those every file that is in none any more.
pub(crate) fn check(sources: &[Source]) -> Vec<Problem> {
    let circles = circles(sources);
    let is_known = |file: &&Source| STILL_IN_CIRCLES.contains(&file.path.as_str());
    let new = circles.iter().filter(|circle| !circle.files.iter().all(is_known)).map(|circle| {
        let others = names(&circle.files[1..]);
        let message = format!(
            "a circle with {others}: let one of them not use the others (cargo xtask circles says by what)"
        );
        Problem::new(circle.files[0], 1, message)
    });
    let in_circle = |file: &Source| {
        circles.iter().any(|circle| circle.files.iter().any(|it| it.path == file.path))
    };
    let freed = sources
        .iter()
        .filter(|file| is_known(file) && !in_circle(file))
        .map(|file| Problem::new(file, 1, "in no circle any more: take it off STILL_IN_CIRCLES"));
    new.chain(freed).collect()
}

/// All circles as text, the largest first, with the calls that close them.
pub(crate) fn report(sources: &[Source]) -> String {
    let mut circles = circles(sources);
    circles.sort_by_key(|circle| std::cmp::Reverse(circle.files.len()));
    let lines: Vec<String> = circles
        .iter()
        .flat_map(|circle| {
            let head = format!("{} files: {}", circle.files.len(), names(&circle.files));
            std::iter::once(head).chain(circle.calls.iter().map(|call| format!("  {call}")))
        })
        .collect();
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

/// `foreign`: methods of other crates.
fn circles_of_crate<'a>(sources: &[&'a Source], foreign: &BTreeSet<&String>) -> Vec<Circle<'a>> {
    let modules: BTreeMap<Vec<String>, Module<'_>> = sources
        .iter()
        .map(|source| {
            let code = code_of(source);
            (module_path(source), Module { source, tree: uses(&code), methods: methods(&code) })
        })
        .collect();
    let paths: Vec<&Vec<String>> = modules.keys().collect();
    let index: BTreeMap<&Vec<String>, usize> =
        paths.iter().enumerate().map(|(index, path)| (*path, index)).collect();
    let owners = Owners::of(&modules, foreign);
    // By what methods each file uses each other one; by none where it only names it.
    let edges: Vec<BTreeMap<usize, BTreeSet<String>>> = paths
        .iter()
        .map(|path| {
            let module = &modules[*path];
            let named = module.tree.paths.iter();
            let named = named.filter_map(|named| Some((resolve(&modules, path, named, 0)?, None)));
            let called = module.methods.calls.iter();
            let called =
                called.filter_map(|call| Some((owners.file(&modules, path, call)?, Some(call))));
            let mut uses: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
            for (to, call) in named.chain(called).filter(|(to, _)| to != *path) {
                let methods = uses.entry(index[&to]).or_default();
                methods.extend(call.map(|call| call.name.clone()));
            }
            uses
        })
        .collect();
    let graph: Vec<BTreeSet<usize>> =
        edges.iter().map(|uses| uses.keys().copied().collect()).collect();
    let file = |index: usize| modules[paths[index]].source;
    let circles = components(&graph).into_iter().filter(|circle| circle.len() > 1);
    circles
        .map(|circle| {
            let mut files: Vec<&Source> = circle.iter().map(|index| file(*index)).collect();
            files.sort_by(|one, other| one.path.cmp(&other.path));
            let inside = |from: usize| {
                let uses = edges[from].iter().filter(|(to, _)| circle.contains(to));
                uses.map(move |(to, methods)| {
                    let by: Vec<&str> = methods.iter().map(String::as_str).collect();
                    let by = if by.is_empty() { "what it names".to_owned() } else { by.join(", ") };
                    format!("{} uses {}: {by}", names(&[file(from)]), names(&[file(*to)]))
                })
            };
            let calls = circle.iter().flat_map(|from| inside(*from)).collect();
            Circle { files, calls }
        })
        .collect()
}

/// A type: the module that defines it, and its name.
type Type = (Vec<String>, String);

/// Where the methods of a crate's spread types are: those with inherent blocks in several files.
#[derive(Default)]
struct Owners<'a> {
    files: BTreeMap<(Type, &'a str), Vec<String>>,
    /// By name, where no other type and no trait has one of that name: the file, and the folder in which all methods
    /// of the type stand. Outside of it the name is likely to be a foreign type's.
    by_name: BTreeMap<&'a str, (Vec<String>, Vec<String>)>,
}

impl<'a> Owners<'a> {
    fn of(modules: &'a BTreeMap<Vec<String>, Module<'_>>, foreign: &BTreeSet<&String>) -> Self {
        let mut blocks: BTreeMap<Type, BTreeSet<&[String]>> = BTreeMap::new();
        let mut types: BTreeMap<&str, BTreeSet<Type>> = BTreeMap::new();
        let mut files = BTreeMap::new();
        for (path, module) in modules {
            for (of, name) in &module.methods.inherent {
                let of = type_of(modules, path, of);
                blocks.entry(of.clone()).or_default().insert(path);
                types.entry(name).or_default().insert(of.clone());
                files.insert((of, name.as_str()), path.clone());
            }
        }
        files.retain(|(of, _), _| blocks[of].len() > 1);
        let of_traits: BTreeSet<&str> = modules
            .values()
            .flat_map(|module| module.methods.of_traits.iter().map(String::as_str))
            .collect();
        let by_name = files
            .iter()
            .filter(|((_, name), _)| types[name].len() == 1 && !of_traits.contains(name))
            .filter(|((_, name), _)| !foreign.iter().any(|foreign| foreign == name))
            .map(|((of, name), file)| (*name, (file.clone(), folder(&blocks[of]))))
            .collect();
        Self { files, by_name }
    }

    /// The file whose method a module calls, if that can be told.
    fn file(
        &self,
        modules: &BTreeMap<Vec<String>, Module<'_>>,
        from: &[String],
        call: &Call,
    ) -> Option<Vec<String>> {
        let name = call.name.as_str();
        if let Some(of) = &call.of {
            return self.files.get(&(type_of(modules, from, of), name)).cloned();
        }
        let (file, folder) = self.by_name.get(name)?;
        from.starts_with(folder).then(|| file.clone())
    }
}

/// The type that a module means by a name.
fn type_of(modules: &BTreeMap<Vec<String>, Module<'_>>, from: &[String], name: &str) -> Type {
    let module = step(modules, from, name, &[], 0);
    (module.unwrap_or_else(|| from.to_vec()), name.to_owned())
}

/// What the paths of all files begin with.
fn folder(files: &BTreeSet<&[String]>) -> Vec<String> {
    let (Some(first), Some(last)) = (files.first(), files.last()) else { return Vec::new() };
    first.iter().zip(*last).take_while(|(one, other)| one == other).map(|it| it.0.clone()).collect()
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
        circles(&sources).iter().map(|circle| names(&circle.files)).collect()
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
    fn methods_of_one_type_that_call_each_other_across_files_are_a_circle() {
        let files = [
            ("a.rs", "pub struct A; impl A { pub fn a(&self) {} }"),
            ("b.rs", "use crate::a::A; impl A { pub fn b(&self) { self.c(); self.a() } }"),
            (
                "c.rs",
                "use crate::a::A; impl A { pub fn c(&self) { self.a() } fn d(&self) { self.b() } }",
            ),
        ];
        assert_eq!(found(&files), ["a:b.rs, a:c.rs"]);
    }

    #[test]
    fn a_method_that_several_types_or_a_trait_have_leads_nowhere() {
        let files = [
            ("a.rs", "use crate::c::D; impl A { fn go(&self) {} fn run(&self) {} }"),
            ("b.rs", "impl B { fn go(&self) {} } impl T for B { fn run(&self) {} }"),
            ("c.rs", "pub struct D; fn f(x: X) { x.go(); x.run() }"),
        ];
        assert_eq!(found(&files), Vec::<String>::new());
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
