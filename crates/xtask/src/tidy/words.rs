//! Rules on the words of comments, as far as they can be looked for.

use super::problem::Problem;
use super::source::Source;

/// What a comment must not say, and what to write instead. Spelled in two parts, so that this file does
/// not break its own rules.
const AVOIDED: &[(&str, &str)] = &[
    (concat!("DES", "IGN section"), "that document is not in the repository: say what it says"),
    (concat!("DES", "IGN.md"), "that document is not in the repository: say what it says"),
    (concat!("answers", " whether"), "write \"returns whether\""),
    (concat!("answer", " whether"), "write \"return whether\""),
];

/// Comments that say nothing: the whole of one.
const EMPTY: &[&str] =
    &[concat!("/// Wh", "ich."), concat!("/// Wh", "o."), concat!("/// Wh", "at.")];

/// A comment that a reader from elsewhere understands at the first reading.
pub(crate) fn of_comments(source: &Source) -> Vec<Problem> {
    if !source.is_rust() && !source.is_python() {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        let found = AVOIDED.iter().filter(|(words, _)| line.contains(words));
        let messages = found.map(|(words, instead)| format!("`{words}`: {instead}"));
        let empty = EMPTY.iter().filter(|comment| line.trim() == **comment);
        let says_nothing = empty.map(|comment| format!("`{comment}`: say what it is"));
        let all = messages.chain(says_nothing);
        problems.extend(all.map(|message| Problem::new(source, index + 1, message)));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_say_nothing_or_lead_nowhere_are_found() {
        let text = concat!(
            "//! A (DES",
            "IGN section 2).\n/// Answers",
            " it.\n    /// Wh",
            "ich.\n",
            "/// Takes it; answers",
            " whether it is there.\n/// Which of them.\n"
        );
        let lines: Vec<usize> =
            of_comments(&Source::new("a.rs", text)).iter().map(|it| it.line).collect();
        assert_eq!(lines, [1, 3, 4]);
    }
}
