//! `setup-sql`: the grants that Rowcast's role needs.

use rowcast_config::Query;
use rowcast_core::{Code, Reason};
use rowcast_postgres::setup_sql::{self, SetupStyle};

use crate::{Answer, Project, wire};

/// Who makes the state schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    /// An administrator.
    #[default]
    Managed,
    /// Rowcast itself.
    Owned,
}

/// What to print.
#[derive(Debug, Clone, Default)]
pub struct SetupRequest {
    pub style: Style,
    /// The state schema; the source's own by default.
    pub schema: Option<String>,
    /// `schema.table`; the models' tables by default.
    pub tables: Vec<String>,
    pub all_tables: bool,
    pub future_tables: Option<String>,
}

/// Prints the statements for a source.
///
/// # Errors
/// The source's role or database is not known without its secrets, or a table has no schema.
pub fn setup_sql(
    project: &Project,
    source: Option<&str>,
    request: &SetupRequest,
) -> Answer<String> {
    let source = project.one_source(source)?;
    let config = wire::connect_config(source)?;
    let default_schema = source.search_path.first().map_or("public", String::as_str);
    let mut tables: Vec<(String, String)> = Vec::new();
    for table in &request.tables {
        let (schema, name) = table.split_once('.').unwrap_or((default_schema, table));
        tables.push((schema.to_owned(), name.to_owned()));
    }
    if tables.is_empty() && !request.all_tables {
        for model in project.config.models.values() {
            if let Query::Table { schema, name } = &model.query
                && model.source == source.name
            {
                let schema = schema.clone().unwrap_or_else(|| default_schema.to_owned());
                tables.push((schema, name.clone()));
            }
        }
    }
    let mut schemas = source.search_path.clone();
    if schemas.is_empty() {
        schemas.push("public".to_owned());
    }
    if config.user.is_empty() || config.database.is_empty() {
        return Err(Reason::new(
            Code::MissingSecret,
            format!(
                "the role and the database of source {} are not known",
                source.name
            ),
        )
        .hint("set the variables that its file names, or write `user:` and `database:` there")
        .into());
    }
    Ok(setup_sql::setup_sql(&setup_sql::SetupRequest {
        style: match request.style {
            Style::Managed => SetupStyle::Managed,
            Style::Owned => SetupStyle::Owned,
        },
        role: config.user,
        database: config.database,
        state_schema: request
            .schema
            .clone()
            .unwrap_or_else(|| source.state_schema.clone()),
        schemas,
        tables,
        all_tables: request.all_tables,
        future_tables: request.future_tables.clone(),
    }))
}
