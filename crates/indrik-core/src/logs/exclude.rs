//! Which requests the access log leaves out: `access_log_exclude`.

/// Paths to leave out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exclude(Vec<Pattern>);

/// A path, cut at its stars. One without a star is one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern(Vec<Vec<u8>>);

impl Exclude {
    /// Patterns as in the setting: a path, where `*` stands for any characters.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Self {
        let pieces = |text: &str| text.split('*').map(|piece| piece.as_bytes().to_vec()).collect();
        Self(patterns.into_iter().map(|text| Pattern(pieces(text.as_ref()))).collect())
    }

    /// Whether requests for `path` (as sent, without the query) are left out.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(path.as_bytes()))
    }
}

impl Pattern {
    fn matches(&self, path: &[u8]) -> bool {
        let [first, middle @ .., last] = &self.0[..] else {
            return self.0.first().is_some_and(|only| only == path);
        };
        let Some(mut rest) = path.strip_prefix(&first[..]) else { return false };
        // The leftmost place of each piece leaves the most for the next ones.
        for piece in middle {
            match memchr::memmem::find(rest, piece) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}
