//! A zygote's way from the reading of its configuration to its first worker: the addresses it needs
//! are opened before the application is imported, and one that is taken is tried again for a while.

use std::time::Duration;

use super::effect::{Effect, ZygoteEffect};
use super::event::Failure;
use super::limits::{LISTEN_PAUSE, LISTEN_TRIES_MAX};
use super::machine::Supervisor;
use super::state::zygote::ZygoteState;
use crate::ids::Generation;
use crate::logs::level::Level;

impl Supervisor {
    pub(super) fn config_read(&mut self, generation: Generation, boot_max: Duration) {
        if self.zygote_starts(generation) {
            let until = self.now + boot_max;
            if let Some(zygote) = self.pool.zygotes.get_mut(&generation) {
                zygote.boot_max = boot_max;
                zygote.here = true;
                zygote.configured = true;
                zygote.state = ZygoteState::Starting { until };
            }
            self.push(Effect::Zygote(generation, ZygoteEffect::Listen));
        }
    }

    pub(super) fn listening(&mut self, generation: Generation, handed: bool) {
        if handed && generation == Generation::FIRST {
            self.server.doors.handed_over();
        }
        if self.zygote_starts(generation) {
            self.push(Effect::Zygote(generation, ZygoteEffect::Configure));
        }
    }

    /// Whoever has the address may be about to leave: a restart of the server looks like that.
    pub(super) fn listen_failed(
        &mut self,
        generation: Generation,
        failure: &Failure,
        in_use: bool,
    ) {
        let retry = self.now + LISTEN_PAUSE;
        let Some(zygote) = self.pool.zygotes.get_mut(&generation) else { return };
        if !matches!(zygote.state, ZygoteState::Starting { .. }) {
            return;
        }
        zygote.listen_failures += 1;
        if !in_use || zygote.listen_failures >= LISTEN_TRIES_MAX {
            return self.zygote_failed(generation, failure);
        }
        zygote.state = ZygoteState::Waiting { retry };
        if zygote.listen_failures == 1 {
            let seconds = LISTEN_PAUSE.as_secs() * u64::from(LISTEN_TRIES_MAX - 1);
            let text = format!("{}; trying again for {seconds} s", failure.message);
            self.log(Level::Warning, text);
        }
    }

    fn zygote_starts(&self, generation: Generation) -> bool {
        let zygote = self.pool.zygotes.get(&generation);
        zygote.is_some_and(|zygote| matches!(zygote.state, ZygoteState::Starting { .. }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::WorkerId;
    use crate::supervise::limits::{BOOT_MAX, CONFIG_MAX, HERE_MAX};
    use crate::supervise::{
        EndReason, Event, OperatorEvent, Policy, Signal, WorkerEvent, ZygoteEvent,
    };

    /// A machine whose first zygote has read its configuration.
    fn configured(boot_max: u64) -> Supervisor {
        let mut machine = Supervisor::new();
        let generation = Generation::FIRST;
        let boot_max = Duration::from_secs(boot_max);
        machine.handle(Event::Start { successor: false }, Duration::from_secs(1));
        machine.handle(
            Event::Zygote(generation, ZygoteEvent::ConfigRead { boot_max }),
            Duration::from_secs(1),
        );
        let listening = ZygoteEvent::Listening { handed: false };
        machine.handle(Event::Zygote(generation, listening), Duration::from_secs(1));
        machine
    }

    fn logged(machine: &mut Supervisor) -> String {
        std::iter::from_fn(|| machine.poll_effect())
            .filter_map(|effect| match effect {
                Effect::Log(line) => Some(line.text + "\n"),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn an_interpreter_that_does_not_come_up_is_given_up_and_named_at_the_start_and_at_a_reload() {
        let mut machine = Supervisor::new();
        machine.handle(Event::Start { successor: false }, Duration::ZERO);
        machine.handle(Event::Tick, HERE_MAX);
        let said = logged(&mut machine);
        assert!(said.contains("Cannot start"), "{said}");
        assert!(said.contains("the interpreter of the zygote has not come up within 120 s"));

        let mut machine = configured(7);
        let (generation, policy) = (Generation::FIRST, Policy { workers: 1, ..Policy::default() });
        let at = Duration::from_secs(2);
        machine.handle(Event::Zygote(generation, ZygoteEvent::Ready { policy }), at);
        machine.handle(Event::Worker(WorkerId(1), WorkerEvent::Forked { pid: 4711 }), at);
        machine.handle(Event::Worker(WorkerId(1), WorkerEvent::Ready), at);
        machine.handle(Event::Operator(OperatorEvent::Signal(Signal::Hup)), at);
        machine.handle(Event::Tick, at + HERE_MAX);
        let said = logged(&mut machine);
        assert!(
            said.contains("Reload failed: the interpreter of the zygote has not come"),
            "{said}"
        );
    }

    #[test]
    fn a_reload_whose_configuration_is_not_read_in_time_is_given_up() {
        let mut machine = configured(7);
        let (generation, policy) = (Generation::FIRST, Policy { workers: 1, ..Policy::default() });
        let at = Duration::from_secs(2);
        machine.handle(Event::Zygote(generation, ZygoteEvent::Ready { policy }), at);
        machine.handle(Event::Worker(WorkerId(1), WorkerEvent::Forked { pid: 4711 }), at);
        machine.handle(Event::Worker(WorkerId(1), WorkerEvent::Ready), at);
        machine.handle(Event::Operator(OperatorEvent::Signal(Signal::Hup)), at);
        machine.handle(Event::Zygote(generation.next(), ZygoteEvent::Here), at);
        machine.handle(Event::Tick, at + CONFIG_MAX - Duration::from_secs(1));
        assert!(!logged(&mut machine).contains("Reload failed"));
        machine.handle(Event::Tick, at + CONFIG_MAX);
        let said = logged(&mut machine);
        let why = "Reload failed: the configuration was not read within 120 s";
        assert!(said.contains(why), "{said}");
    }

    #[test]
    fn the_first_configuration_has_its_own_time_once_the_interpreter_is_up() {
        let mut machine = Supervisor::new();
        machine.handle(Event::Start { successor: false }, Duration::ZERO);
        machine.handle(Event::Zygote(Generation::FIRST, ZygoteEvent::Here), HERE_MAX / 2);
        machine.handle(Event::Tick, HERE_MAX / 2 + BOOT_MAX - Duration::from_secs(1));
        assert_eq!(logged(&mut machine), "");
        machine.handle(Event::Tick, HERE_MAX / 2 + BOOT_MAX);
        assert!(logged(&mut machine).contains("the configuration was not read within 1800 s"));
    }

    #[test]
    fn a_zygote_has_the_time_of_the_setting_once_its_configuration_is_read() {
        let mut machine = configured(7);
        machine.handle(Event::Tick, Duration::from_secs(7));
        assert_eq!(logged(&mut machine), "");
        machine.handle(Event::Tick, Duration::from_secs(8));
        assert!(logged(&mut machine).contains("the zygote was not ready within 7 s"));
    }

    #[test]
    fn a_worker_has_the_time_of_the_setting_to_get_ready() {
        let mut machine = configured(7);
        let (generation, policy) = (Generation::FIRST, Policy { workers: 2, ..Policy::default() });
        let at = Duration::from_secs(2);
        machine.handle(Event::Zygote(generation, ZygoteEvent::Ready { policy }), at);
        for worker in [WorkerId(1), WorkerId(2)] {
            machine.handle(Event::Worker(worker, WorkerEvent::Forked { pid: 4711 }), at);
        }
        machine.handle(Event::Worker(WorkerId(1), WorkerEvent::Ready), at);
        machine.handle(Event::Tick, Duration::from_secs(9));
        assert!(logged(&mut machine).contains("was not ready within 7 s"));
        let ends: Vec<_> = machine.views().map(|view| view.end).collect();
        assert_eq!(ends, [None, Some(EndReason::BootTimeout)]);
    }
}
