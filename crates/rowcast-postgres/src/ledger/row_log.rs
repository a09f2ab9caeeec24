//! The row log: what became of single rows, in words (semantics 27).

use rowcast_core::{Kind, Operation, Reason, Settled, Verdict};
use tokio_postgres::types::Type;

use super::commit::{Params, Writer};

/// The word of a kind of change, as logs and tables show it.
pub(super) fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Added => "added",
        Kind::Updated => "updated",
        Kind::Removed => "removed",
    }
}

fn logged(
    change: &Settled,
    level: Logged,
) -> Option<(&'static str, Option<Operation>, Option<&Reason>)> {
    match (&change.verdict, level) {
        (
            Verdict::Rejected {
                operation, reason, ..
            },
            _,
        ) => Some(("rejected", Some(*operation), Some(reason))),
        (Verdict::Invalid(reason), _) => Some(("invalid", None, Some(reason))),
        (Verdict::Unknown { operation, reason }, _) => {
            Some(("unknown", Some(*operation), Some(reason)))
        }
        (Verdict::Delivered(operation), Logged::All) => Some(("delivered", Some(*operation), None)),
        (Verdict::Skipped, Logged::All) => Some(("skipped", None, None)),
        _ => None,
    }
}

/// Which settled changes reach the row log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logged {
    Errors,
    All,
}

impl Writer<'_> {
    pub(super) async fn log(&self, run: i64, settled: &[Settled]) -> Result<(), Reason> {
        let mut columns: [Vec<Option<String>>; 7] = Default::default();
        for change in settled {
            let Some((outcome, operation, reason)) = logged(change, self.logged) else {
                continue;
            };
            let cells = [
                Some(change.key.canonical()),
                Some(word(change.kind).to_owned()),
                operation.map(|operation| operation.as_str().to_owned()),
                Some(outcome.to_owned()),
                reason.map(|reason| reason.code.to_string()),
                reason.map(|reason| reason.to_string().replace('\0', "")),
                change.idempotency_key.clone(),
            ];
            for (column, cell) in columns.iter_mut().zip(cells) {
                column.push(cell);
            }
        }
        if columns[0].is_empty() {
            return Ok(());
        }
        let sql = format!(
            "INSERT INTO {} (run, sync_id, key, change, operation, outcome, code, message, idempotency_key) \
             SELECT $1, $2, u.* FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], \
             $8::text[], $9::text[]) AS u",
            self.shape.shared("row_history")
        );
        let mut params: Params<'_> = vec![(&run, Type::INT8), (&self.shape.sync, Type::INT4)];
        for column in &columns {
            params.push((column, Type::TEXT_ARRAY));
        }
        self.run(&sql, &params).await?;
        Ok(())
    }
}
