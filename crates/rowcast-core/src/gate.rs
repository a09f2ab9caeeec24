//! What a change must pass before it becomes a record: the sync's trigger, and the consents that
//! its destination needs.
//!
//! A change that does not pass is skipped and stored, like one that `on` does not name. Pure: it
//! must never look at anything but the change.

use crate::change::Kind;
use crate::code::Code;
use crate::fault::Reason;
use crate::segment::{Occasion, Trigger, row_event};
use crate::value::{Name, Value};

/// A consent that the destination needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// `advertising`.
    pub category: Name,
    /// The boolean column of the model that says whether it was given.
    pub column: Name,
}

/// The trigger and the consents of a sync. The default lets everything pass.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gate {
    trigger: Option<Trigger>,
    consents: Vec<Consent>,
    /// Columns of the row event that the trigger sees; `None`: all that the row has.
    properties: Option<Vec<Name>>,
}

impl Gate {
    /// From a trigger with the columns it reads (`None`: all that a row has), and consents of which
    /// all must be given.
    pub fn new(trigger: Option<(Trigger, Option<Vec<Name>>)>, consents: Vec<Consent>) -> Self {
        let (trigger, properties) = trigger.unzip();
        Self {
            trigger,
            consents,
            properties: properties.flatten(),
        }
    }

    /// Whether everything passes.
    pub fn is_open(&self) -> bool {
        self.trigger.is_none() && self.consents.is_empty()
    }

    /// The model's columns it reads, without repetition.
    pub fn columns(&self) -> Vec<Name> {
        let mut columns = self.properties.clone().unwrap_or_default();
        for consent in &self.consents {
            if !columns.contains(&consent.column) {
                columns.push(consent.column.clone());
            }
        }
        columns
    }

    /// Judges a change. `or_else`: another kind that the change may have been, because its first
    /// attempt has an unknown outcome. Gives the kind that passed.
    ///
    /// # Errors
    /// Why the change is skipped.
    pub fn pass(
        &self,
        occasion: &Occasion<'_>,
        or_else: Option<Kind>,
        started_at: i64,
    ) -> Result<Kind, Reason> {
        let kinds = [Some(occasion.kind), or_else];
        let passed = kinds
            .into_iter()
            .flatten()
            .find(|kind| match &self.trigger {
                Some(trigger) => trigger.matches(&row_event(
                    &Occasion {
                        kind: *kind,
                        ..*occasion
                    },
                    self.properties.as_deref(),
                    started_at,
                )),
                None => true,
            });
        let Some(kind) = passed else {
            return Err(Reason::new(
                Code::TriggerHeldBack,
                "the trigger in `on` does not let the row pass",
            ));
        };
        // A delete takes a record away: nobody's consent to that is missing.
        if kind != Kind::Removed {
            self.consented(occasion)?;
        }
        Ok(kind)
    }

    fn consented(&self, occasion: &Occasion<'_>) -> Result<(), Reason> {
        let given = |consent: &&Consent| {
            let value = occasion.row.and_then(|row| row.get(&consent.column));
            value == Some(&Value::Bool(true))
        };
        let missing: Vec<&str> = self
            .consents
            .iter()
            .filter(|consent| !given(consent))
            .map(|consent| &*consent.category)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Reason::new(
            Code::ConsentMissing,
            format!("consent not given: {}", missing.join(", ")),
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::row::{Column, Row, Schema};

    fn row(ads: Value, plan: &str) -> Row {
        let columns = ["ads_ok", "plan"]
            .map(|name| Column {
                name: name.into(),
                type_name: "text".into(),
            })
            .into();
        Row {
            schema: Arc::new(Schema { columns }),
            values: vec![ads, Value::from(plan)],
        }
    }

    fn gate(trigger: Option<&str>, consent: bool) -> Gate {
        let trigger =
            trigger.map(|text| (Trigger::parse(text).unwrap(), Some(vec!["plan".into()])));
        let consents = consent.then(|| Consent {
            category: "advertising".into(),
            column: "ads_ok".into(),
        });
        Gate::new(trigger, consents.into_iter().collect())
    }

    fn judged(gate: &Gate, kind: Kind, row: Option<&Row>, or_else: Option<Kind>) -> String {
        let occasion = Occasion {
            kind,
            key: None,
            row,
        };
        match gate.pass(&occasion, or_else, 0) {
            Ok(kind) => format!("{kind:?}"),
            Err(reason) => reason.message,
        }
    }

    #[test]
    fn only_a_true_consent_is_one() {
        let gate = gate(None, true);
        for value in [
            Value::Bool(false),
            Value::Null,
            Value::from("true"),
            Value::Int(1),
        ] {
            let row = row(value, "pro");
            assert_eq!(
                judged(&gate, Kind::Added, Some(&row), None),
                "consent not given: advertising"
            );
        }
        assert_eq!(
            judged(
                &gate,
                Kind::Updated,
                Some(&row(Value::Bool(true), "pro")),
                None
            ),
            "Updated"
        );
        assert_eq!(judged(&gate, Kind::Removed, None, None), "Removed");
    }

    #[test]
    fn a_trigger_sees_what_happened_and_the_columns() {
        let gate = gate(Some("event = \"new\" and properties.plan = \"pro\""), false);
        let (pro, free) = (row(Value::Null, "pro"), row(Value::Null, "free"));
        let held = "the trigger in `on` does not let the row pass";
        assert_eq!(judged(&gate, Kind::Added, Some(&pro), None), "Added");
        assert_eq!(judged(&gate, Kind::Added, Some(&free), None), held);
        assert_eq!(judged(&gate, Kind::Updated, Some(&pro), None), held);
        // The first attempt may have been about a new row.
        assert_eq!(
            judged(&gate, Kind::Updated, Some(&pro), Some(Kind::Added)),
            "Added"
        );
        assert_eq!(gate.columns(), ["plan".into()]);
    }
}
