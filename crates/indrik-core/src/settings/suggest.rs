//! "Did you mean": the known word that is nearest to a misspelt one.

/// How alike two words must be, from 0 to 1. Below this a suggestion confuses more than it helps.
const LIKENESS_MIN: f64 = 0.7;

/// The candidate most like `word`, letter case aside, if any is like enough.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    nearest_above(LIKENESS_MIN, word, candidates)
}

/// The same with another threshold, for places where most unknown words are no mistakes.
pub(super) fn nearest_above<'a>(
    likeness_min: f64,
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    candidates
        .map(|candidate| (likeness(&word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= likeness_min)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// The share of letters that need not change. A word that begins another one is like it.
fn likeness(word: &str, candidate: &str) -> f64 {
    let candidate = candidate.to_ascii_lowercase();
    let likeness = strsim::normalized_damerau_levenshtein(word, &candidate);
    let long_enough = word.len() >= 4;
    if long_enough && candidate.starts_with(word) { likeness.max(LIKENESS_MIN) } else { likeness }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_finds_the_right_one() {
        let words = ["workers", "worker_class", "timeout"];
        assert_eq!(nearest("wokrers", words.into_iter()), Some("workers"));
        assert_eq!(nearest("WORKERS", words.into_iter()), Some("workers"));
        assert_eq!(nearest("time", words.into_iter()), Some("timeout"));
    }

    #[test]
    fn a_word_unlike_all_others_finds_nothing() {
        assert_eq!(nearest("colour", ["workers", "timeout"].into_iter()), None);
        assert_eq!(nearest("", ["workers"].into_iter()), None);
    }
}
