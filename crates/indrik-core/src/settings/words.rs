//! A line of text as words, the way a shell reads it: for `GUNICORN_CMD_ARGS` and for lists in
//! environment variables.

/// A quote was opened and not closed, or a backslash ends the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished;

/// Splits `text` at white space. Quotes keep it together; inside `"…"` a backslash escapes `"` and
/// `\`, outside quotes it escapes anything. Nothing is expanded.
///
/// # Errors
/// [`Unfinished`] when a quote or an escape is left open.
pub fn split(text: &str) -> Result<Vec<String>, Unfinished> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char.is_whitespace() {
            words.extend(word.take());
            continue;
        }
        // An empty pair of quotes is a word, so the word begins before anything is added to it.
        let word = word.get_or_insert_default();
        match char {
            '\'' => single_quoted(&mut chars, word)?,
            '"' => double_quoted(&mut chars, word)?,
            '\\' => word.push(chars.next().ok_or(Unfinished)?),
            _ => word.push(char),
        }
    }
    words.extend(word);
    Ok(words)
}

fn single_quoted(chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), Unfinished> {
    loop {
        match chars.next().ok_or(Unfinished)? {
            '\'' => return Ok(()),
            char => word.push(char),
        }
    }
}

fn double_quoted(chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), Unfinished> {
    loop {
        match chars.next().ok_or(Unfinished)? {
            '"' => return Ok(()),
            '\\' => match chars.next().ok_or(Unfinished)? {
                char @ ('"' | '\\') => word.push(char),
                char => word.extend(['\\', char]),
            },
            char => word.push(char),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quotes_keep_words_together() {
        let words = split(r#"-b :80  -e 'A=b c' --name "a \"b\" \n" x\ y '' "#);
        let expected = ["-b", ":80", "-e", "A=b c", "--name", r#"a "b" \n"#, "x y", ""];
        assert_eq!(words, Ok(expected.map(str::to_owned).to_vec()));
    }

    #[test]
    fn an_open_quote_is_an_error() {
        for text in ["'a", "\"a", "a\\", "\"a\\"] {
            assert_eq!(split(text), Err(Unfinished), "{text}");
        }
    }

    proptest! {
        #[test]
        fn quoted_words_come_back_as_they_were(words in prop::collection::vec("[^']*", 0..8)) {
            let line = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(split(&line), Ok(words));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = split(&text);
        }
    }
}
