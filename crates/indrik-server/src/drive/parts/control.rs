//! The control socket as the loop holds it.

use std::path::PathBuf;
use std::sync::Arc;

use indrik_core::control::MaintenanceOrder;
use indrik_core::ids::Generation;
use serde_json::Value as Json;

use super::looks::Looks;
use crate::control::ControlServer;
use crate::front::Maintenance;

/// The control socket as the loop holds it.
#[derive(Debug, Default)]
pub(crate) struct Control {
    pub(crate) server: ControlServer,
    /// The path and mode asked for.
    pub(crate) path: Option<(PathBuf, u32)>,
    pub(crate) listeners: Vec<Json>,
    pub(crate) waiting: Vec<Waiting>,
    /// What an operator has the front answer, while a maintenance lasts.
    pub(crate) maintenance: Option<(MaintenanceOrder, Arc<Maintenance>)>,
    /// Clients that wait for the end of an upgrade, and what their requests are called.
    pub(crate) upgraders: Vec<(u64, Json)>,
    /// Looks into workers that are under way.
    pub(crate) looks: Looks,
}

/// A client of the control socket that waits for the end of a reload.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) client: u64,
    /// Its request.
    pub(crate) id: Json,
    /// The first generation that has what it waits for.
    pub(crate) generation: Generation,
}
