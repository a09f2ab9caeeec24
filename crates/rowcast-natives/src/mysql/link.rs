//! Connections: where they go, how they log in, and what every session is set to.

use std::path::PathBuf;
use std::time::Duration;

use mysql_async::{Conn, Error, Opts, OptsBuilder, SslOpts};
use rowcast_core::{Code, DestinationConfig, Fault, Reason, Secret};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::refusal::Speaker;
use crate::connect::{Endpoint, flag, secret, text};

/// Prepared statements kept in a session: a batch has one for each shape and size of its parts.
const STATEMENTS: usize = 32;

/// How a session is opened.
pub(super) struct Door {
    pub(super) endpoint: Endpoint,
    user: Option<String>,
    password: Option<Secret<String>>,
    database: String,
    authorities: Option<PathBuf>,
    encrypted: bool,
    timeout: Duration,
}

impl Door {
    pub(super) fn new(endpoint: Endpoint, config: &DestinationConfig, timeout: Duration) -> Self {
        Self {
            endpoint,
            user: text(config, "user"),
            password: secret(config, "password"),
            database: text(config, "database").unwrap_or_default(),
            authorities: text(config, "tls_ca").map(|path| config.project_dir.join(path)),
            encrypted: flag(config, "tls").unwrap_or(true),
            timeout,
        }
    }

    pub(super) fn database(&self) -> &str {
        &self.database
    }

    /// Connects, logs in and sets the session.
    ///
    /// # Errors
    /// Nothing was written.
    pub(super) async fn open(&self, speaker: Speaker<'_>) -> Result<Conn, Fault> {
        let addresses = self.endpoint.addresses().await?;
        let mut options = OptsBuilder::default()
            .ip_or_hostname(self.endpoint.host())
            .tcp_port(self.endpoint.port())
            .resolved_ips(Some(addresses))
            // The server could point at a socket of this machine.
            .prefer_socket(Some(false))
            .user(self.user.clone())
            .pass(self.password.as_ref().map(|secret| secret.reveal().clone()))
            .db_name(Some(self.database.clone()).filter(|name| !name.is_empty()))
            .client_found_rows(true)
            .stmt_cache_size(Some(STATEMENTS))
            .setup(self.session());
        if self.encrypted {
            options = options.ssl_opts(Some(self.tls()?));
        }
        match tokio::time::timeout(self.timeout, Conn::new(Opts::from(options))).await {
            Ok(Ok(conn)) => Ok(conn),
            Ok(Err(Error::Io(error))) => Err(self.closed(&error)),
            Ok(Err(error @ Error::Driver(_))) => Err(Fault::refused(
                self.endpoint.unreachable(&error.to_string()),
            )),
            Ok(Err(error)) => Err(speaker.fault(&error)),
            Err(_) => Err(Fault::refused(self.endpoint.unreachable(&format!(
                "no answer within {} s",
                self.timeout.as_secs_f32()
            )))),
        }
    }

    fn closed(&self, error: &mysql_async::IoError) -> Fault {
        match error {
            mysql_async::IoError::Tls(error) => Fault::fatal(
                Reason::new(
                    Code::DestinationUnreachable,
                    format!("no trusted encrypted connection to {}", self.endpoint.place()),
                )
                .detail(error.to_string())
                .hint("name the authority's file in `tls_ca` and a host that the certificate holds; write `tls: false` if the server is not encrypted"),
            ),
            mysql_async::IoError::Io(error) => self.endpoint.not_opened(error),
        }
    }

    /// What every session is set to: UTC, strictness, so that nothing is cut or made up, and a limit
    /// for waits.
    fn session(&self) -> Vec<String> {
        let seconds = self.timeout.as_secs().clamp(1, 3_600);
        vec![
            "SET SESSION time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,\
             NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION'"
                .to_owned(),
            "SET NAMES utf8mb4".to_owned(),
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED".to_owned(),
            format!(
                "SET SESSION innodb_lock_wait_timeout = {seconds}, lock_wait_timeout = {seconds}"
            ),
        ]
    }

    /// The authorities of `tls_ca`, else those of this machine.
    fn tls(&self) -> Result<SslOpts, Fault> {
        let options = SslOpts::default().with_disable_built_in_roots(true);
        if let Some(path) = &self.authorities {
            return Ok(options.with_root_certs(vec![path.clone().into()]));
        }
        let loaded = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        // One that can't be read must not take the others with it.
        let mut usable =
            |certificate: &CertificateDer<'static>| store.add(certificate.clone()).is_ok();
        let roots: Vec<_> = loaded
            .certs
            .into_iter()
            .filter(|certificate| usable(certificate))
            .map(|certificate| certificate.to_vec().into())
            .collect();
        if roots.is_empty() {
            return Err(Fault::fatal(
                Reason::new(
                    Code::DestinationUnreachable,
                    "the system's certificate authorities can't be loaded",
                )
                .hint("install the package ca-certificates, or name a file in `tls_ca`"),
            ));
        }
        Ok(options.with_root_certs(roots))
    }
}
