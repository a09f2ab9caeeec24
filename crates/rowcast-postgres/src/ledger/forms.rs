//! Per type: how a column enters the checksum, how it is read, whether it can be a key.
//!
//! `hash_record_extended` is blind to ordinary changes unless columns enter in a safe form
//! (semantics 5): 64-bit integers and timestamps fold to 32 bits, numerics lose their sign, jsonb
//! and arrays their shape, citext its case. A form must change whenever the value's meaning changes, and must not
//! depend on anything but the value and the settings pinned for the statement.

use rowcast_core::{Code, Reason};

use crate::sql::ident as quote_ident;

/// What the catalog says of a column's type, domains resolved to their base type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TypeFacts {
    /// As PostgreSQL prints the declared type.
    pub type_name: String,
    /// `typname` of the base type; with its schema when that is not `pg_catalog`.
    pub base: String,
    /// `typname` of an array's element, domains resolved, likewise.
    pub element: Option<String>,
    /// `typtype` of the base type: `b`ase, `e`num, `c`omposite, `r`ange, `m`ultirange, `p`seudo.
    pub kind: char,
    /// Whether the base type, or an array's element, has equality and order.
    pub ordered: bool,
}

/// How the bytes of a column in a binary COPY become a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decode {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
    Text,
    Bytea,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Uuid,
    Json,
    Jsonb,
    /// An array whose elements decode by their own type oid; others arrive as text.
    Array,
}

/// How a key column is stored and compared (semantics 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeyForm {
    /// Any integer: stored as bigint.
    Int,
    /// Text, and types whose text is their identity: stored as text COLLATE "C", on both sides
    /// of the join.
    Text,
    /// numeric: stored as numeric, printed with its digits.
    Numeric,
    /// Types whose text reads back the same everywhere: stored as themselves, text on the wire.
    Other(String),
}

impl TypeFacts {
    /// The SQL that enters the checksum for a column reference.
    pub(super) fn checksum_form(&self, column: &str) -> String {
        match self.base.as_str() {
            "int8" => format!("int8send({column})"),
            "time" => format!("time_send({column})"),
            "timetz" => format!("timetz_send({column})"),
            "timestamp" => format!("timestamp_send({column})"),
            "timestamptz" => format!("timestamptz_send({column})"),
            // The hash of numeric is blind to the sign, and NaN and the infinities are one to it.
            "numeric" => format!("numeric_send({column})"),
            "text" | "varchar" => format!("({column} COLLATE \"C\")"),
            "int2" | "int4" | "bool" | "float4" | "float8" | "date" | "uuid" | "bytea" | "inet" => {
                column.to_owned()
            }
            // jsonb, arrays, ranges, composites, enums, citext, char(n), interval and every type
            // without a hash or with one that is blind to something: its text.
            _ => format!("({column}::text COLLATE \"C\")"),
        }
    }

    /// The SQL that reads a column, and how its binary form is decoded.
    pub(super) fn read_form(&self, column: &str) -> (String, Decode) {
        let as_is = |decode| (column.to_owned(), decode);
        if let Some(element) = &self.element {
            return match native(element) {
                // The cast turns an array of a domain into one of its base type; else it is nothing.
                Some(_) => (
                    format!("{column}::{}[]", quote_type(element)),
                    Decode::Array,
                ),
                None => (format!("{column}::text[]"), Decode::Array),
            };
        }
        match native(&self.base) {
            Some(decode) => as_is(decode),
            None => (format!("{column}::text"), Decode::Text),
        }
    }

    /// How the checksum form's own bytes are decoded, where they hold the whole value: then one
    /// expression serves both. The `_send` forms are what a binary COPY sends of such a column.
    pub(super) fn checksum_decode(&self) -> Option<Decode> {
        if self.element.is_some() {
            return None;
        }
        match native(&self.base) {
            // As text instead of jsonb's own binary form.
            Some(Decode::Jsonb | Decode::Json) => Some(Decode::Json),
            Some(Decode::Oid) => None,
            Some(decode) => Some(decode),
            // Read as text, and hashed as text; but these are hashed in a binary form.
            None => match self.base.as_str() {
                "timetz" | "inet" => None,
                _ => Some(Decode::Text),
            },
        }
    }

    /// How the column works as a key.
    ///
    /// # Errors
    /// The type has no equality or no order.
    pub(super) fn key_form(&self, column: &str) -> Result<KeyForm, Reason> {
        let refuse = || {
            Reason::new(
                Code::KeyTypeUnsupported,
                format!(
                    "column {} of type {} can't be a primary key",
                    quote_ident(column),
                    self.type_name
                ),
            )
            .detail("the type has no equality and order, so two keys can't be compared")
            .hint("name another column, or cast it in the model: `payload::text AS payload_key`")
        };
        Ok(match self.base.as_str() {
            "int2" | "int4" | "int8" | "oid" => KeyForm::Int,
            "numeric" => KeyForm::Numeric,
            // Stored as themselves: their text reads back the same under every setting, and two
            // values are equal exactly when their texts are.
            "bool" | "date" | "time" | "timetz" | "timestamp" | "timestamptz" | "uuid"
            | "bytea" | "inet" | "macaddr" | "macaddr8" | "pg_lsn" | "xid8" => {
                KeyForm::Other(self.base.clone())
            }
            // Everything else with an order keeps its text as its identity: citext its case,
            // an interval its parts.
            _ if self.ordered && self.kind != 'c' && self.kind != 'p' => KeyForm::Text,
            _ => return Err(refuse()),
        })
    }
}

impl KeyForm {
    /// The column type in state tables.
    pub(super) fn storage(&self) -> String {
        match self {
            Self::Int => "bigint".into(),
            Self::Text => "text COLLATE \"C\"".into(),
            Self::Numeric => "numeric".into(),
            Self::Other(name) => quote_type(name),
        }
    }

    /// The type to cast a literal to.
    pub(super) fn cast(&self) -> String {
        match self {
            Self::Text => "text".into(),
            other => other.storage(),
        }
    }

    /// The model's side of the join. Integers stay in their own type: PostgreSQL compares int4
    /// with bigint within one operator family, so the order of the source's index is kept.
    pub(super) fn join_form(&self, column: &str, facts: &TypeFacts) -> String {
        match self {
            Self::Int if facts.base == "oid" => format!("{column}::bigint"),
            Self::Int | Self::Numeric | Self::Other(_) => column.to_owned(),
            Self::Text => format!("({column}::text COLLATE \"C\")"),
        }
    }

    /// The key on the wire: bigint or text.
    pub(super) fn wire_form(&self, expression: &str) -> String {
        match self {
            Self::Int => format!("{expression}::bigint"),
            _ => format!("{expression}::text"),
        }
    }

    /// The type of a key on the wire.
    pub(super) fn wire_type(&self) -> &'static str {
        match self {
            Self::Int => "bigint",
            _ => "text",
        }
    }

    /// A key on the wire as it is stored: the reverse of `wire_form`.
    pub(super) fn stored(&self, expression: &str) -> String {
        match self {
            Self::Int => expression.to_owned(),
            Self::Text => format!("({expression} COLLATE \"C\")"),
            other => format!("{expression}::{}", other.cast()),
        }
    }

    /// An expression of the column's own type, or a text that reads as one, in the stored type.
    pub(super) fn stored_as_key(&self, expression: &str) -> String {
        match self {
            Self::Text => format!("({expression}::text COLLATE \"C\")"),
            other => format!("({expression})::{}", other.cast()),
        }
    }

    /// The array parameter `$n` as a set of stored keys.
    pub(super) fn unnest(&self, parameter: usize) -> String {
        match self {
            Self::Int => format!("${parameter}::bigint[]"),
            Self::Text => format!("${parameter}::text[]"),
            Self::Numeric => format!("${parameter}::text[]::numeric[]"),
            Self::Other(name) => format!("${parameter}::text[]::{}[]", quote_type(name)),
        }
    }

    /// The expression whose ascending order the worker can check byte by byte (semantics 23).
    pub(super) fn byte_order(&self, expression: &str) -> String {
        match self {
            Self::Int => format!("{expression}::bigint"),
            Self::Numeric => format!("(trim_scale({expression})::text COLLATE \"C\")"),
            _ => format!("({expression}::text COLLATE \"C\")"),
        }
    }
}

/// A type's name from `TypeFacts`, quoted.
pub(super) fn quote_type(name: &str) -> String {
    match name.split_once('.') {
        Some((schema, name)) => format!("{}.{}", quote_ident(schema), quote_ident(name)),
        None => format!("pg_catalog.{}", quote_ident(name)),
    }
}

/// Types that are read in their own binary form.
fn native(base: &str) -> Option<Decode> {
    Some(match base {
        "bool" => Decode::Bool,
        "int2" => Decode::Int2,
        "int4" => Decode::Int4,
        "int8" => Decode::Int8,
        "oid" => Decode::Oid,
        "float4" => Decode::Float4,
        "float8" => Decode::Float8,
        "numeric" => Decode::Numeric,
        "text" | "varchar" => Decode::Text,
        "bytea" => Decode::Bytea,
        "date" => Decode::Date,
        "time" => Decode::Time,
        "timestamp" => Decode::Timestamp,
        "timestamptz" => Decode::TimestampTz,
        "uuid" => Decode::Uuid,
        "json" => Decode::Json,
        "jsonb" => Decode::Jsonb,
        _ => return None,
    })
}

impl Decode {
    /// The oid of the type whose binary form this is; `element_decode` is the way back. `None` for
    /// arrays, each of which has its own.
    pub(super) fn type_number(self) -> Option<u32> {
        Some(match self {
            Self::Bool => 16,
            Self::Bytea => 17,
            Self::Int8 => 20,
            Self::Int2 => 21,
            Self::Int4 => 23,
            Self::Text => 25,
            Self::Oid => 26,
            Self::Json => 114,
            Self::Float4 => 700,
            Self::Float8 => 701,
            Self::Date => 1082,
            Self::Time => 1083,
            Self::Timestamp => 1114,
            Self::TimestampTz => 1184,
            Self::Numeric => 1700,
            Self::Uuid => 2950,
            Self::Jsonb => 3802,
            Self::Array => return None,
        })
    }
}

/// Decoding by a type's oid. The oids of built-in types never change.
pub(crate) fn element_decode(oid: u32) -> Decode {
    match oid {
        16 => Decode::Bool,
        17 => Decode::Bytea,
        20 => Decode::Int8,
        21 => Decode::Int2,
        23 => Decode::Int4,
        26 => Decode::Oid,
        114 => Decode::Json,
        700 => Decode::Float4,
        701 => Decode::Float8,
        1082 => Decode::Date,
        1083 => Decode::Time,
        1114 => Decode::Timestamp,
        1184 => Decode::TimestampTz,
        1700 => Decode::Numeric,
        2950 => Decode::Uuid,
        3802 => Decode::Jsonb,
        _ => Decode::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(base: &str) -> TypeFacts {
        TypeFacts {
            type_name: base.into(),
            base: base.into(),
            element: None,
            kind: 'b',
            ordered: !matches!(base, "json" | "xml" | "point"),
        }
    }

    #[test]
    fn rule_3_keys_need_equality_and_order() {
        for refused in ["json", "xml", "point"] {
            let reason = facts(refused).key_form("k").unwrap_err();
            assert_eq!(reason.code, Code::KeyTypeUnsupported);
        }
        assert_eq!(facts("int4").key_form("k").unwrap().storage(), "bigint");
        assert_eq!(
            facts("varchar").key_form("k").unwrap().storage(),
            "text COLLATE \"C\""
        );
        assert_eq!(facts("public.citext").key_form("k").unwrap(), KeyForm::Text);
        assert_eq!(
            facts("uuid").key_form("k").unwrap().storage(),
            "pg_catalog.\"uuid\""
        );
    }
}
