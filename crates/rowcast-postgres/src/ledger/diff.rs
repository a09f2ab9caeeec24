//! The comparison as SQL: model and state, one statement, one snapshot.
//!
//! The filter is null-safe (semantics 7): a removed row and a doubt both have a null on one side.
//! Every tuple that leaves the server has the layout that `tuple` reads; the merge on the worker
//! (`merge`) makes the same layout from two streams.

mod ordered;

use rowcast_core::{Key, KeyPart};

use super::forms::{KeyForm, TypeFacts, quote_type};
use super::matching::{self, MatchColumn};
use super::plan::HashPlan;
use super::shape::{KeyColumn, Shape};
use crate::sql::{ident as quote_ident, literal as quote_literal};

/// The temporary table of the narrow form.
const STAGED: &str = "rowcast_changes";
/// Its first columns, and those between the keys on the wire and the keys of the table.
const HEAD: [&str; 3] = [
    "NULL::\"char\" AS op",
    "NULL::boolean AS in_state",
    "NULL::boolean AS tombstone",
];
const CHECKSUM_AND_RETRIES: [&str; 6] = [
    "NULL::bigint AS h",
    "NULL::integer AS attempts",
    "NULL::boolean AS due",
    "NULL::integer AS first_run",
    "NULL::\"char\" AS doubt_op",
    "NULL::integer AS doubt_run",
];

/// A column of the model that the mapping reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DataColumn {
    pub name: String,
    pub facts: TypeFacts,
}

/// Everything the statement depends on.
#[derive(Debug, Clone)]
pub(super) struct DiffSql<'a> {
    pub shape: &'a Shape,
    pub plan: &'a HashPlan,
    /// The FROM item of the model with the alias `m`.
    pub relation: &'a str,
    /// `where:` of the sync.
    pub filter: Option<&'a str>,
    pub data: &'a [DataColumn],
    pub matching: Option<&'a [MatchColumn]>,
    pub keep_rows: bool,
    /// Whether rejects or doubts exist at all: without them their joins cost nothing.
    pub has_retries: bool,
    pub retry_runs: u32,
    pub retry_seconds: u64,
    /// Keys the run is narrowed to; empty for all.
    pub keys: &'a [Key],
    /// Duplicate keys that are neither sent nor removed.
    pub frozen: &'a [Key],
    /// `cursor >= watermark - overlap`, SQL over `m`: reads only those and the retried keys.
    pub cursor: Option<&'a str>,
    /// Whether the cursor run also looks for removed rows (semantics 18).
    pub cursor_removals: bool,
    /// The cursor's value, SQL over `m`, which comes with every tuple.
    pub cursor_column: Option<&'a str>,
    /// The part of the rows that this statement compares; `None` for all of them.
    pub range: Option<&'a Range>,
    /// Whether a query's rows are asked for in the order of the key.
    pub sorted: bool,
}

/// One of two parts of all rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Range {
    Below(Bound),
    From(Bound),
}

/// Where the two parts meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bound {
    /// A value of the first key column: model and state are divided alike.
    Key(KeyPart),
    /// A page of the table. Nothing else is divided by it, so it is for a comparison without state.
    Page(i64),
}

impl DiffSql<'_> {
    /// Whether unchanged rows are streamed too, because they can't be counted otherwise.
    pub(super) fn streams_unchanged(&self) -> bool {
        self.cursor.is_some() || !self.keys.is_empty()
    }

    /// The model's side: key, checksum, match values, mapped columns.
    fn model(&self, with_data: bool) -> String {
        let mut columns = vec!["true AS p".to_owned()];
        for (i, key) in self.shape.keys.iter().enumerate() {
            let column = format!("m.{}", quote_ident(&key.name));
            columns.push(format!(
                "{} AS k{}",
                key.form.join_form(&column, &key.facts),
                i + 1
            ));
        }
        columns.push(format!("{} AS h", self.plan.checksum_sql()));
        if let Some(columns_of_match) = self.matching {
            columns.push(format!("{} AS mt", matching::sql(columns_of_match)));
        }
        if let Some(cursor) = self.cursor_column {
            columns.push(format!("({cursor})::text AS cur"));
        }
        if with_data {
            for (i, column) in self.data.iter().enumerate() {
                let (read, _) = column
                    .facts
                    .read_form(&format!("m.{}", quote_ident(&column.name)));
                columns.push(format!("{read} AS c{}", i + 1));
            }
        } else {
            for (i, key) in self.shape.keys.iter().enumerate() {
                columns.push(format!("{} AS m{}", own_key(key), i + 1));
            }
        }
        format!("SELECT {} FROM {}", columns.join(", "), self.model_source())
    }

    /// The model's FROM item with everything that narrows it.
    pub(super) fn model_source(&self) -> String {
        // Checksum and columns both read what a query computes: without the fence the server would
        // compute it for each of them. Conditions must reach the query's own tables instead.
        if self.is_fenced() {
            let order = if self.sorted {
                let keys: Vec<String> = (0..self.shape.keys.len())
                    .map(|i| self.model_key(i))
                    .collect();
                format!(" ORDER BY {}", keys.join(", "))
            } else {
                String::new()
            };
            return format!("(SELECT * FROM {}{order} OFFSET 0) m", self.relation);
        }
        let conditions = self.conditions();
        if conditions.is_empty() {
            return self.relation.to_owned();
        }
        format!("{}\nWHERE {}", self.relation, conditions.join("\nAND "))
    }

    /// Whether the model is a query that is read whole.
    pub(super) fn is_fenced(&self) -> bool {
        self.relation.starts_with('(') && self.conditions().is_empty()
    }

    fn model_key(&self, i: usize) -> String {
        let key = &self.shape.keys[i];
        let column = format!("m.{}", quote_ident(&key.name));
        key.form.join_form(&column, &key.facts)
    }

    /// What narrows the model's rows.
    fn conditions(&self) -> Vec<String> {
        let mut conditions = Vec::new();
        if let Some(filter) = self.filter {
            conditions.push(format!("(\n{filter}\n)"));
        }
        let model_key = |i: usize| self.model_key(i);
        conditions.extend(self.within(&model_key));
        if !self.keys.is_empty() {
            conditions.push(self.among(self.keys, &model_key));
        }
        if !self.frozen.is_empty() {
            conditions.push(format!(
                "({}) IS NOT TRUE",
                self.among(self.frozen, &model_key)
            ));
        }
        if let Some(cursor) = self.cursor {
            let mut either = format!("({cursor})");
            if self.has_retries {
                for table in ["reject", "doubt"] {
                    let equal: Vec<String> = (0..self.shape.keys.len())
                        .map(|i| format!("x.k{} = {}", i + 1, model_key(i)))
                        .collect();
                    either.push_str(&format!(
                        " OR EXISTS (SELECT 1 FROM {} x WHERE {})",
                        self.shape.table(table),
                        equal.join(" AND ")
                    ));
                }
            }
            conditions.push(format!("({either})"));
        }
        conditions
    }

    /// The state's side, narrowed as the model's.
    fn state(&self) -> String {
        let mut conditions = Vec::new();
        let key = |i: usize| format!("t.k{}", i + 1);
        conditions.extend(self.within(&key));
        if !self.keys.is_empty() {
            conditions.push(self.among(self.keys, &key));
        }
        if !self.frozen.is_empty() {
            conditions.push(format!("({}) IS NOT TRUE", self.among(self.frozen, &key)));
        }
        if conditions.is_empty() {
            return self.shape.table("state");
        }
        format!(
            "(SELECT * FROM {} t WHERE {})",
            self.shape.table("state"),
            conditions.join(" AND ")
        )
    }

    /// The condition that keeps a side within the run's range. Keys that are null lie in none: a
    /// range of keys is only taken of columns that can't be.
    fn within(&self, column: &dyn Fn(usize) -> String) -> Option<String> {
        let (bound, operator) = match self.range? {
            Range::Below(bound) => (bound, "<"),
            Range::From(bound) => (bound, ">="),
        };
        Some(match bound {
            Bound::Key(part) => {
                let value = literal(part, &self.shape.keys.first()?.form);
                format!("{} {operator} {value}", column(0))
            }
            Bound::Page(page) => format!("m.ctid {operator} '({page},0)'::pg_catalog.tid"),
        })
    }

    fn among(&self, keys: &[Key], column: &dyn Fn(usize) -> String) -> String {
        let row = |key: &Key| {
            let parts: Vec<String> = key
                .0
                .iter()
                .zip(&self.shape.keys)
                .map(|(part, column)| literal(part, &column.form))
                .collect();
            format!("({})", parts.join(", "))
        };
        let columns: Vec<String> = (0..self.shape.keys.len()).map(column).collect();
        let rows: Vec<String> = keys.iter().map(row).collect();
        format!("({}) IN ({})", columns.join(", "), rows.join(", "))
    }

    /// The whole comparison in one statement (the wide form).
    pub(super) fn wide(&self) -> String {
        self.compare(false)
    }

    /// The statement of either form: with the mapped columns, or only with what finds them again.
    pub(super) fn compare(&self, narrow: bool) -> String {
        let n = self.shape.keys.len();
        let keys: Vec<String> = (1..=n)
            .map(|i| format!("coalesce(n.k{i}, s.k{i})"))
            .collect();
        let wire: Vec<String> = self
            .shape
            .keys
            .iter()
            .zip(&keys)
            .map(|(key, expression)| key.form.wire_form(expression))
            .collect();
        let null_key: Vec<String> = (1..=n).map(|i| format!("n.k{i} IS NULL")).collect();
        let changed = if self.plan.judges_anew {
            "n.h IS DISTINCT FROM s.h OR s.mark IN ('t', 's')"
        } else {
            "n.h IS DISTINCT FROM s.h OR s.mark = 't'"
        };
        let mut columns = vec![
            format!(
                "(CASE WHEN n.p IS NULL THEN 'D' WHEN {} THEN 'N' WHEN s.k1 IS NULL OR s.mark = 'n' THEN 'A' \
                 WHEN {changed} THEN 'U' ELSE '=' END)::\"char\"",
                null_key.join(" OR ")
            ),
            "s.k1 IS NOT NULL".into(),
            "coalesce(s.mark = 't', false)".into(),
        ];
        columns.extend(wire);
        columns.push("n.h".into());
        let mut joins = String::new();
        let mut ctes = Vec::new();
        if self.has_retries {
            columns.push("r.attempts".into());
            columns.push(format!(
                "(r.h IS DISTINCT FROM n.h OR r.forced OR (r.attempts <= {} AND r.first_at > now() - interval '{} seconds'))",
                self.retry_runs, self.retry_seconds
            ));
            columns.push("r.first_run".into());
            columns.push("d.op".into());
            columns.push("d.run".into());
            for (table, alias) in [("reject", "r"), ("doubt", "d")] {
                let equal: Vec<String> = keys
                    .iter()
                    .enumerate()
                    .map(|(i, key)| format!("{alias}.k{} = {key}", i + 1))
                    .collect();
                joins.push_str(&format!(
                    "\nLEFT JOIN {} {alias} ON {}",
                    self.shape.table(table),
                    equal.join(" AND ")
                ));
            }
        }
        if self.matching.is_some() {
            let key_texts: Vec<String> = (1..=n).map(|i| format!("n.k{i}::text")).collect();
            ctes.push(format!("n AS MATERIALIZED (\n{}\n)", self.model(true)));
            // Who claims what is a question about all rows, however few this run looks at.
            let everyone = if self.keys.is_empty() && self.frozen.is_empty() {
                "n"
            } else {
                ctes.push(format!("e AS MATERIALIZED (\n{}\n)", self.claimants()));
                "e"
            };
            ctes.push(format!(
                "claims AS (SELECT n.mt, count(*) AS number, min(t) AS first, max(t) AS last \
                 FROM (SELECT n.mt, jsonb_build_array({})::text AS t FROM {everyone} n WHERE n.mt IS NOT NULL) n GROUP BY n.mt)",
                key_texts.join(", ")
            ));
            // Identities that a present row claims and, by its own state, holds already.
            ctes.push(format!(
                "holders AS (SELECT n.mt AS m FROM {everyone} n JOIN {} t ON {} AND t.m = n.mt AND t.h IS NOT NULL GROUP BY n.mt)",
                self.shape.table("state"),
                self.shape.equal("n", "t"),
            ));
            joins.push_str("\nLEFT JOIN claims c ON c.mt = n.mt");
            joins.push_str("\nLEFT JOIN claims o ON o.mt = s.m AND s.m IS DISTINCT FROM n.mt");
            joins.push_str("\nLEFT JOIN holders g ON g.m = s.m");
            columns.push("s.m".into());
            columns.push("n.mt".into());
            columns.push(format!(
                "CASE WHEN c.number > 1 THEN CASE WHEN c.first = jsonb_build_array({})::text THEN c.last ELSE c.first END END",
                key_texts.join(", ")
            ));
            columns.push("o.mt IS NOT NULL".into());
            columns.push("g.m IS NOT NULL".into());
        }
        if self.keep_rows && !narrow {
            let equal = self.shape.equal("v", "s");
            joins.push_str(&format!(
                "\nLEFT JOIN {} v ON {equal}",
                self.shape.table("sent")
            ));
            columns.push("v.sent".into());
        }
        if self.cursor_column.is_some() {
            columns.push("n.cur".into());
        }
        let model = if narrow {
            columns.extend((1..=n).map(|i| format!("n.m{i}")));
            // The fence keeps the planner from carrying whole rows of the table through the join.
            format!("(\n{}\nOFFSET 0)", self.model(false))
        } else {
            columns.extend((1..=self.data.len()).map(|i| format!("n.c{i}")));
            format!("(\n{}\n)", self.model(true))
        };
        let model = if ctes.is_empty() {
            model
        } else {
            String::new()
        };
        let with = if ctes.is_empty() {
            String::new()
        } else {
            format!("WITH {}\n", ctes.join(",\n"))
        };
        let join = match (self.cursor.is_some(), self.cursor_removals) {
            (true, false) => "LEFT JOIN",
            _ => "FULL JOIN",
        };
        let filter = if self.streams_unchanged() {
            if self.cursor.is_some() && self.cursor_removals {
                // Rows of state outside the window are looked up by key alone below.
                format!(
                    "\nWHERE n.p OR NOT EXISTS (SELECT 1 FROM ({}) x WHERE {})",
                    self.model_keys(),
                    self.shape.equal("x", "s")
                )
            } else {
                String::new()
            }
        } else {
            format!(
                "\nWHERE (n.p IS NULL AND s.mark IS DISTINCT FROM 't') OR s.k1 IS NULL OR (n.p AND ({changed})){}",
                if self.has_retries {
                    " OR r.k1 IS NOT NULL"
                } else {
                    ""
                }
            )
        };
        let filter = if self.streams_unchanged() {
            let tombs = "NOT (n.p IS NULL AND s.mark IS NOT DISTINCT FROM 't')";
            if filter.is_empty() {
                format!("\nWHERE {tombs}")
            } else {
                format!("{filter} AND {tombs}")
            }
        } else {
            filter
        };
        format!(
            "{with}SELECT {}\nFROM {model} n\n{join} {} s ON {}{joins}{filter}",
            columns.join(", "),
            self.state(),
            self.shape.equal("n", "s"),
        )
    }

    /// The temporary table of the narrow form. Names of keys and of the table only: nothing that a
    /// person wrote is run before the transaction is read-only.
    pub(super) fn stage(&self) -> String {
        let mut columns: Vec<String> = HEAD.iter().map(|&column| column.to_owned()).collect();
        for (i, key) in self.shape.keys.iter().enumerate() {
            columns.push(format!("NULL::{} AS w{}", key.form.wire_type(), i + 1));
        }
        columns.extend(CHECKSUM_AND_RETRIES.iter().map(|&column| column.to_owned()));
        for (i, key) in self.shape.keys.iter().enumerate() {
            columns.push(format!("{} AS m{}", own_key(key), i + 1));
        }
        format!(
            "CREATE TEMP TABLE {STAGED} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA",
            columns.join(", "),
            self.relation
        )
    }

    /// The name of the temporary table.
    pub(super) fn staged() -> String {
        format!("pg_temp.{STAGED}")
    }

    /// Compares keys and checksums into the temporary table.
    pub(super) fn fill(&self) -> String {
        format!("INSERT INTO pg_temp.{STAGED}\n{}", self.compare(true))
    }

    /// The staged changes with the mapped columns of their rows, in the layout of the wide form.
    pub(super) fn fetch(&self) -> String {
        let keys = || self.shape.keys.iter().enumerate();
        let mut columns = vec!["d.op, d.in_state, d.tombstone".to_owned()];
        columns.extend(keys().map(|(i, _)| format!("d.w{}", i + 1)));
        columns.push("d.h, d.attempts, d.due, d.first_run, d.doubt_op, d.doubt_run".into());
        let mut sent = String::new();
        if self.keep_rows {
            let equal: Vec<String> = keys()
                .map(|(i, key)| {
                    format!(
                        "v.k{} = {}",
                        i + 1,
                        key.form.stored(&format!("d.w{}", i + 1))
                    )
                })
                .collect();
            columns.push("v.sent".into());
            sent = format!(
                "\nLEFT JOIN {} v ON {}",
                self.shape.table("sent"),
                equal.join(" AND ")
            );
        }
        for column in self.data {
            let (read, _) = column
                .facts
                .read_form(&format!("m.{}", quote_ident(&column.name)));
            columns.push(read);
        }
        let mut equal = Vec::new();
        for (i, key) in keys() {
            let column = format!("m.{}", quote_ident(&key.name));
            equal.push(format!("{column} = d.m{}", i + 1));
            if key.form == KeyForm::Text {
                // What the column's type calls equal may differ in case.
                let exact = key.form.join_form(&column, &key.facts);
                equal.push(format!(
                    "{exact} = {}",
                    key.form.stored(&format!("d.w{}", i + 1))
                ));
            }
        }
        format!(
            "SELECT {}\nFROM pg_temp.{STAGED} d\nLEFT JOIN {} ON {}{sent}",
            columns.join(", "),
            self.relation,
            equal.join(" AND ")
        )
    }

    /// Keys and match values of all rows, whatever the run is narrowed to.
    fn claimants(&self) -> String {
        let matching = matching::sql(self.matching.unwrap_or_default());
        self.keys_and(Some(format!("{matching} AS mt")))
    }

    /// Only the keys of the model, for the anti-join of a cursor run under mirror.
    fn model_keys(&self) -> String {
        self.keys_and(None)
    }

    fn keys_and(&self, more: Option<String>) -> String {
        let keys = self.shape.keys.iter().zip(1..);
        let keys = keys.map(|(key, i)| {
            let column = format!("m.{}", quote_ident(&key.name));
            format!("{} AS k{i}", key.form.join_form(&column, &key.facts))
        });
        let columns: Vec<String> = keys.chain(more).collect();
        let filter = self
            .filter
            .map(|filter| format!("\nWHERE (\n{filter}\n)"))
            .unwrap_or_default();
        format!(
            "SELECT {} FROM {}{filter}",
            columns.join(", "),
            self.relation
        )
    }

    /// Keys that the model returns more than once, at most `limit`, with the number of rows.
    pub(super) fn duplicates(&self, limit: usize) -> String {
        let names = self.shape.names("d.");
        let nulls: Vec<String> = (1..=self.shape.keys.len())
            .map(|i| format!("d.k{i} IS NOT NULL"))
            .collect();
        let texts: Vec<String> = self
            .shape
            .keys
            .iter()
            .enumerate()
            .map(|(i, _)| format!("d.k{}::text", i + 1))
            .collect();
        format!(
            "SELECT ARRAY[{}], count(*) FROM (\n{}\n) d WHERE {} GROUP BY {names} HAVING count(*) > 1 LIMIT {limit}",
            texts.join(", "),
            self.model_keys(),
            nulls.join(" AND "),
        )
    }
}

/// The key column in its base type: what finds the row by the table's own index.
fn own_key(key: &KeyColumn) -> String {
    format!(
        "m.{}::{}",
        quote_ident(&key.name),
        quote_type(&key.facts.base)
    )
}

/// A key part as a literal of its stored type.
fn literal(part: &KeyPart, form: &KeyForm) -> String {
    match (part, form) {
        (KeyPart::Int(value), _) => format!("'{value}'::bigint"),
        (part, KeyForm::Text) => format!("{}::text", quote_literal(&part.to_string())),
        (part, form) => format!("{}::{}", quote_literal(&part.to_string()), form.cast()),
    }
}
