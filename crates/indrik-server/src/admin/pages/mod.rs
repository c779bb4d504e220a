//! What the admin listener shows, page by page.

pub(super) mod actions;
pub(super) mod events;
pub(super) mod health;
pub(super) mod inside;
pub(super) mod logs;
pub(super) mod metrics;
pub(super) mod nginx;
pub(super) mod openapi;
pub(super) mod requests;
pub(super) mod settings;
pub(super) mod status;
mod table;
mod undone;
pub(super) mod watch;
