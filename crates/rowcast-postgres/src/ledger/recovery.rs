//! What an earlier run left: intents that were announced and never acknowledged (semantics 8).
//!
//! Nothing of them may be forgotten: what the destination does not prove becomes a doubt.

use std::collections::HashSet;

use rowcast_core::destination::Committed;
use rowcast_core::ledger::{Intent, IntentItem, Lease};
use rowcast_core::settle::{Settled, Verdict};
use rowcast_core::{Code, Kind, Operation, Reason, killpoint};
use tokio_postgres::types::Type;

use super::commit::Writer;
use super::row_log::Logged;
use super::shape::{KeyArrays, Shape};
use super::{PgLedger, lease as leases, matching};
use crate::connect::{Connection, db_error};

impl PgLedger {
    pub(super) async fn recover_intents(
        &self,
        lease: &Lease,
        committed: &[Committed],
    ) -> Result<(), Reason> {
        let session = self.session.lock().await;
        let session = session
            .as_ref()
            .ok_or_else(|| Reason::defect("no run is open"))?;
        let patience = leases::patience(session.term);
        session.connection.wait_at_most(Some(patience));
        let intents = read_intents(&session.connection, &session.shape, lease.epoch).await?;
        if intents.is_empty() {
            return Ok(());
        }
        let writer = Writer {
            client: &session.connection.client,
            shape: &session.shape,
            mode: self.config.sync.mode,
            keep_rows: self.config.sync.keep_rows,
            logged: Logged::Errors,
            recent: false,
        };
        let sql = format!(
            "DELETE FROM {} WHERE epoch < $1",
            session.shape.table("intent")
        );
        session
            .fence(lease)
            .all_or_nothing(async {
                for (intent, run) in &intents {
                    let mut settled = settle_intent(intent, committed);
                    let done = acknowledged(&writer, *run, &settled).await?;
                    let mut positions = 0..;
                    settled.retain(|_| positions.next().is_none_or(|at| !done.contains(&at)));
                    writer.settle(*run, &settled).await?;
                }
                writer
                    .client
                    .query_typed(&sql, &[(&lease.epoch, Type::INT8)])
                    .await
                    .map_err(|error| db_error(&error, "settling the intents of an earlier run"))?;
                killpoint::reach("ledger-recovery-written");
                Ok(())
            })
            .await?;
        killpoint::reach("ledger-recovered");
        Ok(())
    }
}

/// Which of an intent's records state has already, by position: an intent lists all records of its
/// window until the last of them is acknowledged, and a crash must not cast doubt on the others. A
/// record that was written carries the run and its checksum; one that was deleted is not there any
/// more, because a key leaves state only when its delete is acknowledged.
///
/// # Errors
/// The database fails.
async fn acknowledged(
    writer: &Writer<'_>,
    run: i32,
    settled: &[Settled],
) -> Result<HashSet<usize>, Reason> {
    let shape = writer.shape;
    let keys = KeyArrays::of(shape, settled.iter().map(|change| &change.key));
    let checksums: Vec<Option<i64>> = settled.iter().map(|change| change.checksum).collect();
    let deletes: Vec<bool> = settled
        .iter()
        .map(|change| change.kind == Kind::Removed)
        .collect();
    let n = shape.keys.len();
    let unnest = shape.unnest(&[
        &format!("${}::bigint[]", n + 1),
        &format!("${}::boolean[]", n + 2),
    ]);
    let sql = format!(
        "SELECT u.n FROM {unnest} WITH ORDINALITY AS u({names}, h, gone, n) \
         LEFT JOIN {state} s ON {equal} WHERE CASE WHEN u.gone THEN s.k1 IS NULL \
         ELSE coalesce(s.run, (SELECT base_run FROM {progress} WHERE sync_id = {sync})) = ${run} \
         AND s.h = u.h AND coalesce(s.mark, 'd') = 'd' END",
        names = shape.names(""),
        state = shape.table("state"),
        progress = shape.shared("progress"),
        sync = shape.sync,
        equal = shape.equal("s", "u"),
        run = n + 3,
    );
    let mut params = keys.params();
    params.push((&checksums, Type::INT8_ARRAY));
    params.push((&deletes, Type::BOOL_ARRAY));
    params.push((&run, Type::INT4));
    let rows = writer.client.query_typed(&sql, &params).await;
    let rows = rows.map_err(|error| db_error(&error, "comparing intents with state"))?;
    let positions = rows.iter().map(|row| row.get::<_, i64>(0) as usize - 1);
    Ok(positions.collect())
}

/// The settled records of an earlier run's intent: acknowledged where the destination holds the
/// batch, doubts otherwise.
fn settle_intent(intent: &Intent, committed: &[Committed]) -> Vec<Settled> {
    let held = committed
        .iter()
        .find(|committed| committed.epoch == intent.epoch && committed.intent == intent.id);
    let unknown = || {
        Reason::new(
            Code::NoResult,
            "an earlier run ended before the destination's answer was recorded",
        )
        .hint("the row is sent again with its newest values")
    };
    let items = intent.items.iter().enumerate();
    items
        .map(|(position, item)| {
            let operation = item.operation;
            let verdict = match held {
                None => Verdict::Unknown {
                    operation,
                    reason: unknown(),
                },
                Some(held) => match held.rejected.iter().find(|(at, _)| *at == position) {
                    None => Verdict::Delivered(operation),
                    Some((_, message)) => Verdict::Rejected {
                        operation,
                        reason: Reason::new(Code::DestinationRejected, message.clone()),
                        doubt: false,
                    },
                },
            };
            Settled {
                key: item.key.clone(),
                kind: if operation == Operation::Delete {
                    Kind::Removed
                } else {
                    Kind::Updated
                },
                checksum: item.checksum,
                verdict,
                retried: true,
                match_values: item.match_values.clone(),
                sent: None,
                idempotency_key: None,
                keep_state: false,
            }
        })
        .collect()
}

/// Intents of earlier epochs that are not acknowledged, with the run that announced them.
pub(super) async fn read_intents(
    connection: &Connection,
    shape: &Shape,
    epoch: i64,
) -> Result<Vec<(Intent, i32)>, Reason> {
    let keys: Vec<String> = (1..=shape.keys.len())
        .map(|i| format!("k{i}::text[]"))
        .collect();
    let sql = format!(
        "SELECT intent, epoch, run, ops, hs, ms, {} FROM {} WHERE epoch < $1 AND NOT acknowledged \
         ORDER BY epoch, intent",
        keys.join(", "),
        shape.table("intent")
    );
    let rows = connection
        .client
        .query_typed(&sql, &[(&epoch, Type::INT8)])
        .await
        .map_err(|error| db_error(&error, "reading the intents of an earlier run"))?;
    let mut intents = Vec::new();
    for row in &rows {
        let operations: String = row.get(3);
        let checksums: Vec<Option<i64>> = row.get(4);
        let matches: Vec<Option<String>> = row.get::<_, Option<_>>(5).unwrap_or_default();
        let columns: Vec<Vec<String>> = (0..shape.keys.len()).map(|i| row.get(6 + i)).collect();
        let mut items = Vec::new();
        for (i, letter) in operations.chars().enumerate() {
            let parts: Vec<String> = columns
                .iter()
                .filter_map(|column| column.get(i).cloned())
                .collect();
            items.push(IntentItem {
                key: shape.parse_key(&parts)?,
                operation: Operation::from_letter(letter)
                    .ok_or_else(|| Reason::defect("an intent names an unknown operation"))?,
                checksum: checksums.get(i).copied().flatten(),
                match_values: matches
                    .get(i)
                    .cloned()
                    .flatten()
                    .and_then(|text| matching::texts(&text)),
            });
        }
        intents.push((
            Intent {
                id: row.get(0),
                epoch: row.get(1),
                items,
            },
            row.get(2),
        ));
    }
    Ok(intents)
}
