//! `preview`: the first rows of a model, whether its key holds, and columns that never rest.

use rowcast_core::Value;
use rowcast_core::json::to_json;
use rowcast_postgres::preview::PreviewRequest;
use serde_json::value::RawValue;

use crate::view::{ColumnView, PreviewView};
use crate::{Answer, Project, wire};

/// What is shown in place of a sensitive value.
const MASK: &str = "***";

/// Looks at a model. Sensitive columns are masked.
///
/// # Errors
/// The source can't be reached, or the model can't be read.
pub async fn preview(project: &Project, name: &str, limit: u32) -> Answer<PreviewView> {
    let model = project.model(name)?;
    let source = project.source(&model.source)?;
    let (keys, _) = wire::described(model, source).await?;
    let connection = wire::connector(source)?.connect().await?;
    let request = PreviewRequest {
        sql: wire::model_sql(model),
        key: keys.iter().map(ToString::to_string).collect(),
        limit,
        settings: wire::read_settings(model, source),
    };
    let found = rowcast_postgres::preview::preview(&connection, &request).await?;
    let masked: Vec<bool> = found
        .columns
        .iter()
        .map(|column| model.sensitive.contains(&column.name))
        .collect();
    let rows = found.rows.iter().map(|row| {
        let values = row.iter().zip(&masked);
        values
            .map(|(value, masked)| shown(value, *masked))
            .collect()
    });
    Ok(PreviewView {
        model: model.name.clone(),
        source: source.name.clone(),
        rows: rows.collect(),
        key_valid: found.key.is_none_or(|verdict| verdict.holds()),
        key: found.key.map(|verdict| verdict.to_string()).unwrap_or_default(),
        warnings: found
            .volatile
            .iter()
            .map(|column| {
                format!("column {column} differs between two reads, so every row would count as updated in every run")
            })
            .collect(),
        columns: found
            .columns
            .into_iter()
            .map(|column| ColumnView {
                name: column.name,
                type_name: column.type_name,
            })
            .collect(),
    })
}

fn shown(value: &Value, masked: bool) -> Box<RawValue> {
    let json = match (masked, value.is_null()) {
        (true, false) => to_json(&Value::from(MASK)),
        _ => to_json(value),
    };
    RawValue::from_string(json).unwrap_or_default()
}
