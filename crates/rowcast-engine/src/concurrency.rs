//! How many requests of one run may be in flight together: as many as the service can take.
//!
//! Additive increase, multiplicative decrease, as TCP has it: half as many after an answer that asks
//! to send slower, one more with each round of good answers. Refusals of requests that were already
//! on their way at the last cut say nothing new. It must never rise above what the destination
//! allows, nor fall below one.

use std::time::{Duration, Instant};

/// After so long without a request nothing is known of the service any more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// What is known of how much one account's service takes at once.
#[derive(Debug, Default)]
pub(crate) struct Concurrency {
    /// `None` until the service first asks to send slower.
    level: Option<f64>,
    /// Requests started so far; each has its number.
    started: u64,
    /// Refusals of requests before this number have been answered by a cut.
    cut_before: u64,
    latest: Option<Instant>,
}

impl Concurrency {
    /// Requests that may be in flight together, of a destination that allows `most`.
    pub(crate) fn permitted(&self, most: usize) -> usize {
        self.level
            .map_or(most, |level| (level as usize).min(most))
            .max(1)
    }

    /// A request starts. Gives its number.
    pub(crate) fn start(&mut self, now: Instant) -> u64 {
        let idle = self
            .latest
            .is_some_and(|latest| now.saturating_duration_since(latest) > FORGOTTEN_AFTER);
        if idle {
            self.level = None;
        }
        self.latest = Some(now);
        self.started += 1;
        self.started
    }

    /// The service took a request.
    pub(crate) fn taken(&mut self, most: usize) {
        if let Some(level) = &mut self.level {
            *level = (*level + 1.0 / *level).min(level.max(most as f64));
        }
    }

    /// The service refused a request because there are too many, or did not answer it in time.
    /// Gives the new number when it was cut.
    pub(crate) fn refused(&mut self, number: u64, most: usize) -> Option<usize> {
        if number <= self.cut_before {
            return None;
        }
        self.cut_before = self.started;
        let half = self.permitted(most) as f64 / 2.0;
        self.level = Some(half.max(1.0));
        Some(self.permitted(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service that takes `capacity` requests at once, asked in rounds of as many as are
    /// permitted. Gives the refusals, and the most and the fewest permitted in the second half.
    fn rounds(capacity: usize, most: usize, requests: usize) -> (usize, usize, usize) {
        let now = Instant::now();
        let mut concurrency = Concurrency::default();
        let (mut left, mut refused, mut high, mut low) = (requests, 0, 0, usize::MAX);
        while left > 0 {
            let permitted = concurrency.permitted(most).min(left);
            let numbers: Vec<u64> = (0..permitted).map(|_| concurrency.start(now)).collect();
            for (place, number) in numbers.into_iter().enumerate() {
                if place < capacity {
                    left -= 1;
                    concurrency.taken(most);
                } else {
                    refused += 1;
                    concurrency.refused(number, most);
                }
            }
            if left * 2 < requests && left > 0 {
                high = high.max(concurrency.permitted(most));
                low = low.min(concurrency.permitted(most));
            }
        }
        (refused, high, low)
    }

    #[test]
    fn it_settles_around_what_the_service_takes() {
        for capacity in [1, 2, 3, 5, 8, 13] {
            let (refused, high, low) = rounds(capacity, 16, 2_000);
            assert!(high <= capacity + 1, "{high} for a capacity of {capacity}");
            assert!(low >= capacity.div_ceil(2), "{low} of {capacity}");
            // A fixed concurrency of 16 is refused 16 - capacity times for each capacity taken.
            let fixed = 2_000 / capacity * (16 - capacity);
            assert!(refused * 2 < fixed, "{refused}, a fixed one {fixed}");
        }
        assert_eq!(rounds(16, 16, 2_000).0, 0);
    }

    #[test]
    fn one_burst_of_refusals_is_one_cut() {
        let now = Instant::now();
        let mut concurrency = Concurrency::default();
        let burst: Vec<u64> = (0..16).map(|_| concurrency.start(now)).collect();
        assert_eq!(concurrency.refused(burst[3], 16), Some(8));
        for number in burst {
            assert_eq!(concurrency.refused(number, 16), None);
        }
        let next = concurrency.start(now);
        assert_eq!(concurrency.refused(next, 16), Some(4));
    }

    #[test]
    fn it_stays_within_one_and_what_the_destination_allows() {
        let now = Instant::now();
        let mut concurrency = Concurrency::default();
        for _ in 0..10 {
            let number = concurrency.start(now);
            concurrency.refused(number, 4);
        }
        assert_eq!(concurrency.permitted(4), 1);
        for _ in 0..100 {
            concurrency.taken(4);
        }
        assert_eq!((concurrency.permitted(4), concurrency.permitted(2)), (4, 2));
    }

    #[test]
    fn after_a_minute_of_silence_it_begins_anew() {
        let now = Instant::now();
        let mut concurrency = Concurrency::default();
        let number = concurrency.start(now);
        concurrency.refused(number, 8);
        concurrency.start(now + FORGOTTEN_AFTER);
        assert_eq!(concurrency.permitted(8), 4);
        concurrency.start(now + FORGOTTEN_AFTER * 3);
        assert_eq!(concurrency.permitted(8), 8);
    }
}
