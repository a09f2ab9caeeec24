//! The run's only clock, so that simulations can replace time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rowcast_core::BoxFuture;

/// Where a run gets its time from.
pub trait Clock: Send + Sync {
    /// The monotonic clock: deadlines, waits, durations.
    fn now(&self) -> Instant;

    /// Microseconds since 1970 in UTC: for the report and for mappings.
    fn now_us(&self) -> i64;

    /// Ends after `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// The machine's clock. Under a paused runtime (tests) its monotonic part is virtual.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock all others ask"
    )]
    fn now_us(&self) -> i64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_micros() as i64)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}
