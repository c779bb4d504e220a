//! What the request path knows beside the request: of its connection, and of the settings it is served by.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use indrik_core::route::Notes;
use parking_lot::Mutex;

use super::access_log::Entry;
use super::conn::h2::stream::StreamContext;
use super::conn::io::{ClientIo, IoState};
use super::conn::reaper::Watch;
use super::peer::Peer;
use super::services::Services;
use super::settings::Settings;

/// A client's connection, as the request path sees it.
pub(super) struct ConnectionContext {
    pub(super) services: Arc<Services>,
    pub(super) peer: Peer,
    /// What the settings were when it began.
    pub(super) settings: Arc<Settings>,
    pub(super) io: Arc<IoState>,
    pub(super) watch: Arc<Watch>,
    /// It speaks HTTP/2.
    pub(super) is_http2: bool,
    /// Who has the connection after a 101.
    pub(super) successor: Mutex<Option<Box<dyn Successor>>>,
}

/// What a connection becomes when HTTP has ended on it with a 101.
pub(super) trait Successor: Send {
    /// Takes the request's line of the access log, to be written when the connection is over.
    fn log_to(&mut self, entry: Option<Box<Entry>>);

    /// Has the connection to its end; `first` is what was read behind the request.
    fn run(
        self: Box<Self>,
        connection: Arc<ConnectionContext>,
        io: ClientIo,
        first: Bytes,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// One request (one stream in HTTP/2), as the request path sees it.
#[derive(Clone)]
pub(super) struct RequestContext {
    pub(super) connection: Arc<ConnectionContext>,
    /// What the settings are for this request, from its head to its end.
    pub(super) settings: Arc<Settings>,
    /// Its stream, in HTTP/2.
    pub(super) stream: Option<Arc<StreamContext>>,
    /// What the routes say about it.
    pub(super) notes: Notes,
}

impl RequestContext {
    /// A request that begins now, with a connection to itself.
    pub(super) fn new(connection: &Arc<ConnectionContext>) -> Self {
        Self {
            connection: Arc::clone(connection),
            settings: connection.services.settings.load_full(),
            stream: None,
            notes: Notes::default(),
        }
    }

    /// A request that begins now on a stream of its connection.
    pub(super) fn of_stream(
        connection: &Arc<ConnectionContext>,
        stream: &Arc<StreamContext>,
    ) -> Self {
        Self { stream: Some(Arc::clone(stream)), ..Self::new(connection) }
    }

    pub(super) fn services(&self) -> &Arc<Services> {
        &self.connection.services
    }

    pub(super) fn peer(&self) -> &Peer {
        &self.connection.peer
    }
}
