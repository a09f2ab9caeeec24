//! Cancels what a connection is doing, over the same address and the same encryption.
//!
//! A request that was begun is carried to its end, whoever stops waiting for it: one that is closed
//! early may never reach the server, and PgBouncer 1.18 ends itself with all its connections (see
//! `farewell`). So a process that is about to end waits for those under way.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rowcast_core::{Code, Reason};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{CancelToken, NoTls};
use tokio_util::task::TaskTracker;

use super::farewell::{ClosedByPeer, TlsClosedByPeer};
use super::socket::{self, Address};
use super::{ConnectConfig, rustls_connect, tls};

/// The requests under way in this process.
static UNDER_WAY: LazyLock<TaskTracker> = LazyLock::new(|| {
    let tracker = TaskTracker::new();
    // So that waiting ends whenever none is left; more can begin all the same.
    tracker.close();
    tracker
});

/// Waits until no cancel request of this process is under way, at most for `limit`: whether all of
/// them have ended.
pub async fn cancels_delivered(limit: Duration) -> bool {
    timeout(limit, UNDER_WAY.wait()).await.is_ok()
}

/// Cancels a connection's running query.
#[derive(Clone)]
pub struct CancelHandle(Arc<Inner>);

struct Inner {
    token: CancelToken,
    address: Address,
    encrypted: bool,
    config: Arc<ConnectConfig>,
    /// The connection's: whoever asks may be on one that ends at once.
    runtime: Handle,
}

impl std::fmt::Debug for CancelHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelHandle")
            .field("place", &self.0.config.place())
            .finish_non_exhaustive()
    }
}

impl CancelHandle {
    pub(super) fn new(
        token: CancelToken,
        address: Address,
        encrypted: bool,
        config: Arc<ConnectConfig>,
    ) -> Self {
        Self(Arc::new(Inner {
            token,
            address,
            encrypted,
            config,
            runtime: Handle::current(),
        }))
    }

    /// Asks the server to cancel the running query, and waits until it has heard. The server never
    /// says whether there was one.
    ///
    /// # Errors
    /// The request could not be delivered.
    pub async fn cancel(&self) -> Result<(), Reason> {
        match self.spawn().await {
            Ok(result) => result,
            Err(error) => Err(self.0.failed(&error)),
        }
    }

    /// Asks without waiting.
    pub(crate) fn begin(&self) {
        drop(self.spawn());
    }

    fn spawn(&self) -> JoinHandle<Result<(), Reason>> {
        let inner = self.0.clone();
        let sending = async move {
            timeout(inner.config.connect_timeout, inner.send())
                .await
                .map_err(|_| inner.failed(&"no answer in time"))?
        };
        UNDER_WAY.spawn_on(sending, &self.0.runtime)
    }
}

impl Inner {
    async fn send(&self) -> Result<(), Reason> {
        let stream = socket::reopen(&self.address)
            .await
            .map_err(|error| self.failed(&error))?;
        let sent = if self.encrypted {
            let tls = tls::Client::new(&self.config)?;
            let tls = TlsClosedByPeer(rustls_connect(&self.config, tls.config));
            self.token.cancel_query_raw(stream, tls).await
        } else {
            let stream = ClosedByPeer(stream);
            self.token.cancel_query_raw(stream, NoTls).await
        };
        sent.map_err(|error| self.failed(&error))
    }

    fn failed(&self, why: &dyn std::fmt::Display) -> Reason {
        Reason::new(
            Code::ConnectionLost,
            format!("can't cancel a query in {}", self.config.place()),
        )
        .detail(why.to_string())
    }
}
