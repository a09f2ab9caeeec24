//! Connections that wait for their next use, for whoever asks small questions often: a login costs a
//! server more than such a question does. It must never lend one that is in a transaction, or whose
//! last answer nobody read: a connection comes back only by being given back.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rowcast_core::Reason;
use tokio::time::Instant;

use super::{Connection, Connector};

/// As many wait at most; the others end.
const MOST: usize = 4;
/// One that has waited for longer is not lent any more: something on the way may have forgotten it.
const LONGEST: Duration = Duration::from_secs(60);

type Waiting = Arc<Mutex<Vec<(Connection, Instant)>>>;

/// Connections to one database, those in use aside.
#[derive(Debug, Clone)]
pub(crate) struct Idle {
    connector: Connector,
    waiting: Waiting,
}

/// A connection for one use. It ends when this is dropped, unless it was given back.
#[derive(Debug)]
pub(crate) struct Lent {
    connection: Connection,
    home: Waiting,
}

impl Idle {
    pub(crate) fn new(connector: Connector) -> Self {
        Self {
            connector,
            waiting: Arc::default(),
        }
    }

    /// One that waits, or a new one.
    ///
    /// # Errors
    /// None waits, and no connection can be made.
    pub(crate) async fn lend(&self) -> Result<Lent, Reason> {
        while let Some(connection) = self.take() {
            // Asked each time: one that broke while nobody used it looks whole until then.
            if connection.client.batch_execute("").await.is_ok() {
                return Ok(self.lent(connection));
            }
        }
        Ok(self.lent(self.connector.connect().await?))
    }

    fn take(&self) -> Option<Connection> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|(_, since)| since.elapsed() < LONGEST);
        waiting.pop().map(|(connection, _)| connection)
    }

    fn lent(&self, connection: Connection) -> Lent {
        Lent {
            connection,
            home: self.waiting.clone(),
        }
    }
}

impl Lent {
    /// For the next use: everything it was asked has been answered, and no transaction is open.
    pub(crate) fn give_back(self) {
        let mut waiting = self.home.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MOST {
            waiting.push((self.connection, Instant::now()));
        }
    }
}

impl Deref for Lent {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

#[cfg(test)]
mod tests {
    use rowcast_testkit::postgres::Cluster;

    use super::*;
    use crate::connect::ConnectConfig;

    async fn pid(lent: &Lent) -> i32 {
        let row = lent.client.query_one("SELECT pg_backend_pid()", &[]).await;
        row.unwrap().get(0)
    }

    #[tokio::test]
    async fn a_connection_is_lent_again_unless_it_failed_or_broke() {
        let database = Cluster::shared().database("idle");
        let idle = Idle::new(Connector::new(
            ConnectConfig::from_url(&database.url()).unwrap(),
        ));

        let first = idle.lend().await.unwrap();
        let given_back = pid(&first).await;
        let beside = idle.lend().await.unwrap();
        assert_ne!(pid(&beside).await, given_back, "lent twice at a time");
        first.give_back();
        let again = idle.lend().await.unwrap();
        assert_eq!(pid(&again).await, given_back);

        // In the middle of a transaction, and not given back.
        again.client.batch_execute("BEGIN").await.unwrap();
        drop(again);
        let other = idle.lend().await.unwrap();
        let broken = pid(&other).await;
        assert_ne!(broken, given_back);

        other.give_back();
        let end = format!("SELECT pg_terminate_backend({broken}, 10000)");
        Cluster::shared().psql(&database.name, &end);
        let new = idle.lend().await.unwrap();
        assert_ne!(pid(&new).await, broken);
    }
}
