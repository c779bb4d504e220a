//! The file of tokens: `NAME SCOPE sha256:HEX` in each line. What it holds are digests, so that reading it gives nobody a
//! token.
//!
//! A token is 32 random bytes: too many to be guessed from its digest, so one round of SHA-256 is enough.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::access::Scope;

/// Tokens in a file.
pub const TOKENS_MAX: usize = 256;
/// The longest token that is looked at.
pub const TOKEN_BYTES_MAX: usize = 512;
/// Characters of a name.
const NAME_CHARS_MAX: usize = 64;
const PREFIX: &str = "sha256:";

/// One token, as the file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    name: String,
    scope: Scope,
    digest: [u8; 32],
}

/// All tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens(Vec<Token>);

impl Tokens {
    /// Reads a file's text. Empty lines and those that begin with `#` count for nothing.
    ///
    /// # Errors
    /// The first line that cannot be read, with what it should be.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut tokens: Vec<Token> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let token = token(line).map_err(|why| format!("line {number}: {why}"))?;
            if tokens.iter().any(|other| other.name == token.name) {
                return Err(format!("line {number}: the name {} is there twice", token.name));
            }
            if tokens.len() == TOKENS_MAX {
                return Err(format!("line {number}: more than {TOKENS_MAX} tokens"));
            }
            tokens.push(token);
        }
        Ok(Self(tokens))
    }

    /// Whose token this is. Every line is looked at, in the same time, whether one fits or not.
    #[must_use]
    pub fn whose(&self, token: &str) -> Option<(&str, Scope)> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let mut found = None;
        for token in &self.0 {
            if bool::from(token.digest.ct_eq(&digest)) {
                found = Some(token);
            }
        }
        found.map(|token| (token.name.as_str(), token.scope))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The line of the file for a token.
///
/// # Errors
/// When the name cannot be one.
pub fn line(name: &str, scope: Scope, token: &str) -> Result<String, String> {
    check_name(name)?;
    let digest = Sha256::digest(token.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{name} {} {PREFIX}{hex}", scope.word()))
}

fn token(line: &str) -> Result<Token, String> {
    const FORM: &str = "a line is NAME SCOPE sha256:HEX; `indrik token new NAME` makes one";
    let mut words = line.split_whitespace();
    let (Some(name), Some(scope), Some(digest), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(FORM.to_owned());
    };
    check_name(name)?;
    let scope = Scope::named(scope).ok_or("the scope is read or operate")?;
    let digest = digest.strip_prefix(PREFIX).and_then(bytes).ok_or(FORM)?;
    Ok(Token { name: name.to_owned(), scope, digest })
}

fn check_name(name: &str) -> Result<(), String> {
    let good = |char: char| char.is_ascii_alphanumeric() || "-_.@".contains(char);
    match !name.is_empty() && name.len() <= NAME_CHARS_MAX && name.chars().all(good) {
        true => Ok(()),
        false => {
            Err(format!("a name has 1 to {NAME_CHARS_MAX} letters, digits or characters of -_.@"))
        }
    }
}

fn bytes(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_its_digest_and_no_other_is() {
        let one = line("deploy", Scope::Operate, "secret-1").unwrap();
        let two = line("grafana", Scope::Read, "secret-2").unwrap();
        assert!(!one.contains("secret-1"));
        let tokens = Tokens::read(&format!("# ours\n\n{one}\n{two}\n")).unwrap();
        assert_eq!(tokens.whose("secret-1"), Some(("deploy", Scope::Operate)));
        assert_eq!(tokens.whose("secret-2"), Some(("grafana", Scope::Read)));
        assert_eq!(tokens.whose("secret-3"), None);
        assert_eq!(tokens.whose(""), None);
        assert_eq!(tokens.whose(&"x".repeat(TOKEN_BYTES_MAX + 1)), None);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_told_by_its_number() {
        let good = line("a", Scope::Read, "x").unwrap();
        for (text, why) in [
            ("a read".to_owned(), "line 1: a line is"),
            (format!("{good} more"), "line 1: a line is"),
            (good.replace("read", "write"), "line 1: the scope"),
            (format!("{good}\n{good}"), "line 2: the name a is there twice"),
            (format!("{}0", &good[..good.len() - 2]), "line 1: a line is"),
            (good.replace("sha256:", "md5:"), "line 1: a line is"),
            (good.replacen('a', "ä", 1), "line 1: a name has"),
        ] {
            let error = Tokens::read(&text).unwrap_err();
            assert!(error.starts_with(why), "{error}");
        }
    }
}
