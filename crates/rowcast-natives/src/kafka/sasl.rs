//! Logins: PLAIN, and SCRAM (RFC 5802, RFC 7677) in both of Kafka's strengths.
//!
//! With SCRAM the password does not leave, and the broker proves that it knows it too.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rowcast_core::Secret;

/// Least and most rounds of hashing that a broker may ask for: fewer are unsafe (RFC 7677), more would
/// keep this machine busy for seconds.
const ROUNDS: std::ops::RangeInclusive<u32> = 4_096..=1_000_000;

/// How a user logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mechanism {
    Plain,
    Scram256,
    Scram512,
}

impl Mechanism {
    pub(super) fn named(name: Option<&str>) -> Self {
        match name {
            Some("scram-sha-256") => Self::Scram256,
            Some("scram-sha-512") => Self::Scram512,
            _ => Self::Plain,
        }
    }

    /// Its name in the protocol.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Scram256 => "SCRAM-SHA-256",
            Self::Scram512 => "SCRAM-SHA-512",
        }
    }
}

/// Who logs in.
pub(super) struct Login {
    pub(super) mechanism: Mechanism,
    pub(super) user: String,
    pub(super) password: Secret<String>,
}

impl Login {
    /// The one message of PLAIN.
    pub(super) fn plain(&self) -> Vec<u8> {
        format!("\0{}\0{}", self.user, self.password.reveal()).into_bytes()
    }

    /// Begins a conversation by SCRAM.
    ///
    /// # Errors
    /// This machine has no random numbers.
    pub(super) fn scram(&self) -> Result<Scram<'_>, &'static str> {
        let mut bytes = [0; 24];
        rand::fill(&mut bytes).map_err(|_| "this machine has no random numbers")?;
        Ok(Scram {
            login: self,
            nonce: STANDARD.encode(bytes),
        })
    }
}

/// A conversation by SCRAM.
pub(super) struct Scram<'a> {
    login: &'a Login,
    nonce: String,
}

/// What the broker must answer at the end.
pub(super) struct Proof(Vec<u8>);

impl Scram<'_> {
    fn first_bare(&self) -> String {
        let user = self.login.user.replace('=', "=3D").replace(',', "=2C");
        format!("n={user},r={}", self.nonce)
    }

    /// The first message.
    pub(super) fn first(&self) -> String {
        format!("n,,{}", self.first_bare())
    }

    /// The last message, in answer to the broker's first.
    ///
    /// # Errors
    /// What is wrong with the broker's message.
    pub(super) fn last(&self, challenge: &str) -> Result<(String, Proof), String> {
        let part = |name: char| {
            let mut parts = challenge.split(',');
            parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
        };
        let (Some(nonce), Some(salt), Some(rounds)) = (part('r'), part('s'), part('i')) else {
            return Err("the broker's challenge lacks a part".to_owned());
        };
        if nonce == self.nonce || !nonce.starts_with(&self.nonce) {
            return Err("the broker's challenge answers somebody else".to_owned());
        }
        let salt = STANDARD
            .decode(salt)
            .map_err(|_| "the broker's salt is not Base64".to_owned())?;
        let rounds = rounds
            .parse()
            .ok()
            .filter(|rounds| ROUNDS.contains(rounds))
            .and_then(NonZeroU32::new)
            .ok_or_else(|| format!("the broker asks for {rounds} rounds of hashing"))?;

        let (derive, hash, mac) = match self.login.mechanism {
            Mechanism::Scram512 => (
                pbkdf2::PBKDF2_HMAC_SHA512,
                &digest::SHA512,
                hmac::HMAC_SHA512,
            ),
            _ => (
                pbkdf2::PBKDF2_HMAC_SHA256,
                &digest::SHA256,
                hmac::HMAC_SHA256,
            ),
        };
        let sign = |key: &[u8], text: &[u8]| {
            let tag = hmac::sign(&hmac::Key::new(mac, key), text);
            tag.as_ref().to_vec()
        };
        let mut salted = vec![0; hash.output_len()];
        let password = self.login.password.reveal().as_bytes();
        pbkdf2::derive(derive, rounds, &salt, password, &mut salted);
        let bare = format!("c=biws,r={nonce}");
        let spoken = format!("{},{challenge},{bare}", self.first_bare());
        let key = sign(&salted, b"Client Key");
        let stored = digest::digest(hash, &key);
        let signature = sign(stored.as_ref(), spoken.as_bytes());
        let proof: Vec<u8> = key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        let expected = sign(&sign(&salted, b"Server Key"), spoken.as_bytes());
        let last = format!("{bare},p={}", STANDARD.encode(proof));
        Ok((last, Proof(expected)))
    }
}

impl Proof {
    /// Whether the broker knows the password too.
    pub(super) fn is_given_by(&self, answer: &str) -> bool {
        let mut parts = answer.split(',');
        let signature = parts
            .find_map(|part| part.strip_prefix("v="))
            .and_then(|text| STANDARD.decode(text).ok());
        signature.is_some_and(|signature| signature == self.0)
    }

    /// Why an answer gives no proof.
    pub(super) fn refusal(answer: &str) -> String {
        let mut parts = answer.split(',');
        match parts.find_map(|part| part.strip_prefix("e=")) {
            Some(words) => format!("Kafka said: {words}"),
            None => "the broker did not prove that it knows the password".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(mechanism: Mechanism, user: &str) -> Login {
        Login {
            mechanism,
            user: user.to_owned(),
            password: Secret::new("pencil".to_owned()),
        }
    }

    /// The conversation that RFC 7677 prints.
    #[test]
    fn scram_speaks_as_the_rfc_does() {
        let login = login(Mechanism::Scram256, "user");
        let scram = Scram {
            login: &login,
            nonce: "rOprNGfwEbeRWgbNEkqO".to_owned(),
        };
        assert_eq!(scram.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let challenge = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                         s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let (last, proof) = scram.last(challenge).unwrap();
        assert_eq!(
            last,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert!(proof.is_given_by("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        assert!(!proof.is_given_by("v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        assert!(!proof.is_given_by("e=invalid-proof"));
        assert_eq!(
            Proof::refusal("e=invalid-proof"),
            "Kafka said: invalid-proof"
        );
    }

    #[test]
    fn a_challenge_that_is_not_for_us_or_asks_too_much_is_refused() {
        let login = login(Mechanism::Scram512, "a,b=c");
        let scram = login.scram().unwrap();
        assert!(scram.first().starts_with("n,,n=a=2Cb=3Dc,r="));
        let nonce = &scram.nonce;
        for challenge in [
            format!("r={nonce},s=AAAA,i=4096"),
            "r=another,s=AAAA,i=4096".to_owned(),
            format!("r={nonce}x,s=AAAA,i=100"),
            format!("r={nonce}x,s=AAAA,i=4000000000"),
            format!("r={nonce}x,s=AAAA"),
        ] {
            assert!(scram.last(&challenge).is_err(), "{challenge}");
        }
        assert!(scram.last(&format!("r={nonce}x,s=AAAA,i=4096")).is_ok());
        assert_ne!(*nonce, login.scram().unwrap().nonce);
    }
}
