//! Names of databases, tables and columns, quoted.

use std::fmt;

/// Most characters of a name: the server's limit for databases, tables and columns alike.
pub(super) const NAME_MAX: usize = 64;

/// A name between backticks.
pub(super) fn ident(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A table and its database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableName {
    pub(super) database: String,
    pub(super) table: String,
}

impl TableName {
    /// Reads `table` or `database.table`; a name that holds a dot stands between backticks.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str, database: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut part = String::new();
        let mut quoted = false;
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '`' if quoted && letters.peek() == Some(&'`') => {
                    letters.next();
                    part.push('`');
                }
                '`' => quoted = !quoted,
                '.' if !quoted => parts.push(std::mem::take(&mut part)),
                other => part.push(other),
            }
        }
        parts.push(part);
        let fits = |part: &String| !part.is_empty() && part.chars().count() <= NAME_MAX;
        if quoted || !parts.iter().all(fits) {
            return Err("a name has 1 to 64 characters, and backticks come in pairs".to_owned());
        }
        match parts.as_slice() {
            [table] => Ok(Self {
                database: database.to_owned(),
                table: table.clone(),
            }),
            [database, table] => Ok(Self {
                database: database.clone(),
                table: table.clone(),
            }),
            _ => Err("write `customers` or `crm.customers`".to_owned()),
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", ident(&self.database), ident(&self.table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_split_at_dots_outside_of_backticks() {
        let shown = |text| TableName::parse(text, "shop").map(|name| name.to_string());
        assert_eq!(shown("customers").unwrap(), "`shop`.`customers`");
        assert_eq!(shown("crm.customers").unwrap(), "`crm`.`customers`");
        assert_eq!(shown("`a.b`.`c``d`").unwrap(), "`a.b`.`c``d`");
        assert_eq!(
            shown("x`; DROP TABLE y; --`").unwrap(),
            "`shop`.`x; DROP TABLE y; --`"
        );
        for wrong in ["", "a.", "a.b.c", "`a", &"x".repeat(65)] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }
}
