//! One worker's process, as the loop holds it.

use indrik_core::ids::Generation;
use indrik_core::settings::WorkerClass;
use indrik_ring::{Bell, Control, FrontChannel};
use indrik_sys::packets::PacketSocket;
use indrik_sys::process::Child;

use super::stacks::Stacks;
use crate::front::Interface;

/// One worker, from the request to fork it until its end.
pub(in crate::drive) struct Worker {
    pub(in crate::drive) generation: Generation,
    pub(in crate::drive) child: Option<Child>,
    pub(in crate::drive) control: PacketSocket,
    pub(in crate::drive) control_open: bool,
    /// What runs there, in the words of `worker_class`; known when it is ready.
    pub(in crate::drive) class: WorkerClass,
    /// The front's end; given to the front when the worker is added.
    pub(in crate::drive) channel: Option<FrontChannel>,
    /// The flag and the heartbeat, which stay with the supervisor.
    pub(in crate::drive) flags: Control,
    pub(in crate::drive) bell: Bell,
    pub(in crate::drive) interface: Interface,
    pub(in crate::drive) capacity: usize,
    /// The last exception of its warm-up.
    pub(in crate::drive) last_words: String,
    /// It was told to be a zygote: what it will be asked by.
    pub(in crate::drive) as_zygote: Option<PacketSocket>,
    /// Where its threads write what they are doing.
    pub(in crate::drive) stacks: Stacks,
}
