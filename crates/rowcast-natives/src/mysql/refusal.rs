//! What an error of the server means for the records of a batch.
//!
//! One table from error number to *this record*, *the whole batch, try again* or *a person must
//! act*. Must never call a lost answer a refusal, and never repeat a row's values: messages such as
//! `Duplicate entry 'a@b.c' for key 'email'` are cut down to what they say of the table.

use mysql_async::{Error, ServerError};
use rowcast_core::{Applied, Code, Fault, Reason, progress};

pub(super) use rowcast_core::progress::Refusal;

/// Who speaks: what the messages name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speaker<'a> {
    pub(super) destination: &'a str,
    pub(super) table: &'a str,
}

/// Duplicate value for a unique index.
const DUPLICATE: u16 = 1062;

impl Speaker<'_> {
    /// Sorts the error of a statement that wrote records, before COMMIT was sent.
    pub(super) fn judge(self, error: &Error) -> Refusal {
        let Error::Server(said) = error else {
            return Refusal::whole(self.lost(error, Applied::No));
        };
        match said.code {
            // Too many connections, memory, disk, shutdown, lock waits, deadlocks, limits of users,
            // interrupted, read-only, a cluster that is not ready, statements that took too long.
            1021 | 1037 | 1038 | 1040 | 1041 | 1053 | 1114 | 1180 | 1203 | 1205 | 1206 | 1213
            | 1226 | 1290 | 1317 | 1047 | 1792 | 1836 | 1927 | 1969 | 3024 | 3058 | 3101 | 4031 => {
                Refusal::whole(self.busy(said))
            }
            // Login, expired passwords, hosts that are not let in.
            1045 | 1129 | 1130 | 1251 | 1698 | 1820 | 1862 | 3118 | 3955 => {
                Refusal::whole(self.login_refused(said))
            }
            // Databases, tables, columns, privileges, syntax.
            1044 | 1049 | 1054 | 1064 | 1109 | 1142 | 1143 | 1146 | 1227 | 1295 | 1305 | 1356
            | 1370 | 1449 | 1036 | 3105 | 1906 => Refusal::whole(Fault::fatal(self.unfit(said))),
            // Data and constraints.
            _ => Refusal::Record(self.record(said)),
        }
    }

    /// Any failed statement that wrote no records: connection, progress, catalog.
    pub(super) fn fault(self, error: &Error) -> Fault {
        match self.judge(error) {
            Refusal::Whole(fault) => *fault,
            Refusal::Record(reason) => Fault::fatal(reason),
        }
    }

    fn lost(self, error: &Error, applied: Applied) -> Fault {
        progress::lost(self.destination, error.to_string(), applied)
    }

    /// COMMIT was sent and not confirmed.
    pub(super) fn commit_unconfirmed(self, error: &Error) -> Fault {
        progress::commit_unconfirmed(self.destination, self.table, error.to_string())
    }

    /// Nothing came back in time.
    pub(super) fn late(self, after: std::time::Duration, applied: Applied) -> Fault {
        let look = "look for locks with SHOW ENGINE INNODB STATUS";
        progress::late(self.destination, after, applied, look)
    }

    fn busy(self, said: &ServerError) -> Fault {
        progress::busy(self.destination, words(said))
    }

    fn login_refused(self, said: &ServerError) -> Fault {
        Fault::fatal(
            Reason::new(
                Code::DestinationAuth,
                format!(
                    "the server refused the login of destination `{}`",
                    self.destination
                ),
            )
            .detail(words(said))
            .hint("correct `user` and `password`, then run `rowcast check`"),
        )
    }

    fn record(self, said: &ServerError) -> Reason {
        let code = if said.code == 1153 || said.code == 1301 {
            Code::RecordTooLarge
        } else {
            Code::DestinationRejected
        };
        Reason::new(code, format!("{} refused a record", self.table)).detail(words(said))
    }

    fn unfit(self, said: &ServerError) -> Reason {
        let reason = Reason::new(
            Code::DestinationObject,
            format!(
                "can't write to {} of destination `{}`",
                self.table, self.destination
            ),
        )
        .detail(words(said));
        match said.code {
            1044 | 1142 | 1143 | 1227 | 1370 => reason.hint(format!(
                "grant what is missing: GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO the user; \
                 `rowcast check` names what is missing",
                self.table
            )),
            _ => reason.hint("run `rowcast check` for what is missing"),
        }
    }
}

/// Whether a record with the same unique value is there.
pub(super) fn is_duplicate(error: &Error) -> bool {
    matches!(error, Error::Server(said) if said.code == DUPLICATE)
}

/// The server's words with the number, without values of the row.
pub(super) fn words(said: &ServerError) -> String {
    format!(
        "the server said: {} ({})",
        without_values(&said.message),
        said.code
    )
}

/// A message without what stands between apostrophes, except the names that come last: `for key
/// 'email'`, `for column 'amount' at row 3`, and names with dots and backticks.
fn without_values(message: &str) -> String {
    let named = [
        "for key ",
        "column ",
        "Column ",
        "CONSTRAINT ",
        "Field ",
        "table ",
        "Table ",
        "user ",
        "database ",
    ];
    let mut out = String::new();
    let mut rest = message;
    while let Some(at) = rest.find('\'') {
        let (before, quoted) = rest.split_at(at);
        out.push_str(before);
        let Some((inside, after)) = quoted[1..].split_once('\'') else {
            // No second apostrophe: what follows may be the middle of a value.
            out.push('…');
            return out;
        };
        if named.iter().any(|name| before.ends_with(name)) || out.contains("Access denied") {
            out.push_str(&format!("'{inside}'"));
        } else {
            out.push_str("'…'");
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_column_and_not_the_value() {
        for (said, kept) in [
            (
                "Duplicate entry 'a@b.c' for key 'email'",
                "Duplicate entry '…' for key 'email'",
            ),
            (
                "Incorrect decimal value: 'x1' for column `shop`.`t`.`amount` at row 3",
                "Incorrect decimal value: '…' for column `shop`.`t`.`amount` at row 3",
            ),
            (
                "Data too long for column 'name' at row 1",
                "Data too long for column 'name' at row 1",
            ),
            ("Duplicate entry 'it's", "Duplicate entry '…'s"),
            (
                "Access denied for user 'rowcast'@'localhost' (using password: YES)",
                "Access denied for user 'rowcast'@'localhost' (using password: YES)",
            ),
        ] {
            let shown = without_values(said);
            assert!(!shown.contains("a@b.c") && !shown.contains("x1"), "{shown}");
            if !said.contains("it's") {
                assert_eq!(shown, kept);
            }
        }
    }
}
