//! What an error of the server means for the records of a batch.
//!
//! One table from SQLSTATE to *this record*, *the whole batch, try again* or *a person must act*.
//! Must never call a lost answer a refusal, and must never repeat a row's values:
//! the server's detail "Failing row contains (…)" stays behind, because it would show columns that
//! are masked, and of "Key (email)=(…)" only the columns are kept.

use rowcast_core::{Applied, Code, Fault, Reason, progress};
use tokio_postgres::Error;
use tokio_postgres::error::DbError;

pub(super) use rowcast_core::progress::Refusal;

/// Who speaks: what the messages name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speaker<'a> {
    pub(super) destination: &'a str,
    pub(super) table: &'a str,
    /// Row-level security is on: a missing privilege may be about one row.
    pub(super) row_security: bool,
}

impl Speaker<'_> {
    /// Sorts the error of a statement that wrote records, before COMMIT was sent.
    pub(super) fn judge(self, error: &Error) -> Refusal {
        let Some(db) = error.as_db_error() else {
            return Refusal::whole(self.lost(error, Applied::No));
        };
        let state = db.code().code();
        match &state[..2] {
            // Connection, transaction rollback, resources, locks, intervention by an operator.
            "08" | "40" | "53" | "57" => Refusal::whole(self.busy(db)),
            "55" if state == "55P03" || state == "55006" => Refusal::whole(self.busy(db)),
            // The server became a replica, or an idle limit ended the transaction.
            "25" => Refusal::whole(self.busy(db)),
            // A prepared statement of another client behind the same pooler.
            "42" | "26" if matches!(state, "42P05" | "26000") => Refusal::whole(self.busy(db)),
            "42" if state == "42501" && self.row_security => Refusal::Record(self.record(db)),
            "0A" | "26" | "28" | "2D" | "34" | "3B" | "3D" | "3F" | "42" | "58" | "F0" | "HV"
            | "XX" => Refusal::whole(Fault::fatal(self.unfit(db))),
            // Data, constraints, limits of a row, errors raised by triggers.
            _ => Refusal::Record(self.record(db)),
        }
    }

    /// Any failed statement that wrote no records: connection, progress, catalog.
    pub(super) fn fault(self, error: &Error) -> Fault {
        match self.judge(error) {
            Refusal::Whole(fault) => *fault,
            Refusal::Record(reason) => Fault::fatal(reason),
        }
    }

    /// The connection broke.
    fn lost(self, error: &Error, applied: Applied) -> Fault {
        progress::lost(self.destination, words(error), applied)
    }

    /// COMMIT was sent and not confirmed.
    pub(super) fn commit_unconfirmed(self, error: &Error) -> Fault {
        progress::commit_unconfirmed(self.destination, self.table, words(error))
    }

    /// Nothing came back in time.
    pub(super) fn late(self, after: std::time::Duration, applied: Applied) -> Fault {
        let look = "look for locks on the table in pg_stat_activity";
        progress::late(self.destination, after, applied, look)
    }

    fn busy(self, db: &DbError) -> Fault {
        progress::busy(self.destination, said(db))
    }

    fn record(self, db: &DbError) -> Reason {
        let mut message = format!("{} refused a record", self.table);
        if let Some(constraint) = db.constraint() {
            message.push_str(&format!(" (constraint \"{constraint}\")"));
        } else if let Some(column) = db.column() {
            message.push_str(&format!(" (column \"{column}\")"));
        }
        let mut detail = said(db);
        // These details name the key; the others would print the whole row.
        if let Some(more) = db.detail()
            && matches!(db.code().code(), "23505" | "23503")
        {
            detail.push_str(": ");
            detail.push_str(&without_values(more));
        }
        let reason = Reason::new(Code::DestinationRejected, message).detail(detail);
        match db.hint() {
            Some(hint) => reason.hint(hint),
            None => reason,
        }
    }

    fn unfit(self, db: &DbError) -> Reason {
        let reason = Reason::new(
            Code::DestinationObject,
            format!(
                "can't write to {} of destination `{}`",
                self.table, self.destination
            ),
        )
        .detail(said(db));
        match (db.code().code(), db.hint()) {
            ("42501", _) => reason.hint(format!(
                "grant what is missing, as the table's owner: GRANT SELECT, INSERT, UPDATE, DELETE \
                 ON {} TO the role; `rowcast check` names the exact statement",
                self.table
            )),
            ("42P01" | "3F000" | "42703", _) => reason.hint(
                "the table changed while the run went on; run `rowcast check`, then run again",
            ),
            (_, Some(hint)) => reason.hint(hint),
            _ => reason.hint("run `rowcast check` for what is missing"),
        }
    }
}

/// `Key (email)=(a@b.c) already exists.` without what is in the second parentheses. The form is the
/// same in every language of the server.
fn without_values(detail: &str) -> String {
    match (detail.find("=("), detail.rfind(')')) {
        (Some(open), Some(close)) if open + 2 <= close => {
            format!("{}…{}", &detail[..open + 2], &detail[close..])
        }
        _ => detail.to_owned(),
    }
}

/// The server's words with the SQLSTATE.
pub(super) fn said(db: &DbError) -> String {
    format!("PostgreSQL said: {} ({})", db.message(), db.code().code())
}

/// Whatever is known of an error, on one line.
pub(super) fn words(error: &Error) -> String {
    if let Some(db) = error.as_db_error() {
        return said(db);
    }
    let mut out = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        let inner_words = inner.to_string();
        if !out.contains(&inner_words) {
            out.push_str(": ");
            out.push_str(&inner_words);
        }
        source = inner.source();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_without_its_value() {
        assert_eq!(
            without_values("Key (email)=(a@b.c (old)) already exists."),
            "Key (email)=(…) already exists."
        );
    }
}
