//! What nobody uses: dependencies, and public items.

use std::collections::{BTreeMap, BTreeSet};

use super::problem::Problem;
use super::source::Source;
use super::tokens::{is_name, tokens};

/// Dependencies that no code names, and why they are there.
const NAMED_NOWHERE: &[&str] = &[];

/// Public items that nothing here names, and that others do: `(file's end, name)`.
const FOR_OTHERS: &[(&str, &str)] = &[];

/// A dependency that no file of its crate names costs a build and is nobody's.
pub(crate) fn dependencies(sources: &[Source]) -> Vec<Problem> {
    let mut words: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        let known = words.entry(source.crate_name().unwrap_or_default()).or_default();
        known.extend(tokens(&source.code).into_iter().filter(|token| is_name(token)));
    }
    let is_manifest = |source: &&Source| source.path.ends_with("/Cargo.toml");
    let crates = sources.iter().filter(is_manifest).filter(|source| source.crate_name().is_some());
    crates
        .flat_map(|manifest| {
            let used = words.get(manifest.crate_name().unwrap_or_default());
            let is_used = move |name: &String| {
                let name = name.replace('-', "_");
                NAMED_NOWHERE.contains(&&*name) || used.is_some_and(|used| used.contains(&*name))
            };
            let unused =
                super::crates::dependencies(manifest).into_iter().filter(move |it| !is_used(it));
            unused.map(move |name| {
                let line = super::crates::line_of(manifest, &name);
                Problem::new(manifest, line, format!("no code names {name}: take it out"))
            })
        })
        .collect()
}

/// A public item that only its definition and its tests name: the compiler does not see that it is dead.
pub(crate) fn public_items(sources: &[Source]) -> Vec<Problem> {
    let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
    for source in sources.iter().filter(|source| source.is_rust() || source.is_python()) {
        for word in words_of(source) {
            *uses.entry(word).or_default() += 1;
        }
    }
    let in_crates = sources.iter().filter(|source| is_checked(source));
    in_crates
        .flat_map(|source| {
            let dead = definitions(source)
                .into_iter()
                .filter(|(_, name)| uses.get(name).copied().unwrap_or_default() < 2)
                .filter(|(_, name)| {
                    !FOR_OTHERS.iter().any(|(end, it)| source.path.ends_with(end) && it == name)
                });
            dead.map(|(line, name)| {
                let message =
                    format!("nothing but its definition and tests names {name}: take it out");
                Problem::new(source, line, message)
            })
            .collect::<Vec<_>>()
        })
        .collect()
}

fn is_checked(source: &Source) -> bool {
    source.is_rust()
        && source.path.starts_with("crates/")
        && source.path.contains("/src/")
        && !source.path.contains("/testing/")
        && !source.is_test_file()
}

/// The words of a file outside its tests; in imports a name is not used, only brought.
fn words_of(source: &Source) -> Vec<&str> {
    let end = if source.is_test_file() { usize::MAX } else { source.tests_start() - 1 };
    let len = source.code.lines().take(end).map(|line| line.len() + 1).sum::<usize>();
    let code = &source.code[..len.min(source.code.len())];
    let (mut words, mut in_import) = (Vec::new(), false);
    for token in tokens(code) {
        in_import = (in_import || (token == "use" && source.is_rust())) && token != ";";
        if !in_import && is_name(token) {
            words.push(token);
        }
    }
    words
}

/// `pub` items: the line and the name. `pub(crate)` and narrower is the compiler's to watch.
fn definitions(source: &Source) -> Vec<(usize, &str)> {
    const KEYWORDS: &[&str] = &["fn", "struct", "enum", "const", "static", "type", "trait"];
    let lines = source.code.lines().enumerate().take(source.tests_start() - 1);
    lines
        .filter_map(|(index, line)| {
            let rest = line.trim_start().strip_prefix("pub ")?;
            let mut words = tokens(rest)
                .into_iter()
                .filter(|word| !["unsafe", "async", "extern", "mut"].contains(word));
            let keyword = words.next().filter(|word| KEYWORDS.contains(word))?;
            let next = words.next()?;
            let name = if keyword == "const" && next == "fn" { words.next()? } else { next };
            is_name(name).then_some((index + 1, name))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_that_no_code_names_is_found() {
        let manifest = "[dependencies]\nused-one = \"1\"\nunused = \"1\"\n";
        let sources = [
            Source::new("crates/a/Cargo.toml", manifest),
            Source::new("crates/a/src/lib.rs", "use used_one::X; // unused\n"),
            Source::new("crates/b/src/lib.rs", "use unused::X;\n"),
        ];
        let found = dependencies(&sources);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 3);
    }

    #[test]
    fn a_public_item_that_only_tests_and_imports_name_is_found() {
        let sources = [
            Source::new(
                "crates/a/src/b.rs",
                "pub fn dead() {}\npub const fn live() {}\npub struct Live;\nfn f(_: Live) { live() }\n\
                 #[cfg(test)]\nmod tests {\n    fn t() { dead() }\n}\n",
            ),
            Source::new("crates/a/src/lib.rs", "pub use b::{dead, live};\n"),
        ];
        let found = public_items(&sources);
        assert_eq!(found.len(), 1);
        assert!(found[0].message.contains("dead"));
    }
}
