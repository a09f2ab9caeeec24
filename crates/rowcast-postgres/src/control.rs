//! The control schema: what a server remembers beside the state of syncs. Which times of schedules
//! are dealt with, which runs are asked for, who carries them out, tokens of the API, how alerts stand.
//!
//! Several servers may share one control schema: every decision is one transaction, and who loses a
//! race does nothing. A job's lease says who carries it out; that no two runs of a sync write is
//! still guarded by the sync's own lease and epoch, whatever happens here. It must never hold
//! anything that a run needs to be right.

mod alerts;
mod audit;
mod hooks;
mod jobs;
mod layout;
mod repeats;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use rowcast_core::Reason;
use tokio::sync::{Mutex, MutexGuard};

pub use alerts::{ChannelRow, ClaimedMessage, EndedJob, Moved, NewMessage, WatchRow};
pub use audit::{AuditEntry, AuditRow};
pub use hooks::{JobFilter, JobTimes, Started};
pub use jobs::{Arrival, Claim, Claimed, Job, JobRow, Tick};
pub use repeats::Repeat;
pub use tokens::{NewToken, TokenRow};

use crate::connect::{Connection, Connector};

/// How long one statement may take; all of them are short.
const PATIENCE: Duration = Duration::from_secs(10);

/// A control schema, over one connection that is made again when it is lost.
#[derive(Debug, Clone)]
pub struct Control {
    connector: Connector,
    schema: String,
    connection: Arc<Mutex<Option<Connection>>>,
}

impl Control {
    /// A control schema at a place. Connects at the first use.
    pub fn new(connector: Connector, schema: &str) -> Self {
        Self {
            connector,
            schema: schema.to_owned(),
            connection: Arc::default(),
        }
    }

    /// The same schema over a connection of its own, so that nobody waits for anybody.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self::new(self.connector.clone(), &self.schema)
    }

    /// Makes the tables, or brings those of an earlier version up to this one.
    ///
    /// # Errors
    /// They can't be made, or a newer Rowcast wrote them.
    pub async fn prepare(&self) -> Result<(), Reason> {
        let connection = self.open().await?;
        layout::ensure(&connection.client, &self.schema).await
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), Reason> {
        let connection = self.open().await?;
        let asked = connection.client.batch_execute("SELECT 1").await;
        asked.map_err(|error| crate::connect::db_error(&error, "asking the control database"))
    }

    /// Who this process is, as the holder of jobs: told apart from a later one of the same number.
    pub fn owner() -> String {
        crate::ledger::lease::owner()
    }

    fn table(&self, name: &str) -> String {
        crate::sql::qualified(&self.schema, &format!("control_{name}"))
    }

    /// The connection, for one decision.
    async fn open(&self) -> Result<Open<'_>, Reason> {
        let mut slot = self.connection.lock().await;
        // Asked each time: a connection that broke while nobody used it looks whole until then.
        let whole = match slot.as_ref() {
            Some(open) => open.client.batch_execute("").await.is_ok(),
            None => false,
        };
        if !whole {
            *slot = None;
            let connection = self.connector.connect().await?;
            connection.wait_at_most(Some(PATIENCE));
            *slot = Some(connection);
        }
        MutexGuard::try_map(slot, Option::as_mut)
            .map_err(|_| Reason::defect("a connection that was just made is missing"))
    }
}

type Open<'a> = tokio::sync::MappedMutexGuard<'a, Connection>;
