//! Workers whose channel cannot be used any more: who notices, and what becomes of their requests.

use indrik_core::dispatch::Micros;
use indrik_core::ids::WorkerId;

use super::super::events::{ChannelFault, FrontEvent};
use super::link::Link;
use super::{Inner, Pool};

impl Pool {
    /// A channel was found to be broken: its worker gets nothing more, what it has not started goes to
    /// others, and the supervisor replaces it. What it has started ends with it.
    pub(super) fn condemn(
        &self,
        inner: &mut Inner,
        id: WorkerId,
        fault: ChannelFault,
        now: Micros,
    ) {
        let Some(link) = inner.links.get_mut(&id) else { return };
        if link.fault.replace(fault).is_some() {
            return;
        }
        inner.dispatch.worker_draining(id);
        self.take_back(inner, id, usize::MAX);
        self.place_waiting(inner, now);
        (self.sink)(FrontEvent::ChannelBroken(id, fault));
    }

    /// Condemns the workers at which a fault shows that nothing has stumbled over.
    pub(super) fn look_for_faults(&self, inner: &mut Inner, now: Micros) {
        let find = |(id, link): (&WorkerId, &mut Link)| Some((*id, link.find_fault()?));
        let found: Vec<_> = inner.links.iter_mut().filter_map(find).collect();
        for (id, fault) in found {
            self.condemn(inner, id, fault, now);
        }
    }
}

impl Link {
    fn find_fault(&mut self) -> Option<ChannelFault> {
        if self.fault.is_some() {
            return None;
        }
        self.channel.requests.check().err().map(ChannelFault::Memory)
    }
}
