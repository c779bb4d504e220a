//! One worker's process, as the loop holds it.

use std::os::fd::OwnedFd;

use indrik_core::ids::Generation;
use indrik_core::settings::WorkerClass;
use indrik_ring::{Bell, Control, FrontChannel};
use indrik_sys::packets::PacketSocket;
use indrik_sys::process::Child;

use super::stacks::Stacks;
use crate::app_metrics::Lease;
use crate::front::Interface;
use crate::hearing::Hearing;

/// The front's ends of a worker's channel and lane.
pub(crate) struct FrontEnds {
    pub(crate) channel: FrontChannel,
    pub(crate) lane: OwnedFd,
}

impl Worker {
    /// Whether the front has its ends: they are given once.
    pub(crate) const fn is_linked(&self) -> bool {
        self.front_ends.is_none()
    }
}

/// One worker, from the request to fork it until its end.
pub(crate) struct Worker {
    pub(crate) generation: Generation,
    pub(crate) child: Option<Child>,
    pub(crate) control: PacketSocket,
    pub(crate) control_open: bool,
    pub(crate) hearing: Hearing,
    /// What runs there, in the words of `worker_class`; known when it is ready.
    pub(crate) class: WorkerClass,
    /// Given to the front when the worker is added; `None` says that they have been.
    pub(crate) front_ends: Option<FrontEnds>,
    /// The flag and the heartbeat, which stay with the supervisor.
    pub(crate) flags: Control,
    pub(crate) bell: Bell,
    pub(crate) interface: Interface,
    pub(crate) capacity: usize,
    /// The last exception of its warm-up.
    pub(crate) last_words: String,
    /// It was told to be a zygote: what it will be asked by.
    pub(crate) as_zygote: Option<PacketSocket>,
    /// Where its threads write what they are doing.
    pub(crate) stacks: Stacks,
    /// What its application counts.
    pub(crate) metrics: Lease,
}
