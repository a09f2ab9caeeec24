//! The checksum plan of a sync: which columns enter in which form, under which seed, and what an
//! edit of the mapping means for the rows already delivered (semantics 6).
//!
//! The seed derives from (random, digest of the mapping, backfill counter): an edit that adds or
//! changes anything, or a backfill, changes the seed and makes every row *updated* without
//! rewriting state. An edit that only removes fields, or a changed form, re-hashes without sending.

use std::collections::BTreeMap;

use rowcast_core::{Mode, Selection};
use serde::{Deserialize, Serialize};

use super::forms::TypeFacts;
use crate::sql::ident as quote_ident;

/// A column of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PlanColumn {
    pub name: String,
    pub type_name: String,
    /// SQL over the alias `m`.
    pub form: String,
}

/// The plan, as stored with the sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HashPlan {
    pub columns: Vec<PlanColumn>,
    pub digests: BTreeMap<String, String>,
    pub time_zone: String,
    pub backfill: i32,
    pub seed: i64,
    pub mode: String,
    /// Added, updated, removed.
    pub on: [bool; 3],
    /// What a change must pass beside mode and selection; earlier plans have none.
    #[serde(default)]
    pub gate: String,
    /// To look only: what was skipped counts as updated, as it will when the plan is stored.
    #[serde(skip)]
    pub judges_anew: bool,
}

/// What the present plan means for the stored one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PlanChange {
    /// Nothing to do.
    Same,
    /// No plan is stored yet.
    First,
    /// Every row becomes *updated*.
    Resend,
    /// State is rewritten under the new plan, without sending.
    Rehash(Box<HashPlan>),
}

impl HashPlan {
    /// The plan for these columns (name and type), mapping and mode.
    pub(super) fn new(
        columns: &[(String, TypeFacts)],
        digests: &BTreeMap<String, String>,
        time_zone: &str,
        random: i64,
        backfill: i32,
        mode: Mode,
        on: Selection,
    ) -> Self {
        let mut columns: Vec<PlanColumn> = columns
            .iter()
            .map(|(name, facts)| PlanColumn {
                name: name.clone(),
                type_name: facts.type_name.clone(),
                form: facts.checksum_form(&format!("m.{}", quote_ident(name))),
            })
            .collect();
        columns.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            columns,
            seed: seed(random, digests, time_zone, backfill),
            digests: digests.clone(),
            time_zone: time_zone.to_owned(),
            backfill,
            mode: mode.as_str().to_owned(),
            on: [on.added, on.updated, on.removed],
            gate: String::new(),
            judges_anew: false,
        }
    }

    /// With what a change must pass beside mode and selection.
    pub(super) fn with_gate(mut self, gate: &str) -> Self {
        gate.clone_into(&mut self.gate);
        self
    }

    /// Whether another kind of change, or another row, is sent than under the stored plan.
    pub(super) fn selects_otherwise(&self, stored: &Self) -> bool {
        stored.mode != self.mode || stored.on != self.on || stored.gate != self.gate
    }

    /// The checksum of a row of the model `m`.
    pub(super) fn checksum_sql(&self) -> String {
        self.checksum_of(self.columns.iter().map(|column| column.form.clone()))
    }

    /// The checksum of these expressions, which are the forms of the columns in their order.
    pub(super) fn checksum_of(&self, forms: impl Iterator<Item = String>) -> String {
        let forms: Vec<String> = forms.collect();
        if forms.is_empty() {
            // A mapping of constants alone: every row has the same checksum.
            return format!("hashint8extended(0, {})", self.seed_sql());
        }
        format!(
            "hash_record_extended(ROW({}), {})",
            forms.join(", "),
            self.seed_sql()
        )
    }

    fn seed_sql(&self) -> String {
        format!("('{}'::bigint)", self.seed)
    }

    /// What this plan means for the stored one.
    pub(super) fn compare(&self, stored: Option<Self>) -> PlanChange {
        let Some(stored) = stored else {
            return PlanChange::First;
        };
        if self.backfill != stored.backfill || self.time_zone != stored.time_zone {
            return PlanChange::Resend;
        }
        let only_removed = self
            .digests
            .iter()
            .all(|(field, digest)| stored.digests.get(field) == Some(digest));
        if !only_removed {
            return PlanChange::Resend;
        }
        if self.seed == stored.seed && self.columns == stored.columns {
            return PlanChange::Same;
        }
        PlanChange::Rehash(Box::new(stored))
    }

    /// Mapped columns of the stored plan whose type differs now: (name, then, now).
    pub(super) fn retyped<'a>(&'a self, stored: &'a Self) -> Vec<(&'a str, &'a str, &'a str)> {
        self.columns
            .iter()
            .filter_map(|column| {
                let before = stored.columns.iter().find(|old| old.name == column.name)?;
                (before.type_name != column.type_name).then_some((
                    column.name.as_str(),
                    before.type_name.as_str(),
                    column.type_name.as_str(),
                ))
            })
            .collect()
    }
}

fn seed(random: i64, digests: &BTreeMap<String, String>, time_zone: &str, backfill: i32) -> i64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&random.to_le_bytes());
    for (field, digest) in digests {
        hasher.update(field.as_bytes());
        hasher.update(&[0]);
        hasher.update(digest.as_bytes());
        hasher.update(&[0]);
    }
    hasher.update(time_zone.as_bytes());
    hasher.update(&backfill.to_le_bytes());
    let bytes: [u8; 8] = hasher.finalize().as_bytes()[..8]
        .try_into()
        .unwrap_or_default();
    i64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(fields: &[(&str, &str)], backfill: i32) -> HashPlan {
        let digests = fields
            .iter()
            .map(|(f, d)| ((*f).to_owned(), (*d).to_owned()))
            .collect();
        let facts = |name: &str| TypeFacts {
            type_name: name.into(),
            base: name.into(),
            element: None,
            kind: 'b',
            ordered: true,
        };
        let columns: Vec<(String, TypeFacts)> = fields
            .iter()
            .map(|(f, _)| ((*f).to_owned(), facts("int8")))
            .collect();
        HashPlan::new(
            &columns,
            &digests,
            "UTC",
            42,
            backfill,
            Mode::Upsert,
            Selection::default(),
        )
    }

    #[test]
    fn rule_6_the_seed_changes_with_additions_and_backfills_but_not_with_removals_alone() {
        let one = plan(&[("a", "1")], 0);
        let two = plan(&[("a", "1"), ("b", "2")], 0);
        assert_eq!(one.compare(None), PlanChange::First);
        assert_eq!(one.compare(Some(one.clone())), PlanChange::Same);
        assert_eq!(two.compare(Some(one.clone())), PlanChange::Resend);
        assert_eq!(
            plan(&[("a", "9")], 0).compare(Some(one.clone())),
            PlanChange::Resend
        );
        assert_eq!(
            plan(&[("a", "1")], 1).compare(Some(one.clone())),
            PlanChange::Resend
        );
        assert!(matches!(one.compare(Some(two.clone())), PlanChange::Rehash(old) if *old == two));
        assert_ne!(one.seed, two.seed);
    }

    #[test]
    fn rule_24_the_time_zone_is_part_of_the_digest() {
        let utc = plan(&[("a", "1")], 0);
        let mut paris = utc.clone();
        paris.time_zone = "Europe/Paris".into();
        assert_eq!(paris.compare(Some(utc)), PlanChange::Resend);
    }
}
