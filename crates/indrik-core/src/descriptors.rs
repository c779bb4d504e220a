//! The descriptors of the server's process (`RLIMIT_NOFILE`): what is kept for supervision, and what clients
//! may have.
//!
//! Every connection is a descriptor, and so is everything that a fork, a reload or an operator's command
//! takes. Were clients let have them all, no dead worker could be replaced. So a part is kept, reckoned from
//! the limit and the workers; and before clients would touch it, connections that wait for nothing in
//! particular are closed, the one that has waited longest first.

use crate::time::Micros;

/// What a worker takes in the server's process: its channel, its wake-ups, its table of metrics, its process.
const WORKER: u64 = 11;
/// What the zygote of a reload takes.
const ZYGOTE: u64 = 5;
/// What a fork takes for a moment: the worker's ends of all that.
const FORK: u64 = 9;
/// Operators' commands, logs that are opened anew, files that are read.
const OTHERS: u64 = 8;
/// Files that applications send and that wait for a place among what clients have: they are open when the
/// front first hears of them. Above it such a file is closed, and its request fails.
const PASSING: u64 = 8;
/// Connections of the admin listener: one in so many of the limit, and no fewer and no more than this.
const OPERATORS_PART: u64 = 16;
const OPERATORS_LEAST: u64 = 4;
const OPERATORS_MOST: u64 = 64;
/// Connections of the admin listener that are told that there is no place, at once.
pub const TURNED_AWAY_MAX: usize = 2;

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
    /// Files of responses that wait for their clients.
    pub spools_max: u64,
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
        let needed = used
            .saturating_add(generations)
            .saturating_add(ZYGOTE + FORK + OTHERS + PASSING)
            .saturating_add(operators_max(limit) + TURNED_AWAY_MAX as u64);
        let least = (limit / CLIENTS_LEAST_PART).max(CLIENTS_LEAST).min(limit);
        let clients_max = limit.saturating_sub(needed).max(least);
        Self {
            limit,
            kept: limit - clients_max,
            clients_max,
            connections_max: (clients_max - clients_max / FILES_PART).max(1),
            spools_max: clients_max / FILES_PART,
            is_short: limit.saturating_sub(needed) < least,
        }
    }

    /// Whether there is room for so many more descriptors of a kind.
    #[must_use]
    pub const fn has_room(&self, held: Held, what: Use, count: u64) -> bool {
        let has_room_for_all = held.all().saturating_add(count) <= self.clients_max;
        match what {
            Use::Connection => {
                has_room_for_all && held.connections.saturating_add(count) <= self.connections_max
            }
            Use::File => has_room_for_all,
            Use::Passing => held.passing.saturating_add(count) <= PASSING,
        }
    }
}

/// Connections that the admin listener may have at once. They are kept for those who look after the server, whatever
/// clients have.
#[must_use]
pub fn operators_max(limit: u64) -> u64 {
    (limit / OPERATORS_PART).clamp(OPERATORS_LEAST, OPERATORS_MOST)
}

/// What clients have a descriptor for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A connection.
    Connection,
    /// A file: a body's, either way, or one end of a socket pair.
    File,
    /// A file that an application has sent, while it waits to be counted as a [`Use::File`].
    Passing,
}

/// What clients have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Open connections.
    pub connections: u64,
    /// Open files of bodies.
    pub files: u64,
    /// Files that wait for a place; of what is kept, not of what clients may have.
    pub passing: u64,
}

impl Held {
    /// What counts as theirs.
    #[must_use]
    pub const fn all(self) -> u64 {
        self.connections.saturating_add(self.files)
    }

    const fn of(&mut self, what: Use) -> &mut u64 {
        match what {
            Use::Connection => &mut self.connections,
            Use::File => &mut self.files,
            Use::Passing => &mut self.passing,
        }
    }
}

/// The one account of the descriptors that clients have. Nothing is opened for a client before it is reserved
/// here, so two that look at the same time never both have the last place.
#[derive(Clone, Copy, Debug)]
pub struct Ledger {
    /// How they are shared out; it may change at any time.
    pub share: Share,
    held: Held,
}

impl Ledger {
    /// Before the first client.
    #[must_use]
    pub fn new(share: Share) -> Self {
        Self { share, held: Held::default() }
    }

    /// What clients have.
    #[must_use]
    pub const fn held(&self) -> Held {
        self.held
    }

    /// Takes so many places, all or none. Returns whether it has.
    #[must_use]
    pub const fn reserve(&mut self, what: Use, count: u64) -> bool {
        let has_room = self.share.has_room(self.held, what, count);
        if has_room {
            *self.held.of(what) += count;
        }
        has_room
    }

    /// A file that was [`Use::Passing`] becomes a [`Use::File`], if there is room. Returns whether it has.
    #[must_use]
    pub const fn settle(&mut self) -> bool {
        let settles = self.reserve(Use::File, 1);
        if settles {
            self.give_back(Use::Passing, 1);
        }
        settles
    }

    /// So many places are free again.
    pub const fn give_back(&mut self, what: Use, count: u64) {
        let held = self.held.of(what);
        *held = held.saturating_sub(count);
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
        for (limit, clients) in [(64, 8), (128, 42), (256, 162), (1024, 882)] {
            let share = Share::new(limit, 24, 1);
            assert_eq!(share.clients_max, clients, "{limit}");
            assert!(share.connections_max < share.clients_max);
        }
    }

    #[test]
    fn more_workers_keep_more() {
        let share = Share::new(1024, 24, 32);
        assert_eq!((share.kept, share.is_short), (24 + 2 * 32 * WORKER + 30 + 66, false));
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
        /// A client has come to a door; does it send a request?
        Comes(usize, bool),
        /// A door takes the place for whom it has heard of.
        Reserves(usize),
        /// It accepts, or whoever it was for has gone.
        Accepts(usize, bool),
        /// A request is over, and its connection is idle or gone.
        Ends {
            at: usize,
            goes: bool,
        },
        /// A request needs files; a WebSocket two at once.
        Opens(u64),
        Closes,
        /// An application sends a file.
        Sends,
        /// The first file that waits for a place gets one, or its request fails.
        Settles(bool),
        Passes(u64),
        /// Supervision takes and gives back: a reload, a fork, a command.
        Reloads,
        Dies,
        Asks,
        /// Operators take all places of the admin listener, and more are turned away.
        Looks,
        /// There are to be more workers, or fewer.
        Scales(u64),
    }

    const DOORS: usize = 3;

    fn step() -> impl Strategy<Value = Step> {
        let door = || 0..DOORS;
        prop_oneof![
            8 => (door(), any::<bool>()).prop_map(|(door, sends)| Step::Comes(door, sends)),
            8 => door().prop_map(Step::Reserves),
            8 => (door(), prop::bool::weighted(0.8)).prop_map(|(door, is_there)| Step::Accepts(door, is_there)),
            3 => (any::<usize>(), any::<bool>()).prop_map(|(at, goes)| Step::Ends { at, goes }),
            3 => (1u64..=2).prop_map(Step::Opens),
            1 => Just(Step::Closes),
            3 => Just(Step::Sends),
            2 => any::<bool>().prop_map(Step::Settles),
            4 => (1u64..200_000).prop_map(Step::Passes),
            1 => Just(Step::Reloads),
            1 => Just(Step::Dies),
            1 => Just(Step::Asks),
            1 => Just(Step::Looks),
            1 => (1u64..5).prop_map(Step::Scales),
        ]
    }

    struct World {
        ledger: Ledger,
        limit: u64,
        used: u64,
        operators: u64,
        workers: u64,
        now: Micros,
        /// Since when each is idle; `None`: it has a request.
        connections: Vec<Option<Micros>>,
        /// In the kernel's queues: clients that have come and are not accepted.
        queued: [Vec<bool>; DOORS],
        /// The doors that have a place for the next one.
        reserved: [bool; DOORS],
    }

    impl World {
        /// A door has heard of somebody, and takes a place first.
        fn reserve(&mut self, door: usize) {
            if self.queued[door].is_empty() || self.reserved[door] {
                return;
            }
            self.reserved[door] = self.ledger.reserve(Use::Connection, 1);
            if !self.reserved[door] {
                let idle = self.connections.iter().enumerate().filter_map(|(key, since)| {
                    Some(Waiting { key, waits: Waits::Idle, since: (*since)? })
                });
                if let Some(shed) = to_shed(idle, self.now) {
                    self.connections.swap_remove(shed.key);
                    self.ledger.give_back(Use::Connection, 1);
                    self.reserved[door] = self.ledger.reserve(Use::Connection, 1);
                }
            }
        }

        fn accept(&mut self, door: usize, is_there: bool) {
            if !std::mem::take(&mut self.reserved[door]) {
                return;
            }
            let sends = self.queued[door].remove(0);
            if is_there {
                self.connections.push((!sends).then_some(self.now));
            } else {
                self.ledger.give_back(Use::Connection, 1);
            }
        }

        fn end(&mut self, at: usize, goes: bool) {
            let is_busy = |(key, since): (usize, &Option<Micros>)| since.is_none().then_some(key);
            let busy: Vec<usize> =
                self.connections.iter().enumerate().filter_map(is_busy).collect();
            let Some(key) = busy.get(at % busy.len().max(1)).copied() else { return };
            if goes {
                self.connections.swap_remove(key);
                self.ledger.give_back(Use::Connection, 1);
            } else {
                self.connections[key] = Some(self.now);
            }
        }

        fn open(&self, more: u64) -> u64 {
            let held = self.ledger.held();
            self.used + self.workers * WORKER + self.operators + held.all() + held.passing + more
        }

        fn step(&mut self, step: &Step) {
            match *step {
                Step::Comes(door, sends) => self.queued[door].push(sends),
                Step::Reserves(door) => self.reserve(door),
                Step::Accepts(door, is_there) => self.accept(door, is_there),
                Step::Ends { at, goes } => self.end(at, goes),
                Step::Opens(count) => _ = self.ledger.reserve(Use::File, count),
                Step::Closes if self.ledger.held().files > 0 => self.ledger.give_back(Use::File, 1),
                Step::Sends => {
                    let _ =
                        self.ledger.reserve(Use::File, 1) || self.ledger.reserve(Use::Passing, 1);
                }
                Step::Settles(in_time) if self.ledger.held().passing > 0 => {
                    if !self.ledger.settle() && !in_time {
                        self.ledger.give_back(Use::Passing, 1);
                    }
                }
                Step::Passes(time) => self.now += time,
                Step::Closes | Step::Settles(_) => {}
                Step::Reloads | Step::Dies | Step::Asks => {}
                Step::Looks => self.operators = operators_max(self.limit) + TURNED_AWAY_MAX as u64,
                Step::Scales(_) => {}
            }
        }
    }

    proptest! {
        #[test]
        fn supervision_never_wants_for_a_descriptor_whatever_clients_and_applications_do(
            limit in 80u64..1400, workers in 1u64..5, steps in prop::collection::vec(step(), 1..400),
        ) {
            let used = 24;
            let share = Share::new(limit, used, workers);
            prop_assume!(!share.is_short);
            let mut world = World {
                ledger: Ledger::new(share),
                limit, used, operators: 0, workers, now: 1_000_000, connections: vec![], queued: Default::default(),
                reserved: Default::default(),
            };
            // What more workers need is there once clients have given it back.
            let mut is_settled = true;
            for step in steps {
                let before = world.ledger.held();
                match &step {
                    Step::Reloads if is_settled => {
                        let all = world.workers * WORKER + ZYGOTE + FORK;
                        prop_assert!(world.open(all) <= limit);
                    }
                    Step::Dies if is_settled => prop_assert!(world.open(WORKER + FORK) <= limit),
                    Step::Asks if is_settled => prop_assert!(world.open(OTHERS) <= limit),
                    Step::Scales(workers) => {
                        let share = Share::new(limit, used, *workers);
                        if !share.is_short {
                            world.workers = *workers;
                            world.ledger.share = share;
                        }
                    }
                    step => world.step(step),
                }
                let (held, share) = (world.ledger.held(), world.ledger.share);
                let reserved = world.reserved.iter().filter(|reserved| **reserved).count();
                prop_assert_eq!(held.connections, (world.connections.len() + reserved) as u64);
                is_settled = held.all() <= share.clients_max && held.connections <= share.connections_max;
                let (all, most) = (share.clients_max, share.connections_max);
                prop_assert!(held.all() <= all.max(before.all()));
                prop_assert!(held.connections <= most.max(before.connections));
                prop_assert!(held.passing <= PASSING);
            }
            // Whoever waits is taken in the end if the others are idle.
            world.ledger.give_back(Use::File, u64::MAX);
            while world.ledger.held().connections > world.ledger.share.connections_max {
                world.connections.pop();
                world.ledger.give_back(Use::Connection, 1);
            }
            let waiting: usize = world.queued.iter().map(Vec::len).sum();
            for _ in 0..=waiting {
                for since in &mut world.connections {
                    since.get_or_insert(world.now);
                }
                world.now += IDLE_LEAST_US;
                for door in 0..DOORS {
                    world.reserve(door);
                    world.accept(door, true);
                }
            }
            prop_assert!(world.queued.iter().all(Vec::is_empty));
        }
    }
}
