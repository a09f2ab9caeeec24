//! What a service allows one account in a window of time: counted once for every process that
//! writes to the account, where state lives.
//!
//! A run sets a part aside before it sends and gives back what it did not use. A process that dies
//! in between takes its part with it, so that the count may be too high, never too low.

use std::time::Duration;

use crate::destination::Rate;

/// A quota, and whose it is. Windows follow each other without a gap, counted from 1970 in UTC: those
/// of a quota by the day are the days of UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// The account's name where state lives: never made from a secret.
    pub account: String,
    pub allowed: Rate,
}

impl Quota {
    /// Most requests that one process sets aside at a time, and loses when it is killed: 1 % of the
    /// quota, so that a window costs some hundred questions at most.
    pub fn part_max(&self) -> u32 {
        (self.allowed.requests / 100).max(1)
    }

    /// The length of a window in whole seconds.
    pub fn seconds(&self) -> i64 {
        i64::try_from(self.allowed.per.as_secs()).map_or(i64::MAX, |seconds| seconds.max(1))
    }
}

/// A window of a quota, as the clock where state lives has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Seconds from 1970 to its beginning.
    pub began: i64,
    pub ends_in: Duration,
}

/// What was set aside for a run: fewer requests than it asked for, or none, when no more are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserved {
    pub requests: u32,
    pub window: Window,
}

/// How much of the present window is used or set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    pub requests: u32,
    pub window: Window,
}
