//! What the supervision loop has, part by part. What it does with it stands in the files beside this directory.

mod admin;
mod children;
mod confinement;
mod control;
mod drive;
mod generations;
mod listeners;
mod logs;
mod looks;
mod memory;
mod neighbours;
mod registry;
mod service;
mod sources;
mod stacks;
mod timers;
mod worker;

pub(super) use admin::AdminSocket;
pub(super) use control::Waiting;
pub(super) use drive::{Drive, Ending, POOL};
pub(super) use listeners::Change;
pub(super) use looks::{Asker, Look, Part, Stage};
pub(super) use memory::group_of;
pub(super) use neighbours::Heritage;
pub(super) use registry::{Registry, Role, Source};
pub(super) use service::Leaving;
pub(super) use sources::SIGNALS;
pub(super) use stacks::{SHOW_STACKS, Stacks, Why};
pub(super) use timers::Timer;
pub(super) use worker::{FrontEnds, Worker};
