//! What stands behind the question mark of a target.

/// The longest query that is read.
pub const QUERY_BYTES_MAX: usize = 4096;

/// The names and values of a query, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// When it is too long, or says no text: what is wrong, in one line.
    pub fn read(query: &str) -> Result<Self, String> {
        if query.len() > QUERY_BYTES_MAX {
            return Err(format!(
                "the query has {} bytes, and {QUERY_BYTES_MAX} are the most",
                query.len()
            ));
        }
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        pairs.collect::<Result<_, String>>().map(Self)
    }

    /// The value of a name; of several, the last.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A whole number.
    ///
    /// # Errors
    /// When it is none.
    pub fn number(&self, name: &str) -> Result<Option<u64>, String> {
        self.get(name)
            .map(|text| text.parse().map_err(|_| format!("{name} must be a whole number")))
            .transpose()
    }

    /// Refuses names that are not known: a misspelt one would be without effect.
    ///
    /// # Errors
    /// With the first name that nobody knows, and those that are known.
    pub fn only(&self, known: &[&str]) -> Result<(), String> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().take(40).flat_map(char::escape_default).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                Err(format!("the parameter '{name}' is not known; known here: {known}"))
            }
        }
    }
}

fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                match (digit(rest.next()), digit(rest.next())) {
                    (Some(high), Some(low)) => u8::try_from(high * 16 + low).unwrap_or(0),
                    _ => return Err("a % in the query is not followed by two digits".to_owned()),
                }
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| "the query is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded_and_the_last_of_several_counts() {
        let query = Query::read("a=1&b=x%20y+z&a=2&c&=d&").unwrap();
        assert_eq!((query.get("a"), query.get("b")), (Some("2"), Some("x y z")));
        assert_eq!((query.get("c"), query.get("e")), (Some(""), None));
        assert_eq!(query.number("a"), Ok(Some(2)));
        assert!(query.number("b").is_err());
    }

    #[test]
    fn what_is_no_text_or_too_long_or_unknown_is_refused() {
        assert!(Query::read("a=%").is_err() && Query::read("a=%4").is_err());
        assert!(Query::read("a=%ff").is_err());
        assert!(Query::read(&"a".repeat(QUERY_BYTES_MAX + 1)).is_err());
        let query = Query::read("format=csv&evil%1b=1").unwrap();
        assert!(query.only(&["format"]).unwrap_err().contains("evil\\u{1b}"));
        assert!(query.only(&["format", "evil\x1b"]).is_ok());
    }
}
