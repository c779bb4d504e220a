//! Which requests belong together, where the setting `affinity` says that they go to one worker.

use std::hash::{BuildHasher, Hasher, RandomState};

use http::header::{COOKIE, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use indrik_core::dispatch::{
    AFFINITY_COOKIE, Affinity, Key, announced_value, cookie_value, query_value,
};

use super::forwarding::{Via, shown_client};
use crate::front::context::RequestContext;

/// What one request has in common with others.
#[derive(Default)]
pub(super) struct Affine {
    /// It goes where the others with this key go.
    pub(super) key: Option<Key>,
    /// What its answer has to do with it.
    tells: Tells,
}

#[derive(Default)]
enum Tells {
    /// Nothing.
    #[default]
    Nothing,
    /// It sets this cookie.
    Cookie(String),
    /// It may announce the key of those that follow.
    Member(String),
}

impl Affine {
    pub(super) fn of(context: &RequestContext, parts: &Parts) -> Self {
        let known = |key| Self { key: Some(key), tells: Tells::Nothing };
        match &context.settings.affinity {
            Affinity::Off => Self::default(),
            Affinity::Ip => {
                let (address, _) = shown_client(context.peer(), Via::of(parts));
                known(Key::of(address.as_bytes()))
            }
            Affinity::Header(name) => parts
                .headers
                .get(name)
                .map(|value| known(Key::of(value.as_bytes())))
                .unwrap_or_default(),
            Affinity::Query(name) => match query_value(parts.uri.query().unwrap_or(""), name) {
                Some(value) => known(Key::of(value.as_bytes())),
                None => Self { key: None, tells: Tells::Member(name.clone()) },
            },
            Affinity::Cookie => {
                let mut fields = parts.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
                match fields.find_map(|field| cookie_value(field, AFFINITY_COOKIE)) {
                    Some(value) => known(Key::of(value)),
                    None => Self::with_new_cookie(context, parts),
                }
            }
        }
    }

    fn with_new_cookie(context: &RequestContext, parts: &Parts) -> Self {
        let secure = Via::of(parts).and_then(|via| via.secure);
        let secure = secure.unwrap_or_else(|| context.services().tls.is_some());
        let chance = || RandomState::new().build_hasher().finish();
        let value = format!("{:016x}{:016x}", chance(), chance());
        let flag = if secure { "; Secure" } else { "" };
        Self {
            key: Some(Key::of(value.as_bytes())),
            tells: Tells::Cookie(format!(
                "{AFFINITY_COOKIE}={value}; Path=/; HttpOnly; SameSite=Lax{flag}"
            )),
        }
    }

    /// Adds to the answer's head what it has to say.
    pub(super) fn add_to(&self, headers: &mut HeaderMap) {
        if let Tells::Cookie(cookie) = &self.tells
            && let Ok(value) = HeaderValue::from_str(cookie)
        {
            headers.append(SET_COOKIE, value);
        }
    }

    /// The key of those that follow, if the beginning of the answer's body says one.
    pub(super) fn announced(&self, body: &[u8]) -> Option<Key> {
        let Tells::Member(name) = &self.tells else { return None };
        announced_value(body, name).map(Key::of)
    }
}
