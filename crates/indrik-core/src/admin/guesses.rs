//! Who has brought wrong tokens, and how long they wait for it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Wrong tokens that cost nothing: a typing mistake is no attack.
const FREE_TRIES: u32 = 5;
/// The first wait after that; each further try doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// Who tries nothing for so long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(900);
/// Addresses that are remembered; of more, the longest silent one is forgotten.
const ADDRESSES_MAX: usize = 1024;

/// The wrong tokens of each address.
#[derive(Debug, Default)]
pub struct Guesses(BTreeMap<IpAddr, Tries>);

#[derive(Debug)]
struct Tries {
    wrong: u32,
    last: Duration,
    /// Until then nothing is looked at.
    until: Duration,
}

impl Guesses {
    /// How long this address has to wait yet. `None`: its token may be looked at.
    #[must_use]
    pub fn wait(&self, address: IpAddr, now: Duration) -> Option<Duration> {
        let tries = self.0.get(&whole(address))?;
        tries.until.checked_sub(now).filter(|left| !left.is_zero())
    }

    /// A token was wrong. Returns how many of this address have been.
    pub fn wrong(&mut self, address: IpAddr, now: Duration) -> u32 {
        self.0.retain(|_, tries| now.saturating_sub(tries.last) < FORGOTTEN_AFTER);
        let address = whole(address);
        if self.0.len() >= ADDRESSES_MAX && !self.0.contains_key(&address) {
            let oldest = self.0.iter().min_by_key(|(_, tries)| tries.last).map(|(ip, _)| *ip);
            oldest.and_then(|oldest| self.0.remove(&oldest));
        }
        let tries = self.0.entry(address).or_insert(Tries { wrong: 0, last: now, until: now });
        tries.wrong = tries.wrong.saturating_add(1);
        tries.last = now;
        if tries.wrong > FREE_TRIES {
            let doublings = (tries.wrong - FREE_TRIES - 1).min(16);
            tries.until = now + FIRST_WAIT.saturating_mul(1 << doublings).min(WAIT_MAX);
        }
        tries.wrong
    }

    /// A token was right: what was wrong before was a mistake.
    pub fn right(&mut self, address: IpAddr) {
        self.0.remove(&whole(address));
    }
}

/// Whoever has one IPv6 address has all of its network's.
fn whole(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_mistakes_are_free_and_then_every_try_doubles_the_wait() {
        let mut guesses = Guesses::default();
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        let now = Duration::from_secs(10);
        for _ in 0..FREE_TRIES {
            guesses.wrong(address, now);
            assert_eq!(guesses.wait(address, now), None);
        }
        guesses.wrong(address, now);
        assert_eq!(guesses.wait(address, now), Some(FIRST_WAIT));
        assert_eq!(guesses.wait("10.0.0.2".parse().unwrap(), now), None);
        guesses.wrong(address, now);
        assert_eq!(guesses.wait(address, now), Some(FIRST_WAIT * 2));
        assert_eq!(guesses.wait(address, now + FIRST_WAIT * 2), None);
        for _ in 0..100 {
            guesses.wrong(address, now);
        }
        assert_eq!(guesses.wait(address, now), Some(WAIT_MAX));
        guesses.right(address);
        assert_eq!(guesses.wait(address, now), None);
    }

    #[test]
    fn the_table_is_bounded_and_a_network_counts_as_one() {
        let mut guesses = Guesses::default();
        for number in 0..5000u32 {
            guesses.wrong(IpAddr::V4(number.into()), Duration::from_secs(1));
        }
        assert!(guesses.0.len() <= ADDRESSES_MAX);
        let now = Duration::from_secs(1);
        for last in 1..=FREE_TRIES + 1 {
            guesses.wrong(format!("2001:db8::{last}").parse().unwrap(), now);
        }
        assert!(guesses.wait("2001:db8::ffff".parse().unwrap(), now).is_some());
        assert!(guesses.wait("2001:db8:0:1::1".parse().unwrap(), now).is_none());
    }
}
