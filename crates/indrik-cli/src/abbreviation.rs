//! Shortened long flags, written out before the command line is parsed.
//!
//! What is short for one flag of Gunicorn stays short for it: a flag that only Indrik has never makes
//! it ambiguous.

use indrik_core::settings::{Problem, SETTINGS, Setting};

use crate::foreign;

/// Flags that belong to no setting.
const OTHERS: [&str; 2] = ["--help", "--version"];

/// A flag, and the setting it stands for.
type Flag = (&'static str, Option<&'static Setting>);

/// Writes out every shortened flag up to a `--`.
///
/// # Errors
/// When a flag is short for several.
pub(crate) fn expand(words: impl Iterator<Item = String>) -> Result<Vec<String>, Problem> {
    let mut flags_end = false;
    words
        .map(|word| {
            flags_end |= word == "--";
            if flags_end || !word.starts_with("--") { Ok(word) } else { expand_one(word) }
        })
        .collect()
}

fn expand_one(word: String) -> Result<String, Problem> {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word.as_str(), None),
    };
    if all().any(|(flag, _)| flag == name) {
        return Ok(word);
    }
    // Another server's flag is not short for one of ours.
    if foreign::hint(name).is_some() {
        return Ok(word);
    }
    let fitting: Vec<Flag> = all().filter(|(flag, _)| flag.starts_with(name)).collect();
    let gunicorns: Vec<Flag> = fitting
        .iter()
        .filter(|(_, setting)| setting.is_none_or(|setting| setting.gunicorn))
        .copied()
        .collect();
    let fitting = if gunicorns.is_empty() { fitting } else { gunicorns };
    let Some((flag, setting)) = fitting.first() else { return Ok(word) };
    if fitting.iter().any(|(_, other)| name_of(*other) != name_of(*setting)) {
        return Err(ambiguous(name, &fitting));
    }
    Ok(match value {
        Some(value) => format!("{flag}={value}"),
        None => (*flag).to_owned(),
    })
}

fn name_of(setting: Option<&Setting>) -> Option<&str> {
    setting.map(|setting| setting.name)
}

fn all() -> impl Iterator<Item = Flag> {
    let of_settings = SETTINGS
        .iter()
        .flat_map(|setting| setting.flags.iter().map(move |flag| (*flag, Some(setting))));
    of_settings.chain(OTHERS.map(|flag| (flag, None))).filter(|(flag, _)| flag.starts_with("--"))
}

fn ambiguous(name: &str, fitting: &[Flag]) -> Problem {
    let flags: Vec<&str> = fitting.iter().map(|(flag, _)| *flag).collect();
    Problem {
        what: format!("ambiguous option: {name} could match {}", flags.join(", ")),
        place: None,
        hint: Some("write the flag in full".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(line: &str) -> String {
        let words = expand(line.split(' ').map(str::to_owned));
        words.map_or_else(|problem| problem.to_string(), |words| words.join(" "))
    }

    #[test]
    fn a_flag_may_be_shortened_as_long_as_one_setting_fits() {
        assert_eq!(expanded("--worker-cl gevent -w 2"), "--worker-class gevent -w 2");
        assert_eq!(expanded("--worker-cl=gevent"), "--worker-class=gevent");
        assert_eq!(expanded("--pre --nope -- --pre"), "--preload --nope -- --pre");
        assert_eq!(
            expanded("--max-re 3"),
            "ambiguous option: --max-re could match --max-requests, --max-requests-jitter\n  \
             hint: write the flag in full"
        );
        assert!(expanded("--past x").starts_with("ambiguous option: --past could match --paste, "));
    }

    #[test]
    fn a_flag_in_full_is_itself_also_when_it_begins_another() {
        assert_eq!(
            expanded("--reload --paste x --log-config y"),
            "--reload --paste x --log-config y"
        );
    }

    #[test]
    fn flags_of_our_own_take_no_abbreviation_from_gunicorns() {
        assert_eq!(expanded("--log-f -"), "--log-file -");
        assert_eq!(expanded("--header drop"), "--header-map drop");
        assert_eq!(expanded("--queue-r 5"), "--queue-requests-max 5");
    }

    #[test]
    fn two_spellings_of_one_setting_are_one() {
        assert_eq!(expanded("--error x"), "--error-logfile x");
        assert_eq!(expanded("--limit-request-field-"), "--limit-request-field-size");
        assert!(expanded("--limit-request-field").starts_with("ambiguous option"));
    }
}
