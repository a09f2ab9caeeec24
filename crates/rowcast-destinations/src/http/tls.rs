//! TLS to a service: whom it trusts, and what a refused certificate says to people.
//!
//! The machine's own trust store decides. Nothing here may accept what that store refuses; a
//! closer look at a refused certificate only finds better words for it.

use std::error::Error as StdError;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rowcast_core::{Code, Reason};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme,
};

use super::client::{cause, chain};

/// The client's settings. `secure` is whether TLS will be spoken: without it the system's
/// certificates are not loaded.
///
/// # Errors
/// The system's certificates can't be loaded.
pub(super) fn config(secure: bool) -> Result<ClientConfig, Reason> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let cannot = |err: Error| {
        Reason::new(
            Code::DestinationUnreachable,
            "the system's certificate authorities can't be loaded",
        )
        .detail(err.to_string())
        .hint("install the package ca-certificates")
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(cannot)?;
    let mut config = if secure {
        let system = rustls_platform_verifier::Verifier::new(provider).map_err(cannot)?;
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Named(system)))
            .with_no_client_auth()
    } else {
        builder
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth()
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The system's verifier, whose refusals tell a self-signed certificate from one of an unknown
/// authority.
#[derive(Debug)]
struct Named<V>(V);

/// A refused certificate names itself as its issuer.
#[derive(Debug)]
struct SelfSigned;

impl std::fmt::Display for SelfSigned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the certificate is self-signed")
    }
}

impl StdError for SelfSigned {}

impl<V: ServerCertVerifier> ServerCertVerifier for Named<V> {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.0.verify_server_cert(leaf, others, name, ocsp, now);
        verified.map_err(|error| match error {
            // A certificate marked as an authority is refused as such before its issuer is sought.
            Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::Other(_),
            ) if issued_by_itself(leaf) == Some(true) => {
                Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(SelfSigned))))
            }
            error => error,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// One DER element: its tag, its content, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        let length = bytes.iter().try_fold(0_usize, |length, &byte| {
            length.checked_mul(256)?.checked_add(usize::from(byte))
        })?;
        (length, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// Whether issuer and subject are the same name. RFC 5280, section 4.1: version (optional),
/// serial number, signature's algorithm, issuer, validity, subject.
fn issued_by_itself(certificate: &[u8]) -> Option<bool> {
    let (_, whole, _) = element(certificate)?;
    let (_, inner, _) = element(whole)?;
    let (tag, _, after_version) = element(inner)?;
    let from_serial = if tag == 0xa0 { after_version } else { inner };
    let (_, _, rest) = element(from_serial)?;
    let (_, _, rest) = element(rest)?;
    let (_, issuer, rest) = element(rest)?;
    let (_, _, rest) = element(rest)?;
    let (_, subject, _) = element(rest)?;
    Some(issuer == subject)
}

/// Shakes hands and says the protocol's version.
///
/// # Errors
/// Why it failed: see `explain`.
pub(super) fn handshake(
    mut stream: TcpStream,
    tls: Arc<ClientConfig>,
    name: &str,
    limit: Duration,
) -> Result<&'static str, Box<dyn StdError>> {
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(name.to_owned())?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    let mut session = rustls::ClientConnection::new(tls, name)?;
    while session.is_handshaking() {
        session.complete_io(&mut stream)?;
    }
    Ok(match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    })
}

/// Why there is no trusted connection, each cause in its own words.
pub(super) fn explain(host: &str, err: &(dyn StdError + 'static)) -> Reason {
    let reason = Reason::new(
        Code::DestinationUnreachable,
        format!("no trusted encrypted connection to {host}"),
    );
    let trust = "add the authority's certificate to this machine's trust store (update-ca-certificates on Debian)";
    let Some(error) = cause::<Error>(err) else {
        return reason
            .detail(format!("the TLS handshake failed: {}", chain(err)))
            .hint(
                "what stands between this machine and the service may cut encrypted connections",
            );
    };
    let certificate = match error {
        Error::InvalidCertificate(certificate) => certificate,
        Error::InvalidMessage(_) => {
            return reason
                .detail(format!("the server does not speak TLS on this port: {error}"))
                .hint("check the port; a service without encryption has a URL that begins with http://");
        }
        error => {
            return reason
                .detail(format!("the TLS handshake failed: {error}"))
                .hint("the service must speak TLS 1.2 or newer with a modern cipher");
        }
    };
    match certificate {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => reason
            .detail(format!("the service's certificate expired: {certificate}"))
            .hint("the service must renew its certificate; also check this machine's clock"),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => reason
            .detail(format!("the service's certificate is not valid yet: {certificate}"))
            .hint("check this machine's clock"),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            reason
                .detail(format!("the service's certificate is for another host: {certificate}"))
                .hint("write the URL with a host name that the certificate holds")
        }
        CertificateError::UnknownIssuer => reason
            .detail("the service's certificate was issued by an authority that this machine does not trust")
            .hint(trust),
        CertificateError::Other(OtherError(other)) if other.is::<SelfSigned>() => reason
            .detail("the service's certificate is self-signed, and this machine does not trust it")
            .hint("the service needs a certificate of an authority; add an in-house one to this machine's trust store (update-ca-certificates on Debian)"),
        other => reason
            .detail(format!("the service's certificate was refused: {other}"))
            .hint(trust),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_self_signed_certificate_is_told_from_any_bytes() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])
            .expect("make a certificate");
        let der = made.cert.der();
        assert_eq!(issued_by_itself(der), Some(true));
        for end in 0..der.len().min(200) {
            assert_eq!(issued_by_itself(&der[..end]), None, "{end} bytes");
        }
        let mut long = vec![0x30, 0x88];
        long.extend([0xff; 8]);
        assert_eq!(issued_by_itself(&long), None);
    }
}
