//! From a mode to a TLS client, and from a handshake to what was negotiated.
//!
//! The mode must never silently weaken: once a certificate has to be verified, nothing here falls
//! back to an unverified or plain connection.

use std::path::Path;
use std::sync::Arc;

use rowcast_core::{Code, Reason};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::certificate::{Facts, format_seconds};
use super::config::{ConnectConfig, RootCert, SslMode};
use super::verify::{Observed, Problem, Trust, Verifier};

/// Seconds before a certificate's end at which people should be warned: 14 days.
pub const EXPIRY_WARNING_S: i64 = 14 * 24 * 3600;

/// How the bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A unix socket on this machine.
    UnixSocket,
    /// TCP in clear.
    Plain,
    Tls,
}

/// How much of the server's certificate was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// Nothing: encrypted, not authenticated; or not encrypted at all.
    No,
    /// An authority in `sslrootcert` issued it; the name was not compared.
    Chain,
    /// The chain and the host's name.
    Full,
}

/// What was negotiated, as opposed to what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// The mode that was asked for.
    pub mode: SslMode,
    pub transport: Transport,
    /// `TLS 1.2` or `TLS 1.3`.
    pub version: Option<&'static str>,
    pub verified: Verified,
    /// The server certificate's subject.
    pub subject: Option<String>,
    pub issuer: Option<String>,
    /// When the server's certificate ends, in seconds since 1970.
    pub expires_at_s: Option<i64>,
    /// When the handshake was, in seconds since 1970.
    pub at_s: i64,
}

impl Negotiated {
    pub(super) fn plain(mode: SslMode, transport: Transport) -> Self {
        Self {
            mode,
            transport,
            version: None,
            verified: Verified::No,
            subject: None,
            issuer: None,
            expires_at_s: None,
            at_s: 0,
        }
    }

    /// Whether the bytes were encrypted.
    pub fn encrypted(&self) -> bool {
        self.transport == Transport::Tls
    }

    /// When the certificate ends, when that is less than 14 days away.
    pub fn expires_soon(&self) -> Option<String> {
        self.expires_at_s
            .filter(|at| at - self.at_s < EXPIRY_WARNING_S)
            .map(format_seconds)
    }

    /// One line for people: `TLS 1.3, certificate and host name verified (sslmode=verify-full)`.
    pub fn summary(&self) -> String {
        let what = match (self.transport, self.verified) {
            (Transport::UnixSocket, _) => return "unix socket".to_owned(),
            (Transport::Plain, _) => return format!("not encrypted (sslmode={})", self.mode),
            (Transport::Tls, Verified::No) => "encrypted, not authenticated",
            (Transport::Tls, Verified::Chain) => "certificate verified, host name not compared",
            (Transport::Tls, Verified::Full) => "certificate and host name verified",
        };
        let version = self.version.unwrap_or("TLS");
        format!("{version}, {what} (sslmode={})", self.mode)
    }
}

/// What a mode demands of the certificate.
fn demanded(config: &ConnectConfig) -> Result<Verified, Reason> {
    let root = config.sslrootcert.as_ref();
    match (config.sslmode, root) {
        (SslMode::Disable | SslMode::Allow | SslMode::Prefer, _) | (SslMode::Require, None) => {
            Ok(Verified::No)
        }
        // As in libpq: a root certificate turns require into verify-ca.
        (SslMode::Require | SslMode::VerifyCa, Some(RootCert::File(_))) => Ok(Verified::Chain),
        (SslMode::VerifyFull, _) => Ok(Verified::Full),
        (SslMode::Require | SslMode::VerifyCa, Some(RootCert::System)) => Err(Reason::new(
            Code::TlsFailed,
            format!(
                "sslmode {} can't be used with sslrootcert \"system\"",
                config.sslmode
            ),
        )
        .detail("anyone can get a certificate from a public authority, so only the host's name protects")
        .hint("use sslmode: verify-full")),
        (SslMode::VerifyCa, None) => Err(Reason::new(
            Code::TlsFailed,
            "sslmode verify-ca needs a root certificate",
        )
        .hint("set sslrootcert to the file of the authority that issued the server's certificate, or use sslmode: verify-full for a certificate from a public authority")),
    }
}

fn unreadable(what: &str, path: &Path, why: impl std::fmt::Display) -> Reason {
    Reason::new(
        Code::TlsFailed,
        format!("{what} \"{}\" can't be used", path.display()),
    )
    .detail(why.to_string())
    .hint("the file must be PEM and readable by rowcast")
}

fn certificates(what: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Reason> {
    let pem = std::fs::read(path).map_err(|error| unreadable(what, path, error))?;
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unreadable(what, path, error))?;
    if certificates.is_empty() {
        return Err(unreadable(what, path, "it holds no certificate"));
    }
    Ok(certificates)
}

fn trust(
    config: &ConnectConfig,
    verified: Verified,
    provider: &Arc<CryptoProvider>,
) -> Result<Trust, Reason> {
    if verified == Verified::No {
        return Ok(Trust::Anyone);
    }
    let Some(RootCert::File(path)) = &config.sslrootcert else {
        let system =
            rustls_platform_verifier::Verifier::new(provider.clone()).map_err(|error| {
                Reason::new(
                    Code::TlsFailed,
                    "this machine's trust store can't be used to verify the server",
                )
                .detail(error.to_string())
                .hint("install the package ca-certificates, or set sslrootcert to a file")
            })?;
        return Ok(Trust::System(Arc::new(system)));
    };
    let certificates = certificates("sslrootcert", path)?;
    let mut store = RootCertStore::empty();
    // What the store can't hold may still be a self-signed server certificate to compare with.
    store.add_parsable_certificates(certificates.iter().cloned());
    Ok(Trust::File {
        store,
        certificates,
        name: verified == Verified::Full,
    })
}

/// Hands out the client's certificate, and notes that the server asked for one.
#[derive(Debug)]
struct ClientCertificate {
    key: Option<Arc<CertifiedKey>>,
    observed: Observed,
}

impl ResolvesClientCert for ClientCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.observed
            .with(|seen| seen.client_certificate_wanted = true);
        self.key.clone()
    }

    fn has_certs(&self) -> bool {
        // Without this rustls does not ask, and we could not name a missing certificate.
        true
    }
}

fn client_key(
    config: &ConnectConfig,
    provider: &CryptoProvider,
) -> Result<Option<Arc<CertifiedKey>>, Reason> {
    let (cert, key) = match (&config.sslcert, &config.sslkey) {
        (None, None) => return Ok(None),
        (Some(cert), Some(key)) => (cert, key),
        _ => {
            return Err(
                Reason::new(Code::TlsFailed, "sslcert and sslkey must be given together")
                    .hint("give both files, or neither"),
            );
        }
    };
    let chain = certificates("sslcert", cert)?;
    let der = PrivateKeyDer::from_pem_file(key).map_err(|error| {
        unreadable("sslkey", key, error).hint(
            "the file must hold an unencrypted PEM key; decrypt one with: openssl pkey -in KEY -out PLAIN",
        )
    })?;
    CertifiedKey::from_der(chain, der, provider)
        .map(|key| Some(Arc::new(key)))
        .map_err(|error| unreadable("sslkey", key, error))
}

/// A TLS client for one connection, whose handshake can be looked at afterwards.
pub(super) struct Client {
    pub(super) config: ClientConfig,
    pub(super) observed: Observed,
    verified: Verified,
}

impl Client {
    /// Reads the files anew: certificates rotate.
    pub(super) fn new(config: &ConnectConfig) -> Result<Self, Reason> {
        let verified = demanded(config)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let observed = Observed::default();
        let verifier: Arc<dyn ServerCertVerifier> = Arc::new(Verifier {
            trust: trust(config, verified, &provider)?,
            algorithms: provider.signature_verification_algorithms,
            observed: observed.clone(),
        });
        let key = client_key(config, &provider)?;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Reason::defect(format!("TLS can't be set up: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::new(ClientCertificate {
                key,
                observed: observed.clone(),
            }));
        // Each connection proves the server anew.
        client.resumption = Resumption::disabled();
        Ok(Self {
            config: client,
            observed,
            verified,
        })
    }
}

/// What a finished handshake showed.
pub(super) fn negotiated(
    config: &ConnectConfig,
    observed: &Observed,
    verified: Verified,
) -> Negotiated {
    observed.with(|seen| {
        let facts = seen.certificate.as_ref().and_then(Facts::read);
        Negotiated {
            mode: config.sslmode,
            transport: Transport::Tls,
            version: seen.version,
            verified,
            subject: facts.as_ref().map(|facts| facts.subject.clone()),
            issuer: facts.as_ref().map(|facts| facts.issuer.clone()),
            expires_at_s: facts.map(|facts| facts.not_after),
            at_s: seen.at_s,
        }
    })
}

impl Client {
    pub(super) fn verified(&self) -> Verified {
        self.verified
    }
}

fn failed(config: &ConnectConfig) -> Reason {
    Reason::new(
        Code::TlsFailed,
        format!(
            "no connection to {} as sslmode {} demands",
            config.place(),
            config.sslmode
        ),
    )
}

/// The server answered that it has no TLS.
pub(super) fn not_offered(config: &ConnectConfig) -> Reason {
    failed(config)
        .detail("the server does not offer TLS")
        .hint("switch TLS on in the server (ssl = on), or say sslmode: disable if the network between is trusted")
}

/// Why a handshake failed, each cause in its own words.
pub(super) fn explain(config: &ConnectConfig, observed: &Observed, error: &str) -> Reason {
    let (problem, facts, wanted) = observed.with(|seen| {
        (
            seen.problem.clone(),
            seen.certificate.as_ref().and_then(Facts::read),
            seen.client_certificate_wanted,
        )
    });
    let reason = failed(config);
    let Some((problem, facts)) = problem.zip(facts) else {
        let hint = if wanted && config.sslcert.is_none() {
            "the server asks for a client certificate: set sslcert and sslkey"
        } else {
            "the server must speak TLS 1.2 or newer with a modern cipher; its log may say more"
        };
        return reason
            .detail(format!("the TLS handshake failed: {error}"))
            .hint(hint);
    };
    let where_from = match &config.sslrootcert {
        Some(RootCert::File(path)) => format!("\"{}\"", path.display()),
        _ => "this machine's trust store".to_owned(),
    };
    let subject = &facts.subject;
    match problem {
        Problem::Expired => reason
            .detail(format!(
                "the server's certificate ({subject}) expired at {}",
                format_seconds(facts.not_after)
            ))
            .hint("renew the certificate on the server; also check this machine's clock"),
        Problem::NotYetValid => reason
            .detail(format!(
                "the server's certificate ({subject}) is not valid before {}",
                format_seconds(facts.not_before)
            ))
            .hint("check this machine's clock"),
        Problem::Name => reason
            .detail(format!(
                "the server's certificate is for {}, not for \"{}\"",
                facts.described_names(),
                config.host
            ))
            .hint("set host to a name in the certificate, or use sslmode: verify-ca when the authority in sslrootcert issues certificates for this server alone"),
        Problem::UnknownIssuer if facts.self_signed => reason
            .detail(format!(
                "the server's certificate ({subject}) is self-signed and not in {where_from}"
            ))
            .hint("copy the server's certificate to this machine (server.crt in the data directory) and set sslrootcert to it; sslmode: require encrypts without knowing the server"),
        Problem::UnknownIssuer => reason
            .detail(format!(
                "the server's certificate ({subject}) was issued by {}, which is not in {where_from}",
                facts.issuer
            ))
            .hint("set sslrootcert to the provider's root certificate file; sslmode: require encrypts without knowing the server"),
        Problem::Version1 => reason
            .detail(format!(
                "the server's certificate ({subject}) is X.509 version 1 and not signed by a root in {where_from}"
            ))
            .hint("set sslrootcert to the file of the authority that signed it, or reissue it with extensions (openssl x509 -req -copy_extensions copy …)"),
        Problem::Other(why) => reason
            .detail(format!("the server's certificate ({subject}) was refused: {why}"))
            .hint("the certificate must be a valid TLS server certificate; reissue it on the server"),
    }
}
