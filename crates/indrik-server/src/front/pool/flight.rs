//! The flight recorder: the last requests that a worker had, read off its channel when it has ended.
//!
//! While it serves, nothing is kept or written for this: the descriptors of a ring lie in its memory until others take
//! their place. The worker can write there too, so what is found is shown, and nothing is concluded from it.

use indrik_core::ids::WorkerId;
use indrik_core::lane::RouteId;
use indrik_core::logs::escape;
use indrik_ring::{Kind, Recent, RequestHead, ResponseHead, Wanted};

use super::link::Link;
use super::placing::Pool;

/// Bytes of a target, a method or an address that are shown.
const TEXT_BYTES_MAX: usize = 256;
/// The longest head of a request that is looked at.
const HEAD_BYTES_MAX: usize = 256 * 1024;
/// Of an answer, only its status is wanted.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Descriptors of answers that are looked at.
const ANSWERS_MAX: usize = 256;

/// A request that a worker had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flown {
    /// Its method; empty where it was written over.
    pub method: String,
    /// Its target, shortened; empty where it was written over.
    pub target: String,
    /// Its client; empty for a Unix socket.
    pub client: String,
    /// The route that the application chose, if it is known.
    pub route: Option<String>,
    /// The status of its answer, if that is known.
    pub status: Option<u16>,
    /// For how long the application had it, in microseconds, if that is known.
    pub app_us: Option<u32>,
    /// Its answer was begun, at least.
    pub is_answered: bool,
}

impl Pool {
    /// The requests that a worker had last, the last first, without those that it still has; at most `most`.
    pub(crate) fn flown(
        &self,
        id: WorkerId,
        most: usize,
        name: impl Fn(RouteId) -> Option<String>,
    ) -> Vec<Flown> {
        let inner = self.inner.lock();
        inner.links.get(&id).map_or_else(Vec::new, |link| link.flown(most, name))
    }
}

impl Link {
    fn flown(&self, most: usize, name: impl Fn(RouteId) -> Option<String>) -> Vec<Flown> {
        let in_use = self.in_use();
        let wanted =
            Wanted { kind: Some(Kind::Request), most: most + in_use, payload_max: HEAD_BYTES_MAX };
        let requests = self.channel.requests.recent(wanted);
        let wanted = Wanted { kind: None, most: ANSWERS_MAX, payload_max: ANSWER_BYTES_MAX };
        let answers = self.channel.responses.recent(wanted);
        let is_over =
            |request: &&Recent| !self.holds(request.descriptor.slot, request.descriptor.generation);
        let over = requests.iter().filter(is_over).take(most);
        let show = |request: &Recent| {
            let (flown, route) = shown(request, &answers);
            Flown { route: name(RouteId::new(self.generation, route)), ..flown }
        };
        over.map(show).collect()
    }
}

/// What is known of a request, and its route's number.
fn shown(request: &Recent, answers: &[Recent]) -> (Flown, u16) {
    let key = (request.descriptor.slot, request.descriptor.generation);
    let of_it = || {
        answers
            .iter()
            .filter(|answer| (answer.descriptor.slot, answer.descriptor.generation) == key)
    };
    let head = request.payload.as_deref().and_then(|payload| {
        let len = usize::try_from(request.descriptor.aux).unwrap_or(usize::MAX);
        RequestHead::decode(payload.get(..len)?).ok()
    });
    let timed = of_it().find(|answer| answer.descriptor.is_timed());
    let status = of_it().find_map(|answer| {
        let is_head = answer.descriptor.kind == Kind::Response;
        let payload = answer.payload.as_deref().filter(|_| is_head)?;
        let len = usize::try_from(answer.descriptor.aux).ok()?;
        ResponseHead::decode(payload.get(..len)?).ok().map(|head| head.status)
    });
    let route = of_it().map(|answer| answer.descriptor.route).find(|route| *route != 0);
    let flown = Flown {
        method: head.map_or_else(String::new, |head| printable(head.method)),
        target: head.map_or_else(String::new, |head| printable(head.target)),
        client: head.map_or_else(String::new, |head| printable(head.client)),
        route: None,
        status,
        app_us: timed.map(|answer| answer.descriptor.time_us).filter(|time| *time != 0),
        is_answered: of_it().next().is_some(),
    };
    (flown, route.unwrap_or(0))
}

/// What somebody wrote, as it may stand in a log.
fn printable(bytes: &[u8]) -> String {
    let mut line = Vec::new();
    escape::text(&bytes[..bytes.len().min(TEXT_BYTES_MAX)], &mut line);
    String::from_utf8_lossy(&line).into_owned()
}

#[cfg(test)]
mod tests {
    use indrik_ring::{
        Descriptor, Flags, encode_request, encode_response, request_len, response_len,
    };

    use super::*;

    fn request(slot: u16, target: &[u8]) -> Recent {
        let head = RequestHead {
            version: 11,
            secure: false,
            listener: 0,
            client_port: 1,
            method: b"GET",
            target,
            client: b"10.0.0.1",
            prefix: b"",
            proxied: b"",
            headers: Default::default(),
        };
        let mut payload = vec![0; request_len(&head, 0)];
        let len = encode_request(&mut payload, &head, 0, std::iter::empty());
        let descriptor = Descriptor::new(Kind::Request, Flags::END, slot, 7, len as u64);
        Recent { descriptor, payload: Some(payload) }
    }

    fn answer(slot: u16, status: u16, route: u16) -> Recent {
        let mut payload = vec![0; response_len(b"", 0)];
        let len = encode_response(&mut payload, status, b"", 0, std::iter::empty());
        let mut descriptor = Descriptor::new(Kind::Response, Flags::END, slot, 7, len as u64);
        (descriptor.route, descriptor.time_us) = (route, 1_500);
        Recent { descriptor, payload: Some(payload) }
    }

    #[test]
    fn a_request_is_shown_with_its_answer() {
        let (flown, route) = shown(&request(3, b"/a"), &[answer(2, 500, 8), answer(3, 404, 9)]);
        assert_eq!((flown.method.as_str(), flown.target.as_str()), ("GET", "/a"));
        assert_eq!((flown.status, flown.app_us, route), (Some(404), Some(1_500), 9));
    }

    #[test]
    fn what_a_stranger_wrote_is_escaped_and_what_makes_no_sense_left_out() {
        let (flown, _) = shown(&request(3, b"/\n[2026] forged\x1b\xff"), &[]);
        assert_eq!(flown.target, "/\\x0a[2026] forged\\x1b\\xff");
        assert!(!flown.is_answered);
        let mut broken = request(3, b"/a");
        broken.descriptor.aux = u64::MAX;
        let mut answer = answer(3, 200, 0);
        answer.payload = Some(vec![0xff; 3]);
        let (flown, route) = shown(&broken, &[answer]);
        assert_eq!((flown.target.as_str(), flown.status, route), ("", None, 0));
        assert!(flown.is_answered);
    }
}
