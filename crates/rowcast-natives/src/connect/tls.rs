//! TLS to a server: whom it trusts, and what a refused certificate says to people.
//!
//! This machine's trust store decides, or the authorities of `tls_ca`. There is no way to accept a
//! certificate that they refuse.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rowcast_core::{Code, Fault, Reason};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, Error, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What a client trusts.
///
/// # Errors
/// The file of authorities can't be read, or the system's can't be loaded.
pub(super) fn config(authorities: Option<&Path>) -> Result<Arc<ClientConfig>, Reason> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let cannot = |error: Error| {
        Reason::new(
            Code::DestinationUnreachable,
            "the system's certificate authorities can't be loaded",
        )
        .detail(error.to_string())
        .hint("install the package ca-certificates")
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(cannot)?;
    let config = match authorities {
        Some(path) => builder
            .with_root_certificates(roots(path)?)
            .with_no_client_auth(),
        None => {
            let system = rustls_platform_verifier::Verifier::new(provider).map_err(cannot)?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(system))
                .with_no_client_auth()
        }
    };
    Ok(Arc::new(config))
}

fn roots(path: &Path) -> Result<RootCertStore, Reason> {
    let unreadable = |detail: String| {
        Reason::new(
            Code::InvalidSetting,
            format!("the authorities in {} can't be read", path.display()),
        )
        .detail(detail)
        .hint("`tls_ca` names a file of certificates in PEM form")
    };
    let mut roots = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| unreadable(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| unreadable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unreadable("there is no certificate in it".to_owned()));
    }
    Ok(roots)
}

pub(super) async fn shake(
    config: Arc<ClientConfig>,
    host: &str,
    stream: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    TlsConnector::from(config).connect(name, stream).await
}

/// Why there is no trusted connection.
pub(super) fn refused(place: &str, error: &io::Error) -> Fault {
    let reason = Reason::new(
        Code::DestinationUnreachable,
        format!("no trusted encrypted connection to {place}"),
    );
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        Some(Error::InvalidCertificate(certificate)) => Fault::fatal(certified(reason, certificate)),
        Some(Error::InvalidMessage(_)) => Fault::fatal(
            reason
                .detail(format!("the server does not speak TLS on this port: {error}"))
                .hint("check the port; write `tls: false` if the server is not encrypted"),
        ),
        Some(other) => Fault::fatal(
            reason
                .detail(format!("the TLS handshake failed: {other}"))
                .hint("the server must speak TLS 1.2 or newer with a modern cipher"),
        ),
        None => Fault::refused(
            reason
                .detail(format!("the TLS handshake was cut: {error}"))
                .hint("check that the server is encrypted on this port; write `tls: false` if it is not"),
        ),
    }
}

fn certified(reason: Reason, certificate: &CertificateError) -> Reason {
    match certificate {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            reason
                .detail(format!(
                    "the server's certificate is for another host: {certificate}"
                ))
                .hint("write a host name that the certificate holds")
        }
        // A signature of another authority of the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => reason
            .detail("the server's certificate was issued by an authority that is not trusted here")
            .hint("name the authority's file in `tls_ca`, or add it to this machine's trust store"),
        other => reason
            .detail(format!("the server's certificate was refused: {other}"))
            .hint("the server needs a valid certificate; also check this machine's clock"),
    }
}
