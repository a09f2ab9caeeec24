//! How often a token may ask, and where requests may come from.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use rowcast_core::{Code, Reason};

use crate::answer::Refusal;

/// Requests in a time.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    pub requests: u32,
    pub window: Duration,
}

impl Default for Rate {
    /// Far above what people and orchestrators need, and below what would keep others waiting.
    fn default() -> Self {
        Self {
            requests: 1000,
            window: Duration::from_secs(10),
        }
    }
}

/// What is left of a token's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    requests: Option<u32>,
    /// Whole seconds until there are all of them again.
    seconds: u64,
}

/// Counts the requests of each token.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter {
    rate: Rate,
    counted: Arc<Mutex<HashMap<i64, (Instant, u32)>>>,
}

impl Meter {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate,
            counted: Arc::default(),
        }
    }

    /// Counts a request of a token.
    pub(crate) fn count(&self, token: i64, now: Instant) -> Left {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let window = self.rate.window;
        let entry = counted.entry(token).or_insert((now, 0));
        if now.duration_since(entry.0) >= window {
            *entry = (now, 0);
        }
        let left = window
            .saturating_sub(now.duration_since(entry.0))
            .as_millis()
            .div_ceil(1000);
        let requests = self.rate.requests.checked_sub(entry.1 + 1);
        if requests.is_some() {
            entry.1 += 1;
        }
        Left {
            requests,
            seconds: u64::try_from(left).unwrap_or(u64::MAX),
        }
    }

    /// Says what is left, as the drafts of `RateLimit` headers do.
    pub(crate) fn tell(&self, left: Left, headers: &mut HeaderMap) {
        let policy = format!(
            "\"token\";q={};w={}",
            self.rate.requests,
            self.rate.window.as_secs()
        );
        let now = format!(
            "\"token\";r={};t={}",
            left.requests.unwrap_or(0),
            left.seconds
        );
        for (name, value) in [("ratelimit-policy", policy), ("ratelimit", now)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        if left.requests.is_none() {
            headers.insert(header::RETRY_AFTER, left.seconds.into());
        }
    }

    /// Refuses what is too much.
    pub(crate) fn check(&self, left: Left) -> Result<(), Refusal> {
        if left.requests.is_some() {
            return Ok(());
        }
        let reason = Reason::new(Code::TooManyRequests, "the token asks too often")
            .detail(format!(
                "{} requests in {} seconds are answered",
                self.rate.requests,
                self.rate.window.as_secs()
            ))
            .hint(format!(
                "wait {} seconds; to follow a run, ask with `?wait=30s` or for its events",
                left.seconds
            ));
        Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, reason))
    }
}

/// Under which names the server is asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    /// Names besides addresses and `localhost`; `None` for any.
    pub(crate) known: Option<Arc<[String]>>,
}

impl Names {
    /// Refuses what a page of another site makes a browser send: under a name that was made to lead
    /// here (DNS rebinding), or from that site itself. Tokens are taken from a header only, which no
    /// site can make a browser send; this is the second lock.
    pub(crate) fn check(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Refusal> {
        let text = |name| {
            headers
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
        };
        let asked = uri.authority().map(axum::http::uri::Authority::as_str);
        let asked = asked.or_else(|| text(header::HOST)).unwrap_or_default();
        if let Some(known) = &self.known {
            let host = host(asked);
            let is_address = host
                .trim_matches(['[', ']'])
                .parse::<std::net::IpAddr>()
                .is_ok();
            let is_here = host == "localhost" || host.ends_with(".localhost");
            if !host.is_empty() && !is_address && !is_here && !known.contains(&host) {
                let reason = Reason::new(
                    Code::RequestInvalid,
                    format!("this server is not asked under the name {host:?}"),
                )
                .hint(format!("if it is, start it with `--host {host}`"));
                return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, reason));
            }
        }
        if let Some(origin) = text(header::ORIGIN) {
            let site = origin.split_once("://").map(|(_, site)| site);
            if site.is_none_or(|site| !site.eq_ignore_ascii_case(asked)) {
                let reason = Reason::new(
                    Code::RequestInvalid,
                    "pages of other sites may not ask this server",
                )
                .detail(format!("the request comes from {origin:?}"))
                .hint("ask from a program, or from a page of this server");
                return Err(Refusal::new(StatusCode::FORBIDDEN, reason));
            }
        }
        Ok(())
    }
}

/// The host of an authority, in lower case and without its port.
fn host(authority: &str) -> String {
    let end = match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => colon,
        _ => authority.len(),
    };
    authority[..end].to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_so_many_requests_in_a_window() {
        let meter = Meter::new(Rate {
            requests: 2,
            window: Duration::from_secs(10),
        });
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(meter.count(1, at(0)).requests, Some(1));
        assert_eq!(
            meter.count(1, at(9_500)),
            Left {
                requests: Some(0),
                seconds: 1
            }
        );
        let refused = meter.count(1, at(9_999));
        assert_eq!(
            refused,
            Left {
                requests: None,
                seconds: 1
            }
        );
        assert!(meter.check(refused).is_err());
        assert_eq!(meter.count(2, at(9_999)).requests, Some(1));
        assert_eq!(meter.count(1, at(10_000)).requests, Some(1));
        let mut headers = HeaderMap::new();
        meter.tell(refused, &mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"token\";q=2;w=10");
        assert_eq!(headers["ratelimit"], "\"token\";r=0;t=1");
        assert_eq!(headers["retry-after"], "1");
    }

    #[test]
    fn other_names_and_other_sites_are_refused() {
        let names = Names {
            known: Some(["rowcast.example.com".to_owned()].into()),
        };
        let ask = |names: &Names, host: &str, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            names
                .check(&headers, &Uri::from_static("/api/v1/syncs"))
                .is_ok()
        };
        for host in [
            "localhost:4680",
            "127.0.0.1",
            "[::1]:4680",
            "[::1]",
            "Rowcast.example.com:80",
            "x.localhost",
        ] {
            assert!(ask(&names, host, None), "{host}");
            assert!(ask(&names, host, Some(&format!("http://{host}"))), "{host}");
            assert!(!ask(&names, host, Some("http://evil.example")), "{host}");
            assert!(!ask(&names, host, Some("null")), "{host}");
        }
        for host in [
            "evil.example:4680",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
        ] {
            assert!(!ask(&names, host, None), "{host}");
            assert!(ask(&Names::default(), host, None), "{host}");
        }
    }
}
