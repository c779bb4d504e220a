//! The control socket as the loop holds it.

use std::path::PathBuf;

use indrik_core::ids::Generation;
use serde_json::Value as Json;

use crate::control::ControlServer;

/// The control socket as the loop holds it.
#[derive(Debug, Default)]
pub(in crate::drive) struct Control {
    pub(in crate::drive) server: ControlServer,
    /// The path and mode asked for.
    pub(in crate::drive) path: Option<(PathBuf, u32)>,
    pub(in crate::drive) listeners: Vec<Json>,
    pub(in crate::drive) waiting: Vec<Waiting>,
    /// Clients that wait for the end of an upgrade, and what their requests are called.
    pub(in crate::drive) upgraders: Vec<(u64, Json)>,
}

/// A client of the control socket that waits for the end of a reload.
#[derive(Debug)]
pub(in crate::drive) struct Waiting {
    pub(in crate::drive) client: u64,
    /// Its request.
    pub(in crate::drive) id: Json,
    /// The first generation that has what it waits for.
    pub(in crate::drive) generation: Generation,
}
