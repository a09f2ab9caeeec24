//! The ledger against a real server: what a run finds, what an acknowledgement moves.

mod basics;
mod harness;
