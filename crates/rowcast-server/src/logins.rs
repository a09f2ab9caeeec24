//! How often an address may come with tokens that are not known.
//!
//! Tokens can't be guessed; but each wrong one costs a question to the database, and who tries many is
//! not to have it answered. Must never shut out a token that was good a moment ago: behind a proxy all
//! requests come from one address. Must not grow with the number of addresses.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rowcast_core::{Code, Reason};

use crate::limits::Rate;

/// Addresses and good tokens that are remembered; with more, all are forgotten.
const REMEMBERED_MAX: usize = 10_000;

/// Counts the wrong tokens of each address.
#[derive(Debug, Clone)]
pub(crate) struct Logins {
    rate: Rate,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Since when, and how many.
    wrong: HashMap<IpAddr, (Instant, u32)>,
    /// Keyed hashes of tokens that were good; the key is this process's own.
    good: HashSet<u64>,
    hasher: RandomState,
}

/// Why a token is not looked up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) reason: Reason,
    pub(crate) seconds: u64,
}

impl Logins {
    /// More than a person mistypes, fewer than a program needs to be a burden.
    pub(crate) const RATE: Rate = Rate {
        requests: 20,
        window: Duration::from_secs(60),
    };

    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate,
            seen: Arc::default(),
        }
    }

    /// Whether a token may be looked up.
    pub(crate) fn check(&self, peer: IpAddr, token: &str, now: Instant) -> Result<(), Wait> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((since, wrong)) = seen.wrong.get(&of(peer)) else {
            return Ok(());
        };
        let left = self
            .rate
            .window
            .saturating_sub(now.saturating_duration_since(*since));
        if left.is_zero() || *wrong < self.rate.requests || seen.is_good(token) {
            return Ok(());
        }
        let seconds = u64::try_from(left.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX);
        let reason = Reason::new(
            Code::TooManyWrongTokens,
            format!("too many wrong tokens came from {peer}"),
        )
        .detail(format!(
            "{} in {} seconds are looked at",
            self.rate.requests,
            self.rate.window.as_secs()
        ))
        .hint(format!(
            "look for the program that sends a token which was revoked or has ended, and wait {seconds} seconds"
        ));
        Err(Wait { reason, seconds })
    }

    /// A token was not known.
    pub(crate) fn wrong(&self, peer: IpAddr, token: &str, now: Instant) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = seen.hasher.hash_one(token);
        seen.good.remove(&hash);
        let peer = of(peer);
        if seen.wrong.len() >= REMEMBERED_MAX && !seen.wrong.contains_key(&peer) {
            seen.wrong.clear();
        }
        let counted = seen.wrong.entry(peer).or_insert((now, 0));
        if now.saturating_duration_since(counted.0) >= self.rate.window {
            *counted = (now, 0);
        }
        counted.1 = counted.1.saturating_add(1);
    }

    /// A token was good.
    pub(crate) fn good(&self, token: &str) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = seen.hasher.hash_one(token);
        if seen.good.len() >= REMEMBERED_MAX && !seen.good.contains(&hash) {
            seen.good.clear();
        }
        seen.good.insert(hash);
    }
}

impl Seen {
    fn is_good(&self, token: &str) -> bool {
        self.good.contains(&self.hasher.hash_one(token))
    }
}

/// What counts as one address: of IPv6 the network, because a host has as many addresses there as it
/// likes.
fn of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            Ipv6Addr::from(network).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logins() -> Logins {
        Logins::new(Rate {
            requests: 2,
            window: Duration::from_secs(60),
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn after_so_many_wrong_tokens_an_address_waits_for_the_window_to_end() {
        let logins = logins();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let peer = ip("192.0.2.7");
        logins.good("good");
        for second in [0, 10] {
            assert_eq!(logins.check(peer, "wrong", at(second)), Ok(()));
            logins.wrong(peer, "wrong", at(second));
        }
        let refused = logins.check(peer, "another", at(20)).unwrap_err();
        assert_eq!(refused.seconds, 40);
        assert_eq!(refused.reason.code, Code::TooManyWrongTokens);
        // Neither other addresses nor a token that was good wait.
        assert_eq!(logins.check(ip("192.0.2.8"), "wrong", at(20)), Ok(()));
        assert_eq!(logins.check(peer, "good", at(20)), Ok(()));
        // A token that is good no more does.
        logins.wrong(peer, "good", at(21));
        assert!(logins.check(peer, "good", at(22)).is_err());
        assert_eq!(logins.check(peer, "wrong", at(60)), Ok(()));
        logins.wrong(peer, "wrong", at(60));
        assert_eq!(logins.check(peer, "wrong", at(61)), Ok(()));
    }

    #[test]
    fn a_host_is_one_address_however_it_is_written() {
        let logins = logins();
        let now = Instant::now();
        for peer in [
            "::ffff:192.0.2.7",
            "192.0.2.7",
            "2001:db8::1",
            "2001:db8::2:1",
        ] {
            logins.wrong(ip(peer), "wrong", now);
        }
        for peer in ["192.0.2.7", "2001:db8::77"] {
            assert!(logins.check(ip(peer), "wrong", now).is_err(), "{peer}");
        }
        assert_eq!(logins.check(ip("2001:db8:0:1::1"), "wrong", now), Ok(()));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let logins = logins();
        let now = Instant::now();
        for number in 0..3 * u32::try_from(REMEMBERED_MAX).unwrap() {
            logins.wrong(std::net::Ipv4Addr::from(number).into(), "wrong", now);
            logins.good(&number.to_string());
        }
        let seen = logins.seen.lock().unwrap();
        assert!(seen.wrong.len() <= REMEMBERED_MAX && seen.good.len() <= REMEMBERED_MAX);
    }
}
