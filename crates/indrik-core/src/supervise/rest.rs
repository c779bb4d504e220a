//! A zygote that leaves while nothing is to be forked, and is started again when something is.
//!
//! For programs that take every child of the master for a worker and wait until there are as many as they asked
//! for. A worker that is replaced then takes the start of an interpreter longer, so nobody else gets this.

use super::effect::{Effect, ZygoteEffect};
use super::limits::STOP_GRACE_MIN;
use super::machine::Supervisor;
use super::state::phase::Phase;
use super::state::zygote::ZygoteState;

impl Supervisor {
    /// Runs after every event.
    pub(super) fn rest_zygote(&mut self) {
        if !self.pool.serving.policy.processes.zygote_rests || !self.is_complete() {
            return;
        }
        let generation = self.current();
        let until = self.now + STOP_GRACE_MIN;
        let Some(zygote) = self.pool.zygotes.get_mut(&generation) else { return };
        if zygote.state == ZygoteState::Ready && zygote.wanted {
            zygote.rests = true;
            zygote.state = ZygoteState::told(until);
            self.push(Effect::Zygote(generation, ZygoteEffect::Retire { last: false }));
        }
    }

    /// Somebody has to be forked: starts the zygote that rests, if it does. Returns whether it was.
    pub(super) fn wake_zygote(&mut self) -> bool {
        let generation = self.current();
        let rests = self.pool.zygotes.get(&generation).map(|zygote| zygote.state);
        let rests = rests == Some(ZygoteState::Resting);
        if rests {
            self.spawn_zygote(generation);
        }
        rests
    }

    /// All workers that are wanted serve, and stay.
    fn is_complete(&self) -> bool {
        let generation = self.current();
        let staying = self.count_of(generation, |worker| worker.is_ready() && worker.is_staying());
        self.server.phase == Phase::Serving
            && !self.is_changing()
            && self.forks_in_flight(generation) == 0
            && staying >= self.pool.serving.wanted
    }
}

#[cfg(test)]
mod tests {
    use super::super::effect::WorkerEffect;
    use super::super::event::{Event, PoolEvent, WorkerEvent, ZygoteEvent};
    use super::super::policy::{Policy, ProcessPolicy};
    use super::super::reason::ExitStatus;
    use super::*;
    use crate::ids::{Generation, PoolId, WorkerId};
    use std::time::Duration;

    const FIRST: Generation = Generation::FIRST;

    fn effects(supervisor: &mut Supervisor) -> Vec<Effect> {
        std::iter::from_fn(|| supervisor.poll_effect()).collect()
    }

    fn forked(effects: &[Effect]) -> Vec<WorkerId> {
        let fork = |effect: &Effect| match effect {
            Effect::Worker(id, WorkerEffect::Fork { .. }) => Some(*id),
            _ => None,
        };
        effects.iter().filter_map(fork).collect()
    }

    fn is_there(effects: &[Effect], wanted: &ZygoteEffect) -> bool {
        effects.iter().any(|it| matches!(it, Effect::Zygote(_, effect) if effect == wanted))
    }

    fn zygote_starts(supervisor: &mut Supervisor, policy: Policy) -> Vec<Effect> {
        let boot_max = Duration::from_secs(60);
        supervisor
            .handle(Event::Zygote(FIRST, ZygoteEvent::ConfigRead { boot_max }), supervisor.now);
        let listening = ZygoteEvent::Listening { handed: false };
        supervisor.handle(Event::Zygote(FIRST, listening), supervisor.now);
        supervisor.handle(Event::Zygote(FIRST, ZygoteEvent::Ready { policy }), supervisor.now);
        effects(supervisor)
    }

    fn serve(supervisor: &mut Supervisor, ids: &[WorkerId]) -> Vec<Effect> {
        for id in ids {
            let pid = 100 + u32::try_from(id.0).unwrap();
            supervisor.handle(Event::Worker(*id, WorkerEvent::Forked { pid }), supervisor.now);
            supervisor.handle(Event::Worker(*id, WorkerEvent::Ready), supervisor.now);
        }
        effects(supervisor)
    }

    /// A server of two workers that serve.
    fn serving(zygote_rests: bool) -> (Supervisor, Vec<Effect>, Policy) {
        let policy = Policy {
            workers: 2,
            processes: ProcessPolicy { zygote_rests, has_rlimits: false },
            ..Policy::default()
        };
        let mut supervisor = Supervisor::new();
        supervisor.handle(Event::Start { successor: false }, crate::time::Now::ZERO);
        let ids = forked(&zygote_starts(&mut supervisor, policy));
        assert_eq!(ids.len(), 2);
        let effects = serve(&mut supervisor, &ids);
        (supervisor, effects, policy)
    }

    #[test]
    fn it_leaves_when_all_workers_serve_and_only_where_that_is_wanted() {
        let retire = ZygoteEffect::Retire { last: false };
        assert!(is_there(&serving(true).1, &retire));
        assert!(!is_there(&serving(false).1, &retire));
    }

    #[test]
    fn it_comes_back_for_a_worker_that_died_and_leaves_again() {
        let (mut supervisor, _, policy) = serving(true);
        supervisor.handle(Event::Zygote(FIRST, ZygoteEvent::Exited), supervisor.now);
        assert!(!is_there(&effects(&mut supervisor), &ZygoteEffect::Spawn));
        let exit = ExitStatus::Signal(9).into();
        supervisor.handle(Event::Worker(WorkerId(1), WorkerEvent::Exited { exit }), supervisor.now);
        let later = supervisor.now + Duration::from_secs(2);
        supervisor.handle(Event::Tick, later);
        assert!(is_there(&effects(&mut supervisor), &ZygoteEffect::Spawn));
        let ids = forked(&zygote_starts(&mut supervisor, policy));
        assert_eq!(ids.len(), 1);
        let effects = serve(&mut supervisor, &ids);
        assert!(is_there(&effects, &ZygoteEffect::Retire { last: false }));
        assert_eq!(supervisor.census().ready, 2);
    }

    #[test]
    fn it_comes_back_when_more_workers_are_wanted() {
        let (mut supervisor, _, policy) = serving(true);
        // It is still on its way out when it is needed.
        let wish = Event::Pool(PoolId::FIRST, PoolEvent::WorkersWished { workers: 3 });
        supervisor.handle(wish, supervisor.now);
        assert!(!is_there(&effects(&mut supervisor), &ZygoteEffect::Spawn));
        supervisor.handle(Event::Zygote(FIRST, ZygoteEvent::Exited), supervisor.now);
        assert!(is_there(&effects(&mut supervisor), &ZygoteEffect::Spawn));
        assert_eq!(forked(&zygote_starts(&mut supervisor, policy)).len(), 1);
    }
}
