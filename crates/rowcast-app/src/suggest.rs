//! `suggest`: which column could fill which field of a sync's object.
//!
//! It proposes and never writes. Names decide, types correct; each field gets at most one column, and each
//! column goes into at most one field unless a required one would stay empty.

mod score;
mod words;

use rowcast_core::destination::{ObjectField, ObjectSchema};
use rowcast_core::{Code, Reason, Value};
use schemars::JsonSchema;
use serde::Serialize;

use crate::project::unknown;
use crate::{Answer, Project, wire};
use score::{PROPOSED_FROM, Score, score};

/// One field of the object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SuggestedField {
    pub field: String,
    #[serde(rename = "type")]
    pub type_name: String,
    pub required: bool,
    /// The sync maps it, or finds records by it.
    pub mapped: bool,
    /// The column that is proposed; never for a mapped field.
    pub column: Option<String>,
    /// From 60 to 100.
    pub score: Option<u8>,
    pub why: Option<String>,
    /// The proposed column is sensitive in its model: whether it may leave is for a person to decide.
    pub sensitive: bool,
}

/// What is proposed for a sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Suggestion {
    pub sync: String,
    pub object: String,
    /// Required fields first, then by score.
    pub fields: Vec<SuggestedField>,
    /// Columns of the model that nothing was found for.
    pub unused: Vec<String>,
    /// A `fields:` block with what is proposed, to paste into the sync.
    pub yaml: String,
}

/// Proposes columns for the fields of a sync's object. The sync may be incomplete: see
/// [`Project::load_to_complete`].
///
/// # Errors
/// The source or the destination can't be asked, or the destination does not know its fields.
pub async fn suggest(project: &Project, name: &str) -> Answer<Suggestion> {
    let sync = project.sync(name)?;
    let model = project.model(&sync.model)?;
    let source = project.source(&model.source)?;
    let (keys, columns) = wire::described(model, source).await?;
    let destination = wire::destination_to_discover(project, sync)?;
    let schemas = destination
        .discover()
        .await
        .map_err(|fault| fault.reason().clone())?;
    let schema = of_object(sync, schemas)?;
    let columns: Vec<Column> = columns
        .columns
        .iter()
        .map(|column| Column {
            name: column.name.to_string(),
            type_name: column.type_name.to_string(),
            sensitive: model.sensitive.iter().any(|name| **name == *column.name),
        })
        .collect();
    let mapped = match &sync.fields {
        Value::Object(members) => members.iter().map(|(name, _)| name.to_string()).collect(),
        _ => Vec::new(),
    };
    let matched: Vec<String> = if sync.match_on.is_empty() {
        keys.iter().map(ToString::to_string).collect()
    } else {
        sync.match_on
            .iter()
            .map(|(field, _)| field.to_string())
            .collect()
    };
    let taken: Vec<String> = read_columns(sync);
    let known: Vec<String> = mapped.into_iter().chain(matched).collect();
    let fields = propose(&columns, &schema.fields, &known, &taken);
    let unused = columns
        .iter()
        .map(|column| &column.name)
        .filter(|name| {
            let proposed = fields
                .iter()
                .any(|field| field.column.as_ref() == Some(name));
            !proposed && !taken.contains(name) && !keys.iter().any(|key| **key == ***name)
        })
        .cloned()
        .collect();
    Ok(Suggestion {
        sync: name.to_owned(),
        object: schema.name.to_string(),
        yaml: yaml(&fields),
        fields,
        unused,
    })
}

/// The fields of the sync's object.
fn of_object(sync: &rowcast_config::Sync, schemas: Vec<ObjectSchema>) -> Answer<ObjectSchema> {
    let wanted = sync.object.as_deref().unwrap_or_default();
    if schemas.iter().all(|schema| schema.fields.is_empty()) {
        return Err(Reason::new(
            Code::DestinationObject,
            format!("destination {} does not know its fields", sync.destination),
        )
        .hint("its connector takes fields of any name: write them in `fields:` of the sync")
        .into());
    }
    let names: Vec<String> = schemas
        .iter()
        .map(|schema| schema.name.to_string())
        .collect();
    // A table may be named with its schema or without.
    let bare = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let position = names
        .iter()
        .position(|name| name == wanted)
        .or_else(|| names.iter().position(|name| bare(name) == wanted))
        .or_else(|| (wanted.is_empty() && names.len() == 1).then_some(0));
    match position.and_then(|position| schemas.into_iter().nth(position)) {
        Some(schema) => Ok(schema),
        None => Err(unknown("object of the destination,", wanted, names.iter())),
    }
}

/// Columns that the sync reads as they are.
fn read_columns(sync: &rowcast_config::Sync) -> Vec<String> {
    let matched = sync.match_on.iter().map(|(_, column)| column.to_string());
    let mapped = match &sync.fields {
        Value::Object(members) => members.as_slice(),
        _ => &[],
    };
    let mapped = mapped.iter().filter_map(|(_, value)| match value {
        Value::Text(text) if !rowcast_core::mapping::is_template(text) => Some(text.to_string()),
        Value::Object(_) => value
            .get("column")
            .and_then(Value::as_text)
            .map(str::to_owned),
        _ => None,
    });
    matched.chain(mapped).collect()
}

/// A column of the model.
#[derive(Debug, Clone)]
struct Column {
    name: String,
    type_name: String,
    sensitive: bool,
}

/// Proposes at most one column for each field that is not mapped. `known` fields are mapped, `taken`
/// columns are in use.
fn propose(
    columns: &[Column],
    fields: &[ObjectField],
    known: &[String],
    taken: &[String],
) -> Vec<SuggestedField> {
    let open: Vec<usize> = (0..fields.len())
        .filter(|position| !known.iter().any(|name| *name == *fields[*position].name))
        .collect();
    let mut pairs: Vec<(usize, usize, Score)> = Vec::new();
    for field in &open {
        for (column, of) in columns.iter().enumerate() {
            let to = &fields[*field];
            let found = score(
                (&of.name, &of.type_name),
                (&to.name, &to.type_name),
                to.help.as_deref(),
            );
            let found = found.filter(|score| score.points >= PROPOSED_FROM);
            pairs.extend(found.map(|score| (*field, column, score)));
        }
    }
    // The best first; among equals the order of the model and of the object.
    pairs.sort_by_key(|(field, column, score)| (100 - score.points, *field, *column));
    let mut chosen: Vec<Option<(usize, Score)>> = vec![None; fields.len()];
    let mut used: Vec<bool> = columns
        .iter()
        .map(|column| taken.contains(&column.name))
        .collect();
    for (field, column, score) in &pairs {
        if chosen[*field].is_none() && !used[*column] {
            chosen[*field] = Some((*column, *score));
            used[*column] = true;
        }
    }
    // A required field rather shares a column than stays empty.
    for (field, column, score) in &pairs {
        if chosen[*field].is_none() && fields[*field].required {
            chosen[*field] = Some((*column, *score));
        }
    }
    let mut suggested: Vec<SuggestedField> = fields
        .iter()
        .zip(chosen)
        .map(|(field, chosen)| SuggestedField {
            field: field.name.to_string(),
            type_name: field.type_name.clone(),
            required: field.required,
            mapped: known.iter().any(|name| *name == *field.name),
            column: chosen.map(|(column, _)| columns[column].name.clone()),
            score: chosen.map(|(_, score)| score.points),
            why: chosen.map(|(_, score)| score.why.as_str().to_owned()),
            sensitive: chosen.is_some_and(|(column, _)| columns[column].sensitive),
        })
        .collect();
    suggested.sort_by_key(|field| {
        (
            !field.required,
            field.mapped,
            std::cmp::Reverse(field.score.unwrap_or(0)),
        )
    });
    suggested
}

/// The block to paste. What a person must decide stands there as a comment.
fn yaml(fields: &[SuggestedField]) -> String {
    let mut out = String::from("fields:\n");
    for field in fields.iter().filter(|field| !field.mapped) {
        let name = scalar(&field.field);
        match (&field.column, field.score) {
            (Some(column), Some(score)) if field.sensitive => {
                let column = scalar(column);
                out.push_str(&format!(
                    "  # {name}: {column}  # {score}; sensitive in its model\n"
                ));
            }
            (Some(column), Some(score)) => {
                let column = scalar(column);
                let why = field.why.as_deref().unwrap_or_default();
                out.push_str(&format!("  {name}: {column}  # {score}, {why}\n"));
            }
            _ if field.required => {
                out.push_str(&format!(
                    "  # {name}: COLUMN  # required, and no column fits\n"
                ));
            }
            _ => {}
        }
    }
    out
}

/// A name as YAML, quoted where it would mean something else.
fn scalar(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&name.to_lowercase().as_str());
    if plain {
        name.to_owned()
    } else {
        rowcast_core::json::to_json(&Value::from(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, type_name: &str) -> Column {
        Column {
            name: name.into(),
            type_name: type_name.into(),
            sensitive: name == "ssn",
        }
    }

    fn field(name: &str, required: bool) -> ObjectField {
        ObjectField {
            name: name.into(),
            type_name: "string".into(),
            required,
            help: None,
        }
    }

    fn chosen(fields: &[SuggestedField]) -> Vec<(&str, Option<&str>)> {
        let pairs = fields.iter();
        pairs
            .map(|field| (field.field.as_str(), field.column.as_deref()))
            .collect()
    }

    #[test]
    fn required_fields_come_first_and_each_column_goes_to_its_best_field() {
        let columns = [
            column("mail", "text"),
            column("email", "text"),
            column("plan", "text"),
        ];
        let fields = [
            field("plan", false),
            field("email", true),
            field("nothing", true),
        ];
        let found = propose(&columns, &fields, &[], &[]);
        assert_eq!(
            chosen(&found),
            [
                ("email", Some("email")),
                ("nothing", None),
                ("plan", Some("plan"))
            ]
        );
        assert_eq!(found[0].score, Some(100));
        assert!(yaml(&found).contains("  # nothing: COLUMN  # required, and no column fits\n"));
    }

    #[test]
    fn a_required_field_rather_shares_a_column_than_stays_empty() {
        let columns = [column("full_name", "text")];
        let fields = [field("full_name", false), field("name", true)];
        let found = propose(&columns, &fields, &[], &[]);
        assert_eq!(
            chosen(&found),
            [
                ("name", Some("full_name")),
                ("full_name", Some("full_name"))
            ]
        );
    }

    #[test]
    fn what_is_mapped_stays_and_sensitive_columns_are_left_to_people() {
        let columns = [column("email", "text"), column("ssn", "text")];
        let fields = [
            field("email", false),
            field("ssn", false),
            field("true", false),
        ];
        let found = propose(&columns, &fields, &["email".into()], &["email".into()]);
        assert_eq!(
            chosen(&found),
            [("ssn", Some("ssn")), ("true", None), ("email", None)]
        );
        assert_eq!(
            yaml(&found),
            "fields:\n  # ssn: ssn  # 100; sensitive in its model\n"
        );
        assert_eq!(scalar("true"), "\"true\"");
        assert_eq!(scalar("First name"), "\"First name\"");
    }
}
