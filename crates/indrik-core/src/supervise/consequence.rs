//! What one part finds out and another one has to act on.
//!
//! Parts call only what is below them. What they find out for those above (a zygote that died is the end of a
//! reload) they note; `handle` acts on it as soon as they have returned.

use super::event::FailureKind;
use crate::ids::Generation;

/// What is to be done about something that was found.
#[derive(Debug)]
pub(super) enum Consequence {
    /// The generation failed. It is given up if it has not taken over, or soaks.
    GenerationFailed {
        generation: Generation,
        why: String,
        /// What the log says already.
        details: String,
    },
    /// What was started did not get ready: the server ends, unless it has served.
    StartFailed { kind: FailureKind },
    /// Workers keep failing, and none of them was ever of use: the server ends.
    NeverServed,
    /// The reload that was asked for during the start can begin.
    ReloadAwaited,
}
