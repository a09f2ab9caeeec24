//! Reading what a server's certificate says about itself, for messages and for comparing names.
//!
//! Decides nothing about trust except names; that is `verify`'s business.

use std::time::{SystemTime, UNIX_EPOCH};

use rowcast_core::time::push_timestamp;
use rustls_pki_types::CertificateDer;
use x509_cert::der::asn1::{Ia5StringRef, PrintableStringRef, Utf8StringRef};
use x509_cert::der::oid::db::rfc4519::COMMON_NAME;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::{Certificate, Version};

/// The parts of a certificate that people ask about.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// `CN=db.internal,O=Example`.
    pub(super) subject: String,
    pub(super) issuer: String,
    /// Seconds since 1970.
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    /// DNS names and addresses of the subject alternative name.
    pub(super) names: Vec<String>,
    pub(super) common_name: Option<String>,
    pub(super) self_signed: bool,
    /// X.509 version 1: what `openssl x509 -req` without extensions makes.
    pub(super) version_1: bool,
}

fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as i64)
}

/// `2027-01-31T12:00:00Z`.
pub(super) fn format_seconds(at: i64) -> String {
    let mut text = String::new();
    push_timestamp(&mut text, at.saturating_mul(1_000_000), "Z");
    text
}

impl Facts {
    pub(super) fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let tbs = &certificate.tbs_certificate;
        let names = match tbs.get::<SubjectAltName>() {
            Ok(Some((_, names))) => names.0.iter().filter_map(name).collect(),
            _ => Vec::new(),
        };
        let common_name = tbs
            .subject
            .0
            .iter()
            .flat_map(|rdn| rdn.0.iter())
            .find(|attribute| attribute.oid == COMMON_NAME)
            .and_then(|attribute| {
                let value = &attribute.value;
                Utf8StringRef::try_from(value)
                    .map(|text| text.to_string())
                    .or_else(|_| PrintableStringRef::try_from(value).map(|text| text.to_string()))
                    .or_else(|_| Ia5StringRef::try_from(value).map(|text| text.to_string()))
                    .ok()
            });
        Some(Self {
            subject: tbs.subject.to_string(),
            issuer: tbs.issuer.to_string(),
            not_before: seconds(tbs.validity.not_before.to_system_time()),
            not_after: seconds(tbs.validity.not_after.to_system_time()),
            names,
            common_name,
            self_signed: tbs.subject == tbs.issuer,
            version_1: tbs.version == Version::V1,
        })
    }

    /// The names people may connect to, for messages.
    pub(super) fn described_names(&self) -> String {
        if !self.names.is_empty() {
            return self.names.join(", ");
        }
        match &self.common_name {
            Some(name) => name.clone(),
            None => "nobody".to_owned(),
        }
    }

    /// libpq's fallback for certificates without a subject alternative name: the common name.
    pub(super) fn common_name_matches(&self, host: &str) -> bool {
        self.names.is_empty()
            && self
                .common_name
                .as_deref()
                .is_some_and(|name| name_matches(name, host))
    }
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(bytes) => match bytes.as_bytes() {
            [a, b, c, d] => Some(std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string()),
            bytes => <[u8; 16]>::try_from(bytes)
                .ok()
                .map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
        },
        _ => None,
    }
}

/// Case-insensitive; `*.` stands for one label, as in libpq.
fn name_matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => host
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent)),
        None => pattern.eq_ignore_ascii_case(host),
    }
}

/// The parts that a signature check needs, taken from a certificate of any version.
pub(super) struct Signed {
    /// What the issuer signed.
    pub(super) body: Vec<u8>,
    /// The contents of the signature's algorithm identifier.
    pub(super) algorithm: Vec<u8>,
    pub(super) signature: Vec<u8>,
    pub(super) subject: Vec<u8>,
    pub(super) issuer: Vec<u8>,
    /// The contents of the key's algorithm identifier.
    pub(super) key_algorithm: Vec<u8>,
    pub(super) key: Vec<u8>,
    /// The whole SubjectPublicKeyInfo.
    pub(super) key_info: Vec<u8>,
}

impl Signed {
    pub(super) fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let tbs = &certificate.tbs_certificate;
        let key_info = &tbs.subject_public_key_info;
        Some(Self {
            body: tbs.to_der().ok()?,
            algorithm: contents(&certificate.signature_algorithm.to_der().ok()?)?,
            signature: certificate.signature.as_bytes()?.to_vec(),
            subject: tbs.subject.to_der().ok()?,
            issuer: tbs.issuer.to_der().ok()?,
            key_algorithm: contents(&key_info.algorithm.to_der().ok()?)?,
            key: key_info.subject_public_key.as_bytes()?.to_vec(),
            key_info: key_info.to_der().ok()?,
        })
    }
}

/// What is inside a short SEQUENCE: algorithm identifiers are compared without their frame.
fn contents(der: &[u8]) -> Option<Vec<u8>> {
    match der {
        [0x30, length, rest @ ..] if usize::from(*length) == rest.len() && *length < 0x80 => {
            Some(rest.to_vec())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        assert!(name_matches("*.example.com", "DB.example.com"));
        assert!(!name_matches("*.example.com", "a.db.example.com"));
        assert!(!name_matches("*.example.com", "example.com"));
        assert!(name_matches("db", "DB"));
    }

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(format_seconds(1_700_000_000), "2023-11-14T22:13:20Z");
    }
}
