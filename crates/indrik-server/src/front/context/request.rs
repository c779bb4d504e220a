//! What the request path knows beside the request itself.

use std::sync::Arc;

use indrik_core::route::Notes;

use super::connection::ConnectionContext;
use crate::front::conn::h2::streams::StreamContext;
use crate::front::peer::Peer;
use crate::front::services::Services;
use crate::front::settings::Settings;

/// One request (one stream in HTTP/2), as the request path sees it.
#[derive(Clone)]
pub(crate) struct RequestContext {
    pub(crate) connection: Arc<ConnectionContext>,
    /// What the settings are for this request, from its head to its end.
    pub(crate) settings: Arc<Settings>,
    /// Its stream, in HTTP/2.
    pub(crate) stream: Option<Arc<StreamContext>>,
    /// What the routes say about it.
    pub(crate) notes: Notes,
}

impl RequestContext {
    /// A request that begins now, with a connection to itself; `settings` are those of now.
    pub(crate) fn new(connection: &Arc<ConnectionContext>, settings: Arc<Settings>) -> Self {
        Self { connection: Arc::clone(connection), settings, stream: None, notes: Notes::default() }
    }

    /// A request that begins now on a stream of its connection.
    pub(crate) fn of_stream(
        connection: &Arc<ConnectionContext>,
        stream: &Arc<StreamContext>,
    ) -> Self {
        let settings = connection.services.settings.load_full();
        Self { stream: Some(Arc::clone(stream)), ..Self::new(connection, settings) }
    }

    pub(crate) fn services(&self) -> &Arc<Services> {
        &self.connection.services
    }

    pub(crate) fn peer(&self) -> &Peer {
        &self.connection.peer
    }
}
