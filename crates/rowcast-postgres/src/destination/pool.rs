//! The destination's connections: made when first needed, kept for the run, made anew after a loss.
//!
//! A connection is lent whole to one batch. It comes back only when its transaction has ended;
//! dropped half-way, it is closed, and the server rolls back.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::TryFutureExt as _;
use futures::future::BoxFuture;
use rowcast_core::{Code, Fault, Reason};

use crate::connect::{Connection, Connector};

/// How long a failed batch's ROLLBACK and a late one's cancel may take.
pub(super) const AFTERMATH: Duration = Duration::from_secs(5);

/// Connections to one database, as many as are in use together.
#[derive(Debug)]
pub(super) struct Pool {
    destination: String,
    connector: Connector,
    idle: Mutex<Vec<Connection>>,
}

impl Pool {
    pub(super) fn new(destination: &str, connector: Connector) -> Self {
        Self {
            destination: destination.to_owned(),
            connector,
            idle: Mutex::new(Vec::new()),
        }
    }

    /// An idle connection, or a new one.
    pub(super) async fn take(&self) -> Result<Connection, Fault> {
        while let Some(connection) = self.pop() {
            if !connection.client.is_closed() {
                return Ok(connection);
            }
        }
        self.connect().await.map_err(fault)
    }

    /// A new connection, for the checks.
    pub(super) fn connect(&self) -> BoxFuture<'_, Result<Connection, Reason>> {
        let connection = self.connector.connect();
        Box::pin(connection.map_err(|reason| as_destination(&self.destination, reason)))
    }

    fn pop(&self) -> Option<Connection> {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
    }

    /// Takes back a connection whose transaction has ended.
    pub(super) fn give(&self, connection: Connection) {
        if !connection.client.is_closed() {
            self.idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(connection);
        }
    }

    /// Cancels what a connection is doing.
    pub(super) fn cancel(connection: &Connection) -> BoxFuture<'static, ()> {
        let cancel = connection.cancel_handle();
        Box::pin(async move {
            let _ = tokio::time::timeout(AFTERMATH, cancel.cancel()).await;
        })
    }

    /// Closes what is idle.
    pub(super) fn close(&self) {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

/// The connection's reason in the words of a destination.
fn as_destination(destination: &str, reason: Reason) -> Reason {
    let code = match reason.code {
        Code::LoginFailed | Code::PermissionMissing | Code::SshAuth => Code::DestinationAuth,
        Code::ConnectFailed | Code::ConnectionLost | Code::TlsFailed | Code::SshUnreachable => {
            Code::DestinationUnreachable
        }
        other => other,
    };
    let message = format!(
        "can't connect to destination `{destination}`: {}",
        reason.message
    );
    Reason {
        code,
        message,
        ..reason
    }
}

/// A server that is away or full may come back; one that refuses us needs a person.
fn fault(reason: Reason) -> Fault {
    let full = reason
        .detail
        .as_deref()
        .is_some_and(|detail| detail.contains("53300") || detail.contains("too many"));
    match reason.code {
        Code::DestinationUnreachable => Fault::refused(reason),
        Code::DestinationAuth if full => Fault::refused(reason),
        _ => Fault::fatal(reason),
    }
}
