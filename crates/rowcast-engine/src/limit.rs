//! How often a destination may be asked: its rate, and the pauses it asks for.
//!
//! One limiter belongs to one destination and is shared by all runs that write to it. It counts
//! starts in a sliding window, so that no period ever sees more requests than allowed.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rowcast_core::destination::Rate;

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

    /// Takes the right to start one request now.
    ///
    /// # Errors
    /// When to ask again.
    pub fn acquire(&self, now: Instant) -> Result<(), Instant> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = state.paused_until {
            if now < until {
                return Err(until);
            }
            state.paused_until = None;
        }
        let Some(rate) = self.rate else {
            return Ok(());
        };
        if state.starts.len() >= rate.requests as usize
            && let Some(&oldest) = state.starts.front()
        {
            if now < oldest + rate.per {
                return Err(oldest + rate.per);
            }
            state.starts.pop_front();
        }
        state.starts.push_back(now);
        Ok(())
    }

    /// Stops all requests to the destination for a while, as it asked (`Retry-After`).
    pub fn pause(&self, now: Instant, wait: Duration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
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
            match limiter.acquire(now) {
                Ok(()) => {
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
    fn a_pause_stops_everything_until_it_is_over() {
        let limiter = Limiter::new(None);
        let now = Instant::now();
        limiter.pause(now, Duration::from_secs(5));
        limiter.pause(now, Duration::from_secs(1));
        let until = now + Duration::from_secs(5);
        assert_eq!(limiter.acquire(now), Err(until));
        assert_eq!(limiter.acquire(until), Ok(()));
    }
}
