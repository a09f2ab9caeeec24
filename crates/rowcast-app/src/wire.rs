//! From configuration to running parts: the only module that names the concrete types behind the
//! engine's traits.
//!
//! Nothing is connected to here, except to look up the primary key of a table that leaves it to the
//! database.

use std::sync::Arc;

use rowcast_config::{Credential, Problem, Query, Source};
use rowcast_core::catalog::Catalog;
use rowcast_core::guard::Guard;
use rowcast_core::mapping::{CompileInput, EventMapping, FieldMapping};
use rowcast_core::segment::{SegmentInput, SegmentMapping};
use rowcast_core::sync::Backoff;
use rowcast_core::{
    Code, Column, Descriptor, Destination, Mapper, Name, Reason, Schema, SyncPlan, Value,
};
use rowcast_postgres::connect::{
    ConnectConfig, Connection, Connector, Password, RootCert, SshConfig, SslMode, for_role,
};
use rowcast_postgres::ledger::{
    CursorSpec, LedgerConfig, LogLevel, ModelBody, ModelSpec, PgLedger, Retention, SpoolConfig,
    SyncSpec,
};
use rowcast_postgres::model_text::{ReadSettings, RowSecurity, guard_statements};

mod agree;
pub(crate) mod gate;
mod place;

pub(crate) use agree::agree;
pub(crate) use place::{
    destination, destination_alone, destination_config, destination_for, destination_to_discover,
    opened_actions,
};

use crate::connectors::catalogue;
use crate::failure::Failure;
use crate::{Answer, Project};

/// The connector that is a database, and therefore lives with everything that speaks to one.
const POSTGRES: &str = "postgres";

/// The connectors that are code, but for that one.
const CATALOGS: [&Catalog; 3] = [
    &rowcast_destinations::CATALOG,
    &rowcast_objects::CATALOG,
    &rowcast_natives::CATALOG,
];

/// What each connector that is code says of itself.
pub(crate) fn natives() -> Vec<Descriptor> {
    let mut all: Vec<Descriptor> = CATALOGS
        .iter()
        .flat_map(|catalog| catalog.descriptors())
        .collect();
    all.push(rowcast_postgres::destination::descriptor());
    all
}

/// The table that a connector stands in; one that stands in none is looked for in the first.
fn catalog_of(connector: &str) -> &'static Catalog {
    CATALOGS
        .into_iter()
        .find(|catalog| catalog.entry(connector).is_some())
        .unwrap_or(&rowcast_destinations::CATALOG)
}

/// Whether a connector is known and was left out of this build.
pub(crate) fn is_absent(connector: &str) -> bool {
    let entry = catalog_of(connector).entry(connector);
    entry.is_some_and(|entry| entry.absence().is_some())
}

/// What each connector that comes with the program says of itself.
pub(crate) fn descriptors() -> Vec<Descriptor> {
    let mut all = natives();
    all.extend(crate::connectors::descriptors());
    all
}

/// The running parts of one sync.
pub(crate) struct Parts {
    pub(crate) ledger: Arc<PgLedger>,
    pub(crate) destination: Arc<dyn Destination>,
    pub(crate) mapper: Arc<dyn Mapper>,
    pub(crate) plan: SyncPlan,
    /// Names of the identity's fields; empty for the primary key's columns.
    pub(crate) match_fields: Vec<Name>,
}

/// Makes the parts of a sync.
///
/// # Errors
/// The configuration does not fit the connector or the database.
pub(crate) async fn parts(
    project: &Project,
    name: &str,
    overrides: &[Guard],
    first_seed: Option<i64>,
) -> Answer<Parts> {
    let sync = project.sync(name)?;
    let model = project.model(&sync.model)?;
    let source = project.source(&model.source)?;
    let (keys, schema) = described(model, source).await?;
    let mapper = mapper(project, sync, Some(model), &keys, Some(&schema))?;
    let gate = gate::of(project, sync, Some(&schema))?;
    let mut columns = mapper.columns();
    for column in gate.columns() {
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    let destination = destination(project, sync, &keys)?;
    let match_columns = tracked_columns(sync, &keys);
    let plan = SyncPlan {
        name: sync.name.as_str().into(),
        object: sync.object.as_deref().unwrap_or_default().into(),
        key_columns: keys.clone(),
        mode: sync.mode,
        on: sync.on,
        batching: sync.batching.clone(),
        guards: sync.guards,
        overrides: overrides.to_vec(),
        gate,
        tracks_match: match_columns.is_some(),
        keep_rows: sync.keep_rows,
        records_max: sync.run.max_records,
        duration_max: sync.run.max_duration,
        backoff: Backoff::default(),
    };
    let config = LedgerConfig {
        source: connector(source)?,
        state: match &source.state_source {
            Some(other) => Some(connector(project.source(other)?)?),
            None => None,
        },
        source_name: source.name.clone(),
        state_schema: project.config.state_source(source).state_schema.clone(),
        model: model_spec(model, source, sync, &keys),
        sync: SyncSpec {
            name: sync.name.clone(),
            was: sync.was.clone(),
            identity: place::identity(project, sync)?,
            mode: sync.mode,
            on: sync.on,
            gate: gate::text(project, sync)?,
            columns,
            digests: mapper.digests(),
            match_columns,
            keep_rows: sync.keep_rows,
            log: match sync.log {
                rowcast_config::RowLog::Auto => LogLevel::Default,
                rowcast_config::RowLog::Errors => LogLevel::Errors,
                rowcast_config::RowLog::All => LogLevel::All,
            },
            retry: sync.retry,
            overrides: overrides.to_vec(),
        },
        spool: spool(project),
    };
    let mut ledger = PgLedger::new(config)
        .with_connections(source.connections)
        .with_retention(Retention {
            runs: project.config.retention.runs,
            row_log: project.config.retention.row_log,
        });
    if let Some(seed) = first_seed {
        ledger = ledger.with_first_seed(seed);
    }
    Ok(Parts {
        ledger: Arc::new(ledger),
        destination,
        mapper,
        plan,
        match_fields: sync
            .match_on
            .iter()
            .map(|(field, _)| field.clone())
            .collect(),
    })
}

/// What `sources/*.yml` says, as the driver's configuration.
///
/// # Errors
/// The URL is malformed, or a secret file can't be read any more.
pub(crate) fn connect_config(source: &Source) -> Answer<ConnectConfig> {
    let mut config = match &source.url {
        Some(url) => ConnectConfig::from_url(url.reveal())?,
        None => ConnectConfig::new(
            source
                .host
                .as_ref()
                .map_or("localhost", |host| host.reveal()),
            source
                .database
                .as_ref()
                .map_or("", |database| database.reveal()),
            source.user.as_ref().map_or("", |user| user.reveal()),
        ),
    };
    if let Some(port) = source.port {
        config.port = port;
    }
    config.password = match &source.password {
        Some(credential) => Some(password(credential)),
        None => config.password,
    };
    if let Some(ssh) = &source.ssh {
        config.ssh = Some(SshConfig {
            host: ssh.host.reveal().to_owned(),
            port: ssh.port,
            user: ssh.user.reveal().to_owned(),
            key: password(&ssh.key),
            passphrase: ssh.passphrase.as_ref().map(password),
            host_key: ssh.host_key.as_ref().map(|key| key.reveal().to_owned()),
        });
    }
    if let Some(mode) = source.sslmode {
        config.sslmode = mode
            .as_str()
            .parse::<SslMode>()
            .map_err(|_| Reason::defect(format!("sslmode {} has no meaning", mode.as_str())))?;
    }
    if let Some(root) = &source.sslrootcert {
        config.sslrootcert = Some(RootCert::parse(root.reveal()));
    }
    if let Some(cert) = &source.sslcert {
        config.sslcert = Some(cert.reveal().into());
    }
    if let Some(key) = &source.sslkey {
        config.sslkey = Some(key.reveal().into());
    }
    config.search_path.clone_from(&source.search_path);
    config.statement_timeout = Some(source.statement_timeout);
    Ok(config)
}

/// A credential that files and commands give anew at each connection.
fn password(credential: &Credential) -> Password {
    match credential {
        Credential::Command(words) => {
            Password::Command(words.iter().map(|word| word.reveal().to_owned()).collect())
        }
        Credential::File(path) => Password::File(path.clone()),
        Credential::Value(secret) => Password::Secret(secret.clone()),
    }
}

/// Opens connections to a source.
pub(crate) fn connector(source: &Source) -> Answer<Connector> {
    Ok(Connector::new(connect_config(source)?))
}

/// Whether a server may run the models of a sync's source: not as a role that could write in spite
/// of the read-only transaction, unless the source says so (semantics 22).
///
/// # Errors
/// The role could, or the source can't be reached.
pub(crate) async fn may_be_served(project: &Project, sync: &str) -> Answer<()> {
    let model = project.model(&project.sync(sync)?.model)?;
    let source = project.source(&model.source)?;
    if source.allow_superuser {
        return Ok(());
    }
    let connection = connector(source)?.connect().await?;
    let found = rowcast_postgres::check::writes_in_spite(&connection).await?;
    found.map_or(Ok(()), |reason| {
        Err(reason
            .hint(format!(
                "let the source log in as a role of its own (`rowcast setup-sql {name}`), or write `allow_superuser: true` in sources/{name}.yml",
                name = source.name
            ))
            .into())
    })
}

/// The settings under which a model is read.
pub(crate) fn read_settings(model: &rowcast_config::Model, source: &Source) -> ReadSettings {
    ReadSettings {
        search_path: source.search_path.clone(),
        statement_timeout: Some(source.statement_timeout),
        time_zone: model.time_zone.clone(),
        row_security: match source.row_security {
            rowcast_config::RowSecurity::Error => RowSecurity::Error,
            rowcast_config::RowSecurity::Allow => RowSecurity::Allow,
        },
    }
}

/// The model's SQL: its own, or all of its table.
pub(crate) fn model_sql(model: &rowcast_config::Model) -> String {
    match &model.query {
        Query::Sql { text, .. } => text.clone(),
        Query::Table { schema, name } => {
            let name = match schema {
                Some(schema) => rowcast_postgres::sql::qualified(schema, name),
                None => rowcast_postgres::sql::ident(name),
            };
            format!("SELECT * FROM {name}")
        }
    }
}

/// The primary key's columns (the model's, else the table's own) and all columns with their types.
pub(crate) async fn described(
    model: &rowcast_config::Model,
    source: &Source,
) -> Answer<(Vec<Name>, Schema)> {
    // The connection ends with this function, and the transaction with it.
    let config = connect_config(source)?;
    let role = config.user.clone();
    let connection = Connector::new(config).connect().await?;
    let client = &connection.client;
    let mut keys: Vec<Name> = model
        .primary_key
        .iter()
        .map(|name| name.as_str().into())
        .collect();
    if keys.is_empty() {
        keys = table_key(&connection, model, source).await?;
    }
    let begin = format!(
        "BEGIN READ ONLY; {}",
        guard_statements(&read_settings(model, source))
    );
    client
        .batch_execute(&begin)
        .await
        .map_err(|error| rowcast_postgres::connect::db_error(&error, "beginning to read"))?;
    let columns = rowcast_postgres::model_text::validate(client, &model_sql(model))
        .await
        .map_err(|reason| of_model(for_role(reason, &role), model))?
        .into_iter()
        .map(|column| Column {
            name: column.name.into(),
            type_name: column.type_name.into(),
        })
        .collect();
    let schema = Schema { columns };
    match keys.iter().find(|key| schema.position(key).is_none()) {
        Some(key) => Err(absent_key(model, key, &schema)),
        None => Ok((keys, schema)),
    }
}

/// A primary key column that the model does not return.
fn absent_key(model: &rowcast_config::Model, key: &Name, schema: &Schema) -> Failure {
    let names = || schema.columns.iter().map(|column| &*column.name);
    let reason = Reason::new(
        Code::KeyMissing,
        format!(
            "model {} has no column `{key}` for its primary key",
            model.name
        ),
    )
    .detail(format!(
        "it has: {}",
        names().collect::<Vec<_>>().join(", ")
    ))
    .hint(match rowcast_config::suggest(key, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "add the column to the query, or name another in `primary_key`".to_owned(),
    });
    match model.position("primary_key") {
        Some(location) => Failure::of(vec![Problem::at(reason, location)]),
        None => reason.into(),
    }
}

/// Says which model a problem with its SQL is about, and where it stands.
fn of_model(mut reason: Reason, model: &rowcast_config::Model) -> Failure {
    reason.message = match reason.message.strip_prefix("the model ") {
        Some(rest) => format!("model {} {rest}", model.name),
        None => format!("model {}: {}", model.name, reason.message),
    };
    let path = match &model.query {
        Query::Sql {
            file: Some(file), ..
        } => {
            reason.message.push_str(&format!(" ({file})"));
            ""
        }
        Query::Sql { file: None, .. } => "sql",
        Query::Table { .. } => "table",
    };
    match model.position(path).filter(|_| !path.is_empty()) {
        Some(location) => Failure::of(vec![Problem::at(reason, location)]),
        None => reason.into(),
    }
}

async fn table_key(
    connection: &Connection,
    model: &rowcast_config::Model,
    source: &Source,
) -> Answer<Vec<Name>> {
    let Query::Table { schema, name } = &model.query else {
        return Err(no_key(model, "a SQL model has none of its own"));
    };
    let schema = schema
        .as_deref()
        .or(source.search_path.first().map(String::as_str));
    match rowcast_postgres::catalog::find(&connection.client, schema, name).await? {
        Some(relation) if !relation.primary_key.is_empty() => {
            Ok(relation.primary_key.into_iter().map(Name::from).collect())
        }
        Some(relation) => Err(no_key(
            model,
            &format!("the {} {name} has no primary key", relation.kind.as_str()),
        )),
        None => {
            let reason = Reason::new(
                Code::ModelInvalid,
                format!("the table {name} was not found"),
            )
            .hint("`rowcast tables` lists what the role can see");
            Err(of_model(reason, model))
        }
    }
}

/// Compiles the mapping of a sync. With the model's columns, their names and types are checked.
///
/// # Errors
/// Every problem of the mapping, at its line.
pub(crate) fn mapper(
    project: &Project,
    sync: &rowcast_config::Sync,
    model: Option<&rowcast_config::Model>,
    keys: &[Name],
    schema: Option<&Schema>,
) -> Answer<Arc<dyn Mapper>> {
    let match_on = (!sync.match_on.is_empty()).then(|| {
        let rules = sync.match_on.iter();
        Value::Object(
            rules
                .map(|(field, column)| (field.clone(), Value::from(&**column)))
                .collect(),
        )
    });
    let sensitive: Vec<Name> = model
        .map(|model| {
            model
                .sensitive
                .iter()
                .map(|name| name.as_str().into())
                .collect()
        })
        .unwrap_or_default();
    let own = CompileInput {
        fields: sync.event.as_ref().unwrap_or(&sync.fields),
        match_on: match_on.as_ref(),
        key_columns: keys,
        schema,
        sensitive: &sensitive,
    };
    let preset = if catalogue::is_preset(sync) {
        Some(catalogue::preset(project, sync, schema)?)
    } else {
        None
    };
    let mapping = preset.as_ref().or(sync.mapping.as_ref());
    let compiled: Result<Arc<dyn Mapper>, _> = match (mapping, &sync.event) {
        (Some(mapping), _) => SegmentMapping::compile(SegmentInput {
            mapping,
            match_on: match_on.as_ref(),
            key_columns: keys,
            schema,
            sensitive: &sensitive,
        })
        .map(|mapping| Arc::new(mapping) as _),
        (None, Some(_)) => EventMapping::compile(own).map(|mapping| Arc::new(mapping) as _),
        (None, None) => FieldMapping::compile(own).map(|mapping| Arc::new(mapping) as _),
    };
    match compiled {
        Ok(mapping) => Ok(mapping),
        Err(problems) => Err(Failure::of(
            problems
                .into_iter()
                .map(|problem| match sync.position(&problem.path) {
                    Some(location) => Problem::at(problem.reason, location),
                    None => Problem::general(problem.reason),
                })
                .collect(),
        )),
    }
}

/// Compiles `fields:` that stand in no project.
///
/// # Errors
/// Every problem of the mapping.
pub(crate) fn mapper_of_fields(fields: &Value) -> Answer<Arc<dyn Mapper>> {
    let compiled = FieldMapping::compile(CompileInput {
        fields,
        match_on: None,
        key_columns: &[],
        schema: None,
        sensitive: &[],
    });
    match compiled {
        Ok(mapping) => Ok(Arc::new(mapping)),
        Err(problems) => Err(Failure::of(
            problems
                .into_iter()
                .map(|problem| Problem::general(problem.reason))
                .collect(),
        )),
    }
}

/// Every problem of every mapping, as far as it can be told without the models' columns.
pub(crate) fn mapping_problems(project: &Project) -> Vec<Problem> {
    project
        .config
        .syncs
        .values()
        // A preset comes to a mapping when the model's columns are known.
        .filter(|sync| !catalogue::is_preset(sync))
        .filter_map(|sync| mapper(project, sync, None, &[], None).err())
        .flat_map(|failure| failure.problems)
        .collect()
}

fn no_key(model: &rowcast_config::Model, detail: &str) -> Failure {
    Reason::new(
        Code::KeyMissing,
        format!("model {} has no primary key", model.name),
    )
    .detail(detail)
    .hint(format!(
        "write `primary_key: [id]` in models/{}.yml",
        model.name
    ))
    .into()
}

/// The columns whose delivered values state keeps: those of `match_on`, when it is another
/// identity than the primary key and the mode deletes (semantics 12).
fn tracked_columns(sync: &rowcast_config::Sync, keys: &[Name]) -> Option<Vec<String>> {
    let outside = sync
        .match_on
        .iter()
        .any(|(_, column)| !keys.contains(column));
    (sync.mode.deletes() && outside).then(|| {
        sync.match_on
            .iter()
            .map(|(_, column)| column.to_string())
            .collect()
    })
}

fn model_spec(
    model: &rowcast_config::Model,
    source: &Source,
    sync: &rowcast_config::Sync,
    keys: &[Name],
) -> ModelSpec {
    ModelSpec {
        name: model.name.clone(),
        body: match &model.query {
            Query::Sql { text, .. } => ModelBody::Sql(text.clone()),
            Query::Table { schema, name } => ModelBody::Table {
                schema: schema.clone(),
                name: name.clone(),
            },
        },
        primary_key: keys.iter().map(ToString::to_string).collect(),
        time_zone: model.time_zone.clone(),
        search_path: source.search_path.clone(),
        filter: sync.condition.clone(),
        cursor: model.cursor.as_ref().map(|cursor| CursorSpec {
            column: cursor.column.clone(),
            overlap: cursor.overlap,
            full_every: cursor.full,
        }),
        allow_row_security: source.row_security == rowcast_config::RowSecurity::Allow,
        statement_timeout: Some(source.statement_timeout),
    }
}

fn spool(project: &Project) -> SpoolConfig {
    let mut spool = SpoolConfig::default();
    if let Some(dir) = &project.config.spool.dir {
        spool.dir = project.config.dir.join(dir);
    }
    if let Some(max) = project.config.spool.max {
        spool.max_bytes = max;
    }
    spool
}
