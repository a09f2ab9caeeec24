//! How often a destination may be asked: its rate, the pauses it asks for, and how many requests at
//! once it takes.
//!
//! One limiter belongs to one account at a service and is shared by all runs of a process that write
//! to it. It counts starts in a sliding window, so that no period ever sees more requests than
//! allowed. What other programs send is not known here.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rowcast_core::destination::Rate;

use crate::concurrency::Concurrency;

/// Remembered starts at most; a larger rate is kept over a proportionally shorter period.
const STARTS_MAX: u32 = 10_000;

/// The right to start requests at one destination.
#[derive(Debug)]
pub struct Limiter {
    rate: Option<Rate>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    starts: VecDeque<Instant>,
    paused_until: Option<Instant>,
    concurrency: Concurrency,
}

impl Limiter {
    /// A limiter for a rate; without one, only pauses limit.
    pub fn new(rate: Option<Rate>) -> Self {
        let rate = rate.filter(|rate| rate.requests > 0).map(|rate| {
            let parts = rate.requests.div_ceil(STARTS_MAX);
            Rate {
                requests: rate.requests / parts,
                per: rate.per / parts,
            }
        });
        Self {
            rate,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the right to start a write of so many requests now. Gives its number, by which
    /// [`refused`](Self::refused) knows it.
    ///
    /// # Errors
    /// When to ask again: because of the rate, or of a pause.
    pub fn acquire(&self, now: Instant, requests: u32) -> Result<u64, Instant> {
        let mut state = self.state();
        if let Some(until) = state.paused_until {
            if now < until {
                return Err(until);
            }
            state.paused_until = None;
        }
        let requests = requests.max(1);
        if let Some(rate) = self.rate {
            while state
                .starts
                .front()
                .is_some_and(|oldest| now >= *oldest + rate.per)
            {
                state.starts.pop_front();
            }
            // A write of more requests than a period allows waits for an empty one.
            let free = (rate.requests as usize).saturating_sub(state.starts.len());
            let needed = (requests as usize).min(rate.requests as usize);
            if free < needed {
                // When as many of the oldest have left the window as are missing.
                let last = state.starts.get(needed - free - 1).copied().unwrap_or(now);
                return Err(last + rate.per);
            }
        }
        if self.rate.is_some() {
            state.starts.extend((0..requests).map(|_| now));
        }
        Ok(state.concurrency.start(now))
    }

    /// Writes of one run that may be in flight together, of a destination that allows `most`.
    pub fn permitted(&self, most: usize) -> usize {
        self.state().concurrency.permitted(most)
    }

    /// The service took a write.
    pub fn taken(&self, most: usize) {
        self.state().concurrency.taken(most);
    }

    /// The service asked to send slower, or did not answer in time. Gives the new number of writes
    /// in flight together when this lowers it.
    pub fn refused(&self, number: u64, most: usize) -> Option<usize> {
        self.state().concurrency.refused(number, most)
    }

    /// Stops all requests to the destination for a while, as it asked (`Retry-After`).
    pub fn pause(&self, now: Instant, wait: Duration) {
        let mut state = self.state();
        let until = now + wait;
        if state.paused_until.is_none_or(|paused| paused < until) {
            state.paused_until = Some(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_period_sees_more_requests_than_allowed() {
        let per = Duration::from_secs(1);
        let limiter = Limiter::new(Some(Rate { requests: 3, per }));
        let start = Instant::now();
        let mut starts = Vec::new();
        let mut now = start;
        while starts.len() < 30 {
            match limiter.acquire(now, 1) {
                Ok(_) => {
                    starts.push(now);
                    now += Duration::from_millis(70);
                }
                Err(later) => now = later,
            }
        }
        for window in starts.windows(4) {
            assert!(window[3] - window[0] >= per);
        }
        assert!(starts[29] - start < Duration::from_secs(11));
    }

    #[test]
    fn a_write_of_two_requests_counts_twice() {
        let per = Duration::from_secs(1);
        let limiter = Limiter::new(Some(Rate { requests: 3, per }));
        let now = Instant::now();
        assert!(limiter.acquire(now, 2).is_ok());
        assert_eq!(limiter.acquire(now, 2), Err(now + per));
        assert!(limiter.acquire(now, 1).is_ok());
        assert!(limiter.acquire(now + per, 2).is_ok());
    }

    #[test]
    fn a_pause_stops_everything_until_it_is_over() {
        let limiter = Limiter::new(None);
        let now = Instant::now();
        limiter.pause(now, Duration::from_secs(5));
        limiter.pause(now, Duration::from_secs(1));
        let until = now + Duration::from_secs(5);
        assert_eq!(limiter.acquire(now, 1), Err(until));
        assert!(limiter.acquire(until, 1).is_ok());
    }
}
