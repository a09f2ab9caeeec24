//! Mode × change → operation or skip: one table, which the docs print.

use std::fmt;

use crate::change::Kind;
use crate::record::Operation;

/// What a sync asks of its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    #[default]
    Upsert,
    Mirror,
    Update,
    Insert,
    Delete,
}

impl Mode {
    /// All modes, in the order of the documentation.
    pub const ALL: [Self; 5] = [
        Self::Upsert,
        Self::Mirror,
        Self::Update,
        Self::Insert,
        Self::Delete,
    ];

    /// The word used in YAML.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upsert => "upsert",
            Self::Mirror => "mirror",
            Self::Update => "update",
            Self::Insert => "insert",
            Self::Delete => "delete",
        }
    }

    /// The mode of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == word)
    }

    /// The table: what a change of this kind asks for; `None` is *skip*.
    pub fn operation(self, kind: Kind) -> Option<Operation> {
        match (self, kind) {
            (Self::Upsert | Self::Mirror, Kind::Added | Kind::Updated) => Some(Operation::Upsert),
            (Self::Update, Kind::Added | Kind::Updated) => Some(Operation::Update),
            (Self::Insert, Kind::Added) => Some(Operation::Insert),
            (Self::Mirror | Self::Delete, Kind::Removed) => Some(Operation::Delete),
            (Self::Upsert | Self::Update, Kind::Removed)
            | (Self::Insert, Kind::Updated | Kind::Removed)
            | (Self::Delete, Kind::Added | Kind::Updated) => None,
        }
    }

    /// The operations a destination must support for this mode.
    pub fn operations(self) -> Vec<Operation> {
        let mut operations = Vec::new();
        for kind in [Kind::Added, Kind::Updated, Kind::Removed] {
            if let Some(operation) = self.operation(kind)
                && !operations.contains(&operation)
            {
                operations.push(operation);
            }
        }
        operations
    }

    /// Whether the mode can delete at the destination.
    pub fn deletes(self) -> bool {
        self.operation(Kind::Removed).is_some()
    }

    /// Whether a removal that is skipped must be remembered: the record stays at the destination,
    /// and a row that comes back must not be inserted again (semantics 16).
    pub fn keeps_tombstones(self) -> bool {
        self == Self::Insert
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `on:` — which kinds of change are sent at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection {
    pub added: bool,
    pub updated: bool,
    pub removed: bool,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            added: true,
            updated: true,
            removed: true,
        }
    }
}

impl Selection {
    /// Whether a kind is selected.
    pub fn includes(self, kind: Kind) -> bool {
        match kind {
            Kind::Added => self.added,
            Kind::Updated => self.updated,
            Kind::Removed => self.removed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Operation::{Delete, Insert, Update, Upsert};

    #[test]
    fn the_table_is_the_one_of_the_contract() {
        let row = |mode: Mode| {
            [Kind::Added, Kind::Updated, Kind::Removed].map(|kind| mode.operation(kind))
        };
        assert_eq!(row(Mode::Upsert), [Some(Upsert), Some(Upsert), None]);
        assert_eq!(
            row(Mode::Mirror),
            [Some(Upsert), Some(Upsert), Some(Delete)]
        );
        assert_eq!(row(Mode::Update), [Some(Update), Some(Update), None]);
        assert_eq!(row(Mode::Insert), [Some(Insert), None, None]);
        assert_eq!(row(Mode::Delete), [None, None, Some(Delete)]);
    }
}
