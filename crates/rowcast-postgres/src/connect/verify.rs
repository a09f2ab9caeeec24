//! The certificate verifier: libpq's rules on top of WebPKI, and a note of what was seen.
//!
//! Must never accept more than the mode says: no chain check is skipped except where libpq skips
//! it, and the handshake's signature is checked in every mode.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};

use super::certificate::{Facts, Signed};

/// Whom to trust.
#[derive(Debug)]
pub(super) enum Trust {
    /// Anyone: `allow`, `prefer`, `require` without a root certificate.
    Anyone,
    /// Those in a file; `name` also compares the host.
    File {
        store: RootCertStore,
        /// As in the file: a self-signed server certificate is compared with these.
        certificates: Vec<CertificateDer<'static>>,
        name: bool,
    },
    /// The machine's trust store, which always compares the host.
    System(Arc<dyn ServerCertVerifier>),
}

/// Why a certificate was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    UnknownIssuer,
    Name,
    Expired,
    NotYetValid,
    /// A version 1 certificate not signed directly by a root of the file.
    Version1,
    Other(String),
}

/// What one handshake showed.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) certificate: Option<CertificateDer<'static>>,
    /// The handshake's time, in seconds since 1970.
    pub(super) at_s: i64,
    pub(super) version: Option<&'static str>,
    pub(super) problem: Option<Problem>,
    /// The server asked for a client certificate.
    pub(super) client_certificate_wanted: bool,
}

/// Shared between the handshake and whoever started it.
#[derive(Debug, Clone, Default)]
pub(super) struct Observed(Arc<Mutex<Seen>>);

impl Observed {
    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Seen) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) trust: Trust,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    pub(super) observed: Observed,
}

impl Verifier {
    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<(), Problem> {
        match &self.trust {
            Trust::Anyone => Ok(()),
            Trust::System(inner) => inner
                .verify_server_cert(end_entity, intermediates, host, ocsp, now)
                .map(|_| ())
                .map_err(|error| problem(&error)),
            Trust::File {
                store,
                certificates,
                name,
            } => {
                self.check_chain(end_entity, intermediates, store, certificates, now)?;
                if *name {
                    check_name(end_entity, host)?;
                }
                Ok(())
            }
        }
    }

    fn check_chain(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        store: &RootCertStore,
        certificates: &[CertificateDer<'static>],
        now: UnixTime,
    ) -> Result<(), Problem> {
        let facts = Facts::read(end_entity)
            .ok_or_else(|| Problem::Other("the certificate can't be read".to_owned()))?;
        // A self-signed certificate that is itself in the file is its own root, as in libpq;
        // WebPKI refuses it (`CaUsedAsEndEntity`) when it was made by plain `openssl req -x509`.
        if facts.self_signed && certificates.iter().any(|root| root == end_entity) {
            return in_time(&facts, now);
        }
        if facts.version_1 {
            // WebPKI reads version 3 only, but PostgreSQL's own manual makes version 1
            // certificates (`openssl x509 -req` without extensions).
            return if self.signed_by_a_root(end_entity, certificates) {
                in_time(&facts, now)
            } else {
                Err(Problem::Version1)
            };
        }
        let parsed = ParsedCertificate::try_from(end_entity).map_err(|error| problem(&error))?;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            store,
            intermediates,
            now,
            self.algorithms.all,
        )
        .map_err(|error| problem(&error))
    }

    fn signed_by_a_root(
        &self,
        end_entity: &CertificateDer<'_>,
        certificates: &[CertificateDer<'static>],
    ) -> bool {
        let Some(leaf) = Signed::read(end_entity) else {
            return false;
        };
        certificates
            .iter()
            .filter_map(|root| Signed::read(root))
            .filter(|root| root.subject == leaf.issuer)
            .any(|root| {
                self.algorithms.all.iter().any(|algorithm| {
                    algorithm.signature_alg_id().as_ref() == leaf.algorithm
                        && algorithm.public_key_alg_id().as_ref() == root.key_algorithm
                        && algorithm
                            .verify_signature(&root.key, &leaf.body, &leaf.signature)
                            .is_ok()
                })
            })
    }
}

fn in_time(facts: &Facts, now: UnixTime) -> Result<(), Problem> {
    let now = now.as_secs() as i64;
    if now > facts.not_after {
        Err(Problem::Expired)
    } else if now < facts.not_before {
        Err(Problem::NotYetValid)
    } else {
        Ok(())
    }
}

fn check_name(end_entity: &CertificateDer<'_>, host: &ServerName<'_>) -> Result<(), Problem> {
    let by_alternative_name = ParsedCertificate::try_from(end_entity)
        .and_then(|parsed| verify_server_name(&parsed, host));
    if by_alternative_name.is_ok() {
        return Ok(());
    }
    let matches =
        Facts::read(end_entity).is_some_and(|facts| facts.common_name_matches(&host.to_str()));
    if matches { Ok(()) } else { Err(Problem::Name) }
}

fn problem(error: &Error) -> Problem {
    let Error::InvalidCertificate(error) = error else {
        return Problem::Other(error.to_string());
    };
    match error {
        CertificateError::UnknownIssuer => Problem::UnknownIssuer,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Problem::Name
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Problem::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Problem::NotYetValid
        }
        // A self-signed certificate that is marked as an authority and not in the file.
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            Problem::UnknownIssuer
        }
        other => Problem::Other(other.to_string()),
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.observed.with(|seen| {
            seen.certificate = Some(end_entity.clone().into_owned());
            seen.at_s = now.as_secs() as i64;
        });
        self.check(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(|problem| {
                self.observed.with(|seen| seen.problem = Some(problem));
                Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
            })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.observed.with(|seen| seen.version = Some("TLS 1.2"));
        match version_1_key(cert) {
            None => verify_tls12_signature(message, cert, dss, &self.algorithms),
            Some(signer) => {
                let valid = self
                    .algorithms
                    .mapping
                    .iter()
                    .filter(|(scheme, _)| *scheme == dss.scheme)
                    .flat_map(|(_, algorithms)| algorithms.iter())
                    .any(|algorithm| {
                        algorithm.public_key_alg_id().as_ref() == signer.key_algorithm
                            && algorithm
                                .verify_signature(&signer.key, message, dss.signature())
                                .is_ok()
                    });
                if valid {
                    Ok(HandshakeSignatureValid::assertion())
                } else {
                    Err(Error::InvalidCertificate(CertificateError::BadSignature))
                }
            }
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.observed.with(|seen| seen.version = Some("TLS 1.3"));
        match version_1_key(cert) {
            None => verify_tls13_signature(message, cert, dss, &self.algorithms),
            Some(signer) => verify_tls13_signature_with_raw_key(
                message,
                &SubjectPublicKeyInfoDer::from(signer.key_info),
                dss,
                &self.algorithms,
            ),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The key of a version 1 certificate, which WebPKI can't read.
fn version_1_key(certificate: &CertificateDer<'_>) -> Option<Signed> {
    Facts::read(certificate)
        .filter(|facts| facts.version_1)
        .and_then(|_| Signed::read(certificate))
}
