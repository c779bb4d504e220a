//! The front's memory account: when which measure begins, and whose connection is cut.
//!
//! Every buffer of the front is charged to the connection it is for, and to the total. A connection that
//! holds more than its own limit is cut. As the total fills, lesser measures come first ([`Measure`]); when
//! it is full, those are cut that hold the most, so that an honest client with little is never cut for one
//! with much.

use super::Limit;

/// What the total means while nobody knows how much memory there is.
const TOTAL_UNKNOWN_BYTES: u64 = 1 << 30;
/// What one connection may hold where the settings leave it to us, at least.
const CONNECTION_AUTO_BYTES: u64 = 64 << 20;
/// What a connection may hold beside the WebSocket message that it receives and the one it gives on.
const CONNECTION_AUTO_SPARE_BYTES: u64 = 16 << 20;

/// Hundredths of the total from which on [`Measure::Spare`] holds.
const SPARE_FROM: u64 = 70;
/// Hundredths of the total from which on [`Measure::Hold`] holds.
const HOLD_FROM: u64 = 85;
/// Once it is cut, so much is cut that at most so many hundredths of the total are left.
const CUT_UNTIL: u64 = 90;

/// How much may be held, in bytes. [`u64::MAX`] is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// By all connections together.
    pub total: u64,
    /// By one connection.
    pub connection: u64,
}

impl Limits {
    /// From the settings, where this server may use `memory` bytes.
    #[must_use]
    pub fn new(total: Limit, connection: u64, memory: Option<u64>) -> Self {
        let unknown = match total {
            Limit::Bytes(_) => u64::MAX,
            Limit::Share(_) => TOTAL_UNKNOWN_BYTES,
        };
        let or_none = |bytes| if bytes == 0 { u64::MAX } else { bytes };
        Self { total: total.bytes(memory, 1).unwrap_or(unknown), connection: or_none(connection) }
    }

    /// What is to be done while so much is held.
    #[must_use]
    pub fn measure(&self, held: u64) -> Measure {
        let reaches = |hundredths| held >= part(self.total, hundredths);
        match () {
            () if held >= self.total => Measure::Cut,
            () if reaches(HOLD_FROM) => Measure::Hold,
            () if reaches(SPARE_FROM) => Measure::Spare,
            () => Measure::None,
        }
    }
}

/// What `connection_memory_max` means where it is `auto`: room for the largest WebSocket message twice, as
/// one lies here while the next one comes.
#[must_use]
pub const fn connection_auto(websocket_message_max: u64) -> u64 {
    if websocket_message_max == 0 {
        return 0;
    }
    let needed =
        websocket_message_max.saturating_mul(2).saturating_add(CONNECTION_AUTO_SPARE_BYTES);
    if needed > CONNECTION_AUTO_BYTES { needed } else { CONNECTION_AUTO_BYTES }
}

/// What is done while the total fills, the least first; each holds beside those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Measure {
    /// Nothing.
    #[default]
    None = 0,
    /// No response runs ahead of its client, and answers end their connections.
    Spare = 1,
    /// Bodies of requests that have not begun are left with their clients.
    Hold = 2,
    /// Those that hold the most are cut.
    Cut = 3,
}

impl Measure {
    /// Its word, for showing.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Spare => "spare",
            Self::Hold => "hold",
            Self::Cut => "cut",
        }
    }
}

impl From<u8> for Measure {
    fn from(value: u8) -> Self {
        match value {
            0 => Self::None,
            1 => Self::Spare,
            2 => Self::Hold,
            _ => Self::Cut,
        }
    }
}

/// One connection and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding<K> {
    /// What the caller calls the connection.
    pub key: K,
    /// What it holds, bytes.
    pub bytes: u64,
}

/// Whom to cut: everybody above the limit of one connection, and, if the total is reached, those that hold
/// the most, until enough is left. The largest comes first. `held` is the whole account, but for what
/// connections hold that were told to end already; those are not among the `holders`.
#[must_use]
pub fn to_cut<K>(limits: Limits, held: u64, mut holders: Vec<Holding<K>>) -> Vec<Holding<K>> {
    holders.sort_unstable_by_key(|holder| std::cmp::Reverse(holder.bytes));
    let is_full = limits.measure(held) == Measure::Cut;
    let enough = part(limits.total, CUT_UNTIL);
    let mut left = held;
    let goes = |holder: &Holding<K>, left: u64| {
        holder.bytes > limits.connection || (is_full && left > enough && holder.bytes > 0)
    };
    let count = holders
        .iter()
        .take_while(|holder| {
            let goes = goes(holder, left);
            left = left.saturating_sub(holder.bytes);
            goes
        })
        .count();
    holders.truncate(count);
    holders
}

/// So many hundredths.
pub(super) const fn part(total: u64, hundredths: u64) -> u64 {
    total / 100 * hundredths + total % 100 * hundredths / 100
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn limits(total: u64, connection: u64) -> Limits {
        Limits { total, connection }
    }

    #[test]
    fn measures_come_one_after_the_other_as_the_total_fills() {
        let limits = limits(1000, 1000);
        let measures = [0, 699, 700, 849, 850, 999, 1000, 5000].map(|held| limits.measure(held));
        use Measure::{Cut, Hold, None, Spare};
        assert_eq!(measures, [None, None, Spare, Spare, Hold, Hold, Cut, Cut]);
    }

    #[test]
    fn without_a_limit_there_are_no_measures() {
        let none = Limits::new(Limit::Bytes(0), 0, Some(MIB));
        assert_eq!(none, limits(u64::MAX, u64::MAX));
        assert_eq!(none.measure(1 << 40), Measure::None);
    }

    #[test]
    fn a_share_of_memory_that_nobody_knows_is_a_limit_all_the_same() {
        let share = |memory| Limits::new(Limit::Share(25), 0, memory).total;
        assert_eq!((share(Some(400 * MIB)), share(None)), (100 * MIB, TOTAL_UNKNOWN_BYTES));
    }

    #[test]
    fn a_connection_has_room_for_the_largest_messages_twice() {
        assert_eq!(connection_auto(16 * MIB), 64 * MIB);
        assert_eq!(connection_auto(100 * MIB), 216 * MIB);
        assert_eq!(connection_auto(0), 0, "no limit of a message is no limit of a connection");
    }

    #[test]
    fn the_largest_is_cut_and_the_small_ones_stay() {
        let holders = [(1, 10), (2, 900), (3, 50), (4, 90)];
        let holders = holders.map(|(key, bytes)| Holding { key, bytes }).to_vec();
        let cut = to_cut(limits(1000, 5000), 1050, holders);
        assert_eq!(cut, [Holding { key: 2, bytes: 900 }]);
    }

    #[test]
    fn a_connection_above_its_own_limit_is_cut_while_there_is_room() {
        let holders = vec![Holding { key: 'a', bytes: 101 }, Holding { key: 'b', bytes: 100 }];
        assert_eq!(to_cut(limits(1000, 100), 201, holders), [Holding { key: 'a', bytes: 101 }]);
    }

    proptest! {
        #[test]
        fn what_is_left_fits_and_nobody_larger_than_who_was_cut(
            total in 1u64..100_000,
            connection in 1u64..100_000,
            holders in prop::collection::vec(0u64..20_000, 0..50),
            elsewhere in 0u64..1_000,
        ) {
            let limits = limits(total, connection);
            let all: Vec<_> =
                (0..).zip(&holders).map(|(key, bytes)| Holding { key, bytes: *bytes }).collect();
            let held = holders.iter().sum::<u64>() + elsewhere;
            let cut = to_cut(limits, held, all.clone());
            let mut left: Vec<_> = all;
            left.retain(|holder: &Holding<i32>| !cut.contains(holder));
            let most_left = left.iter().map(|holder| holder.bytes).max().unwrap_or(0);
            prop_assert!(most_left <= connection);
            prop_assert!(cut.iter().all(|holder| holder.bytes >= most_left));
            let gone: u64 = cut.iter().map(|holder| holder.bytes).sum();
            let is_full = held >= total;
            prop_assert!(!is_full || held - gone <= part(total, CUT_UNTIL) || most_left == 0);
            // Nobody is cut for nothing: without the last one it would not have been enough.
            if let Some(last) = cut.last() {
                let before = held - gone + last.bytes;
                prop_assert!(last.bytes > connection || (is_full && before > part(total, CUT_UNTIL)));
            }
        }

        /// Clients that only ever take more, beside honest ones, and a server that hears of it late: those that
        /// are told to end hold on for some steps.
        #[test]
        fn greedy_clients_are_cut_before_honest_ones_and_the_total_is_kept(
            greedy in prop::collection::vec(1u64..=MIB, 1..20),
            honest in prop::collection::vec(0u64..MIB / 4, 0..20),
            ends_after in 0usize..4,
        ) {
            let limits = limits(32 * MIB, 8 * MIB);
            // What each holds, and in how many steps it ends.
            let mut clients: Vec<(bool, u64, Option<usize>)> =
                greedy.iter().map(|_| (true, 0, None)).collect();
            clients.extend(honest.iter().map(|bytes| (false, *bytes, None)));
            for _ in 0..200 {
                for (client, step) in clients.iter_mut().zip(greedy.iter().chain(&honest)) {
                    client.1 += if client.0 { *step } else { 0 };
                }
                let held = clients.iter().filter(|it| it.2.is_none()).map(|it| it.1).sum();
                let holders = (0..).zip(&clients).filter(|(_, it)| it.2.is_none());
                let holders = holders.map(|(key, it)| Holding { key, bytes: it.1 }).collect();
                for cut in to_cut(limits, held, holders) {
                    let key: usize = cut.key;
                    prop_assert!(clients[key].0, "an honest client was cut");
                    clients[key].2 = Some(ends_after);
                }
                for client in &mut clients {
                    client.2 = match client.2 {
                        // Another one comes in its place.
                        Some(0) => { client.1 = 0; None }
                        Some(left) => Some(left - 1),
                        None => None,
                    };
                }
                let staying: u64 = clients.iter().filter(|it| it.2.is_none()).map(|it| it.1).sum();
                prop_assert!(staying <= 32 * MIB);
            }
        }

        #[test]
        fn parts_neither_overflow_nor_exceed_the_whole(total: u64, hundredths in 0u64..=100) {
            prop_assert!(part(total, hundredths) <= total);
        }
    }
}
