//! The statements that write records: many rows in one, values as parameters, names quoted.

use rowcast_core::{Name, Operation};

use super::name::{TableName, ident};

/// What a group of records has in common: its columns, those of the identity first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) match_columns: Vec<Name>,
    /// The other columns, in the mapping's order.
    pub(super) others: Vec<Name>,
}

impl Shape {
    pub(super) fn width(&self, operation: Operation) -> usize {
        match operation {
            Operation::Delete => self.match_columns.len(),
            _ => self.match_columns.len() + self.others.len(),
        }
    }
}

/// The statement for so many rows; parameters stand row by row, the identity first. An update is for
/// one row, and its identity comes last.
///
/// `guarded`: the table has other unique indexes, through which an upsert could reach a row with
/// another identity; the statement then fails in place of changing that row.
pub(super) fn statement(
    operation: Operation,
    table: &TableName,
    shape: &Shape,
    rows: usize,
    guarded: bool,
) -> String {
    let names = |columns: &mut dyn Iterator<Item = &Name>| -> Vec<String> {
        columns.map(|name| ident(name)).collect()
    };
    let keys = names(&mut shape.match_columns.iter());
    let others = names(&mut shape.others.iter());
    match operation {
        Operation::Insert | Operation::Upsert => {
            let all = names(&mut shape.match_columns.iter().chain(&shape.others));
            let one = format!("({})", vec!["?"; all.len()].join(", "));
            let mut sql = format!(
                "INSERT INTO {table} ({}) VALUES {}",
                all.join(", "),
                vec![one.as_str(); rows].join(", ")
            );
            if operation == Operation::Upsert {
                sql.push_str(" ON DUPLICATE KEY UPDATE ");
                sql.push_str(&updates(&keys, &others, guarded));
            }
            sql
        }
        Operation::Update => {
            let set = if others.is_empty() { &keys } else { &others };
            let set: Vec<String> = if others.is_empty() {
                set.iter().map(|name| format!("{name} = {name}")).collect()
            } else {
                set.iter().map(|name| format!("{name} = ?")).collect()
            };
            let found: Vec<String> = keys.iter().map(|name| format!("{name} = ?")).collect();
            format!(
                "UPDATE {table} SET {} WHERE {}",
                set.join(", "),
                found.join(" AND ")
            )
        }
        Operation::Delete => {
            let one = match keys.len() {
                1 => "?".to_owned(),
                count => format!("({})", vec!["?"; count].join(", ")),
            };
            let left = match keys.as_slice() {
                [key] => key.clone(),
                keys => format!("({})", keys.join(", ")),
            };
            format!(
                "DELETE FROM {table} WHERE {left} IN ({})",
                vec![one.as_str(); rows].join(", ")
            )
        }
    }
}

/// What an upsert changes in a row that is there.
fn updates(keys: &[String], others: &[String], guarded: bool) -> String {
    let mut parts = Vec::new();
    if guarded && let Some(first) = keys.first() {
        let equal: Vec<String> = keys
            .iter()
            .map(|key| format!("{key} <=> VALUES({key})"))
            .collect();
        // A subquery with two rows where one value stands is an error of its own (1242).
        parts.push(format!(
            "{first} = IF({}, {first}, (SELECT 1 UNION ALL SELECT 2))",
            equal.join(" AND ")
        ));
    }
    parts.extend(others.iter().map(|name| format!("{name} = VALUES({name})")));
    if parts.is_empty() {
        parts.extend(keys.iter().map(|key| format!("{key} = {key}")));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(keys: &[&str], others: &[&str]) -> Shape {
        let names = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
        Shape {
            match_columns: names(keys),
            others: names(others),
        }
    }

    #[test]
    fn names_are_quoted_and_values_are_parameters() {
        let table = TableName::parse("t", "d").unwrap();
        let one = shape(&["i`d"], &["name"]);
        assert_eq!(
            statement(Operation::Upsert, &table, &one, 2, false),
            "INSERT INTO `d`.`t` (`i``d`, `name`) VALUES (?, ?), (?, ?) ON DUPLICATE KEY UPDATE \
             `name` = VALUES(`name`)"
        );
        assert_eq!(
            statement(Operation::Update, &table, &one, 1, false),
            "UPDATE `d`.`t` SET `name` = ? WHERE `i``d` = ?"
        );
        let two = shape(&["a", "b"], &[]);
        assert_eq!(
            statement(Operation::Delete, &table, &two, 2, false),
            "DELETE FROM `d`.`t` WHERE (`a`, `b`) IN ((?, ?), (?, ?))"
        );
        assert_eq!(
            statement(Operation::Upsert, &table, &two, 1, false),
            "INSERT INTO `d`.`t` (`a`, `b`) VALUES (?, ?) ON DUPLICATE KEY UPDATE `a` = `a`, \
             `b` = `b`"
        );
    }
}
