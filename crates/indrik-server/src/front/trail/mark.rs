//! The id of a request: taken over or made, and put where everybody finds it, the request's own head.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use indrik_core::settings::Config;
use indrik_core::trace::request_id;

use super::chance;
use crate::front::peer::Peer;

/// How requests are marked.
pub(crate) struct Marking {
    /// The header with the id.
    header: HeaderName,
}

/// What marks a request; in its extensions.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    id: HeaderValue,
}

/// An id on its way back to the client.
pub(crate) struct ReturnedId {
    header: HeaderName,
    id: HeaderValue,
}

impl Marking {
    /// `None`: requests are not marked, and pay nothing.
    pub(crate) fn new(config: &Config) -> Option<Self> {
        if !config.request_id {
            return None;
        }
        // A wrong one has not got so far.
        let header = HeaderName::from_bytes(config.request_id_header.as_bytes()).ok()?;
        Some(Self { header })
    }

    /// Marks a request, in its head as in its extensions; returns what its answer gets.
    pub(crate) fn mark(&self, peer: &Peer, parts: &mut Parts) -> Option<Box<ReturnedId>> {
        let id = self.taken_over(peer, &parts.headers).unwrap_or_else(made);
        // In the place of whatever a client that is not trusted, or did not keep to the form, has sent.
        parts.headers.insert(&self.header, id.clone());
        parts.extensions.insert(Mark { id: id.clone() });
        Some(Box::new(ReturnedId { header: self.header.clone(), id }))
    }

    /// The id that a trusted peer gave.
    fn taken_over(&self, peer: &Peer, headers: &HeaderMap) -> Option<HeaderValue> {
        if !peer.trusted {
            return None;
        }
        let mut given = headers.get_all(&self.header).iter();
        let id = given.next().filter(|_| given.next().is_none())?;
        request_id::is_acceptable(id.as_bytes()).then(|| id.clone())
    }
}

impl Mark {
    /// What marks a request, if anything does.
    pub(crate) fn of(parts: &Parts) -> Option<&Self> {
        parts.extensions.get()
    }

    /// The request's id.
    pub(crate) fn id(&self) -> Option<&[u8]> {
        Some(self.id.as_bytes())
    }
}

impl ReturnedId {
    /// Says the id with the answer, whatever the application says there.
    pub(crate) fn add_to(self, headers: &mut HeaderMap) {
        headers.insert(self.header, self.id);
    }
}

fn made() -> HeaderValue {
    let id = request_id::made(chance::bits());
    HeaderValue::from_bytes(&id).unwrap_or_else(|_| HeaderValue::from_static("-"))
}
