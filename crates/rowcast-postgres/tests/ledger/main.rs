//! The ledger against a real server: what a run finds, what an acknowledgement moves.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod adopting;
mod basics;
mod chosen;
mod cursor;
mod duplicates;
mod elsewhere;
mod fencing;
mod folding;
mod folding_ahead;
mod guards;
mod harness;
mod layouts;
mod looking;
mod matching;
mod modes;
mod outcomes;
mod quotas;
mod recent;
mod resend;
mod retention;
mod schema;
