//! Logins: what goes into the CONNECT message, and the signature a `.creds` file asks for.

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rowcast_core::Secret;
use serde_json::{Map, Value};

/// How the server is told who we are.
pub(super) enum Login {
    Nobody,
    Password {
        user: String,
        password: Secret<String>,
    },
    Token(Secret<String>),
    Credentials(Credentials),
}

/// A JWT and the key that it names.
pub(super) struct Credentials {
    jwt: Secret<String>,
    seed: Secret<String>,
}

impl Credentials {
    /// Reads the text of a `.creds` file: two blocks between lines of dashes.
    pub(super) fn read(text: &str) -> Option<Self> {
        let block = |name: &str| {
            let begin = format!("BEGIN {name}");
            let mut lines = text.lines().skip_while(|line| !line.contains(&begin));
            lines.next()?;
            let line = lines.map(str::trim).find(|line| !line.is_empty())?;
            (!line.starts_with('-')).then(|| Secret::new(line.to_owned()))
        };
        let read = Self {
            jwt: block("NATS USER JWT")?,
            seed: block("USER NKEY SEED")?,
        };
        read.key().map(|_| read)
    }

    fn key(&self) -> Option<Ed25519KeyPair> {
        let bytes = base32(self.seed.reveal())?;
        // Two bytes of prefix, the seed, two bytes of checksum.
        let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(2)?)?;
        let seed = body.get(2..).filter(|seed| seed.len() == 32)?;
        if crc16(body).to_le_bytes() != *sum {
            return None;
        }
        Ed25519KeyPair::from_seed_unchecked(seed).ok()
    }
}

impl Login {
    /// Adds what the server wants to know to the CONNECT message.
    pub(super) fn add_to(&self, connect: &mut Map<String, Value>, nonce: &str) {
        let mut add = |name: &str, value: &str| {
            connect.insert(name.to_owned(), Value::from(value));
        };
        match self {
            Self::Nobody => {}
            Self::Password { user, password } => {
                add("user", user);
                add("pass", password.reveal());
            }
            Self::Token(token) => add("auth_token", token.reveal()),
            Self::Credentials(credentials) => {
                add("jwt", credentials.jwt.reveal());
                if let Some(key) = credentials.key() {
                    let signature = key.sign(nonce.as_bytes());
                    add("sig", &URL_SAFE_NO_PAD.encode(signature.as_ref()));
                }
            }
        }
    }
}

/// RFC 4648, without padding.
fn base32(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut bits, mut held) = (0_u32, 0);
    for letter in text.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'2'..=b'7' => letter - b'2' + 26,
            _ => return None,
        };
        bits = (bits << 5 | u32::from(value)) & 0xfff;
        held += 5;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}

/// CRC-16/XMODEM, the checksum of keys.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |mut crc: u16, byte| {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                crc << 1 ^ 0x1021
            };
        }
        crc
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_and_letters_are_those_of_the_standards() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(base32("MZXW6YTBOI").unwrap(), b"foobar");
        assert!(base32("mz").is_none());
    }

    #[test]
    fn a_file_without_a_whole_key_is_no_credentials() {
        let file = |seed: &str| {
            format!(
                "-----BEGIN NATS USER JWT-----\neyJ0\n------END NATS USER JWT------\n\n\
                 -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
            )
        };
        // The seed of the specification's example.
        let good = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
        assert!(Credentials::read(&file(good)).is_some());
        assert!(Credentials::read(&file(&good.replace("VY", "VX"))).is_none());
        assert!(Credentials::read("nothing").is_none());
    }
}
