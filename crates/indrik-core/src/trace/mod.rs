//! Which request is which: its id.
//!
//! Chance comes from outside: ids are made of random bits that are given.

mod hex;
pub mod request_id;
