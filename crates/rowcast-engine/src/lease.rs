//! Keeps the lease while a run works: a renewal at a third of its term.
//!
//! It must never extend a lease that another run took over, and a run must never send under one
//! that may end before its request does (semantics 13).

use std::sync::Arc;
use std::time::Duration;

use rowcast_core::{Code, Lease, Ledger};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::clock::Clock;

/// Renewals are tried again at least this far apart.
const RENEW_PAUSE_MIN: Duration = Duration::from_millis(200);

/// A cancel from elsewhere is noticed at the next renewal, so renewals are at most this far apart.
const RENEW_PAUSE_MAX: Duration = Duration::from_secs(3);

/// The renewal of one lease; it ends when this is dropped.
pub(crate) struct Renewal {
    _task: AbortOnDropHandle<()>,
    changed: watch::Receiver<u64>,
}

impl Renewal {
    /// Begins to renew.
    pub(crate) fn start(
        ledger: Arc<dyn Ledger>,
        lease: Arc<Lease>,
        clock: Arc<dyn Clock>,
        cancel: CancellationToken,
    ) -> Self {
        let (tell, changed) = watch::channel(0);
        let task = tokio::spawn(async move {
            let term = lease.deadline().saturating_duration_since(clock.now());
            let pause = (term / 3).clamp(RENEW_PAUSE_MIN, RENEW_PAUSE_MAX);
            let mut wait = pause;
            while !lease.is_lost() {
                clock.sleep(wait).await;
                wait = match ledger.renew(&lease).await {
                    Ok(()) => pause,
                    Err(reason) if reason.code == Code::LeaseLost => {
                        lease.lose();
                        pause
                    }
                    // Somebody asked for it with `rowcast cancel`.
                    Err(reason) if reason.code == Code::Cancelled => {
                        cancel.cancel();
                        pause
                    }
                    // The ledger can't be reached: the lease still holds, so ask again soon.
                    Err(reason) => {
                        tracing::warn!(error = %reason, "could not renew the lease");
                        (pause / 4).max(RENEW_PAUSE_MIN)
                    }
                };
                tell.send_modify(|n| *n += 1);
            }
        });
        Self {
            _task: AbortOnDropHandle::new(task),
            changed,
        }
    }

    /// Ends at the next renewal, or when the lease is lost.
    pub(crate) async fn changed(&mut self) {
        if self.changed.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
