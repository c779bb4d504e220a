//! Indrik's decisions, pure: settings, supervision, dispatch.
//!
//! Nothing here reads a clock, a file, the environment or a random number: time, text and seeds
//! come in as parameters. The shell (`indrik-server`, `indrik-cli`) fetches them and performs what
//! is decided here. That is what makes every decision testable without processes or waiting.
#![forbid(unsafe_code)]

pub mod admin;
pub mod alerts;
pub mod app_metrics;
pub mod certificate;
pub mod chronicle;
pub mod control;
pub mod descriptors;
pub mod diagnose;
pub mod dispatch;
pub mod display;
pub mod history;
pub mod http1;
pub mod http2;
pub mod ids;
pub mod lane;
pub mod limits;
pub mod logs;
pub mod machine;
pub mod memory;
pub mod metrics;
pub mod overtime;
pub mod percent;
pub mod profile;
pub mod proxy;
pub mod record;
pub mod redact;
pub mod refusal;
pub mod route;
pub mod settings;
pub mod spin;
pub mod supervise;
pub mod time;
pub mod trace;
pub mod upload;
