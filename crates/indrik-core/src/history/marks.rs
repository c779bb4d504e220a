//! What is marked on every chart: deploys, scalings, recyclings, crashes.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Marks that are kept; the oldest go.
pub const MARKS_MAX: usize = 256;
/// Characters of a mark's text.
const TEXT_CHARS_MAX: usize = 120;
/// Characters of its kind.
const KIND_CHARS_MAX: usize = 24;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What kind of thing, one word.
    pub kind: String,
    /// What happened, one line.
    pub text: String,
    /// The generation it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks(VecDeque<Mark>);

impl Marks {
    pub(super) fn push(&mut self, mark: Mark) {
        if self.0.len() >= MARKS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Mark {
            kind: shortened(&mark.kind, KIND_CHARS_MAX),
            text: shortened(&mark.text, TEXT_CHARS_MAX),
            ..mark
        });
    }

    pub(super) fn since(&self, from_ms: u64) -> Vec<Mark> {
        self.0.iter().filter(|mark| mark.at_ms >= from_ms).cloned().collect()
    }
}

/// The beginning of a text, in one line.
pub(super) fn shortened(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).map(|char| if char.is_control() { ' ' } else { char }).collect()
}
