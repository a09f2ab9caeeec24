//! The comparison with an empty state: every row is an addition.
//!
//! Nothing has to be joined, and every row leaves the server, so what the checksum computes of a
//! column is also what is read of it, computed once: a document's text, a number's binary form.
//! The tuples are those of the wide form, but for columns that are read in another of their forms.

use super::diff::DiffSql;
use super::forms::{Decode, KeyForm};
use crate::sql::ident as quote_ident;

/// One column of the statement's inner query.
struct Inner {
    expressions: Vec<String>,
    /// What the outer query reads of each mapped column, and how it is decoded.
    data: Vec<(String, Decode)>,
}

impl DiffSql<'_> {
    /// Whether this comparison can be made without state, provided that state is empty.
    pub(super) fn needs_no_state(&self) -> bool {
        !self.has_retries && self.matching.is_none() && self.cursor.is_none()
    }

    /// How the mapped columns of `first` are decoded.
    pub(super) fn first_decoders(&self) -> Vec<Decode> {
        let inner = self.inner();
        inner.data.into_iter().map(|(_, decode)| decode).collect()
    }

    /// The whole comparison when state is empty.
    pub(super) fn first(&self) -> String {
        let inner = self.inner();
        let nulls: Vec<String> = (1..=self.shape.keys.len())
            .map(|i| format!("f.k{i} IS NULL"))
            .collect();
        let mut columns = vec![
            format!(
                "(CASE WHEN {} THEN 'N' ELSE 'A' END)::\"char\"",
                nulls.join(" OR ")
            ),
            "false, false".into(),
            self.shape.wire("f"),
            self.plan
                .checksum_of((1..=self.plan.columns.len()).map(|i| format!("f.f{i}"))),
        ];
        if self.keep_rows {
            columns.push("NULL::text".into());
        }
        if self.cursor_column.is_some() {
            columns.push("f.cur".into());
        }
        columns.extend(inner.data.into_iter().map(|(read, _)| read));
        // The fence keeps the server from computing a shared expression once for each use.
        format!(
            "SELECT {} FROM (\nSELECT {} FROM {}\nOFFSET 0) f",
            columns.join(", "),
            inner.expressions.join(", "),
            self.model_source()
        )
    }

    /// For each key column, where it stands among the mapped ones in the same bytes: there it need not
    /// be sent twice.
    pub(super) fn mapped_keys(&self) -> Vec<Option<usize>> {
        let keys = self.shape.keys.iter();
        keys.map(|key| {
            let at = self
                .data
                .iter()
                .position(|column| column.name == key.name)?;
            let facts = &self.data[at].facts;
            let same = facts.element.is_none()
                && match key.form {
                    KeyForm::Int => facts.base == "int8",
                    KeyForm::Text => matches!(facts.base.as_str(), "text" | "varchar"),
                    KeyForm::Numeric | KeyForm::Other(_) => false,
                };
            same.then_some(at)
        })
        .collect()
    }

    /// Keys and mapped columns alone, when state is empty: what else a tuple has, the worker adds
    /// (`Checksum`, `mapped_keys`).
    pub(super) fn plain(&self) -> String {
        let mut columns = Vec::new();
        let keys = self.shape.keys.iter().zip(self.mapped_keys());
        for (key, _) in keys.filter(|(_, mapped)| mapped.is_none()) {
            let form = key
                .form
                .join_form(&format!("m.{}", quote_ident(&key.name)), &key.facts);
            columns.push(key.form.wire_form(&form));
        }
        for column in self.data {
            let name = format!("m.{}", quote_ident(&column.name));
            columns.push(column.facts.read_form(&name).0);
        }
        format!("SELECT {} FROM {}", columns.join(", "), self.model_source())
    }

    fn inner(&self) -> Inner {
        let mut expressions = Vec::new();
        for (i, key) in self.shape.keys.iter().enumerate() {
            let column = format!("m.{}", quote_ident(&key.name));
            let form = key.form.join_form(&column, &key.facts);
            expressions.push(format!("{form} AS k{}", i + 1));
        }
        if let Some(cursor) = self.cursor_column {
            expressions.push(format!("({cursor})::text AS cur"));
        }
        for (i, column) in self.plan.columns.iter().enumerate() {
            expressions.push(format!("{} AS f{}", column.form, i + 1));
        }
        let mut data = Vec::new();
        for (i, column) in self.data.iter().enumerate() {
            let name = format!("m.{}", quote_ident(&column.name));
            let form = column.facts.checksum_form(&name);
            let hashed = self
                .plan
                .columns
                .iter()
                .position(|planned| planned.name == column.name && planned.form == form);
            if let (Some(at), Some(decode)) = (hashed, column.facts.checksum_decode()) {
                data.push((format!("f.f{}", at + 1), decode));
            } else {
                let (read, decode) = column.facts.read_form(&name);
                expressions.push(format!("{read} AS r{}", i + 1));
                data.push((format!("f.r{}", i + 1), decode));
            }
        }
        Inner { expressions, data }
    }
}
