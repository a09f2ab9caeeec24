//! The source's table as the test knows it, and how it changes around a crash.

use std::collections::BTreeMap;

use crate::chance::Chance;

/// One row. Its version rises with every change of any row, but for a row that reverts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) version: i64,
}

/// The rows, and what the next change is numbered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    pub(crate) rows: BTreeMap<i64, Row>,
    version: i64,
    last_id: i64,
}

/// Rows whose story is told around every crash: what they were before.
pub(crate) struct Cast {
    /// Changed, then back to its old value: the receiver may hold the value in between.
    reverts: (i64, Row),
    changes_twice: i64,
    /// Removed, then back as it was.
    returns: (i64, Row),
    /// Removed, then back with another value.
    returns_changed: i64,
    changes_then_goes: i64,
    /// Added, then removed.
    vanishes: i64,
}

impl Cast {
    /// A row that is upserted by every run between `before` and `after`.
    pub(crate) fn sent(&self) -> i64 {
        self.reverts.0
    }
}

impl Table {
    /// A table of `rows` rows.
    pub(crate) fn new(rows: usize) -> Self {
        let mut table = Self::default();
        for _ in 0..rows {
            table.add();
        }
        table
    }

    fn add(&mut self) -> i64 {
        self.last_id += 1;
        self.touch(self.last_id);
        self.last_id
    }

    fn touch(&mut self, id: i64) {
        self.version += 1;
        let version = self.version;
        let name = format!("name {version} of {id}");
        self.rows.insert(id, Row { name, version });
    }

    fn remove(&mut self, id: i64) -> Row {
        self.rows.remove(&id).expect("the row is there")
    }

    /// Changes before a run that is killed: at least 7 removals and 30 upserts.
    pub(crate) fn before(&mut self, chance: &mut Chance) -> Cast {
        let ids = chance.shuffled(self.rows.keys().copied());
        let old = self.rows[&ids[0]].clone();
        let cast = Cast {
            reverts: (ids[0], old),
            changes_twice: ids[1],
            returns: (ids[2], self.remove(ids[2])),
            returns_changed: ids[3],
            changes_then_goes: ids[4],
            vanishes: self.add(),
        };
        self.remove(ids[3]);
        for id in &ids[5..10] {
            self.remove(*id);
        }
        for id in ids[..2].iter().chain(&ids[4..5]).chain(&ids[10..30]) {
            self.touch(*id);
        }
        for _ in 0..6 {
            self.add();
        }
        cast
    }

    /// New rows, enough for some requests; their numbers.
    pub(crate) fn more(&mut self) -> Vec<i64> {
        (0..24).map(|_| self.add()).collect()
    }

    /// Changes after `more`: of the new rows one vanishes, one changes, and more come.
    pub(crate) fn after_more(&mut self, added: &[i64]) {
        self.remove(added[0]);
        self.touch(added[1]);
        self.add();
    }

    /// Changes between the crash and the next run.
    pub(crate) fn after(&mut self, cast: Cast, chance: &mut Chance) {
        self.rows.insert(cast.reverts.0, cast.reverts.1);
        self.rows.insert(cast.returns.0, cast.returns.1);
        self.touch(cast.changes_twice);
        self.touch(cast.returns_changed);
        self.remove(cast.changes_then_goes);
        self.remove(cast.vanishes);
        let ids = chance.shuffled(self.rows.keys().copied());
        self.remove(ids[0]);
        self.touch(ids[1]);
        self.add();
    }

    /// SQL that makes the table in the database equal to this one, if it is equal to `old` now.
    pub(crate) fn sql_from(&self, old: &Self, table: &str) -> String {
        let mut sql = String::from("BEGIN;\n");
        for id in old.rows.keys().filter(|id| !self.rows.contains_key(id)) {
            sql.push_str(&format!("DELETE FROM {table} WHERE id = {id};\n"));
        }
        for (id, row) in &self.rows {
            if old.rows.get(id) != Some(row) {
                let Row { name, version } = row;
                sql.push_str(&format!(
                    "INSERT INTO {table} VALUES ({id}, '{name}', {version}) ON CONFLICT (id) \
                     DO UPDATE SET name = EXCLUDED.name, version = EXCLUDED.version;\n"
                ));
            }
        }
        sql.push_str("COMMIT;");
        sql
    }
}
