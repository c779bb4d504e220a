//! Extensions: reading the client's offers and agreeing on permessage-deflate (RFC 6455 section 9,
//! RFC 7692 section 7.1).

use std::fmt::Write as _;

use indrik_core::http1::is_token_byte;

/// The only extension there is.
const PERMESSAGE_DEFLATE: &str = "permessage-deflate";

/// What the server wants of permessage-deflate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeflatePolicy {
    /// Largest window for what we send, `9..=15` bits: 4 times 2^bits bytes of memory each side.
    pub server_max_window_bits: u8,
    /// Largest window for what we receive, `9..=15` bits, if the client lets us choose.
    pub client_max_window_bits: u8,
    /// Forget our window after each message even if the client does not ask for it.
    pub server_no_context_takeover: bool,
    /// Ask the client to forget its window after each message.
    pub client_no_context_takeover: bool,
    /// Messages of fewer bytes are sent as they are.
    pub compress_size_min: usize,
}

impl Default for DeflatePolicy {
    /// 4 KiB windows compress nearly as well as 32 KiB ones on messages, for an eighth of the
    /// memory on each of many connections. Small messages repeat what the ones before them said, so
    /// they are compressed too; below 16 bytes there is nothing to win.
    fn default() -> Self {
        Self {
            server_max_window_bits: 12,
            client_max_window_bits: 12,
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            compress_size_min: 16,
        }
    }
}

/// permessage-deflate as agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deflate {
    /// The window of what we send, in bits.
    pub server_max_window_bits: u8,
    /// The window of what we receive, in bits.
    pub client_max_window_bits: u8,
    /// We forget our window after each message.
    pub server_no_context_takeover: bool,
    /// The client forgets its window after each message.
    pub client_no_context_takeover: bool,
    /// Messages of fewer bytes are sent as they are.
    pub compress_size_min: usize,
    /// The value of our `Sec-WebSocket-Extensions` header.
    pub header: String,
}

/// A `Sec-WebSocket-Extensions` header that does not fit the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadExtensions;

/// The agreement on the first acceptable offer among the `Sec-WebSocket-Extensions` values.
///
/// # Errors
/// A value outside the grammar: the handshake must fail (RFC 6455 section 9.1).
pub fn negotiate<'a>(
    values: impl IntoIterator<Item = &'a str>,
    policy: &DeflatePolicy,
) -> Result<Option<Deflate>, BadExtensions> {
    let mut agreed = None;
    for value in values {
        let mut reader = Reader { rest: value };
        while let Some(offer) = reader.extension()? {
            if agreed.is_none() && offer.name.eq_ignore_ascii_case(PERMESSAGE_DEFLATE) {
                agreed = accept(&offer.params, policy);
            }
        }
    }
    Ok(agreed)
}

/// Agrees to one offer, or declines it: an unknown, repeated or malformed parameter, or one that
/// cannot be kept to.
fn accept(params: &[(&str, Option<&str>)], policy: &DeflatePolicy) -> Option<Deflate> {
    let mut seen: [Option<Option<&str>>; 4] = [None; 4];
    const NAMES: [&str; 4] = [
        "server_no_context_takeover",
        "client_no_context_takeover",
        "server_max_window_bits",
        "client_max_window_bits",
    ];
    for (name, value) in params {
        let index = NAMES.iter().position(|known| known.eq_ignore_ascii_case(name))?;
        if seen[index].replace(*value).is_some() {
            return None;
        }
    }
    let [server_no_context, client_no_context, server_bits, client_bits] = seen;
    if matches!(server_no_context, Some(Some(_))) || matches!(client_no_context, Some(Some(_))) {
        return None;
    }
    // zlib makes no raw DEFLATE with a window of 8 bits, so such an offer is declined.
    let server_limit = match server_bits {
        Some(value) => window_bits(value?).filter(|bits| *bits >= 9)?,
        None => 15,
    };
    // The client lets us choose its window only if it names the parameter.
    let client_limit = match client_bits {
        Some(Some(value)) => Some(window_bits(value)?),
        Some(None) => Some(15),
        None => None,
    };
    let server_max_window_bits = server_limit.min(policy.server_max_window_bits);
    let client_choice = client_limit.map(|limit| limit.min(policy.client_max_window_bits));
    let server_no_context_takeover =
        server_no_context.is_some() || policy.server_no_context_takeover;
    let client_no_context_takeover =
        client_no_context.is_some() || policy.client_no_context_takeover;

    let mut header = PERMESSAGE_DEFLATE.to_owned();
    for (given, name) in
        [(server_no_context_takeover, NAMES[0]), (client_no_context_takeover, NAMES[1])]
    {
        if given {
            header.push_str("; ");
            header.push_str(name);
        }
    }
    // A client that did not name the server's window may be told of a smaller one all the same.
    let told = server_bits.is_some() || server_max_window_bits < 15;
    for (bits, name) in
        [(told.then_some(server_max_window_bits), NAMES[2]), (client_choice, NAMES[3])]
    {
        if let Some(bits) = bits {
            // Writing to a String cannot fail.
            let _ = write!(header, "; {name}={bits}");
        }
    }
    Some(Deflate {
        server_max_window_bits,
        client_max_window_bits: client_choice.unwrap_or(15),
        server_no_context_takeover,
        client_no_context_takeover,
        compress_size_min: policy.compress_size_min,
        header,
    })
}

/// `8..=15` in decimal without leading zeros.
fn window_bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok().filter(|bits| (8..=15).contains(bits))?;
    (!value.starts_with(['0', '+'])).then_some(bits)
}

struct Extension<'a> {
    name: &'a str,
    params: Vec<(&'a str, Option<&'a str>)>,
}

/// Reads one header value.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    /// The next extension of the list; empty elements are skipped (RFC 9110 section 5.6.1).
    fn extension(&mut self) -> Result<Option<Extension<'a>>, BadExtensions> {
        self.skip_blank();
        while self.eat(',') {
            self.skip_blank();
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let name = self.token()?;
        let mut params = Vec::new();
        self.skip_blank();
        while self.eat(';') {
            self.skip_blank();
            let name = self.token()?;
            self.skip_blank();
            let mut value = None;
            if self.eat('=') {
                self.skip_blank();
                value = Some(self.value()?);
                self.skip_blank();
            }
            params.push((name, value));
        }
        if !self.rest.is_empty() && !self.rest.starts_with(',') {
            return Err(BadExtensions);
        }
        Ok(Some(Extension { name, params }))
    }

    /// A token, or a quoted string whose content is a token (RFC 6455 section 9.1), so that a
    /// backslash in it is never needed.
    fn value(&mut self) -> Result<&'a str, BadExtensions> {
        if !self.eat('"') {
            return self.token();
        }
        let value = self.token()?;
        if self.eat('"') { Ok(value) } else { Err(BadExtensions) }
    }

    fn token(&mut self) -> Result<&'a str, BadExtensions> {
        let end = self.rest.bytes().position(|byte| !is_token_byte(byte));
        let (token, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        if token.is_empty() { Err(BadExtensions) } else { Ok(token) }
    }

    fn eat(&mut self, wanted: char) -> bool {
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn skip_blank(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wide() -> DeflatePolicy {
        DeflatePolicy {
            server_max_window_bits: 15,
            client_max_window_bits: 15,
            ..DeflatePolicy::default()
        }
    }

    fn answer(offer: &str) -> Option<String> {
        negotiate([offer], &wide()).unwrap().map(|deflate| deflate.header)
    }

    #[test]
    fn a_plain_offer_is_accepted_plainly() {
        assert_eq!(answer("permessage-deflate").as_deref(), Some("permessage-deflate"));
        assert_eq!(answer("x-other, Permessage-Deflate").as_deref(), Some("permessage-deflate"));
    }

    #[test]
    fn what_the_client_asks_for_is_confirmed() {
        let offer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                     server_max_window_bits=10; client_max_window_bits=\"11\"";
        let deflate = negotiate([offer], &wide()).unwrap().unwrap();
        assert_eq!(deflate.header, offer.replace('"', ""));
        assert_eq!((deflate.server_max_window_bits, deflate.client_max_window_bits), (10, 11));
    }

    #[test]
    fn our_smaller_windows_are_announced_where_the_client_allows() {
        let header = |offer| negotiate([offer], &DeflatePolicy::default()).unwrap().unwrap().header;
        assert_eq!(header("permessage-deflate"), "permessage-deflate; server_max_window_bits=12");
        assert_eq!(
            header("permessage-deflate; client_max_window_bits"),
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"
        );
    }

    #[test]
    fn a_client_that_does_not_offer_its_window_is_taken_to_use_the_largest() {
        let deflate =
            negotiate(["permessage-deflate"], &DeflatePolicy::default()).unwrap().unwrap();
        assert_eq!(deflate.client_max_window_bits, 15);
    }

    #[test]
    fn an_offer_that_cannot_be_kept_is_declined_and_the_next_one_taken() {
        for bad in [
            "server_max_window_bits",
            "server_max_window_bits=8",
            "server_max_window_bits=16",
            "server_max_window_bits=09",
            "server_max_window_bits=+9",
            "client_max_window_bits=7",
            "client_max_window_bits=; x",
            "server_no_context_takeover=1",
            "client_no_context_takeover; client_no_context_takeover",
            "unknown",
        ] {
            if bad.contains("=;") {
                assert!(negotiate([&*format!("permessage-deflate; {bad}")], &wide()).is_err());
                continue;
            }
            let offers = format!("permessage-deflate; {bad}, permessage-deflate");
            assert_eq!(answer(&offers).as_deref(), Some("permessage-deflate"), "{bad}");
            assert_eq!(answer(&format!("permessage-deflate; {bad}")), None, "{bad}");
        }
    }

    #[test]
    fn a_header_outside_the_grammar_is_an_error() {
        for bad in ["permessage-deflate;", "a b", "=", "a; b=\"c", "a; b=c d", "é"] {
            assert_eq!(negotiate([bad], &wide()), Err(BadExtensions), "{bad}");
        }
        assert_eq!(negotiate(["", " , ,"], &wide()), Ok(None));
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_panic_and_windows_stay_in_range(
            value in "(permessage-deflate|[a-z ,;=\"0-9]|server_max_window_bits|; |=1[0-9]){0,12}",
        ) {
            if let Ok(Some(deflate)) = negotiate([&*value], &DeflatePolicy::default()) {
                prop_assert!((9..=12).contains(&deflate.server_max_window_bits));
                prop_assert!((8..=15).contains(&deflate.client_max_window_bits));
            }
        }
    }
}
