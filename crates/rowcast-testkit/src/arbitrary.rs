//! Generators: edits of a table, faults of a destination, and whole histories of both.
//!
//! Keys, addresses and names come from small sets, so that reverts, moves, swaps and collisions
//! happen by themselves.

use std::time::Duration;

use proptest::prelude::*;

use crate::faulty::{Act, Commit};
use crate::memory::Table;

/// Keys and addresses a history uses.
const IDS: i64 = 6;

/// One change of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Adds a row or changes its name.
    Put(i64, u8),
    /// Adds a row or changes its address.
    Address(i64, i64),
    Remove(i64),
    /// The row gets another key and keeps its values.
    Move(i64, i64),
    /// Two rows exchange their addresses.
    Swap(i64, i64),
    /// The row can't be mapped any more.
    Spoil(i64),
    NullKey(bool),
}

impl Edit {
    /// Makes the change.
    pub fn apply(&self, table: &mut Table) {
        match *self {
            Self::Put(id, name) => {
                table
                    .rows
                    .entry(id)
                    .or_insert_with(|| (format!("{id}@x"), String::new()))
                    .1 = format!("n{name}");
            }
            Self::Address(id, address) => {
                table
                    .rows
                    .entry(id)
                    .or_insert_with(|| (String::new(), "new".into()))
                    .0 = format!("{address}@x");
            }
            Self::Remove(id) => {
                table.rows.remove(&id);
            }
            Self::Move(from, to) => {
                if let Some(row) = table.rows.remove(&from) {
                    table.rows.insert(to, row);
                }
            }
            Self::Swap(a, b) => {
                if let (Some(x), Some(y)) = (table.rows.get(&a), table.rows.get(&b)) {
                    let (x, y) = (x.0.clone(), y.0.clone());
                    if let Some(row) = table.rows.get_mut(&a) {
                        row.0 = y;
                    }
                    if let Some(row) = table.rows.get_mut(&b) {
                        row.0 = x;
                    }
                }
            }
            Self::Spoil(id) => {
                if let Some(row) = table.rows.get_mut(&id) {
                    row.1 = "invalid".into();
                }
            }
            Self::NullKey(there) => table.null_keys = u64::from(there),
        }
    }
}

/// What happens before and during one run.
#[derive(Debug, Clone)]
pub struct Round {
    pub edits: Vec<Edit>,
    pub acts: Vec<Act>,
    pub commits: Vec<Commit>,
    /// The process ends at this passage.
    pub crash: Option<u32>,
}

fn edit() -> impl Strategy<Value = Edit> {
    let id = || 0..IDS;
    prop_oneof![
        6 => (id(), 0_u8..3).prop_map(|(id, name)| Edit::Put(id, name)),
        3 => (id(), id()).prop_map(|(id, address)| Edit::Address(id, address)),
        3 => id().prop_map(Edit::Remove),
        2 => (id(), id()).prop_map(|(from, to)| Edit::Move(from, to)),
        3 => (id(), id()).prop_map(|(a, b)| Edit::Swap(a, b)),
        1 => id().prop_map(Edit::Spoil),
        1 => any::<bool>().prop_map(Edit::NullKey),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let positions = || prop::collection::vec(0_usize..3, 1..3);
    prop_oneof![
        8 => Just(Act::Pass),
        3 => positions().prop_map(Act::Reject),
        2 => Just(Act::LostBefore),
        4 => Just(Act::LostAfter),
        1 => Just(Act::Busy(None)),
        1 => Just(Act::Busy(Some(Duration::from_secs(120)))),
        2 => positions().prop_map(Act::Unheard),
        1 => Just(Act::WrongCount),
        1 => Just(Act::HangBefore),
        2 => Just(Act::HangAfter),
        1 => Just(Act::Slow(Duration::from_secs(2))),
        1 => Just(Act::Fatal),
        2 => Just(Act::Split),
        1 => Just(Act::Cancel),
    ]
}

fn commit() -> impl Strategy<Value = Commit> {
    prop_oneof![
        12 => Just(Commit::Pass),
        1 => Just(Commit::FailBefore),
        1 => Just(Commit::FailAfter),
        1 => Just(Commit::TakenOver),
    ]
}

/// One run with what precedes it.
pub fn round() -> impl Strategy<Value = Round> {
    (
        prop::collection::vec(edit(), 0..5),
        prop::collection::vec(act(), 0..6),
        prop::collection::vec(commit(), 0..6),
        prop::option::weighted(0.4, 1_u32..24),
    )
        .prop_map(|(edits, acts, commits, crash)| Round {
            edits,
            acts,
            commits,
            crash,
        })
}

/// A history of up to `rounds` runs.
pub fn history(rounds: usize) -> impl Strategy<Value = Vec<Round>> {
    prop::collection::vec(round(), 1..=rounds)
}
