//! What happens to a worker, and what each of it means.

use super::event::WorkerEvent;
use super::machine::Supervisor;
use super::reason::EndReason;
use crate::ids::WorkerId;

impl Supervisor {
    pub(super) fn worker_event(&mut self, id: WorkerId, event: WorkerEvent) {
        match event {
            WorkerEvent::Forked { pid } => self.forked(id, pid),
            WorkerEvent::ForkFailed { message } => self.fork_failed(id, &message),
            WorkerEvent::ForkRefused { failure } => self.fork_refused(id, &failure),
            WorkerEvent::Ready => self.worker_ready(id),
            WorkerEvent::BootFailed { failure } => self.boot_failed(id, &failure),
            WorkerEvent::BootMeasured { ran, waited } => self.boot_measured(id, ran, waited),
            WorkerEvent::Warm => self.worker_warm(id),
            WorkerEvent::WarmUpFailed { failure } => self.warm_up_failed(id, &failure),
            WorkerEvent::SentTerm => self.worker_sent_term(id),
            WorkerEvent::Drained => self.worker_drained(id),
            WorkerEvent::UsedUp => self.recycle(id, EndReason::MaxRequests),
            WorkerEvent::ShouldGo { reason } => self.worker_should_go(id, reason),
            WorkerEvent::Memory { excess } => self.memory_exceeded(id, excess),
            WorkerEvent::RequestStuck => self.stuck(id, EndReason::Timeout),
            WorkerEvent::RequestHangs => self.request_hangs(id),
            WorkerEvent::ChannelBroken => self.channel_broken(id, EndReason::ChannelBroken),
            WorkerEvent::DescriptorsLost => self.channel_broken(id, EndReason::DescriptorsLost),
            WorkerEvent::Promoted => self.worker_promoted(id),
            WorkerEvent::PromotionRefused { why } => self.promotion_refused(id, &why),
            WorkerEvent::CodeChanged { files } => self.code_changed(id, files),
            WorkerEvent::Exited { exit } => self.worker_exited(id, exit),
        }
    }
}
