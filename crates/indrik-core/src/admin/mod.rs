//! What the admin listener decides: who may do what, and how what it is sent is read.
//!
//! All of it is hostile input. A request goes through [`host`] (is it meant for us at all), [`access`] (who is it, and may
//! they) and [`guesses`] (have they tried too often); [`tokens`] reads the file of tokens, [`query`] what stands behind the
//! question mark, and [`csv`] writes tables that a spreadsheet does not run.

pub mod access;
pub mod csv;
pub mod guesses;
pub mod host;
pub mod query;
pub mod tokens;
