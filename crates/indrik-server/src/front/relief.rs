//! What is done when clients take too much: connections that hold too much memory are cut, idle ones are closed
//! for new ones, and requests that are refused are counted and told. Whose are closed is decided by
//! `indrik_core::memory::account` and `indrik_core::descriptors`, what is told by `indrik_core::refusal`.

use std::sync::Arc;
use std::time::Duration;

use indrik_core::descriptors::Use;
use indrik_core::logs::level::Level;
use indrik_core::memory::Bytes;
use indrik_core::memory::account::Limits;
use indrik_core::refusal::{Reason, Told};
use indrik_core::supervise::Ailment;

use super::account::Cut;
use super::clock;
use super::descriptors::{Reserved, all_taken};
use super::events::FrontEvent;
use super::services::Services;

/// Connections that a line of the log names.
const NAMED_MAX: usize = 3;
/// Lines about cut connections come at most so often; the next one counts what it has not seen.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// How soon it is looked again for somebody who may be closed.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How often the account is looked at while it is full and nobody says that anything has changed.
const FULL_INTERVAL: Duration = Duration::from_millis(100);

/// Cuts connections that hold too much, as soon as there are any, and reads again from the others when those have
/// gone. Never ends.
pub(super) async fn relieve(services: Arc<Services>) {
    let mut untold: Vec<Cut> = Vec::new();
    let mut told_at = None;
    loop {
        let excess = services.account.has_excess();
        if services.account.is_full() {
            // Changes that are not passed on yet are seen in time.
            let _ = tokio::time::timeout(FULL_INTERVAL, excess).await;
            services.account.look_again();
        } else if untold.is_empty() {
            excess.await;
        } else {
            // What was not told yet is told in time, also if nothing more comes.
            let _ = tokio::time::timeout(TELL_INTERVAL, excess).await;
        }
        let mut cut = services.connections.cut(&services.account);
        cut.extend(services.connections.look_for_room(clock::now()));
        services.account.note_cut(cut.len());
        let limits = services.account.limits();
        // A connection that holds more than it may is its client's matter.
        if cut.iter().any(|cut| cut.bytes <= limits.connection) {
            let why = || {
                format!(
                    "connections are cut: front_memory_max = {} is used up",
                    Bytes(limits.total)
                )
            };
            services.log.ails(Ailment::ConnectionsCut, why);
        }
        untold.extend(cut);
        let now = tokio::time::Instant::now();
        if !untold.is_empty() && told_at.is_none_or(|at| now >= at + TELL_INTERVAL) {
            let text = describe(&std::mem::take(&mut untold), limits);
            services.log.write(Level::Error, &text);
            told_at = Some(now);
        }
    }
}

fn describe(cut: &[Cut], limits: Limits) -> String {
    let own = cut.iter().any(|cut| cut.bytes > limits.connection);
    let limit = if own {
        format!("connection_memory_max = {}", Bytes(limits.connection))
    } else {
        format!("front_memory_max = {} is used up", Bytes(limits.total))
    };
    let mut largest: Vec<&Cut> = cut.iter().collect();
    largest.sort_by_key(|cut| std::cmp::Reverse(cut.bytes));
    let name = |cut: &&Cut| {
        let ip = cut.key.map_or_else(|| "a Unix socket".to_owned(), |ip| format!("ip={ip}"));
        format!("{ip} with {}", Bytes(cut.bytes))
    };
    let names: Vec<String> = largest.iter().take(NAMED_MAX).map(name).collect();
    let others = match cut.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    format!("Cut what held the most memory of the front ({limit}): {}{others}", names.join(", "))
}

impl Services {
    /// The front answers a request by itself.
    pub(super) fn note_refusal(&self, reason: Reason) {
        self.access_log.count_refusal(reason);
        let (told, begins) = self.refusals.count(reason);
        self.tell_of_overload(told);
        if begins {
            (self.sink)(FrontEvent::Overloaded(reason.lacks()));
        }
    }

    /// What is to be told of refusals although none comes at this moment.
    pub(super) fn look_at_refusals(&self) {
        let (told, is_over) = self.refusals.look();
        self.tell_of_overload(told);
        if is_over {
            (self.sink)(FrontEvent::Overloaded(None));
        }
    }

    fn tell_of_overload(&self, told: Option<Told>) {
        match told {
            Some(Told::Refuses(line)) => self.log.write(Level::Warning, &line),
            Some(Told::Over(line)) => self.log.write(Level::Info, &line),
            None => {}
        }
    }

    /// Takes so many places for descriptors, and makes room for them first if there is none.
    pub(super) async fn reserve(&self, what: Use, count: u64) -> Reserved {
        loop {
            if let Some(reserved) = self.descriptors.reserve_now(what, count) {
                return reserved;
            }
            self.make_room().await;
        }
    }

    /// Waits until a file that was sent has its place among what clients may have.
    pub(super) async fn settle(&self, reserved: &mut Reserved) {
        while !reserved.is_settled() {
            self.make_room().await;
        }
    }

    /// Closes a connection that is idle, if there is one, and waits for something to be given back.
    async fn make_room(&self) {
        let mut freed = std::pin::pin!(self.descriptors.freed());
        // Before anything is closed, so that its end is not missed.
        freed.as_mut().enable();
        if self.connections.shed(clock::now()) {
            self.descriptors.note_shed();
        }
        if self.descriptors.is_untold() {
            self.log.write(Level::Warning, &all_taken(self.descriptors.share()));
        }
        let _ = tokio::time::timeout(LOOK_INTERVAL, freed).await;
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use indrik_core::memory::account::Holding;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_log_names_the_largest_and_counts_the_others() {
        let ip = |last| Some(IpAddr::from([10, 0, 0, last]));
        let cut = |key, mib| Holding { key, bytes: mib * MIB };
        let all = [cut(ip(1), 1), cut(None, 9), cut(ip(2), 3), cut(ip(3), 2), cut(ip(4), 1)];
        let limits = Limits { total: 100 * MIB, connection: 50 * MIB };
        assert_eq!(
            describe(&all, limits),
            "Cut what held the most memory of the front (front_memory_max = 100.0 MiB is used up): \
             a Unix socket with 9.0 MiB, ip=10.0.0.2 with 3.0 MiB, ip=10.0.0.3 with 2.0 MiB and 2 more"
        );
        let text = describe(&[cut(ip(1), 51)], limits);
        assert!(text.contains("(connection_memory_max = 50.0 MiB): ip=10.0.0.1 with 51.0 MiB"));
    }
}
