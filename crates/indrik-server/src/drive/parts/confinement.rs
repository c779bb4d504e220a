//! What the limits of workers go by.

use crate::boot::Groups;

/// What the limits of a worker go by.
#[derive(Debug, Default)]
pub(crate) struct Confinement {
    /// Made when the first generation asks for it.
    pub(crate) groups: Option<Groups>,
}
