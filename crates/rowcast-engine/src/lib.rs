//! Delivery: from a change set to acknowledged state, and a report that adds up.
//!
//! Floor 1. The engine knows ledgers, destinations and mappings only by their traits; it must
//! never name PostgreSQL, HTTP or a connector. Start reading at `run`: the seven steps in order.

mod acknowledge;
mod ahead;
mod allowance;
mod answer;
mod backoff;
mod clock;
mod concurrency;
mod deliver;
mod lease;
mod limit;
mod observe;
mod place;
mod prepare;
mod preview;
mod report;
mod run;
mod spill;
mod supply;
mod trace;
mod writes;

pub use backoff::wait_before_retry;
pub use clock::{Clock, SystemClock};
pub use limit::Limiter;
pub use observe::{Observer, Phase, Progress, Quiet, Retrying};
pub use preview::{Preview, Sample, preview};
pub use run::{RunInput, RunOptions, run};
pub use tokio_util::sync::CancellationToken;
