//! What is wrong with the settings: what, where, and what to do about it.

use std::fmt;

/// One mistake. `Display` writes one line, `what (where)`, and the hint on a second one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, in one clause.
    pub what: String,
    /// Where it was said: a file and line, a variable, a flag.
    pub place: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(place) = &self.place {
            write!(f, " ({place})")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}
