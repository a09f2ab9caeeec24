//! What the destination remembers of deliveries, on its own server (semantics 14).
//!
//! `rowcast_fence` holds the newest epoch of each sync, `rowcast_delivery` one row for each batch
//! that is in its table, with its rejected records. A batch and its row are committed together or not
//! at all. Must never forget a batch that the ledger may still ask for.

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error};
use rowcast_core::destination::Committed;
use rowcast_core::{Batch, Code, Outcome, Reason, RunContext, progress};

use super::name::ident;

pub(super) use rowcast_core::progress::Claim;

/// The progress tables of one database.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    database: String,
    /// Quoted, with the database.
    fence: String,
    delivery: String,
}

impl Progress {
    pub(super) fn new(database: &str) -> Self {
        let table = |name| format!("{}.{}", ident(database), ident(name));
        Self {
            database: database.to_owned(),
            fence: table("rowcast_fence"),
            delivery: table("rowcast_delivery"),
        }
    }

    /// Whether both tables are there.
    pub(super) async fn is_there(&self, conn: &mut Conn) -> Result<bool, Error> {
        let count: Option<u64> = conn
            .exec_first(
                "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND \
                 TABLE_NAME IN ('rowcast_fence', 'rowcast_delivery')",
                (&self.database,),
            )
            .await?;
        Ok(count == Some(2))
    }

    /// The statements that make the tables.
    pub(super) fn make_sql(&self) -> [String; 2] {
        // Identities and numbers need no more than ASCII, whatever the database's own alphabet.
        let sync = "sync VARCHAR(191) CHARACTER SET ascii COLLATE ascii_bin NOT NULL";
        let at = "at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)";
        [
            format!(
                "CREATE TABLE IF NOT EXISTS {} ({sync} PRIMARY KEY, epoch BIGINT NOT NULL, {at}) \
                 ENGINE = InnoDB COMMENT = 'rowcast: the newest run of each sync; older ones are refused'",
                self.fence
            ),
            format!(
                "CREATE TABLE IF NOT EXISTS {} ({sync}, epoch BIGINT NOT NULL, intent BIGINT NOT NULL, \
                 rejected LONGTEXT CHARACTER SET utf8mb4 NOT NULL, {at}, \
                 PRIMARY KEY (sync, epoch, intent)) ENGINE = InnoDB \
                 COMMENT = 'rowcast: batches that are in their tables, until the sync has acknowledged them'",
                self.delivery
            ),
        ]
    }

    /// The way out when the tables are not there and can't be made.
    pub(super) fn unusable(&self, said: &str) -> Reason {
        Reason::new(
            Code::DestinationObject,
            format!(
                "the user may not keep delivery progress in database {}",
                ident(&self.database)
            ),
        )
        .detail(said)
        .hint(format!(
            "GRANT CREATE, SELECT, INSERT, UPDATE, DELETE ON {}.* TO the user, or name another \
             database in `progress_database`",
            ident(&self.database)
        ))
    }

    /// Raises the epoch and waits for writers of older ones to end. False when a newer epoch is
    /// stored already.
    pub(super) async fn raise(&self, conn: &mut Conn, context: &RunContext) -> Result<bool, Error> {
        let sql = format!(
            "INSERT INTO {} (sync, epoch) VALUES (?, ?) ON DUPLICATE KEY UPDATE \
             epoch = GREATEST(epoch, VALUES(epoch)), at = CURRENT_TIMESTAMP(6)",
            self.fence
        );
        conn.exec_drop(sql, (&context.sync_id, context.epoch))
            .await?;
        let sql = format!("SELECT epoch FROM {} WHERE sync = ?", self.fence);
        let stored: Option<i64> = conn.exec_first(sql, (&context.sync_id,)).await?;
        Ok(stored == Some(context.epoch))
    }

    /// The batches of older epochs that are in their tables. Forgets those which the ledger can't
    /// ask for any more: before the previous epoch wrote its first batch, it had settled them.
    pub(super) async fn recover(
        &self,
        conn: &mut Conn,
        context: &RunContext,
    ) -> Result<Vec<Committed>, Error> {
        let sql = format!(
            "SELECT epoch, intent, rejected FROM {} WHERE sync = ? AND epoch < ? ORDER BY epoch, intent",
            self.delivery
        );
        let rows: Vec<(i64, i64, String)> =
            conn.exec(sql, (&context.sync_id, context.epoch)).await?;
        // A note that can't be read is left out: its batch becomes a doubt and is sent again.
        let committed = rows
            .iter()
            .filter_map(|(epoch, intent, text)| {
                Some(Committed {
                    epoch: *epoch,
                    intent: *intent,
                    rejected: progress::rejected_texts(text)?,
                })
            })
            .collect();
        if let Some((previous, _, _)) = rows.last() {
            self.forget(conn, &context.sync_id, *previous).await?;
        }
        Ok(committed)
    }

    /// Forgets the batches of epochs older than `epoch`.
    pub(super) async fn forget(
        &self,
        conn: &mut Conn,
        sync_id: &str,
        epoch: i64,
    ) -> Result<(), Error> {
        let sql = format!("DELETE FROM {} WHERE sync = ? AND epoch < ?", self.delivery);
        conn.exec_drop(sql, (sync_id, epoch)).await
    }

    /// Inside the batch's transaction: the fence is locked against a newer epoch, and the batch's
    /// row is taken. An attempt that is still ending elsewhere is waited for.
    pub(super) async fn claim(&self, conn: &mut Conn, batch: &Batch) -> Result<Claim, Error> {
        let context = &batch.context;
        let sql = format!(
            "SELECT epoch FROM {} WHERE sync = ? LOCK IN SHARE MODE",
            self.fence
        );
        let stored: Option<i64> = conn.exec_first(sql, (&context.sync_id,)).await?;
        if stored != Some(context.epoch) {
            return Ok(Claim::Fenced);
        }
        let sql = format!(
            "INSERT IGNORE INTO {} (sync, epoch, intent, rejected) VALUES (?, ?, ?, '{}')",
            self.delivery,
            progress::NOTHING_REJECTED
        );
        conn.exec_drop(sql, (&context.sync_id, context.epoch, batch.intent))
            .await?;
        Ok(if conn.affected_rows() == 1 {
            Claim::New
        } else {
            Claim::Present
        })
    }

    /// The outcomes of a batch that is in its table.
    pub(super) async fn outcomes(
        &self,
        conn: &mut Conn,
        batch: &Batch,
    ) -> Result<Vec<Outcome>, Error> {
        let sql = format!(
            "SELECT rejected FROM {} WHERE sync = ? AND epoch = ? AND intent = ?",
            self.delivery
        );
        let context = &batch.context;
        let text: Option<String> = conn
            .exec_first(sql, (&context.sync_id, context.epoch, batch.intent))
            .await?;
        let count = batch.records.len();
        Ok(progress::outcomes(
            text.as_deref(),
            count,
            batch.intent,
            &self.delivery,
        ))
    }

    /// Inside the batch's transaction: notes which of its records were rejected.
    pub(super) async fn note(
        &self,
        conn: &mut Conn,
        batch: &Batch,
        outcomes: &[Outcome],
    ) -> Result<(), Error> {
        let Some(text) = progress::note(outcomes) else {
            return Ok(());
        };
        let sql = format!(
            "UPDATE {} SET rejected = ? WHERE sync = ? AND epoch = ? AND intent = ?",
            self.delivery
        );
        let context = &batch.context;
        conn.exec_drop(sql, (text, &context.sync_id, context.epoch, batch.intent))
            .await
    }
}
