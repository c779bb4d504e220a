//! Whether a maintenance lasts, and what it is.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use indrik_core::settings::Network;

/// What is sent where the operator gave no page.
const PAGE: &str = "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Maintenance</title></head>\n\
                    <body><h1>Down for maintenance</h1><p>Please try again in a little while.</p></body>\n</html>\n";

/// How requests are answered during a maintenance.
#[derive(Debug)]
pub struct Maintenance {
    page: Bytes,
    allow: Vec<Network>,
}

impl Maintenance {
    /// With this page, for all but those clients.
    #[must_use]
    pub fn new(page: Option<Vec<u8>>, allow: Vec<Network>) -> Self {
        let page = page.map_or(Bytes::from_static(PAGE.as_bytes()), Bytes::from);
        Self { page, allow }
    }

    /// What is sent; the bytes are shared.
    pub(super) fn page(&self) -> Bytes {
        self.page.clone()
    }

    /// Whether it matters who asks.
    pub(super) const fn lets_some_pass(&self) -> bool {
        !self.allow.is_empty()
    }

    /// Whether a client's requests go on to the application.
    pub(super) fn lets_pass(&self, client: IpAddr) -> bool {
        self.allow.iter().any(|network| network.contains(client))
    }
}

/// Whether a maintenance lasts, and which: what a request looks at is one flag.
#[derive(Debug, Default)]
pub(super) struct Sign {
    is_up: AtomicBool,
    maintenance: ArcSwapOption<Maintenance>,
}

impl Sign {
    pub(super) fn put(&self, maintenance: Option<Arc<Maintenance>>) {
        let is_up = maintenance.is_some();
        self.maintenance.store(maintenance);
        self.is_up.store(is_up, Ordering::Release);
    }

    /// The maintenance that lasts, if one does.
    pub(super) fn get(&self) -> Option<Arc<Maintenance>> {
        if self.is_up.load(Ordering::Acquire) { self.maintenance.load_full() } else { None }
    }
}
