//! The HTTP API of a served project: routes that parse, call a use case of `rowcast-app` and render
//! its answer.
//!
//! Every route is a line of one table, [`routes::ROUTES`], from which the router, the check of
//! tokens and the OpenAPI document are made. Must never know the PostgreSQL client or a connector.

mod access;
mod answer;
mod events;
mod forms;
mod handlers;
mod input;
mod limits;
mod logins;
mod metrics;
pub mod openapi;
mod page;
mod repeat;
mod router;
pub mod routes;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rowcast_app::Answer;
use rowcast_app::serve::Service;
use rowcast_core::{Code, Reason};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use limits::Rate;
use limits::{Meter, Names};
use logins::Logins;

/// Where a server listens unless it is told otherwise: reachable from this machine only.
pub const LISTEN: &str = "127.0.0.1:4680";

/// How long answers that are being given may take when the server stops. The rest of the ten seconds
/// belongs to the runs.
const GRACE: Duration = Duration::from_secs(5);

/// What handlers are given.
#[derive(Debug, Clone)]
pub(crate) struct App {
    service: Service,
    /// Ends what would otherwise go on: streams of events.
    stop: CancellationToken,
    meter: Meter,
    logins: Logins,
    names: Names,
}

/// A listening server.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    app: App,
}

impl Server {
    /// Listens.
    ///
    /// # Errors
    /// The address is taken, or none of this machine's.
    pub async fn bind(
        service: Service,
        address: SocketAddr,
        stop: &CancellationToken,
    ) -> Answer<Self> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Reason::new(Code::CannotListen, format!("can't listen on {address}"))
                .detail(error.to_string())
                .hint("choose another with --listen HOST:PORT")
        })?;
        // Who can be reached from this machine only is asked under this machine's names only.
        let names = Names {
            known: address.ip().is_loopback().then(|| Arc::from([])),
        };
        let app = App {
            service,
            stop: stop.clone(),
            meter: Meter::new(Rate::default()),
            logins: Logins::new(Logins::RATE),
            names,
        };
        Ok(Self { listener, app })
    }

    /// Lets each token ask so often.
    #[must_use]
    pub fn with_rate(mut self, rate: Rate) -> Self {
        self.app.meter = Meter::new(rate);
        self
    }

    /// Lets each address come with so many wrong tokens.
    #[must_use]
    pub fn with_wrong_tokens(mut self, rate: Rate) -> Self {
        self.app.logins = Logins::new(rate);
        self
    }

    /// Takes requests under these names, besides addresses and `localhost`, and under no others.
    #[must_use]
    pub fn with_names(mut self, names: &[String]) -> Self {
        let names = names.iter().map(|name| name.to_ascii_lowercase());
        self.app.names = Names {
            known: Some(names.collect()),
        };
        self
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until the server is stopped.
    pub async fn serve(self) {
        let stop = self.app.stop.clone();
        let router = router::router(self.app);
        let router = router.into_make_service_with_connect_info::<SocketAddr>();
        let ended = axum::serve(self.listener, router)
            .with_graceful_shutdown(stop.clone().cancelled_owned());
        tokio::select! {
            ended = ended => {
                if let Err(error) = ended {
                    tracing::error!(%error, "the API ended");
                }
            }
            () = async {
                stop.cancelled().await;
                tokio::time::sleep(GRACE).await;
            } => {}
        }
    }
}
