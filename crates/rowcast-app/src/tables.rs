//! `tables`: what the source's role can see.

use rowcast_postgres::catalog;
use schemars::JsonSchema;
use serde::Serialize;

use crate::view::ColumnView;
use crate::{Answer, Project, wire};

/// A table or view.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RelationView {
    pub schema: String,
    pub name: String,
    /// `table`, `view`, …
    pub kind: String,
    /// The planner's estimate.
    pub estimated_rows: Option<u64>,
    pub primary_key: Vec<String>,
    pub columns: Vec<ColumnView>,
}

impl From<catalog::Relation> for RelationView {
    fn from(relation: catalog::Relation) -> Self {
        Self {
            schema: relation.schema,
            name: relation.name,
            kind: relation.kind.as_str().to_owned(),
            estimated_rows: relation.estimated_rows,
            primary_key: relation.primary_key,
            columns: relation
                .columns
                .into_iter()
                .map(|column| ColumnView {
                    name: column.name,
                    type_name: column.type_name,
                })
                .collect(),
        }
    }
}

/// Lists tables and views, of one schema or of all but Rowcast's own.
///
/// # Errors
/// The source can't be reached or its catalog can't be read.
pub async fn tables(
    project: &Project,
    source: Option<&str>,
    schema: Option<&str>,
) -> Answer<Vec<RelationView>> {
    let source = project.one_source(source)?;
    let connection = wire::connector(source)?.connect().await?;
    let relations = catalog::tables(&connection.client).await?;
    Ok(relations
        .into_iter()
        .filter(|relation| match schema {
            Some(schema) => relation.schema == schema,
            None => relation.schema != source.state_schema,
        })
        .map(RelationView::from)
        .collect())
}
