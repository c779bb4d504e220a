//! Foreign text on a terminal: it moves no cursor, turns no direction, hides nothing, and takes the columns that it is
//! given.

/// The text in at most so many columns, cut with `…`; every character that is not simply shown is escaped.
#[must_use]
pub fn fitted(text: &str, columns: usize) -> String {
    let safe = safe(text);
    if width(&safe) <= columns {
        return safe;
    }
    let (mut cut, mut used) = (String::new(), 0);
    for character in safe.chars() {
        used += columns_of(character);
        if used + 1 > columns {
            break;
        }
        cut.push(character);
    }
    if columns > 0 {
        cut.push('…');
    }
    cut
}

/// The same, filled with spaces to exactly so many columns.
#[must_use]
pub fn padded(text: &str, columns: usize) -> String {
    let mut fitted = fitted(text, columns);
    fitted.extend(std::iter::repeat_n(' ', columns.saturating_sub(width(&fitted))));
    fitted
}

/// The text with everything escaped that is not simply shown.
#[must_use]
pub fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' | '\n' => out.push(' '),
            _ if is_hidden(character) => out.extend(character.escape_unicode()),
            _ => out.push(character),
        }
    }
    out
}

/// The columns that a text without hidden characters takes.
#[must_use]
pub fn width(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// Controls, and what turns or hides text: of Unicode's format characters those that are in use.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
        // Marks that stand above and below what is before them pile up.
        || matches!(character,
            '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
            | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// Two for East Asian wide characters and emoji.
fn columns_of(character: char) -> usize {
    let is_wide = matches!(character,
        '\u{1100}'..='\u{115f}' | '\u{231a}'..='\u{231b}' | '\u{2329}'..='\u{232a}' | '\u{23e9}'..='\u{23ec}'
        | '\u{2e80}'..='\u{303e}' | '\u{3041}'..='\u{33ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{a000}'..='\u{a4cf}' | '\u{a960}'..='\u{a97f}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}' | '\u{1f680}'..='\u{1f6ff}' | '\u{1f900}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}');
    if is_wide { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_moves_the_cursor_turns_the_text_or_hides_in_it() {
        assert_eq!(safe("a\u{1b}[2Jb\r\nc"), "a\\u{1b}[2Jb\\u{d} c");
        assert_eq!(safe("/\u{202e}gnp.exe\u{200b}"), "/\\u{202e}gnp.exe\\u{200b}");
        assert_eq!(safe("e\u{301}"), "e\\u{301}");
        assert_eq!(safe("/käse/日本"), "/käse/日本");
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(padded("日本語", 5), "日本…");
        assert_eq!(padded("日本語", 4), "日… ");
        assert_eq!(padded("ab", 4), "ab  ");
        assert_eq!(fitted("abc", 0), "");
    }

    proptest! {
        #[test]
        fn whatever_the_text_it_takes_exactly_its_columns(text in ".*", columns in 0usize..60) {
            prop_assert_eq!(width(&padded(&text, columns)), columns);
        }
    }
}
