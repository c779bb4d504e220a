//! Rules on the crates: which may depend on which, and what the pure core may never reach.

use super::problem::Problem;
use super::source::Source;

/// Who may use whom, of ours. A crate that is not named here may use nothing of ours.
const ARROWS: &[(&str, &[&str])] = &[
    ("indrik-cli", &["indrik-server", "indrik-core", "indrik-sys"]),
    ("indrik-server", &["indrik-core", "indrik-ring", "indrik-sys"]),
    ("indrik-native", &["indrik-ring", "indrik-core", "indrik-cli", "indrik-sys"]),
    ("xtask", &["indrik-core"]),
];

/// What reaches the world: files, sockets, clocks, threads, chance.
const IMPURE: &[&str] = &["tokio", "libc", "rustix", "socket2", "hyper", "rand", "getrandom"];

const TABLES: &[&str] = &["dependencies", "dev-dependencies", "build-dependencies"];

/// An arrow that is not in the table would join what a crate boundary keeps apart.
pub(crate) fn arrows(source: &Source) -> Vec<Problem> {
    let Some(name) = manifest_of(source) else { return Vec::new() };
    let allowed = ARROWS.iter().find(|(from, _)| *from == name).map_or(&[][..], |(_, to)| *to);
    dependencies(source)
        .into_iter()
        .filter(|to| to.starts_with("indrik-") && !allowed.contains(&to.as_str()))
        .map(|to| {
            let message =
                format!("{name} may not depend on {to}: see the arrows in ARCHITECTURE.md");
            Problem::new(source, line_of(source, &to), message)
        })
        .collect()
}

/// The core decides and nothing else; what it needs to know comes in as a parameter.
pub(crate) fn forbidden_in_core(source: &Source) -> Vec<Problem> {
    if manifest_of(source) != Some("indrik-core") {
        return Vec::new();
    }
    dependencies(source)
        .into_iter()
        .filter(|to| IMPURE.contains(&to.as_str()))
        .map(|to| {
            let message =
                format!("indrik-core is pure and may not use {to}: pass in what it reads");
            Problem::new(source, line_of(source, &to), message)
        })
        .collect()
}

fn manifest_of(source: &Source) -> Option<&str> {
    let name = source.crate_name()?;
    (source.path == format!("crates/{name}/Cargo.toml")).then_some(name)
}

pub(super) fn dependencies(source: &Source) -> Vec<String> {
    let Ok(manifest) = source.text.parse::<toml::Table>() else { return Vec::new() };
    let mut names: Vec<String> = Vec::new();
    for table in TABLES {
        names.extend(keys(manifest.get(*table)));
        let targets = manifest.get("target").and_then(toml::Value::as_table);
        for target in targets.into_iter().flat_map(toml::Table::values) {
            names.extend(keys(target.get(table)));
        }
    }
    names.sort();
    names.dedup();
    names
}

fn keys(table: Option<&toml::Value>) -> Vec<String> {
    let table = table.and_then(toml::Value::as_table);
    table.map_or_else(Vec::new, |table| table.keys().cloned().collect())
}

pub(super) fn line_of(source: &Source, dependency: &str) -> usize {
    source.text.lines().position(|line| line.starts_with(dependency)).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str, dependency: &str) -> Source {
        let text = format!("[package]\nname = \"{name}\"\n[dependencies]\n{dependency} = \"1\"\n");
        Source::new(&format!("crates/{name}/Cargo.toml"), &text)
    }

    #[test]
    fn an_arrow_against_the_table_is_reported() {
        assert_eq!(arrows(&manifest("indrik-core", "indrik-sys"))[0].line, 4);
        assert_eq!(arrows(&manifest("indrik-ring", "indrik-core")).len(), 1);
        assert!(arrows(&manifest("indrik-server", "indrik-ring")).is_empty());
        assert!(arrows(&manifest("indrik-server", "bytes")).is_empty());
    }

    #[test]
    fn dependencies_for_one_target_count_too() {
        let text = "[target.'cfg(loom)'.dependencies]\nindrik-sys = \"1\"\n";
        assert_eq!(arrows(&Source::new("crates/indrik-ring/Cargo.toml", text)).len(), 1);
    }

    #[test]
    fn the_core_may_not_reach_the_world() {
        assert_eq!(forbidden_in_core(&manifest("indrik-core", "tokio")).len(), 1);
        assert!(forbidden_in_core(&manifest("indrik-core", "serde")).is_empty());
        assert!(forbidden_in_core(&manifest("indrik-server", "tokio")).is_empty());
    }
}
