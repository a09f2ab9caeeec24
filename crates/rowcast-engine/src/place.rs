//! Where a run's parts run: small requests on a thread of its own, the rest at home.
//!
//! One task sends all small requests of a run, and reads their answers. On a runtime of several
//! threads another one notices an answer, takes the task over and wakes its neighbour, for every few
//! requests: a fifth of what they cost (ADR 35). A thread of its own does all of it alone. What is
//! worth another core goes home, to the runtime of the run: asking the ledger, mapping ahead, large
//! writes. What was begun on the thread must never outlive it, so it lasts as long as the run.

use std::future::Future;
use std::io;
use std::panic::resume_unwind;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

/// Requests of up to so many records are nearly always small enough to be written where they are sent.
/// Those of more go over the program's threads, and to be handed over to them costs more than it gains.
const SMALL_RECORDS: usize = 10;

/// A runtime that parts of a run are done on.
#[derive(Debug, Clone)]
pub(crate) struct Place(Handle);

impl Place {
    /// The one of the present task.
    pub(crate) fn here() -> Self {
        Self(Handle::current())
    }

    /// Begins work there; it ends when the handle is dropped.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> AbortOnDropHandle<T> {
        AbortOnDropHandle::new(self.0.spawn(work))
    }

    /// Does work there; it ends when this is dropped.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        match self.spawn(work).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The runtime is being shut down, and whoever waits for this with it.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

/// A thread with a runtime of its own. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct OwnThread {
    place: Place,
    _end: DropGuard,
}

impl OwnThread {
    /// A thread for requests of at most so many records, if they are small. Without one a run is slower,
    /// never wrong.
    pub(crate) fn for_requests_of(records: usize, name: &str) -> Option<Self> {
        if records > SMALL_RECORDS {
            return None;
        }
        Self::start(name)
            .inspect_err(|error| tracing::debug!(%error, "no thread for delivery"))
            .ok()
    }

    /// # Errors
    /// The system gives no thread, or no means to wait for connections.
    fn start(name: &str) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let place = Place(runtime.handle().clone());
        let end = CancellationToken::new();
        let ended = end.clone();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                runtime.block_on(ended.cancelled());
                // A name that is being looked up is waited for by nobody.
                runtime.shutdown_background();
            })?;
        Ok(Self {
            place,
            _end: end.drop_guard(),
        })
    }

    pub(crate) fn place(&self) -> Place {
        self.place.clone()
    }
}
