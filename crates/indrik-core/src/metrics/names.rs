//! Names that every scraper reads, and the names under which a family's samples go out.

use super::family::{Family, Kind};

/// Whether a metric may be called so in every format.
#[must_use]
pub fn is_name(name: &str) -> bool {
    is_made_of(name, |byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b':'))
}

/// Whether a label may. Names that begin with two underscores are the scraper's own.
pub(super) fn is_label(name: &str) -> bool {
    is_made_of(name, |byte| byte.is_ascii_alphabetic() || byte == b'_') && !name.starts_with("__")
}

fn is_made_of(name: &str, begins: impl Fn(u8) -> bool) -> bool {
    let bytes = name.as_bytes();
    bytes.first().is_some_and(|first| begins(*first))
        && bytes.iter().all(|byte| begins(*byte) || byte.is_ascii_digit())
}

/// What is put behind a family's name for each kind of its samples.
pub(super) const fn suffixes(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Counter => &["_total"],
        Kind::Gauge | Kind::Unknown => &[""],
        Kind::Histogram => &["_bucket", "_count", "_sum"],
        Kind::Summary => &["_count", "_sum"],
        Kind::Info => &["_info"],
    }
}

/// Every name that a family takes for itself: no other may have one of them.
pub(super) fn taken(family: &Family) -> Vec<String> {
    let mut names = vec![family.name.to_string()];
    let own = suffixes(family.kind).iter().filter(|suffix| !suffix.is_empty());
    names.extend(own.map(|suffix| format!("{}{suffix}", family.name)));
    // OpenMetrics has the time of their begin under this name, whether it is told or not.
    if matches!(family.kind, Kind::Counter | Kind::Histogram | Kind::Summary) {
        names.push(format!("{}_created", family.name));
    }
    names
}

/// The name of a family of one number in formats that know no suffixes apart from names.
pub(super) fn whole(family: &Family) -> String {
    match family.kind {
        Kind::Counter => format!("{}_total", family.name),
        Kind::Info => format!("{}_info", family.name),
        Kind::Gauge | Kind::Histogram | Kind::Summary | Kind::Unknown => family.name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_every_scraper_reads() {
        for name in ["a", "a_b", "a:b", "_a", "A9"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "9a", "a-b", "a b", "ä", "a\n"] {
            assert!(!is_name(name), "{name:?}");
        }
        assert!(is_label("le") && !is_label("__name__") && !is_label("a:b") && !is_label(""));
    }
}
