//! The shape of a sync's state: its key columns, the names of its tables, keys as parameters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rowcast_core::{Key, KeyPart, Reason};
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::decode::{Cursor, Malformed, int8, text};
use super::forms::{KeyForm, TypeFacts};
use super::recent;
use crate::connect::db_error;
use crate::sql::{ident as quote_ident, literal as quote_literal};

/// One key column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyColumn {
    pub name: String,
    pub facts: TypeFacts,
    pub form: KeyForm,
}

/// Tables and key columns of one sync.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    schema: String,
    pub sync: i32,
    pub keys: Vec<KeyColumn>,
    absent: bool,
    /// Whether rows of state are still in intents, for those who look at it between a run's
    /// acknowledgement and its fold.
    unfolded: Arc<AtomicBool>,
    /// Whether rows of state may have successors in `recent`: they may unless somebody looked.
    recent: Arc<AtomicBool>,
}

impl Shape {
    /// The shape of a sync that has never run: every table is empty. For looking only.
    pub(super) fn absent(keys: Vec<KeyColumn>) -> Self {
        Self {
            schema: String::new(),
            sync: 0,
            keys,
            absent: true,
            unfolded: Arc::default(),
            recent: Arc::default(),
        }
    }

    /// Whether there are no tables yet.
    pub(super) fn is_absent(&self) -> bool {
        self.absent
    }

    /// The shape of a sync's tables.
    pub(super) fn new(schema: &str, sync: i32, keys: Vec<KeyColumn>) -> Self {
        Self {
            schema: schema.to_owned(),
            sync,
            keys,
            absent: false,
            unfolded: Arc::default(),
            recent: Arc::new(AtomicBool::new(true)),
        }
    }

    /// A shared table of the state schema.
    pub(super) fn shared(&self, table: &str) -> String {
        format!("{}.{}", quote_ident(&self.schema), quote_ident(table))
    }

    /// A table of this sync for reading: `state`, `doubt`, `reject`, `frozen`, `intent`, `sent`.
    /// State is a subquery wherever acknowledged rows are, or may be, elsewhere; who writes to the
    /// table of state names it with `own`.
    pub(super) fn table(&self, kind: &str) -> String {
        if self.absent {
            let keys = self.keys.iter().enumerate();
            let columns: Vec<String> = keys
                .map(|(i, key)| format!("NULL::{} AS k{}", key.form.cast(), i + 1))
                .collect();
            return format!(
                "(SELECT {}, NULL::bigint AS h, 0 AS run, 'd'::\"char\" AS mark, NULL::text AS m, \
                 NULL::text AS sent WHERE false)",
                columns.join(", ")
            );
        }
        if kind != "state" {
            return self.own(kind);
        }
        let state = if self.has_recent() {
            recent::overlaid(self)
        } else {
            self.own("state")
        };
        if !self.unfolded.load(Ordering::Acquire) {
            return state;
        }
        let columns = format!("{}, h, run, mark, m", self.names(""));
        format!(
            "(SELECT {columns} FROM {state} AS state UNION ALL \
             SELECT {}, unnest(hs), run, NULL, NULL FROM {} WHERE acknowledged)",
            self.unnested(""),
            self.own("intent"),
        )
    }

    /// What whoever reads state locks before the snapshot is taken: a fold may empty the intents in a
    /// way that does not wait for older snapshots.
    pub(super) fn read_together(&self) -> String {
        format!("{}, {}", self.own("state"), self.own("intent"))
    }

    /// Whether rows of state may have successors in `recent`.
    pub(super) fn has_recent(&self) -> bool {
        self.recent.load(Ordering::Acquire)
    }

    /// From now on rows of state may have successors in `recent`.
    pub(super) fn expect_recent(&self) {
        self.recent.store(true, Ordering::Release);
    }

    /// The name of a table of this sync, which must have run.
    pub(super) fn own(&self, kind: &str) -> String {
        self.shared(&format!("{kind}_{}", self.sync))
    }

    /// Whether acknowledged rows are still in intents (for those who look without the lease: a run
    /// folds them before anything else), and whether any are in `recent`. To be asked in the snapshot
    /// in which state is read.
    ///
    /// # Errors
    /// The database fails.
    pub(super) async fn look_for_unfolded(&self, client: &Client) -> Result<(), Reason> {
        if self.absent {
            return Ok(());
        }
        let ask = async |sql: &str| {
            client
                .query_typed(sql, &[])
                .await
                .map_err(|error| db_error(&error, "reading state"))
        };
        // Layout 1 knows no such intents, and layout 2 no recent rows.
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM {} i WHERE (to_jsonb(i) ->> 'acknowledged')::boolean), \
             to_regclass({}) IS NOT NULL",
            self.own("intent"),
            quote_literal(&self.own("recent")),
        );
        let rows = ask(&sql).await?;
        let (unfolded, has_table) = rows
            .first()
            .map_or((false, false), |row| (row.get(0), row.get(1)));
        let mut recent = has_table;
        if has_table {
            let rows = ask(&format!(
                "SELECT EXISTS (SELECT 1 FROM {})",
                self.own("recent")
            ))
            .await?;
            recent = rows.first().is_some_and(|row| row.get(0));
        }
        self.unfolded.store(unfolded, Ordering::Release);
        self.recent.store(recent, Ordering::Release);
        Ok(())
    }

    /// `unnest(k1), unnest(k2::uuid[])`: the keys of an intent as rows.
    pub(super) fn unnested(&self, prefix: &str) -> String {
        self.each_array(prefix, |array| format!("unnest({array})"))
    }

    /// `k1, k2::uuid[]`: the keys of an intent, of the types that they have in state.
    pub(super) fn arrays(&self, prefix: &str) -> String {
        self.each_array(prefix, |array| array)
    }

    fn each_array(&self, prefix: &str, write: impl Fn(String) -> String) -> String {
        let keys = self.keys.iter().enumerate();
        keys.map(|(i, key)| {
            let array = format!("{prefix}k{}", i + 1);
            write(match &key.form {
                KeyForm::Int | KeyForm::Text => array,
                KeyForm::Numeric | KeyForm::Other(_) => format!("{array}::{}[]", key.form.cast()),
            })
        })
        .collect::<Vec<_>>()
        .join(", ")
    }

    /// `k1, k2` with a prefix before each name.
    pub(super) fn names(&self, prefix: &str) -> String {
        (1..=self.keys.len())
            .map(|i| format!("{prefix}k{i}"))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// `a.k1 = b.k1 AND a.k2 = b.k2`
    pub(super) fn equal(&self, a: &str, b: &str) -> String {
        (1..=self.keys.len())
            .map(|i| format!("{a}.k{i} = {b}.k{i}"))
            .collect::<Vec<_>>()
            .join(" AND ")
    }

    /// The columns of a table that has this key as its primary key.
    pub(super) fn definition(&self) -> String {
        let mut columns = String::new();
        for (i, key) in self.keys.iter().enumerate() {
            columns.push_str(&format!("k{} {} NOT NULL, ", i + 1, key.form.storage()));
        }
        columns
    }

    /// `unnest($1::bigint[], $2::text[], extra…)`: parameters 1..=n are the keys.
    pub(super) fn unnest(&self, extra: &[&str]) -> String {
        let keys = self
            .keys
            .iter()
            .enumerate()
            .map(|(i, key)| key.form.unnest(i + 1));
        let all: Vec<String> = keys
            .chain(extra.iter().map(|&text| text.to_owned()))
            .collect();
        format!("unnest({})", all.join(", "))
    }

    /// The keys on the wire: bigint or text.
    pub(super) fn wire(&self, alias: &str) -> String {
        let parts = self.keys.iter().enumerate();
        parts
            .map(|(i, key)| key.form.wire_form(&format!("{alias}.k{}", i + 1)))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Reads the key columns of a tuple in wire form. `None` when a part is null.
    ///
    /// # Errors
    /// The tuple is cut.
    pub(super) fn read_key(&self, cursor: &mut Cursor<'_>) -> Result<Option<Key>, Malformed> {
        let mut whole = Key::default();
        let mut complete = true;
        for key in &self.keys {
            match (cursor.field()?, &key.form) {
                (None, _) => complete = false,
                (Some(bytes), KeyForm::Int) => whole.0.push(KeyPart::Int(int8(bytes)?)),
                (Some(bytes), KeyForm::Numeric) => {
                    whole.0.push(KeyPart::Decimal(text(bytes)?.into()));
                }
                (Some(bytes), _) => whole.0.push(KeyPart::Text(text(bytes)?.into())),
            }
        }
        Ok(complete.then_some(whole))
    }

    /// A key from the texts of its parts, as a person types them.
    ///
    /// # Errors
    /// The number of parts differs, or a number is expected.
    pub(super) fn parse_key(&self, parts: &[String]) -> Result<Key, Reason> {
        let names = || {
            self.keys
                .iter()
                .map(|key| key.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        let wrong = |message: String| {
            Reason::new(rowcast_core::Code::Usage, message).hint(format!(
                "give the primary key's columns in order: {}",
                names()
            ))
        };
        if parts.len() != self.keys.len() {
            return Err(wrong(format!(
                "the key has {} parts, the model's has {}",
                parts.len(),
                self.keys.len()
            )));
        }
        let mut key = Vec::new();
        for (part, column) in parts.iter().zip(&self.keys) {
            key.push(match column.form {
                KeyForm::Int => KeyPart::Int(part.parse().map_err(|_| {
                    wrong(format!(
                        "key column {} takes a whole number, not {part:?}",
                        column.name
                    ))
                })?),
                KeyForm::Numeric => KeyPart::Decimal(part.as_str().into()),
                _ => KeyPart::Text(part.as_str().into()),
            });
        }
        Ok(Key(key.into()))
    }
}

/// One column of many keys, ready to be a parameter.
#[derive(Debug)]
enum KeyArray {
    Int(Vec<i64>),
    Text(Vec<String>),
}

/// Many keys as array parameters `$1..$n`.
#[derive(Debug)]
pub(super) struct KeyArrays(Vec<KeyArray>);

impl KeyArrays {
    /// No keys yet.
    pub(super) fn new(shape: &Shape) -> Self {
        Self(
            shape
                .keys
                .iter()
                .map(|key| match key.form {
                    KeyForm::Int => KeyArray::Int(Vec::new()),
                    _ => KeyArray::Text(Vec::new()),
                })
                .collect(),
        )
    }

    /// Keys from an iterator.
    pub(super) fn of<'a>(shape: &Shape, keys: impl IntoIterator<Item = &'a Key>) -> Self {
        let mut arrays = Self::new(shape);
        for key in keys {
            arrays.push(key);
        }
        arrays
    }

    /// Appends a key of the same shape.
    pub(super) fn push(&mut self, key: &Key) {
        for (array, part) in self.0.iter_mut().zip(key.0.iter()) {
            match (array, part) {
                (KeyArray::Int(values), KeyPart::Int(value)) => values.push(*value),
                (KeyArray::Int(values), other) => {
                    values.push(other.to_string().parse().unwrap_or_default());
                }
                (KeyArray::Text(values), part) => values.push(part.to_string()),
            }
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        match self.0.first() {
            Some(KeyArray::Int(values)) => values.is_empty(),
            Some(KeyArray::Text(values)) => values.is_empty(),
            None => true,
        }
    }

    /// The parameters with their types.
    pub(super) fn params(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.0
            .iter()
            .map(|array| match array {
                KeyArray::Int(values) => (values as &(dyn ToSql + Sync), Type::INT8_ARRAY),
                KeyArray::Text(values) => (values as &(dyn ToSql + Sync), Type::TEXT_ARRAY),
            })
            .collect()
    }
}
