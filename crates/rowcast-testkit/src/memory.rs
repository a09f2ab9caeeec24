//! A source, a ledger and a mirror destination in memory, with the same law as the real ones.
//!
//! The ledger is a model to think with and an oracle to test against: small enough to be read at
//! one sitting, built on the same `Effect` table as the real one. It forgets everything that was
//! not committed, as a crash does.

mod destination;
mod ledger;
mod state;
mod table;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub use destination::{MemoryDestination, Written};
pub use state::{Doubt, Memory, MemoryLedger, MemorySync, Rejected, StateRow};
pub use table::{Table, TableMapper, text};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
