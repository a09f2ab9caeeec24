//! What the emulators of Segment and RudderStack share: reading requests, and keeping calls.

use std::io::Read as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use serde_json::value::RawValue;

use crate::api::Seen;

/// One call that arrived, with its exact text: numbers keep their digits there.
#[derive(Debug, Clone)]
pub struct Call {
    /// The request it came with.
    pub request: usize,
    pub text: String,
    pub json: Value,
}

/// A call that was not kept, and why.
#[derive(Debug, Clone)]
pub struct Refused {
    pub call: Value,
    pub why: String,
}

/// What a service did with the calls so far.
#[derive(Default)]
pub struct Kept {
    /// Calls in order, without repetitions.
    pub calls: Vec<Call>,
    /// Calls it knew already by what it deduplicates by.
    pub repeated: Vec<Call>,
    /// Calls that it dropped although it answered 200.
    pub dropped: Vec<Refused>,
    poison: Option<Poison>,
}

type Poison = Box<dyn Fn(&Value) -> bool + Send>;

/// `Kept`, shared between a test and the threads of its service.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Kept>>);

impl Ledger {
    /// Looks at what is kept; a panicking test must not hide its message behind a poisoned lock.
    pub fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on a request with such a call is refused whole.
    pub fn refuse(&self, bad: impl Fn(&Value) -> bool + Send + 'static) {
        self.lock().poison = Some(Box::new(bad));
    }

    /// Refuses nothing more than the contract does.
    pub fn behave(&self) {
        self.lock().poison = None;
    }
}

impl Kept {
    /// Whether a call is one that the test wants refused.
    pub fn is_bad(&self, call: &Value) -> bool {
        self.poison.as_ref().is_some_and(|poison| poison(call))
    }

    /// Keeps a call once, by what it is told apart by.
    pub fn keep(&mut self, call: Call, identity: impl Fn(&Value) -> Option<String>) {
        let own = identity(&call.json);
        let known = own.is_some() && self.calls.iter().any(|kept| identity(&kept.json) == own);
        if known {
            self.repeated.push(call);
        } else {
            self.calls.push(call);
        }
    }

    /// Notes a call that is dropped in silence.
    pub fn drop_call(&mut self, call: &Value, why: impl Into<String>) {
        self.dropped.push(Refused {
            call: call.clone(),
            why: why.into(),
        });
    }
}

/// The key of HTTP basic authentication with an empty password; `None` when there is none.
pub fn basic_key(seen: &Seen) -> Option<String> {
    let encoded = seen.header("authorization")?.strip_prefix("Basic ")?;
    let decoded = String::from_utf8(base64(encoded)?).ok()?;
    decoded.strip_suffix(':').map(str::to_owned)
}

fn base64(text: &str) -> Option<Vec<u8>> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut out, mut bits, mut held) = (Vec::new(), 0_u32, 0_u32);
    for byte in text.trim_end_matches('=').bytes() {
        let value = LETTERS.iter().position(|letter| *letter == byte)?;
        held = (held << 6) | value as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    Some(out)
}

/// The body as it was before it was compressed; `None` when it is not what its header says.
pub fn plain_body(seen: &Seen) -> Option<Vec<u8>> {
    match seen.header("content-encoding") {
        None => Some(seen.body.clone()),
        Some("gzip") => {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(seen.body.as_slice())
                .read_to_end(&mut plain)
                .ok()?;
            Some(plain)
        }
        Some(_) => None,
    }
}

/// The items of `batch`, each with its exact text. `None` when the body is not JSON or has no
/// such list.
pub fn batch(body: &[u8]) -> Option<Vec<Box<RawValue>>> {
    let members: std::collections::BTreeMap<String, Box<RawValue>> =
        serde_json::from_slice(body).ok()?;
    let list = members.get("batch")?;
    serde_json::from_str(list.get()).ok()
}

/// Whether text is an ISO 8601 date and time with a zone.
pub fn is_instant(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digits = |from: usize, to: usize| {
        bytes
            .get(from..to)
            .is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    let at = |place: usize, byte: u8| bytes.get(place) == Some(&byte);
    let date = digits(0, 4) && at(4, b'-') && digits(5, 7) && at(7, b'-') && digits(8, 10);
    let time = at(10, b'T') && digits(11, 13) && at(13, b':') && digits(14, 16) && at(16, b':');
    let zone = text.ends_with('Z') || bytes.iter().rev().nth(5).is_some_and(|b| b"+-".contains(b));
    date && time && digits(17, 19) && zone
}
