//! What the request path knows of a request's connection.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::front::access_log::WebSocketLine;
use crate::front::conn::io::{ClientIo, IoState};
use crate::front::conn::reaper::Watch;
use crate::front::peer::Peer;
use crate::front::services::Services;
use crate::front::settings::Settings;

/// A client's connection, as the request path sees it.
pub(crate) struct ConnectionContext {
    pub(crate) services: Arc<Services>,
    pub(crate) peer: Peer,
    /// What the settings were when it began.
    pub(crate) settings: Arc<Settings>,
    pub(crate) io: Arc<IoState>,
    pub(crate) watch: Arc<Watch>,
    /// It speaks HTTP/2.
    pub(crate) is_http2: bool,
    /// Who has the connection after a 101.
    pub(crate) successor: Mutex<Option<Box<dyn Successor>>>,
}

/// What a connection becomes when HTTP has ended on it with a 101.
pub(crate) trait Successor: Send {
    /// Takes the request's line, to be dropped when the connection is over.
    fn log_to(&mut self, line: WebSocketLine);

    /// Has the connection to its end; `first` is what was read behind the request.
    fn run(
        self: Box<Self>,
        connection: Arc<ConnectionContext>,
        io: ClientIo,
        first: Bytes,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}
