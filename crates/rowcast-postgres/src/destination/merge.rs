//! The one statement that carries out an operation for many records.
//!
//! Records arrive as one array of texts for each column, or in a temporary table that a COPY has
//! filled. Every text is cast to the column's base type inside the statement, so a part of a batch
//! runs by sending a part of the arrays. Rows that already hold the values are not written again:
//! the comparison is by image (`*<>`), which works for every type and sees what `=` overlooks (the
//! case of a citext, the scale of a numeric).

use rowcast_core::Operation;

use super::name::TableName;
use super::target::{Column, Target};
use crate::sql::ident;

/// Which columns the records of a statement carry: the match columns first, then the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    /// Positions in `Target::columns`.
    pub(super) matches: Vec<usize>,
    /// Positions in `Target::columns`. Only an update may name a match column here, too.
    pub(super) sets: Vec<usize>,
}

impl Shape {
    /// All columns, in the order in which records carry them.
    pub(super) fn all(&self) -> impl Iterator<Item = usize> {
        self.matches.iter().chain(&self.sets).copied()
    }
}

/// Where the records of a statement are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source<'a> {
    /// In its parameters: one `text[]` for each column of the shape.
    Arrays,
    /// In a temporary table with the columns `c0`, `c1`, … of the shape and, where the operation
    /// needs ordinals, `n`.
    Table {
        name: &'a str,
        /// Which of the columns hold text that is still to be cast.
        texts: &'a [bool],
    },
}

/// Whether an operation's statement answers with ordinals of records.
pub(super) fn numbered(operation: Operation) -> bool {
    matches!(operation, Operation::Insert | Operation::Update)
}

/// The statement for an operation.
///
/// An insert answers `(found bigint[], written bigint)`, an update `(missing bigint[], written
/// bigint)`, both with ordinals from 1; the others answer nothing.
pub(super) fn statement(
    operation: Operation,
    table: &TableName,
    target: &Target,
    shape: &Shape,
    source: Source<'_>,
) -> String {
    let maker = Maker {
        table,
        target,
        shape,
        source,
        numbered: numbered(operation),
    };
    match operation {
        Operation::Upsert => maker.upsert(),
        Operation::Insert => maker.insert(),
        Operation::Update => maker.update(),
        Operation::Delete => maker.delete(),
    }
}

struct Maker<'a> {
    table: &'a TableName,
    target: &'a Target,
    shape: &'a Shape,
    source: Source<'a>,
    numbered: bool,
}

impl Maker<'_> {
    fn column(&self, position: usize) -> &Column {
        &self.target.columns[position]
    }

    fn all(&self) -> impl Iterator<Item = &Column> {
        self.shape.all().map(|position| self.column(position))
    }

    fn names(&self) -> String {
        join(self.all().map(|column| ident(&column.name)))
    }

    fn matches(&self) -> String {
        join(
            self.shape
                .matches
                .iter()
                .map(|at| ident(&self.column(*at).name)),
        )
    }

    /// `records(v0, v1, …, n)`: the batch, typed and numbered.
    fn records(&self) -> String {
        match self.source {
            Source::Arrays => self.unnested(),
            Source::Table { name, texts } => self.copied(name, texts),
        }
    }

    fn copied(&self, name: &str, texts: &[bool]) -> String {
        let values = join(self.all().zip(texts).enumerate().map(
            |(n, (column, text))| match text {
                true => format!("b.c{n}::{} AS v{n}", column.cast),
                false => format!("b.c{n} AS v{n}"),
            },
        ));
        let ordinal = if self.numbered { ", b.n" } else { "" };
        format!("records AS NOT MATERIALIZED (SELECT {values}{ordinal} FROM {name} AS b)")
    }

    fn unnested(&self) -> String {
        let arrays = join((1..=self.all().count()).map(|n| format!("pg_catalog.unnest(${n})")));
        let inputs = join((0..self.all().count()).map(|n| format!("c{n}")));
        let casts = join(
            self.all()
                .enumerate()
                .map(|(n, column)| format!("r.c{n}::{} AS v{n}", column.cast)),
        );
        format!(
            "records AS MATERIALIZED (SELECT {casts}, r.n FROM ROWS FROM ({arrays}) WITH ORDINALITY \
             AS r({inputs}, n))"
        )
    }

    /// The target's match columns equal the record's.
    fn matched(&self) -> String {
        let pairs = self.shape.matches.iter().enumerate().map(|(n, at)| {
            let column = self.column(*at);
            format!("t.{} {} r.v{n}", ident(&column.name), column.equals)
        });
        pairs.collect::<Vec<_>>().join(" AND ")
    }

    fn overriding(&self) -> &'static str {
        if self.all().any(|column| column.identity_always) {
            " OVERRIDING SYSTEM VALUE"
        } else {
            ""
        }
    }

    fn values(&self) -> String {
        join((0..self.all().count()).map(|n| format!("r.v{n}")))
    }

    fn upsert(&self) -> String {
        // A loose match column may differ although it matched; it takes the new form.
        let loose = self
            .shape
            .matches
            .iter()
            .filter(|at| self.column(**at).loose);
        let written: Vec<&Column> = self
            .shape
            .sets
            .iter()
            .chain(loose)
            .map(|at| self.column(*at))
            .filter(|column| !column.identity_always)
            .collect();
        let action = if written.is_empty() {
            "NOTHING".to_owned()
        } else {
            let sets = join(written.iter().map(|column| {
                let name = ident(&column.name);
                format!("{name} = EXCLUDED.{name}")
            }));
            let side = |side: &str| {
                join(
                    written
                        .iter()
                        .map(|column| format!("{side}.{}", ident(&column.name))),
                )
            };
            format!(
                "UPDATE SET {sets} WHERE ROW({})::record OPERATOR(pg_catalog.*<>) ROW({})::record",
                side("t"),
                side("EXCLUDED")
            )
        };
        format!(
            "WITH {} INSERT INTO {} AS t ({}){} SELECT {} FROM records AS r ON CONFLICT ({}) DO {action}",
            self.records(),
            self.table,
            self.names(),
            self.overriding(),
            self.values(),
            self.matches(),
        )
    }

    fn insert(&self) -> String {
        let conflict = if self.target.unique_over(&self.shape.matches) {
            format!(" ON CONFLICT ({}) DO NOTHING", self.matches())
        } else {
            String::new()
        };
        format!(
            "WITH {}, found AS (SELECT r.n FROM records AS r WHERE EXISTS (SELECT 1 FROM {table} AS t \
             WHERE {})), written AS (INSERT INTO {table} ({}){} SELECT {} FROM records AS r WHERE \
             NOT EXISTS (SELECT 1 FROM found WHERE found.n = r.n){conflict} RETURNING 1) SELECT \
             ARRAY(SELECT n FROM found), (SELECT pg_catalog.count(*) FROM written)",
            self.records(),
            self.matched(),
            self.names(),
            self.overriding(),
            self.values(),
            table = self.table,
        )
    }

    fn update(&self) -> String {
        let first = self.shape.matches.len();
        let written: Vec<(usize, &Column)> = self
            .shape
            .sets
            .iter()
            .enumerate()
            .map(|(n, at)| (first + n, self.column(*at)))
            .filter(|(_, column)| !column.identity_always)
            .collect();
        let change = if written.is_empty() {
            "written AS (SELECT 1 WHERE false)".to_owned()
        } else {
            // Both sides as the base type: an image is compared only with its own kind.
            format!(
                "written AS (UPDATE {} AS t SET {} FROM records AS r WHERE {} AND ROW({})::record \
                 OPERATOR(pg_catalog.*<>) ROW({})::record RETURNING 1)",
                self.table,
                join(
                    written
                        .iter()
                        .map(|(n, column)| format!("{} = r.v{n}", ident(&column.name)))
                ),
                self.matched(),
                join(written.iter().map(|(_, column)| format!(
                    "t.{}::{}",
                    ident(&column.name),
                    column.cast
                ))),
                join(written.iter().map(|(n, _)| format!("r.v{n}"))),
            )
        };
        format!(
            "WITH {}, missing AS (SELECT r.n FROM records AS r WHERE NOT EXISTS (SELECT 1 FROM {} AS t \
             WHERE {})), {change} SELECT ARRAY(SELECT n FROM missing), (SELECT pg_catalog.count(*) \
             FROM written)",
            self.records(),
            self.table,
            self.matched(),
        )
    }

    fn delete(&self) -> String {
        format!(
            "WITH {} DELETE FROM {} AS t USING records AS r WHERE {}",
            self.records(),
            self.table,
            self.matched()
        )
    }
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}
