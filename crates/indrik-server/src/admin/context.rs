//! What all answers of the admin listener are made of.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use http::HeaderMap;
use indrik_core::admin::query::Query;
use indrik_core::control::Asker;
use indrik_core::settings::Network;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::guard::Guard;
use super::orders::Orders;
use super::socket::Socket;
use crate::front::AdminTls;
use crate::history::Remembered;
use crate::log::Log;
use crate::look::Board;

/// Looks into workers at once; the supervision loop has more places, for the control socket's clients.
pub(super) const LOOKS_MAX: usize = 4;
/// Streams of events at once.
pub(super) const STREAMS_MAX: usize = 16;
/// More of them, that nobody gets but those who may look inside.
pub(super) const STREAMS_KEPT: usize = 8;

/// What all answers are made of.
pub(crate) struct Context {
    pub(crate) board: Arc<Board>,
    pub(crate) remembered: Arc<Remembered>,
    pub(crate) orders: Arc<Orders>,
    pub(crate) log: Arc<Log>,
    /// Names that `Host` may have.
    pub(crate) hosts: ArcSwap<Vec<String>>,
    pub(crate) guard: Guard,
    /// What is spoken on its ports, if not plain HTTP.
    pub(crate) tls: ArcSwapOption<AdminTls>,
    /// Who may read the application's `metrics_path` without a token.
    pub(crate) metrics_allow: ArcSwap<Vec<Network>>,
    pub(crate) streams: Arc<Semaphore>,
    /// Kept for those who may look inside.
    pub(crate) streams_kept: Arc<Semaphore>,
    /// Looks into workers at once.
    pub(crate) looks: Semaphore,
}

impl Context {
    /// A place for a stream of events, if there is one for somebody like this.
    pub(crate) fn stream_place(&self, asked: &Asked) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.streams).try_acquire_owned().ok();
        let kept = || Arc::clone(&self.streams_kept).try_acquire_owned().ok();
        place.or_else(|| if asked.looks_inside { kept() } else { None })
    }
}

/// A request, read.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The connection it came on.
    pub(crate) socket: Arc<Socket>,
    /// Who asked.
    pub(crate) asker: Asker,
    /// They may look.
    pub(crate) is_known: bool,
    /// They may look at what may be private.
    pub(crate) looks_inside: bool,
}

impl Asked {
    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}
