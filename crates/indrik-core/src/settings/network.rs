//! Who is believed: addresses and networks of clients.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An address, a network, or everyone. As text it is what the user wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Network {
    /// `*`: whoever it is.
    Everyone,
    /// `10.0.0.0/8`; an address alone is a network of one.
    Of {
        /// The first address; all bits after the first `bits` are zero.
        address: IpAddr,
        /// How many bits all addresses of the network share.
        bits: u8,
    },
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkError {
    /// Neither an address nor a network nor `*`.
    NotANetwork,
    /// `10.0.0.1/8`: a network's address ends in zeros, so a digit is wrong on one side of the slash.
    HostBits,
}

impl Network {
    /// Whether the network has this address. An IPv4 address that came over an IPv6 socket
    /// (`::ffff:10.0.0.1`) is the IPv4 address.
    pub fn contains(&self, client: IpAddr) -> bool {
        match (self, client.to_canonical()) {
            (Self::Everyone, _) => true,
            (Self::Of { address: IpAddr::V4(address), bits }, IpAddr::V4(client)) => {
                same_v4(*address, client, *bits)
            }
            (Self::Of { address: IpAddr::V6(address), bits }, IpAddr::V6(client)) => {
                same_v6(*address, client, *bits)
            }
            (Self::Of { address: IpAddr::V4(_), .. }, IpAddr::V6(_))
            | (Self::Of { address: IpAddr::V6(_), .. }, IpAddr::V4(_)) => false,
        }
    }
}

fn same_v4(one: Ipv4Addr, other: Ipv4Addr, bits: u8) -> bool {
    let differ = one.to_bits() ^ other.to_bits();
    differ.checked_shr(32 - u32::from(bits)).unwrap_or(0) == 0
}

fn same_v6(one: Ipv6Addr, other: Ipv6Addr, bits: u8) -> bool {
    let differ = one.to_bits() ^ other.to_bits();
    differ.checked_shr(128 - u32::from(bits)).unwrap_or(0) == 0
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        if text == "*" {
            return Ok(Self::Everyone);
        }
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::NotANetwork)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(text) => prefix(address, text).ok_or(NetworkError::NotANetwork)?,
        };
        if bits > most {
            return Err(NetworkError::NotANetwork);
        }
        let network = Self::Of { address, bits };
        if has_host_bits(address, bits) { Err(NetworkError::HostBits) } else { Ok(network) }
    }
}

/// `8`, or as Python's `ipaddress` has it `255.0.0.0`.
fn prefix(address: IpAddr, text: &str) -> Option<u8> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let mask = text.parse::<Ipv4Addr>().ok().filter(|_| address.is_ipv4())?.to_bits();
    let bits = mask.leading_ones();
    (mask.checked_shl(bits).unwrap_or(0) == 0).then(|| u8::try_from(bits).ok())?
}

fn has_host_bits(address: IpAddr, bits: u8) -> bool {
    match address {
        IpAddr::V4(address) => address.to_bits().checked_shl(u32::from(bits)).unwrap_or(0) != 0,
        IpAddr::V6(address) => address.to_bits().checked_shl(u32::from(bits)).unwrap_or(0) != 0,
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everyone => f.write_str("*"),
            Self::Of { address: IpAddr::V4(address), bits: 32 } => address.fmt(f),
            Self::Of { address: IpAddr::V6(address), bits: 128 } => address.fmt(f),
            Self::Of { address, bits } => write!(f, "{address}/{bits}"),
        }
    }
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotANetwork => "it is no address, no network and no *",
            Self::HostBits => "it has bits after the slash's number that are not zero",
        })
    }
}

impl std::error::Error for NetworkError {}

impl TryFrom<String> for Network {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Self, NetworkError> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn contains(network: &str, client: &str) -> bool {
        network.parse::<Network>().unwrap().contains(client.parse().unwrap())
    }

    #[test]
    fn a_network_has_the_addresses_that_begin_like_it() {
        assert!(contains("10.0.0.0/8", "10.1.2.3"));
        assert!(contains("10.0.0.0/255.0.0.0", "10.1.2.3"));
        assert!(!contains("10.0.0.0/8", "11.0.0.0"));
        assert!(contains("0.0.0.0/0", "1.2.3.4"));
        assert!(!contains("0.0.0.0/0", "::1"));
        assert!(contains("::/0", "fe80::1"));
        assert!(contains("fe80::/10", "febf::1") && !contains("fe80::/10", "fec0::1"));
        assert!(contains("*", "::1") && contains("*", "1.2.3.4"));
    }

    #[test]
    fn an_address_alone_is_itself_also_over_an_ipv6_socket() {
        assert!(contains("127.0.0.1", "127.0.0.1") && !contains("127.0.0.1", "127.0.0.2"));
        assert!(contains("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(contains("::1", "::1") && !contains("::1", "::2"));
    }

    #[test]
    fn what_is_no_network_says_why() {
        let error = |text: &str| text.parse::<Network>().unwrap_err();
        for text in ["", "localhost", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/255.0.255.0", "1/8"] {
            assert_eq!(error(text), NetworkError::NotANetwork, "{text}");
        }
        assert_eq!(error("192.168.1.1/24"), NetworkError::HostBits);
        assert_eq!(error("fe80::1/10"), NetworkError::HostBits);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[0-9a-f.:/*]{0,24}|.*") {
            if let Ok(network) = text.parse::<Network>() {
                prop_assert_eq!(network.to_string().parse(), Ok(network));
            }
        }

        #[test]
        fn an_address_is_in_every_network_it_begins(bytes: [u8; 4], bits in 0u8..=32) {
            let client = Ipv4Addr::from(bytes);
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            let address = IpAddr::V4(Ipv4Addr::from_bits(client.to_bits() & mask));
            let network = Network::Of { address, bits };
            prop_assert!(network.contains(IpAddr::V4(client)));
        }
    }
}
