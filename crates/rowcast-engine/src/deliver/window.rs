//! How much is announced before it is sent.
//!
//! What is announced is what may be in doubt after a crash, so it must never be more than a thousand
//! records, or a second's, or what the requests in flight hold; but for destinations that take more
//! than that while a commit lasts (ADR 14).

use std::time::{Duration, Instant};

use rowcast_core::Capabilities;

/// Open windows together hold at least this many records, whatever the batches.
const ANNOUNCED_MIN: usize = 1_000;

/// Records of one window at most, unless one batch is larger: half of what may be announced, so
/// that one window is sent while the next is committed.
const RECORDS_MAX: usize = ANNOUNCED_MIN / 2;

/// The same for a destination that takes two such windows in less than a commit lasts.
const RECORDS_FAST: usize = 1_000;

/// The first window, before the rate is known.
const RECORDS_FIRST: usize = 100;

/// What a fast destination takes in this time is announced ahead, so that requests never wait for
/// a commit.
const COMMIT_SECONDS: f64 = 0.02;

/// Windows that are got ready, or announced ahead, at most.
const WINDOWS_AHEAD: usize = 4;

/// How fast records were answered lately.
pub(super) struct Pace {
    per_second: f64,
    answered: usize,
    since: Instant,
}

impl Pace {
    /// Rates are taken over at least this long.
    const SPAN_MIN: Duration = Duration::from_millis(250);

    /// The first: until it is known, windows are small, and requests wait for commits.
    const SPAN_FIRST: Duration = Duration::from_millis(25);

    /// Nothing is known yet.
    pub(super) fn since(began: Instant) -> Self {
        Self {
            per_second: 0.0,
            answered: 0,
            since: began,
        }
    }

    /// Records a second; 0 while it is not known.
    pub(super) fn per_second(&self) -> f64 {
        self.per_second
    }

    pub(super) fn answered(&mut self, records: usize, now: Instant) {
        self.answered += records;
        let span = now.saturating_duration_since(self.since);
        let known = self.per_second > 0.0;
        if span
            >= (if known {
                Self::SPAN_MIN
            } else {
                Self::SPAN_FIRST
            })
        {
            let lately = self.answered as f64 / span.as_secs_f64();
            self.per_second = if known {
                0.5 * self.per_second + 0.5 * lately
            } else {
                lately
            };
            self.answered = 0;
            self.since = now;
        }
    }
}

/// How much is announced at a pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// Records of one window.
    pub(super) records: usize,
    /// Most records announced and not settled.
    pub(super) announced_max: usize,
}

impl Window {
    /// For a destination that answers so many records a second; 0 while that is not known.
    pub(super) fn of(capabilities: &Capabilities, per_second: f64) -> Self {
        let batch = capabilities.batch_records_max.max(1);
        let concurrency = capabilities.concurrency_max.max(1);
        let during_commit = (per_second * COMMIT_SECONDS) as usize;
        let second = if per_second > 0.0 {
            per_second as usize
        } else {
            RECORDS_FIRST.max(batch.saturating_mul(concurrency))
        };
        let most = if during_commit >= 2 * RECORDS_FAST {
            RECORDS_FAST
        } else {
            RECORDS_MAX
        };
        let records = second.min(most).max(batch);
        // A destination that keeps its own progress is sent nothing twice, whatever is announced: it
        // gets one batch ahead, so that none of its connections waits for a commit.
        let ahead = usize::from(capabilities.exactly_once);
        let in_flight = (concurrency + ahead).saturating_mul(batch);
        let announced_max = ANNOUNCED_MIN
            .max(in_flight)
            .min(in_flight.max(2 * records))
            .max(during_commit.min(WINDOWS_AHEAD * records));
        Self {
            records,
            announced_max,
        }
    }

    /// Records to get ready when so many are announced.
    pub(super) fn wanted(self, announced: usize) -> usize {
        let room = self.announced_max.saturating_sub(announced);
        room.clamp(self.records, WINDOWS_AHEAD * self.records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn single() -> Capabilities {
        Capabilities {
            operations: Vec::new(),
            batch_records_max: 1,
            operation_limits: Vec::new(),
            batch_bytes_max: 1_000_000,
            concurrency_max: 8,
            rate: None,
            timeout: Duration::from_secs(30),
            exactly_once: false,
            publishes: false,
        }
    }

    #[test]
    fn one_window_is_sent_while_the_next_is_committed_at_any_pace() {
        for batch in [1, 10, 100, 500] {
            for thousands in 0..300 {
                let capabilities = Capabilities {
                    batch_records_max: batch,
                    ..single()
                };
                let window = Window::of(&capabilities, f64::from(thousands) * 1_000.0);
                assert!(
                    window.announced_max >= 2 * window.records,
                    "{window:?} with batches of {batch} at {thousands},000 records a second"
                );
            }
        }
    }

    #[test]
    fn single_records_are_announced_a_thousand_at_a_time_at_most() {
        for thousands in 0..50 {
            let window = Window::of(&single(), f64::from(thousands) * 1_000.0);
            assert!(window.announced_max <= 1_000, "{window:?} at {thousands}");
        }
    }

    #[test]
    fn the_first_pace_is_known_soon() {
        let began = Instant::now();
        let mut pace = Pace::since(began);
        pace.answered(10, began + Duration::from_millis(24));
        assert_eq!(pace.per_second() as usize, 0);
        pace.answered(10, began + Duration::from_millis(25));
        assert_eq!(pace.per_second() as usize, 800);
        pace.answered(1_000, began + Duration::from_millis(150));
        assert_eq!(pace.per_second() as usize, 800, "the next one takes longer");
    }
}
