//! One connection that speaks HTTP, from its first request to its last byte.

use std::sync::Arc;

use http::StatusCode;
use parking_lot::Mutex;

use super::close::{linger, refuse, refuse_http2};
use super::h1::{self, Left};
use super::h2;
use super::io::{ClientIo, IoState, Refused};
use super::open::{Open, Origin, Proxied, Spoken, shown};
use super::reaper::{Phase, Watch};
use super::stream::Stream;
use crate::front::context::ConnectionContext;
use crate::front::metrics::OpenConnection;
use crate::front::peer::Peer;
use crate::front::pipeline::forwarding::describe;
use crate::front::refusal::Refusal;
use crate::front::services::Services;
use crate::front::settings::Settings;

/// Serves a connection to its end.
pub(crate) async fn serve_connection(
    mut open: Open,
    (stream, spoken): (Stream, Spoken),
    origin: Origin,
    proxied: Option<Proxied>,
) {
    let (services, watch) = (Arc::clone(&open.services), Arc::clone(&open.watch));
    let state = Arc::new(IoState::default());
    // A handshake is over; the wait for a request begins now.
    watch.begin_waiting();
    let settings = services.settings.load_full();
    let mut io = ClientIo::new(stream, &settings, Arc::clone(&watch), Arc::clone(&state));
    if spoken == Spoken::Http2 {
        io.stop_screening();
    }
    let mut context = context(services, settings, &origin, (state, &watch), proxied, &mut io);
    context.is_http2 = spoken == Spoken::Http2;
    let connection = Arc::new(context);
    let _counted = OpenConnection::new(connection.is_http2);
    if spoken == Spoken::Http2 {
        // Boxed: it is large, and most connections have none of it.
        return Box::pin(h2::drive(&connection, io)).await;
    }
    loop {
        match h1::drive(&connection, io).await {
            Left::Parked(parked) => {
                open.is_parked();
                if !h1::wait_for_bytes(&connection.watch, &parked).await || !open.unpark().await {
                    return;
                }
                io = parked;
            }
            Left::Upgraded(io, first) => {
                let successor = connection.successor.lock().take();
                if let Some(successor) = successor {
                    successor.run(connection, io, first).await;
                }
                return;
            }
            Left::Refused(io, _) if connection.io.begins_with_http2() => {
                return Box::pin(refuse_http2(&connection.services, &connection.peer, io)).await;
            }
            Left::Refused(io, refused) => {
                let Refused { broken, line } = refused;
                let status = StatusCode::from_u16(broken.status());
                let status = status.unwrap_or(StatusCode::BAD_REQUEST);
                let refusal = Refusal::bad(status, broken.message());
                let (services, peer) = (&connection.services, &connection.peer);
                return Box::pin(refuse(services, peer, io, &line, refusal)).await;
            }
            Left::Late(io) => {
                let line = io.begun_line();
                let (services, peer) = (&connection.services, &connection.peer);
                return Box::pin(refuse(services, peer, io, &line, Refusal::LATE_HEAD)).await;
            }
            // Boxed: its buffer would otherwise be part of every connection's task.
            Left::Ended(io) => return Box::pin(linger(io)).await,
            Left::Lost => return,
        }
    }
}

/// The connection as the request path sees it.
fn context(
    services: Arc<Services>,
    settings: Arc<Settings>,
    origin: &Origin,
    (state, watch): (Arc<IoState>, &Arc<Watch>),
    proxied: Option<Proxied>,
    io: &mut ClientIo,
) -> ConnectionContext {
    let (mut ip, mut port, mut description) = (origin.ip, origin.port, String::new());
    if let Some(proxied) = proxied {
        watch.set(Phase::Idle);
        io.take(&proxied.first);
        if let Some(header) = proxied.header {
            description = describe(&header);
            if let Some(ends) = header.ends {
                (ip, port) = (Some(ends.source.ip().to_canonical()), ends.source.port());
            }
        }
    }
    watch.holder().is_of(ip);
    let peer = Peer {
        listener: origin.listener,
        ip,
        address: shown(ip),
        port,
        proxied: description,
        trusted: settings.forwarding.trusts(origin.ip),
    };
    ConnectionContext {
        services,
        peer,
        settings,
        io: state,
        watch: Arc::clone(watch),
        is_http2: false,
        successor: Mutex::new(None),
    }
}
