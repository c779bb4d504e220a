//! What a proxy in front may say about a request: its scheme, its client, its prefix; and which header
//! names with underscores reach the application at all.
//!
//! All of it is decided once per connection (is the peer a trusted proxy?) and otherwise only for
//! requests that carry one of the headers in question.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;

use http::header::{FORWARDED, HeaderName};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use indrik_core::logs::level::Level;
use indrik_core::proxy::{Accepts, Header, Source, client as real_client};
use indrik_core::settings::{
    Config, HeaderMap as Underscores, Network, ProxyProtocol, RealIpHeader,
};
use parking_lot::Mutex;

use crate::front::peer::Peer;
use crate::front::refusal::Refusal;
use crate::log::Log;

/// Dropped header names that are remembered as told; of further ones nothing is said.
const NAMES_TOLD_MAX: usize = 64;
/// Longer names are dropped without a word.
const NAME_TOLD_BYTES_MAX: usize = 64;
/// What a trusted proxy names the prefix in that it takes off.
const SCRIPT_NAME: HeaderName = HeaderName::from_static("script_name");

/// The settings about proxies, ready for use.
pub(crate) struct Forwarding {
    proxies: Vec<Network>,
    /// Headers that tell the scheme, and the value that means HTTPS.
    schemes: Vec<(HeaderName, String)>,
    real_ip: Option<(Source, HeaderName)>,
    /// Names with underscores that a trusted proxy may send; `*` for all.
    forwarder_headers: Vec<String>,
    underscores: Underscores,
    /// PROXY headers: which, and whose.
    pub(crate) proxy_protocol: Option<(Accepts, Vec<Network>)>,
    /// The lengths, as bits, that the names of interest have: most names are told by theirs.
    name_lengths: u64,
    told: Mutex<BTreeSet<String>>,
}

/// What a request brought beyond its connection; in its extensions, if there is anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Via {
    /// Whether the client came over HTTPS, if a proxy says that.
    pub(crate) secure: Option<bool>,
    /// The client's address and port, from `real_ip_header`.
    pub(crate) client: Option<(String, u16)>,
    /// The prefix that a trusted proxy names.
    pub(crate) prefix: Vec<u8>,
}

impl Via {
    /// What is known of this request.
    pub(crate) fn of(parts: &Parts) -> Option<&Self> {
        parts.extensions.get()
    }
}

impl Forwarding {
    pub(crate) fn new(config: &Config) -> Self {
        let name = |name: &str| HeaderName::from_bytes(name.as_bytes()).ok();
        let schemes = &config.secure_scheme_headers;
        let schemes: Vec<_> = schemes
            .iter()
            .filter_map(|(header, value)| Some((name(header)?, value.clone())))
            .collect();
        let real_ip = match config.real_ip_header {
            RealIpHeader::Off => None,
            RealIpHeader::XForwardedFor => {
                let name = HeaderName::from_static("x-forwarded-for");
                Some((Source::XForwardedFor, name))
            }
            RealIpHeader::Forwarded => Some((Source::Forwarded, FORWARDED)),
        };
        let accepts = match config.proxy_protocol {
            ProxyProtocol::Off => None,
            ProxyProtocol::V1 => Some(Accepts::V1),
            ProxyProtocol::V2 => Some(Accepts::V2),
            ProxyProtocol::Auto => Some(Accepts::Both),
        };
        let names =
            schemes.iter().map(|(name, _)| name).chain(real_ip.iter().map(|(_, name)| name));
        Self {
            name_lengths: names.fold(0, |bits, name| bits | length_bit(name)),
            proxies: config.forwarded_allow_ips.clone(),
            schemes,
            real_ip,
            forwarder_headers: config.forwarder_headers.clone(),
            underscores: config.header_map,
            proxy_protocol: accepts.map(|accepts| (accepts, config.proxy_allow_ips.clone())),
            told: Mutex::default(),
        }
    }

    /// Whether a peer may say what its clients are; `None` is a Unix socket's.
    pub(crate) fn trusts(&self, peer: Option<IpAddr>) -> bool {
        peer.is_none_or(|peer| is_in(&self.proxies, peer))
    }

    /// Whether a trusted proxy says something with this header.
    pub(crate) fn is_of_interest(&self, name: &HeaderName) -> bool {
        self.name_lengths & length_bit(name) != 0
            && (self.schemes.iter().any(|(scheme, _)| scheme == name)
                || self.real_ip.as_ref().is_some_and(|(_, header)| header == name))
    }

    /// Takes what a request says of its way: notes it in the extensions, and removes headers that the
    /// application must not see.
    pub(crate) fn take(&self, peer: &Peer, log: &Log, parts: &mut Parts) -> Result<(), Refusal> {
        let mut via = Via::default();
        if peer.trusted {
            via.secure = self.is_secure(&parts.headers)?;
            via.client = self.client(peer.ip, &parts.headers);
            via.prefix = self.prefix(&parts.headers)?;
        }
        self.check_underscores(peer, log, &mut parts.headers)?;
        if via != Via::default() {
            parts.extensions.insert(via);
        }
        Ok(())
    }

    fn is_secure(&self, headers: &HeaderMap) -> Result<Option<bool>, Refusal> {
        let mut secure = None;
        for (name, expected) in &self.schemes {
            for value in headers.get_all(name) {
                let says = value.as_bytes() == expected.as_bytes();
                if secure.is_some_and(|before| before != says) {
                    return Err(bad("the headers that tell the scheme contradict each other"));
                }
                secure = Some(says);
            }
        }
        Ok(secure)
    }

    fn client(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<(String, u16)> {
        let (source, name) = self.real_ip.as_ref()?;
        // Nearly always one field, and never more than the limit on fields.
        let fields: Vec<&[u8]> =
            headers.get_all(name).iter().map(|value| value.as_bytes()).collect();
        let is_trusted = |address| is_in(&self.proxies, address);
        let hop = real_client(*source, fields.into_iter(), peer, is_trusted)?;
        Some((hop.address.to_string(), hop.port))
    }

    fn prefix(&self, headers: &HeaderMap) -> Result<Vec<u8>, Refusal> {
        if !self.may_forward(SCRIPT_NAME.as_str()) {
            return Ok(Vec::new());
        }
        let mut prefixes = headers.get_all(SCRIPT_NAME).iter();
        match (prefixes.next(), prefixes.next()) {
            (Some(_), Some(_)) => Err(bad("more than one SCRIPT_NAME header")),
            (Some(prefix), None) => {
                // The path that follows begins with the slash.
                let slashes =
                    prefix.as_bytes().iter().rev().take_while(|byte| **byte == b'/').count();
                Ok(prefix.as_bytes()[..prefix.len() - slashes].to_vec())
            }
            (None, _) => Ok(Vec::new()),
        }
    }

    fn may_forward(&self, name: &str) -> bool {
        self.forwarder_headers.iter().any(|may| may == "*" || may.eq_ignore_ascii_case(name))
    }

    /// `X_Real_IP` and `X-Real-IP` are one name in an environ: who may send the first can pose as
    /// somebody who sends the second.
    fn check_underscores(
        &self,
        peer: &Peer,
        log: &Log,
        headers: &mut HeaderMap,
    ) -> Result<(), Refusal> {
        if self.underscores == Underscores::Dangerous {
            return Ok(());
        }
        let has_underscore = |name: &&HeaderName| name.as_str().contains('_');
        let may = |name: &str| peer.trusted && self.may_forward(name);
        let unwanted: Vec<HeaderName> = headers
            .keys()
            .filter(has_underscore)
            .filter(|name| !may(name.as_str()))
            .cloned()
            .collect();
        if !unwanted.is_empty() && self.underscores == Underscores::Refuse {
            return Err(bad("a header name with an underscore"));
        }
        for name in unwanted {
            headers.remove(&name);
            self.tell_dropped(log, name.as_str());
        }
        Ok(())
    }

    fn tell_dropped(&self, log: &Log, name: &str) {
        let mut told = self.told.lock();
        if name.len() > NAME_TOLD_BYTES_MAX
            || told.len() >= NAMES_TOLD_MAX
            || !told.insert(name.to_owned())
        {
            return;
        }
        drop(told);
        let text = format!(
            "Dropping the request header {name:?}: a name with an underscore could pose as one with a \
             hyphen; let the proxy send it with hyphens, or name it in forwarder_headers (said once \
             for each name)"
        );
        log.write(Level::Warning, &text);
    }
}

/// What `PROXY_*` is made of: the protocol, then perhaps the address and port.
pub(crate) fn describe(header: &Header) -> String {
    let name = header.transport.name();
    header.ends.map_or_else(
        || name.to_owned(),
        |ends| format!("{name} {} {}", ends.destination.ip(), ends.destination.port()),
    )
}

/// Whether one of the networks has the address.
pub(crate) fn is_in(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

fn length_bit(name: &HeaderName) -> u64 {
    1 << (name.as_str().len() % 64)
}

const fn bad(message: &'static str) -> Refusal {
    Refusal::bad(StatusCode::BAD_REQUEST, message)
}

/// The client's address as the log and the application see it.
pub(crate) fn shown_client<'a>(peer: &'a Peer, via: Option<&'a Via>) -> (Cow<'a, str>, u16) {
    match via.and_then(|via| via.client.as_ref()) {
        Some((address, port)) => (Cow::Borrowed(address.as_str()), *port),
        None => (Cow::Borrowed(peer.address.as_str()), peer.port),
    }
}
