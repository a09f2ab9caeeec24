//! How often a destination may be asked: its rate, its quota, and the pauses it asks for.
//!
//! One limiter belongs to one account at a service and is shared by all runs that write to it. It
//! counts starts in a sliding window, so that no period ever sees more requests than allowed. A
//! quota is counted from the first request of its period; what other programs use of it is not
//! known here.

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
    quota: Option<Rate>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    starts: VecDeque<Instant>,
    /// When the quota's present period began, and the requests since.
    period: Option<(Instant, u32)>,
    paused_until: Option<Instant>,
}

/// Why no request may start now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The rate or a pause: ask again then.
    Until(Instant),
    /// The quota is used up: it begins anew then.
    QuotaSpent(Instant),
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
            quota: None,
            state: Mutex::default(),
        }
    }

    /// With a quota: what is allowed in a longer time, such as a day.
    #[must_use]
    pub fn with_quota(mut self, quota: Option<Rate>) -> Self {
        self.quota = quota.filter(|quota| quota.requests > 0);
        self
    }

    /// Takes the right to start a write of so many requests now.
    ///
    /// # Errors
    /// When to ask again.
    pub fn acquire(&self, now: Instant, requests: u32) -> Result<(), Refused> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = state.paused_until {
            if now < until {
                return Err(Refused::Until(until));
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
                return Err(Refused::Until(last + rate.per));
            }
        }
        if let Some(quota) = self.quota {
            let (began, used) = match state.period {
                Some((began, used)) if now < began + quota.per => (began, used),
                _ => (now, 0),
            };
            if used >= quota.requests {
                return Err(Refused::QuotaSpent(began + quota.per));
            }
            state.period = Some((began, used.saturating_add(requests)));
        }
        if self.rate.is_some() {
            state.starts.extend((0..requests).map(|_| now));
        }
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
            match limiter.acquire(now, 1) {
                Ok(()) => {
                    starts.push(now);
                    now += Duration::from_millis(70);
                }
                Err(Refused::Until(later)) => now = later,
                Err(spent) => panic!("there is no quota: {spent:?}"),
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
        assert_eq!(limiter.acquire(now, 2), Ok(()));
        assert_eq!(limiter.acquire(now, 2), Err(Refused::Until(now + per)));
        assert_eq!(limiter.acquire(now, 1), Ok(()));
        assert_eq!(limiter.acquire(now + per, 2), Ok(()));
    }

    #[test]
    fn a_quota_that_is_used_up_says_when_it_begins_anew() {
        let per = Duration::from_secs(24 * 3600);
        let limiter = Limiter::new(None).with_quota(Some(Rate { requests: 2, per }));
        let now = Instant::now();
        let later = now + Duration::from_secs(60);
        assert_eq!(limiter.acquire(now, 1), Ok(()));
        assert_eq!(limiter.acquire(later, 1), Ok(()));
        assert_eq!(
            limiter.acquire(later, 1),
            Err(Refused::QuotaSpent(now + per))
        );
        assert_eq!(limiter.acquire(now + per, 1), Ok(()));
    }

    #[test]
    fn a_pause_stops_everything_until_it_is_over() {
        let limiter = Limiter::new(None);
        let now = Instant::now();
        limiter.pause(now, Duration::from_secs(5));
        limiter.pause(now, Duration::from_secs(1));
        let until = now + Duration::from_secs(5);
        assert_eq!(limiter.acquire(now, 1), Err(Refused::Until(until)));
        assert_eq!(limiter.acquire(until, 1), Ok(()));
    }
}
