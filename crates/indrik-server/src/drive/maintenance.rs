//! The beginning of a maintenance that was ordered, in this front or in one that is opened while it lasts.

use std::sync::Arc;

use super::parts::Drive;

impl Drive {
    /// The front answers as the operator has ordered.
    pub(super) fn begin_maintenance(&mut self) {
        if let (Some(front), Some((_, maintenance))) =
            (&self.front, &self.outside.control.maintenance)
        {
            front.maintain(Some(Arc::clone(maintenance)));
        }
    }
}
