//! The row log: what became of single rows, in words (semantics 27).

use rowcast_core::{Code, Kind, Operation, Reason, Settled, Verdict};
use tokio_postgres::types::{ToSql, Type};

use super::commit::Writer;
use super::flight::Flight;

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
        (Verdict::SkippedFor(reason), level)
            if level == Logged::All || reason.code == Code::ConsentMissing =>
        {
            Some(("skipped", None, Some(reason)))
        }
        _ => None,
    }
}

/// Which settled changes reach the row log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logged {
    Errors,
    All,
}

/// Lines of the row log, by columns.
#[derive(Debug)]
pub(super) struct LogRows([Vec<Option<String>>; 7]);

impl LogRows {
    /// The lines of settled changes.
    pub(super) fn new(settled: &[Settled], level: Logged) -> Self {
        let mut rows = Self(Default::default());
        rows.extend(settled, level);
        rows
    }

    /// Adds the lines of more settled changes.
    pub(super) fn extend(&mut self, settled: &[Settled], level: Logged) {
        for change in settled {
            let Some((outcome, operation, reason)) = logged(change, level) else {
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
            for (column, cell) in self.0.iter_mut().zip(cells) {
                column.push(cell);
            }
        }
    }
}

impl Writer<'_> {
    pub(super) fn log<'f>(&self, flight: &mut Flight<'f>, run: i64, rows: &'f LogRows) {
        if rows.0[0].is_empty() {
            return;
        }
        let sql = format!(
            "INSERT INTO {} (run, sync_id, key, change, operation, outcome, code, message, idempotency_key) \
             SELECT {run}, {}, u.* FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], \
             $6::text[], $7::text[]) AS u",
            self.shape.shared("row_history"),
            self.shape.sync
        );
        let columns = rows.0.iter();
        flight.push(
            sql,
            columns
                .map(|column| (column as &(dyn ToSql + Sync), Type::TEXT_ARRAY))
                .collect(),
        );
    }
}
