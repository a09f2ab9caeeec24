//! A destination in memory that takes so many requests at once and refuses what comes beside them.
//!
//! For runs on virtual time. For the program there is [`Crowd`](crate::api::Crowd).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rowcast_core::{
    Applied, Batch, BoxFuture, Capabilities, Check, Code, Destination, Fault, Outcome, Reason,
};

use crate::memory::MemoryDestination;

/// A service that works at so many requests at once and refuses what comes beside them.
pub struct Crowded {
    inner: MemoryDestination,
    capacity: usize,
    under_way: AtomicUsize,
    working: AtomicUsize,
    refused: AtomicUsize,
    /// Requests under way together, by how many were taken before.
    seen: Mutex<BTreeMap<u64, usize>>,
    /// After so many are taken, it takes any number.
    mended_after: u64,
}

impl Crowded {
    /// A service that is asked by runs of this concurrency, and takes any number after so many.
    pub fn new(capacity: usize, concurrency: usize, mended_after: u64) -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryDestination::new(1, concurrency),
            capacity,
            under_way: AtomicUsize::new(0),
            working: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            seen: Mutex::default(),
            mended_after,
        })
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<u64, usize>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests that were taken.
    pub fn taken(&self) -> u64 {
        self.inner.requests()
    }

    /// Requests that were refused.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// Most requests under way together, after `from` and before `to` were taken.
    pub fn most(&self, from: u64, to: u64) -> usize {
        let seen = self.seen();
        seen.range(from..to)
            .map(|(_, most)| *most)
            .max()
            .unwrap_or(0)
    }
}

impl Destination for Crowded {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        self.inner.check()
    }

    fn write<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>> {
        Box::pin(async move {
            let taken = self.inner.requests();
            let under_way = 1 + self.under_way.fetch_add(1, Ordering::Relaxed);
            {
                let mut seen = self.seen();
                let most = seen.entry(taken).or_default();
                *most = under_way.max(*most);
            }
            let crowded = self.working.load(Ordering::Relaxed) >= self.capacity;
            let result = if crowded && taken < self.mended_after {
                self.refused.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(10)).await;
                Err(Fault::Transient {
                    after: None,
                    applied: Applied::No,
                    reason: Reason::new(Code::DestinationBusy, "503 too many at once"),
                })
            } else {
                self.working.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(100)).await;
                self.working.fetch_sub(1, Ordering::Relaxed);
                self.inner.write(batch).await
            };
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            result
        })
    }
}
