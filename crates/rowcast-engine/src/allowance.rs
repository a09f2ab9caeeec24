//! A run's part of its destination's quota: set aside in the ledger before it is used.
//!
//! No request may start that is not covered. The ledger is asked for a hundredth of the quota at a
//! time, or for less when the run needs less; what is left at the end goes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rowcast_core::quota::{Quota, Reserved};
use rowcast_core::{BoxFuture, Ledger, Reason};

use crate::clock::Clock;
use crate::deliver::Parts;

/// The end of a run waits this long at most for the ledger to take back what is left.
const GIVE_BACK: Duration = Duration::from_millis(800);

/// What a run may still send.
pub(crate) struct Allowance {
    quota: Quota,
    /// Requests that the run needs by its own estimate and has not been given.
    expected: u64,
    held: Option<Held>,
    asking: Option<Asking>,
}

/// What was set aside last.
#[derive(Debug, Clone, Copy)]
struct Held {
    left: u32,
    began: i64,
    ends: Instant,
    /// Fewer were given than asked for: the window has no more.
    last: bool,
}

struct Asking {
    asked: Instant,
    wanted: u32,
    future: BoxFuture<'static, Result<Reserved, Reason>>,
}

/// Whether requests may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Covered {
    Yes,
    /// The ledger has to be asked first.
    Ask,
    /// The quota is used up: it begins anew then.
    Spent(Instant),
}

impl Allowance {
    pub(crate) fn new(quota: Quota, expected: u64) -> Self {
        Self {
            quota,
            expected,
            held: None,
            asking: None,
        }
    }

    /// Whether so many requests may start now.
    pub(crate) fn covers(&self, now: Instant, requests: u32) -> Covered {
        match self.held {
            Some(held) if now < held.ends => {
                if held.left >= self.needed(requests) {
                    Covered::Yes
                } else if held.last {
                    Covered::Spent(held.ends)
                } else {
                    Covered::Ask
                }
            }
            _ => Covered::Ask,
        }
    }

    /// Requests that were covered have started.
    pub(crate) fn take(&mut self, requests: u32) {
        let needed = self.needed(requests);
        if let Some(held) = &mut self.held {
            held.left = held.left.saturating_sub(needed);
        }
    }

    /// A write of more requests than the whole quota is one that takes all of it.
    fn needed(&self, requests: u32) -> u32 {
        requests.max(1).min(self.quota.allowed.requests)
    }

    /// Asks the ledger, unless it is being asked.
    pub(crate) fn ask(&mut self, parts: &Parts, now: Instant, requests: u32) {
        if self.asking.is_some() {
            return;
        }
        let left = match self.held {
            Some(held) if now < held.ends => held.left,
            _ => 0,
        };
        let part = self.quota.part_max();
        // What is tried again was not expected.
        let likely = self.expected.max(u64::from(part / 16));
        let part = u32::try_from(likely).map_or(part, |likely| likely.min(part));
        let wanted = part.max(self.needed(requests).saturating_sub(left));
        let (ledger, lease) = (parts.ledger.clone(), parts.lease.clone());
        let (home, quota) = (parts.home.clone(), self.quota.clone());
        let work = async move { ledger.reserve(&lease, &quota, wanted).await };
        self.asking = Some(Asking {
            asked: now,
            wanted,
            future: Box::pin(async move { home.run(work).await }),
        });
    }

    pub(crate) fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    /// What the ledger says; never, when it was not asked.
    pub(crate) async fn answered(&mut self) -> Result<(), Reason> {
        let Some(asking) = &mut self.asking else {
            return std::future::pending().await;
        };
        let answer = asking.future.as_mut().await;
        let (asked, wanted) = (asking.asked, asking.wanted);
        self.asking = None;
        let Reserved { requests, window } = answer?;
        self.expected = self.expected.saturating_sub(requests.into());
        // What is left of the same window still counts.
        let left = match self.held {
            Some(held) if held.began == window.began => held.left,
            _ => 0,
        };
        self.held = Some(Held {
            left: left + requests,
            began: window.began,
            // Measured from before the question, so that it never ends too late.
            ends: asked + window.ends_in,
            last: requests < wanted,
        });
        Ok(())
    }

    /// Gives back what is left, if the ledger takes it in good time.
    pub(crate) async fn give_back(&mut self, ledger: &Arc<dyn Ledger>, clock: &Arc<dyn Clock>) {
        let late = clock.sleep(GIVE_BACK);
        tokio::select! {
            biased;
            () = self.give_back_to(ledger, clock) => {}
            () = late => {}
        }
    }

    async fn give_back_to(&mut self, ledger: &Arc<dyn Ledger>, clock: &Arc<dyn Clock>) {
        if self.asking.is_some() && self.answered().await.is_err() {
            return;
        }
        let Some(held) = self.held.take() else {
            return;
        };
        if held.left == 0 || clock.now() >= held.ends {
            return;
        }
        let given = ledger.give_back(&self.quota, held.began, held.left).await;
        if let Err(reason) = given {
            tracing::warn!(error = %reason, "could not give back what is left of a quota's part");
        }
    }
}
