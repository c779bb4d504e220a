//! ASGI 3: one thread, one event loop, and the ring as a reader of that loop.
//!
//! `indrik/asgi.py` owns the loop and the lifespan; everything that happens per request is here.
//! Every wake-up drains a bounded batch of descriptors. The first step of an application's
//! coroutine runs right there, and `receive` and `send` give awaitables that are complete at once
//! when they can be, so an application that never has to wait costs the loop nothing.
//!
//! All of it belongs to the loop's thread: the state is in [`cell::LoopCell`]s, which refuse
//! others.

mod awaitable;
mod body;
mod carrier;
mod cell;
mod exception;
mod exchange;
mod fields;
mod finish;
mod http;
mod message;
mod methods;
mod named_file;
mod receive;
mod response;
mod scope;
mod sent;
mod server;
mod service;
mod socket;
mod state;
mod target;
mod tasks;
mod websocket;

pub(crate) use server::AsgiServer;
