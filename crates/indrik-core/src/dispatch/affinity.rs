//! Requests that belong together and go to the same worker: what they have in common, and which worker that is.
//!
//! Applications that keep sessions in memory need it (Socket.IO's polling). The first request with a key goes
//! where any request would, and those that follow go there too while that worker takes requests. When it is
//! gone, the next one is placed anew: an application that keeps sessions elsewhere notices nothing.

use std::collections::BTreeMap;
use std::fmt;

use crate::ids::WorkerId;
use crate::time::Micros;

/// Keys that are remembered; above it those that were not used for longest are forgotten.
pub const AFFINITY_KEYS_MAX: usize = 65_536;
/// The cookie of [`Affinity::Cookie`].
pub const AFFINITY_COOKIE: &str = "indrik_affinity";
/// How much of an answer is looked at for the key that it announces.
pub const ANNOUNCED_WITHIN_BYTES: usize = 1024;

/// What requests that belong together have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Affinity {
    /// Nothing: any worker will do.
    #[default]
    Off,
    /// A cookie that the server sets.
    Cookie,
    /// The value of this header; the name is in lower case.
    Header(String),
    /// The value of this parameter of the query. A request without it may be answered with one: as a member of
    /// that name in a JSON object at the beginning of the body (`0{"sid":"…"`).
    Query(String),
    /// The client's address.
    Ip,
}

/// A setting that says none of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadAffinity(String);

impl fmt::Display for BadAffinity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.0;
        write!(f, "{text:?} is not cookie, ip, header:NAME, query:NAME or empty")
    }
}

impl Affinity {
    /// Reads the setting.
    ///
    /// # Errors
    /// [`BadAffinity`].
    pub fn parse(text: &str) -> Result<Self, BadAffinity> {
        let is_name = |name: &str| !name.is_empty() && name.bytes().all(is_name_byte);
        match text.split_once(':') {
            None if text.is_empty() => Ok(Self::Off),
            None if text == "cookie" => Ok(Self::Cookie),
            None if text == "ip" => Ok(Self::Ip),
            Some(("header", name)) if is_name(name) => Ok(Self::Header(name.to_ascii_lowercase())),
            Some(("query", name)) if is_name(name) => Ok(Self::Query(name.to_owned())),
            _ => Err(BadAffinity(text.to_owned())),
        }
    }
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// What requests that belong together have in common, as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(u64);

impl Key {
    /// The key of a value. Values that share one go to the same worker, which harms nobody.
    #[must_use]
    pub fn of(value: &[u8]) -> Self {
        // FNV-1a.
        let mix =
            |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        Self(value.iter().fold(0xcbf2_9ce4_8422_2325, mix))
    }
}

/// The value of a parameter in a query, as sent. The first counts; an empty one is none.
#[must_use]
pub fn query_value<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).find(|value| !value.is_empty())
}

/// The value of a cookie in a `Cookie` field.
#[must_use]
pub fn cookie_value<'a>(field: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let is_space = |bytes: &'a [u8]| bytes.trim_ascii();
    field.split(|byte| *byte == b';').map(is_space).find_map(|pair| {
        pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=").filter(|value| !value.is_empty())
    })
}

/// The value of a member of a JSON object at the beginning of a body: a string without escapes.
#[must_use]
pub fn announced_value<'a>(body: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let body = &body[..body.len().min(ANNOUNCED_WITHIN_BYTES)];
    let wanted = format!("\"{name}\"");
    let at = body.windows(wanted.len()).position(|window| window == wanted.as_bytes())?;
    let rest = body[at + wanted.len()..].trim_ascii_start().strip_prefix(b":")?;
    let rest = rest.trim_ascii_start().strip_prefix(b"\"")?;
    let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    (end != 0 && rest[end] == b'"').then(|| &rest[..end])
}

/// Where the requests of a key go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) worker: WorkerId,
    /// Since when.
    pub(super) since: Micros,
}

/// Which worker has the requests of a key.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    /// Used since the others became old.
    young: BTreeMap<Key, Binding>,
    old: BTreeMap<Key, Binding>,
}

impl Bindings {
    pub(super) fn get(&mut self, key: Key) -> Option<Binding> {
        if let Some(binding) = self.young.get(&key) {
            return Some(*binding);
        }
        let binding = self.old.remove(&key)?;
        self.put(key, binding);
        Some(binding)
    }

    /// A key that is bound to that worker already stays so since it was.
    pub(super) fn bind(&mut self, key: Key, worker: WorkerId, now: Micros) {
        match self.get(key) {
            Some(binding) if binding.worker == worker => {}
            _ => self.put(key, Binding { worker, since: now }),
        }
    }

    fn put(&mut self, key: Key, binding: Binding) {
        if self.young.len() >= AFFINITY_KEYS_MAX / 2 && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, binding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_read_or_refused() {
        let read = |text| Affinity::parse(text).ok();
        assert_eq!(read(""), Some(Affinity::Off));
        assert_eq!(read("cookie"), Some(Affinity::Cookie));
        assert_eq!(read("ip"), Some(Affinity::Ip));
        assert_eq!(read("header:X-Session"), Some(Affinity::Header("x-session".to_owned())));
        assert_eq!(read("query:sid"), Some(Affinity::Query("sid".to_owned())));
        for text in ["sid", "query:", "query", "header:a b", "cookie:x", "IP", "query:a&b"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn values_are_found_where_they_stand() {
        assert_eq!(query_value("EIO=4&sid=ab%20c&sid=d", "sid"), Some("ab%20c"));
        assert_eq!(query_value("xsid=1&sid=&side=2&sid", "sid"), None);
        assert_eq!(
            cookie_value(b"a=1; indrik_affinity=f00 ;b=2", AFFINITY_COOKIE),
            Some(&b"f00"[..])
        );
        assert_eq!(cookie_value(b"xindrik_affinity=1; indrik_affinity=", AFFINITY_COOKIE), None);
        let open = br#"0{"sid":"lv_VI97HAXpY6yYWAAAB","upgrades":["websocket"]}"#;
        assert_eq!(announced_value(open, "sid"), Some(&b"lv_VI97HAXpY6yYWAAAB"[..]));
        assert_eq!(announced_value(br#"{ "sid" : "a" }"#, "sid"), Some(&b"a"[..]));
        for body in
            [r#"{"sid":1}"#, r#"{"sid":""}"#, r#"{"sid":"a\"b"}"#, r#"{"sid":"cut"#, "sid", ""]
        {
            assert_eq!(announced_value(body.as_bytes(), "sid"), None, "{body}");
        }
        let late = [vec![b' '; ANNOUNCED_WITHIN_BYTES], br#"{"sid":"a"}"#.to_vec()].concat();
        assert_eq!(announced_value(&late, "sid"), None);
    }

    #[test]
    fn the_keys_used_last_are_remembered_and_no_more_than_may_be() {
        let key = |number: usize| Key::of(&number.to_le_bytes());
        let worker = |bindings: &mut Bindings, number| Some(bindings.get(key(number))?.worker);
        let mut bindings = Bindings::default();
        for number in 0..4 * AFFINITY_KEYS_MAX {
            bindings.bind(key(number), WorkerId(number as u64), 0);
            assert_eq!(worker(&mut bindings, 0), Some(WorkerId(0)));
        }
        assert!(bindings.young.len() + bindings.old.len() <= AFFINITY_KEYS_MAX);
        let last = 4 * AFFINITY_KEYS_MAX - 1;
        assert_eq!(worker(&mut bindings, last), Some(WorkerId(last as u64)));
        assert_eq!(worker(&mut bindings, 1), None);
    }
}
