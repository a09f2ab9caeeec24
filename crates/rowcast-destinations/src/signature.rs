//! Signatures of webhooks: made for requests that leave, checked on requests that come in.
//!
//! Comparing takes the same time wherever two signatures differ. Nothing here may put a secret or a
//! signature that was expected into a message.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rowcast_core::Secret;
use sha2::Sha256;

/// How far the time of a signed request may be from ours, as Standard Webhooks advises: 5 minutes.
pub const TOLERANCE_S: i64 = 300;

/// Why a signature was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// A header is missing or can't be read.
    Unreadable,
    /// Older or newer than the tolerance.
    Untimely,
    /// No secret makes one of the signatures.
    Wrong,
}

impl Refused {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "the signature is missing or can't be read",
            Self::Untimely => "the request's time is more than five minutes from this machine's",
            Self::Wrong => "the signature is not made with this hook's secret",
        }
    }
}

/// The key of a secret: what follows `whsec_` is base64, all else is the key itself. Empty when it
/// can't be read.
pub fn key(secret: &Secret<String>) -> Secret<Vec<u8>> {
    let text = secret.reveal().trim_end_matches(['\r', '\n']);
    Secret::new(match text.strip_prefix("whsec_") {
        Some(encoded) => BASE64.decode(encoded).unwrap_or_default(),
        None => text.as_bytes().to_vec(),
    })
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    for part in parts {
        mac.update(part);
    }
    mac
}

/// The signature of Standard Webhooks 1.0: HMAC-SHA256 over `id.timestamp.body`.
pub fn sign(key: &Secret<Vec<u8>>, id: &str, timestamp: u64, body: &[u8]) -> String {
    let head = format!("{id}.{timestamp}.");
    let mac = mac(key.reveal(), &[head.as_bytes(), body]);
    format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()))
}

/// What came with a request that claims to be signed as Standard Webhooks says.
#[derive(Debug, Clone, Copy)]
pub struct Standard<'a> {
    pub id: &'a str,
    pub timestamp: &'a str,
    /// One or several, with a space between.
    pub signatures: &'a str,
}

/// Checks a signature of Standard Webhooks 1.0 against every secret; `now` in seconds since 1970.
///
/// # Errors
/// Why it is not accepted.
pub fn verify(
    secrets: &[Secret<String>],
    request: Standard<'_>,
    body: &[u8],
    now: i64,
) -> Result<(), Refused> {
    // A dot in the id would let one part pass for another.
    if request.id.is_empty() || request.id.contains('.') {
        return Err(Refused::Unreadable);
    }
    let then: i64 = request.timestamp.parse().map_err(|_| Refused::Unreadable)?;
    if (now - then).abs() > TOLERANCE_S {
        return Err(Refused::Untimely);
    }
    let head = format!("{}.{}.", request.id, request.timestamp);
    let mut accepted = false;
    for given in request.signatures.split(' ') {
        let Some(given) = given.strip_prefix("v1,") else {
            continue;
        };
        let Ok(given) = BASE64.decode(given) else {
            continue;
        };
        for secret in secrets {
            let key = key(secret);
            if key.reveal().is_empty() {
                continue;
            }
            let mac = mac(key.reveal(), &[head.as_bytes(), body]);
            // `verify_slice` compares in constant time.
            accepted |= mac.verify_slice(&given).is_ok();
        }
    }
    if accepted {
        Ok(())
    } else {
        Err(Refused::Wrong)
    }
}

/// Checks the signature of dbt Cloud: HMAC-SHA256 over the body, in hexadecimal.
///
/// # Errors
/// Why it is not accepted.
pub fn verify_dbt(secrets: &[Secret<String>], given: &str, body: &[u8]) -> Result<(), Refused> {
    let given = unhex(given.trim()).ok_or(Refused::Unreadable)?;
    let mut accepted = false;
    for secret in secrets {
        let key = secret.reveal().trim_end_matches(['\r', '\n']).as_bytes();
        if !key.is_empty() {
            accepted |= mac(key, &[body]).verify_slice(&given).is_ok();
        }
    }
    if accepted {
        Ok(())
    } else {
        Err(Refused::Wrong)
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks_exact(2)
        .map(|pair| {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            u8::try_from(high * 16 + low).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const THEN: u64 = 1_614_265_330;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn secret() -> Secret<String> {
        Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned())
    }

    fn verified(id: &str, timestamp: &str, signatures: &str, now: i64) -> Result<(), Refused> {
        let request = Standard {
            id,
            timestamp,
            signatures,
        };
        let others = [Secret::new("another".to_owned()), secret()];
        verify(&others, request, BODY, now)
    }

    /// The example of the Standard Webhooks reference libraries.
    #[test]
    fn signatures_are_those_of_standard_webhooks() {
        assert_eq!(sign(&key(&secret()), ID, THEN, BODY), SIGNATURE);
        let then = THEN.to_string();
        let now = 1_614_265_330;
        assert_eq!(verified(ID, &then, SIGNATURE, now), Ok(()));
        assert_eq!(verified(ID, &then, SIGNATURE, now + 300), Ok(()));
        // Beside others, as while one secret replaces another.
        let several = format!("v1a,xyz v1,AAAA {SIGNATURE}");
        assert_eq!(verified(ID, &then, &several, now), Ok(()));
    }

    #[test]
    fn what_is_not_signed_in_time_with_a_secret_is_refused() {
        let then = THEN.to_string();
        let now = 1_614_265_330;
        for (id, timestamp, signatures, now, why) in [
            (ID, &*then, SIGNATURE, now + 301, Refused::Untimely),
            (ID, &*then, SIGNATURE, now - 301, Refused::Untimely),
            (ID, "soon", SIGNATURE, now, Refused::Unreadable),
            ("", &*then, SIGNATURE, now, Refused::Unreadable),
            ("a.1", &*then, SIGNATURE, now, Refused::Unreadable),
            ("msg_other", &*then, SIGNATURE, now, Refused::Wrong),
            (ID, "1614265331", SIGNATURE, now, Refused::Wrong),
            (ID, &*then, "", now, Refused::Wrong),
            (ID, &*then, &SIGNATURE[3..], now, Refused::Wrong),
        ] {
            assert_eq!(verified(id, timestamp, signatures, now), Err(why), "{id}");
        }
        // Whoever has no secret accepts nothing, and an empty one is none.
        let request = Standard {
            id: ID,
            timestamp: &then,
            signatures: SIGNATURE,
        };
        for secrets in [Vec::new(), vec![Secret::new(String::new())]] {
            assert_eq!(verify(&secrets, request, BODY, now), Err(Refused::Wrong));
        }
    }

    #[test]
    fn signatures_of_dbt_cloud_are_over_the_exact_bytes() {
        // RFC 4231, test case 2.
        let secrets = [Secret::new("Jefe".to_owned())];
        let body = b"what do ya want for nothing?";
        let good = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(verify_dbt(&secrets, good, body), Ok(()));
        assert_eq!(verify_dbt(&secrets, &good.to_uppercase(), body), Ok(()));
        assert_eq!(verify_dbt(&secrets, good, b"else"), Err(Refused::Wrong));
        assert_eq!(verify_dbt(&secrets, &good[..62], body), Err(Refused::Wrong));
        assert_eq!(verify_dbt(&[], good, body), Err(Refused::Wrong));
        for unreadable in ["", "5bd", "zz", "Bearer x"] {
            assert_eq!(
                verify_dbt(&secrets, unreadable, body),
                Err(Refused::Unreadable)
            );
        }
    }
}
