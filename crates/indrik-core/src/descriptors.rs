//! The descriptors of the server's process (`RLIMIT_NOFILE`): what is kept for supervision, and what clients
//! may have.
//!
//! Every connection is a descriptor, and so is everything that a fork, a reload or an operator's command
//! takes. Were clients let have them all, no dead worker could be replaced. So a part is kept, reckoned from
//! the limit and the workers; and before clients would touch it, connections that wait for nothing in
//! particular are closed, the one that has waited longest first.

use crate::time::Micros;

/// What a worker takes in the server's process: its channel, its wake-ups, its process.
const WORKER: u64 = 9;
/// What the zygote of a reload takes.
const ZYGOTE: u64 = 4;
/// What a fork takes for a moment: the worker's ends of all that.
const FORK: u64 = 8;
/// Operators' commands, logs that are opened anew, files that are read.
const OTHERS: u64 = 8;

/// Clients have at least this part of the limit, and at least so many; where that leaves too little for
/// supervision, the limit is too low ([`Share::is_short`]).
const CLIENTS_LEAST_PART: u64 = 8;
const CLIENTS_LEAST: u64 = 4;
/// Of what clients have, files (bodies, files that are sent) have one in so many beside connections; they
/// may have more while there are fewer connections.
const FILES_PART: u64 = 4;

/// A connection is not shed before it has waited for so long: what a client sends first may be on its way.
pub const IDLE_LEAST_US: Micros = 50_000;
/// The same for one whose request has begun to come.
pub const HEAD_LEAST_US: Micros = 200_000;

/// How the descriptors are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// All there may be.
    pub limit: u64,
    /// Kept for supervision, what it has already included.
    pub kept: u64,
    /// Connections and files together.
    pub clients_max: u64,
    /// Connections.
    pub connections_max: u64,
    /// What is kept is less than supervision may need.
    pub is_short: bool,
}

impl Share {
    /// Where `used` of `limit` descriptors were open before the first worker and the first client, and
    /// there are to be `workers`.
    #[must_use]
    pub fn new(limit: u64, used: u64, workers: u64) -> Self {
        // A reload starts all new workers before the old ones leave.
        let generations = workers.saturating_mul(2 * WORKER);
        let needed = used.saturating_add(generations).saturating_add(ZYGOTE + FORK + OTHERS);
        let least = (limit / CLIENTS_LEAST_PART).max(CLIENTS_LEAST).min(limit);
        let clients_max = limit.saturating_sub(needed).max(least);
        Self {
            limit,
            kept: limit - clients_max,
            clients_max,
            connections_max: (clients_max - clients_max / FILES_PART).max(1),
            is_short: limit.saturating_sub(needed) < least,
        }
    }

    /// Whether another connection may be taken.
    #[must_use]
    pub const fn has_room_for_connection(&self, held: Held) -> bool {
        held.connections < self.connections_max && held.all() < self.clients_max
    }

    /// Whether another file may be opened.
    #[must_use]
    pub const fn has_room_for_file(&self, held: Held) -> bool {
        held.all() < self.clients_max
    }
}

/// What clients have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Open connections.
    pub connections: u64,
    /// Open files of bodies.
    pub files: u64,
}

impl Held {
    /// Both.
    #[must_use]
    pub const fn all(self) -> u64 {
        self.connections.saturating_add(self.files)
    }
}

/// What a connection waits for, as far as it may be shed for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Waits {
    /// For a request.
    Idle,
    /// For the rest of a request's head.
    Head,
}

/// A connection that may be shed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting<K> {
    /// How whoever sheds it knows it.
    pub key: K,
    /// What it waits for.
    pub waits: Waits,
    /// Since when.
    pub since: Micros,
}

/// The connection to close for a new one: of those that are idle the one that has waited longest, else of
/// those that are slow to send a head. `None`: all of them have come too lately, the new one waits.
#[must_use]
pub fn to_shed<K>(
    waiting: impl IntoIterator<Item = Waiting<K>>,
    now: Micros,
) -> Option<Waiting<K>> {
    let has_waited = |it: &Waiting<K>| {
        let least = match it.waits {
            Waits::Idle => IDLE_LEAST_US,
            Waits::Head => HEAD_LEAST_US,
        };
        now.saturating_sub(it.since) >= least
    };
    waiting.into_iter().filter(has_waited).min_by_key(|it| (it.waits, it.since))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn low_limits_leave_room_for_both() {
        // As measured: some twenty descriptors before the first worker.
        for (limit, clients) in [(64, 8), (128, 66), (256, 194), (1024, 962)] {
            let share = Share::new(limit, 24, 1);
            assert_eq!(share.clients_max, clients, "{limit}");
            assert!(share.connections_max < share.clients_max);
        }
    }

    #[test]
    fn more_workers_keep_more() {
        let share = Share::new(1024, 24, 32);
        assert_eq!((share.kept, share.is_short), (24 + 2 * 32 * WORKER + 20, false));
        assert!(Share::new(128, 24, 32).is_short);
    }

    #[test]
    fn the_longest_idle_goes_first_and_slow_heads_only_if_nobody_is_idle() {
        let second = 1_000_000;
        let one = |key, waits, since| Waiting { key, waits, since: since * second };
        let waiting =
            [one('a', Waits::Head, 1), one('b', Waits::Idle, 3), one('c', Waits::Idle, 2)];
        let shed =
            |waiting: &[Waiting<char>]| to_shed(waiting.to_vec(), 5 * second).map(|it| it.key);
        assert_eq!(shed(&waiting), Some('c'));
        assert_eq!(shed(&waiting[..1]), Some('a'));
        assert_eq!(shed(&[one('d', Waits::Idle, 5)]), None, "it has only just come");
    }

    /// What happens to a server's descriptors.
    #[derive(Clone, Debug)]
    enum Step {
        /// A client has come; does it send a request?
        Comes(bool),
        /// A request is over, and its connection is idle or gone.
        Ends {
            at: usize,
            goes: bool,
        },
        /// A request needs a file.
        Opens,
        Closes,
        Passes(u64),
        /// Supervision takes and gives back: a reload, a fork, a command.
        Reloads,
        Dies,
        Asks,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => any::<bool>().prop_map(Step::Comes),
            3 => (any::<usize>(), any::<bool>()).prop_map(|(at, goes)| Step::Ends { at, goes }),
            2 => Just(Step::Opens),
            1 => Just(Step::Closes),
            4 => (1u64..200_000).prop_map(Step::Passes),
            1 => Just(Step::Reloads),
            1 => Just(Step::Dies),
            1 => Just(Step::Asks),
        ]
    }

    struct World {
        share: Share,
        used: u64,
        workers: u64,
        now: Micros,
        /// Since when each is idle; `None`: it has a request.
        connections: Vec<Option<Micros>>,
        files: u64,
        /// In the kernel's queue: clients that have come and are not accepted.
        queued: Vec<bool>,
    }

    impl World {
        fn held(&self) -> Held {
            Held { connections: self.connections.len() as u64, files: self.files }
        }

        /// As the front accepts.
        fn accept(&mut self) {
            while !self.queued.is_empty() {
                if !self.share.has_room_for_connection(self.held()) {
                    let idle = self.connections.iter().enumerate().filter_map(|(key, since)| {
                        Some(Waiting { key, waits: Waits::Idle, since: (*since)? })
                    });
                    let Some(shed) = to_shed(idle, self.now) else { return };
                    self.connections.swap_remove(shed.key);
                }
                if !self.share.has_room_for_connection(self.held()) {
                    return;
                }
                let sends = self.queued.remove(0);
                self.connections.push((!sends).then_some(self.now));
            }
        }

        fn open(&self, more: u64) -> u64 {
            self.used + self.workers * WORKER + self.held().all() + more
        }
    }

    proptest! {
        #[test]
        fn supervision_never_wants_for_a_descriptor_whatever_clients_do(
            limit in 64u64..600, workers in 1u64..5, steps in prop::collection::vec(step(), 1..400),
        ) {
            let used = 24;
            let share = Share::new(limit, used, workers);
            prop_assume!(!share.is_short);
            let mut world = World {
                share, used, workers, now: 1_000_000, connections: vec![], files: 0, queued: vec![],
            };
            for step in steps {
                match step {
                    Step::Comes(sends) => world.queued.push(sends),
                    Step::Ends { at, goes } => {
                        let busy: Vec<usize> = world.connections.iter().enumerate()
                            .filter(|(_, since)| since.is_none()).map(|(key, _)| key).collect();
                        if !busy.is_empty() {
                            let key = busy[at % busy.len()];
                            if goes {
                                world.connections.swap_remove(key);
                            } else {
                                world.connections[key] = Some(world.now);
                            }
                        }
                    }
                    Step::Opens => {
                        world.files += u64::from(world.share.has_room_for_file(world.held()));
                    }
                    Step::Closes => world.files = world.files.saturating_sub(1),
                    Step::Passes(time) => world.now += time,
                    Step::Reloads => {
                        let all = world.workers * WORKER + ZYGOTE + FORK;
                        prop_assert!(world.open(all) <= limit);
                    }
                    Step::Dies => prop_assert!(world.open(WORKER + FORK) <= limit),
                    Step::Asks => prop_assert!(world.open(OTHERS) <= limit),
                }
                world.accept();
                prop_assert!(world.held().connections <= world.share.connections_max);
                prop_assert!(world.held().all() <= world.share.clients_max);
            }
            // Whoever waits is taken in the end if the others are idle.
            world.files = 0;
            let waiting = world.queued.len();
            for _ in 0..=waiting {
                for since in &mut world.connections {
                    since.get_or_insert(world.now);
                }
                world.now += IDLE_LEAST_US;
                world.accept();
            }
            prop_assert!(world.queued.is_empty());
        }
    }
}
