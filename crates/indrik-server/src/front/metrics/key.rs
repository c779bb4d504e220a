//! By what requests are told apart: method, status and route, in one word.

use std::borrow::Cow;

use http::{Method, StatusCode};
use indrik_core::metrics::Label;

/// Those that the conventions of OpenTelemetry know, in their order; all others are [`OTHER_METHOD`].
const METHODS: [Method; 9] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::HEAD,
    Method::OPTIONS,
    Method::PATCH,
    Method::CONNECT,
    Method::TRACE,
];
const OTHER_METHOD: u8 = METHODS.len() as u8;

/// We closed the connection before there was an answer.
const NO_STATUS: u16 = 0;
/// The table has no room for it.
const OTHER_STATUS: u16 = 1;

/// The number of no route.
pub(super) const NO_ROUTE: u16 = 0;
/// The number of all routes that are not told apart.
pub(super) const OTHER_ROUTE: u16 = 1;

/// A method's number.
pub(super) fn method(method: &Method) -> u8 {
    match *method {
        Method::GET => 0,
        Method::POST => 1,
        Method::PUT => 2,
        Method::DELETE => 3,
        Method::HEAD => 4,
        Method::OPTIONS => 5,
        Method::PATCH => 6,
        Method::CONNECT => 7,
        Method::TRACE => 8,
        _ => OTHER_METHOD,
    }
}

/// Method, status and route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) method: u8,
    pub(super) status: u16,
    pub(super) route: u16,
}

impl Key {
    /// What every request can be counted under, when nothing else is left.
    pub(super) const REST: Self =
        Self { method: OTHER_METHOD, status: OTHER_STATUS, route: OTHER_ROUTE };

    pub(super) fn new(method: u8, status: Option<StatusCode>, route: u16) -> Self {
        let status = status.map_or(NO_STATUS, |status| status.as_u16());
        Self { method, status, route }
    }

    /// The same, not told apart by its route any more; at last by nothing.
    pub(super) fn coarser(self) -> Self {
        if self.route == NO_ROUTE || self.route == OTHER_ROUTE {
            Self::REST
        } else {
            Self { route: OTHER_ROUTE, ..self }
        }
    }

    /// Where to look for it first.
    pub(super) const fn hash(self) -> usize {
        let word = (self.route as u64) << 16 | (self.status as u64) << 4 | self.method as u64;
        (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize
    }

    pub(super) fn shown_method(self) -> Label {
        let method = METHODS.get(usize::from(self.method));
        method.map_or_else(|| "_OTHER".into(), |method| Cow::Owned(method.to_string()))
    }

    pub(super) fn shown_status(self) -> Label {
        match self.status {
            NO_STATUS => "none".into(),
            OTHER_STATUS => "other".into(),
            status => status.to_string().into(),
        }
    }

    pub(super) fn shown_class(self) -> Label {
        match self.status {
            NO_STATUS => "none".into(),
            OTHER_STATUS => "other".into(),
            status => format!("{}xx", status / 100).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_method_is_its_place() {
        for (place, it) in METHODS.iter().enumerate() {
            assert_eq!(usize::from(method(it)), place);
        }
        let other = Method::from_bytes(b"BREW").unwrap();
        assert_eq!(Key::new(method(&other), None, NO_ROUTE).shown_method(), "_OTHER");
    }

    #[test]
    fn every_key_gets_coarser_down_to_the_rest() {
        let key = Key::new(3, Some(StatusCode::NOT_FOUND), 7);
        assert_eq!(key.coarser(), Key { route: OTHER_ROUTE, ..key });
        assert_eq!(key.coarser().coarser(), Key::REST);
        assert_eq!(Key::REST.coarser(), Key::REST);
    }
}
