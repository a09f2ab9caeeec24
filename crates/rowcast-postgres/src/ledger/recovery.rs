//! What an earlier run left: intents that were announced and never acknowledged (semantics 8).
//!
//! Nothing of them may be forgotten: what the destination does not prove becomes a doubt.

use rowcast_core::destination::Committed;
use rowcast_core::ledger::{Intent, IntentItem, Lease};
use rowcast_core::settle::{Settled, Verdict};
use rowcast_core::{Code, Kind, Operation, Reason, killpoint};
use tokio_postgres::types::Type;

use super::commit::Writer;
use super::row_log::Logged;
use super::shape::Shape;
use super::{PgLedger, matching};
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
        };
        let sql = format!(
            "DELETE FROM {} WHERE epoch < $1",
            session.shape.table("intent")
        );
        session
            .fence(lease)
            .all_or_nothing(async {
                for (intent, run) in &intents {
                    writer
                        .settle(*run, &settle_intent(intent, committed))
                        .await?;
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

/// Intents of earlier epochs, with the run that announced them.
pub(super) async fn read_intents(
    connection: &Connection,
    shape: &Shape,
    epoch: i64,
) -> Result<Vec<(Intent, i32)>, Reason> {
    let keys: Vec<String> = (1..=shape.keys.len())
        .map(|i| format!("k{i}::text[]"))
        .collect();
    let sql = format!(
        "SELECT intent, epoch, run, ops, hs, ms, {} FROM {} WHERE epoch < $1 ORDER BY epoch, intent",
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
        let matches: Vec<Option<String>> = row.get(5);
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
