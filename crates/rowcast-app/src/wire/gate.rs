//! The gate of a sync: its trigger, and the consents that its destination needs.

use rowcast_config::{Problem, Sync};
use rowcast_core::gate::Consent;
use rowcast_core::{Code, Gate, Name, Reason, Schema};

use crate::failure::Failure;
use crate::{Answer, Project};

/// Makes the gate. With the model's columns, their names and types are checked.
///
/// # Errors
/// Every column that does not exist or does not fit, at its line.
pub(crate) fn of(project: &Project, sync: &Sync, schema: Option<&Schema>) -> Answer<Gate> {
    let mut problems = Vec::new();
    let trigger = sync.trigger.clone().map(|trigger| {
        let reads = trigger.reads();
        let columns: Option<Vec<Name>> = match schema {
            Some(schema) if reads.all => {
                let columns = schema.columns.iter();
                Some(columns.map(|column| column.name.clone()).collect())
            }
            None if reads.all => None,
            _ => {
                let columns = reads.columns.iter();
                Some(columns.map(|name| name.as_str().into()).collect())
            }
        };
        (trigger, columns)
    });
    if let (Some((_, Some(columns))), Some(schema)) = (&trigger, schema) {
        let absent = columns
            .iter()
            .filter(|name| schema.position(name).is_none());
        for name in absent {
            let reason = absent_column(&format!("the trigger of sync {}", sync.name), name, schema);
            problems.push(match sync.position("on") {
                Some(location) => Problem::at(reason, location),
                None => Problem::general(reason),
            });
        }
    }
    let consents = consents(project, sync)?;
    if let Some(schema) = schema {
        let model = project.model(&sync.model)?;
        for consent in &consents {
            let found = schema.position(&consent.column);
            let reason = match found.map(|at| &*schema.columns[at].type_name) {
                Some("boolean") => continue,
                Some(type_name) => Reason::new(
                    Code::WrongType,
                    format!(
                        "the consent column `{}` of model {} is not boolean",
                        consent.column, model.name
                    ),
                )
                .detail(format!("its type is {type_name}"))
                .hint("make it boolean in the query, as in (ads = 'yes') AS ads_ok"),
                None => absent_column(
                    &format!("`consent` of model {}", model.name),
                    &consent.column,
                    schema,
                ),
            };
            let path = format!("consent.{}", consent.category);
            problems.push(match model.position(&path) {
                Some(location) => Problem::at(reason, location),
                None => Problem::general(reason),
            });
        }
    }
    if problems.is_empty() {
        Ok(Gate::new(trigger, consents))
    } else {
        Err(Failure::of(problems))
    }
}

/// What the gate is, for telling a changed one.
pub(crate) fn text(project: &Project, sync: &Sync) -> Answer<String> {
    let mut parts: Vec<String> = sync
        .trigger
        .iter()
        .map(|trigger| format!("trigger {}", trigger.as_str()))
        .collect();
    for consent in consents(project, sync)? {
        parts.push(format!("consent {} {}", consent.category, consent.column));
    }
    Ok(parts.join("\n"))
}

/// The categories that the destination needs with the model's columns. A model that says nothing
/// about consent is not asked.
fn consents(project: &Project, sync: &Sync) -> Answer<Vec<Consent>> {
    let model = project.model(&sync.model)?;
    let destination = project.destination(&sync.destination)?;
    let column = |category: &str| -> Option<Name> {
        let known = model.consent.iter().find(|(known, _)| known == category);
        known.map(|(_, column)| column.as_str().into())
    };
    Ok(destination
        .consent
        .iter()
        .filter_map(|category| {
            Some(Consent {
                category: category.as_str().into(),
                column: column(category)?,
            })
        })
        .collect())
}

fn absent_column(who: &str, name: &str, schema: &Schema) -> Reason {
    let names = || schema.columns.iter().map(|column| &*column.name);
    Reason::new(
        Code::UnknownColumn,
        format!("{who} names the column `{name}`, which the model does not have"),
    )
    .hint(match rowcast_config::suggest(name, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the model has: {}", names().collect::<Vec<_>>().join(", ")),
    })
}
