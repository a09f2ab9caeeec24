//! Names of tables and columns: read from configuration, quoted for SQL.
//!
//! A name is taken exactly as it is written: case-sensitive, dots and quotes included. It must
//! never reach a statement unquoted.

use std::fmt;

use crate::sql::ident;

/// The longest identifier PostgreSQL keeps, in bytes (`NAMEDATALEN - 1`).
pub(super) const NAME_BYTES_MAX: usize = 63;

/// A list of quoted identifiers.
pub(super) fn ident_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(ident).collect::<Vec<_>>().join(", ")
}

/// A table with its schema. Displayed quoted, ready for a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableName {
    pub(super) schema: String,
    pub(super) table: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", ident(&self.schema), ident(&self.table))
    }
}

impl TableName {
    /// As `object:` would name it: the schema only where it is not the default, quotes only where
    /// a name would be misread.
    pub(super) fn as_object(&self, default_schema: &str) -> String {
        let part = |name: &str| {
            if name.contains('.') || name.starts_with('"') {
                ident(name)
            } else {
                name.to_owned()
            }
        };
        if self.schema == default_schema {
            part(&self.table)
        } else {
            format!("{}.{}", part(&self.schema), part(&self.table))
        }
    }

    /// Reads `table`, `schema.table`, `"with.dot"` or `schema."with.dot"`.
    pub(super) fn parse(text: &str, default_schema: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        loop {
            let (part, after) = first_part(rest)?;
            if part.is_empty() {
                return Err("a name in it is empty".to_owned());
            }
            if part.contains('\0') {
                return Err("it holds a NUL character".to_owned());
            }
            if part.len() > NAME_BYTES_MAX {
                return Err(format!(
                    "`{part}` has {} bytes; PostgreSQL keeps {NAME_BYTES_MAX}",
                    part.len()
                ));
            }
            parts.push(part);
            match after.strip_prefix('.') {
                Some(next) => rest = next,
                None if after.is_empty() => break,
                None => return Err("something follows a closing quote".to_owned()),
            }
        }
        let mut parts = parts.into_iter();
        match (parts.next(), parts.next(), parts.next()) {
            (Some(table), None, None) => Ok(Self {
                schema: default_schema.to_owned(),
                table,
            }),
            (Some(schema), Some(table), None) => Ok(Self { schema, table }),
            _ => Err("it has more than two parts; quote a name that holds a dot".to_owned()),
        }
    }
}

fn first_part(text: &str) -> Result<(String, &str), String> {
    let Some(inner) = text.strip_prefix('"') else {
        let end = text.find('.').unwrap_or(text.len());
        return Ok((text[..end].to_owned(), &text[end..]));
    };
    let mut part = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        if c != '"' {
            part.push(c);
        } else if inner[at + 1..].starts_with('"') {
            part.push('"');
            chars.next();
        } else {
            return Ok((part, &inner[at + 1..]));
        }
    }
    Err("a quote is not closed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, String> {
        TableName::parse(text, "public").map(|name| name.to_string())
    }

    #[test]
    fn tables_are_read_as_written() {
        assert_eq!(parse("Orders").unwrap(), r#""public"."Orders""#);
        assert_eq!(parse("crm.orders").unwrap(), r#""crm"."orders""#);
        assert_eq!(parse(r#""a.b"."c""d""#).unwrap(), r#""a.b"."c""d""#);
        assert_eq!(parse(r#"crm."größe.x""#).unwrap(), r#""crm"."größe.x""#);
        for wrong in ["", "a.", ".a", "a.b.c", "\"a", "\"a\"b"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse(&"x".repeat(64)).unwrap_err().contains("64 bytes"));
    }
}
