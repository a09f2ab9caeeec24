//! The named checks of a source, in order, each with the exact statement that cures it.
//!
//! Reads no row of a model and leaves nothing behind: every transaction is rolled back.

mod excess;
mod missing;
mod state;

use rowcast_core::{Check, Code, Reason};

use crate::catalog;
use crate::connect::{Connection, Connector, Transport, db_error, require_version};
use crate::model_text::{ReadSettings, guard_statements, validate};

pub use state::check_state_schema;

/// A model to be read, as its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelCheck {
    pub name: String,
    /// The model's SQL; for a table `SELECT * FROM "schema"."table"`.
    pub sql: String,
    pub settings: ReadSettings,
}

/// Where the state of this source's syncs lives.
#[derive(Debug, Clone)]
pub enum StatePlace {
    /// In this schema of the source itself.
    Here { schema: String },
    /// In this schema of another source.
    Elsewhere {
        connector: Connector,
        schema: String,
    },
}

/// What to check.
#[derive(Debug, Clone)]
pub struct CheckRequest {
    pub connector: Connector,
    pub models: Vec<ModelCheck>,
    pub state: StatePlace,
}

const CONNECT: &str = "connect";
const VERSION: &str = "version";
const ROLE: &str = "primary or replica";
const READ_ONLY: &str = "read only";
const SCHEMAS: &str = "list schemas";
const TEMPORARY: &str = "temporary tables";
const STATE: &str = "state schema";
const EXCESS: &str = "excess privileges";

fn model_check(name: &str) -> String {
    format!("read model {name}")
}

/// Why the role could write in spite of a read-only transaction; `None` when it could not.
///
/// # Errors
/// The catalog can't be read.
pub async fn writes_in_spite(connection: &Connection) -> Result<Option<Reason>, Reason> {
    excess::writes_in_spite(connection).await
}

/// Runs every check in order. Never fails as a whole: what can't be checked is skipped.
pub async fn check(request: &CheckRequest) -> Vec<Check> {
    let connection = match request.connector.connect_any_version().await {
        Ok(connection) => connection,
        Err(reason) => return unreachable(request, reason),
    };
    let mut checks = vec![connected(&connection), version(&connection)];
    if require_version(&connection.server).is_err() {
        let rest = names(request).split_off(checks.len());
        checks.extend(
            rest.into_iter()
                .map(|name| Check::skipped(name, "the server is too old")),
        );
        return checks;
    }
    checks.push(place(&connection, request));
    checks.push(outcome(READ_ONLY, read_only(&connection).await));
    checks.push(outcome(SCHEMAS, list_schemas(&connection).await));
    for model in &request.models {
        let result = read_model(&connection, model).await;
        checks.push(outcome(model_check(&model.name), result));
    }
    match &request.state {
        StatePlace::Here { schema } => {
            checks.push(outcome(TEMPORARY, temporary(&connection).await));
            checks.push(outcome(
                STATE,
                check_state_schema(&connection, schema).await,
            ));
        }
        StatePlace::Elsewhere { connector, schema } => {
            let result = match connector.connect().await {
                Ok(other) => check_state_schema(&other, schema).await,
                Err(reason) => Err(reason),
            };
            checks.push(outcome(STATE, result));
        }
    }
    checks.push(excess::check(&connection, request, EXCESS).await);
    checks
}

/// The names of all checks of a request, in order.
fn names(request: &CheckRequest) -> Vec<String> {
    let mut names: Vec<String> = [CONNECT, VERSION, ROLE, READ_ONLY, SCHEMAS]
        .map(str::to_owned)
        .to_vec();
    names.extend(request.models.iter().map(|model| model_check(&model.name)));
    if matches!(request.state, StatePlace::Here { .. }) {
        names.push(TEMPORARY.to_owned());
    }
    names.push(STATE.to_owned());
    names.push(EXCESS.to_owned());
    names
}

fn unreachable(request: &CheckRequest, reason: Reason) -> Vec<Check> {
    let mut checks = vec![Check::failed(CONNECT, reason)];
    let rest = names(request).split_off(1);
    checks.extend(
        rest.into_iter()
            .map(|name| Check::skipped(name, "not connected")),
    );
    checks
}

fn outcome(name: impl Into<String>, result: Result<String, Reason>) -> Check {
    match result {
        Ok(found) => Check::passed(name, found),
        Err(reason) => Check::failed(name, reason),
    }
}

fn connected(connection: &Connection) -> Check {
    let tls = &connection.tls;
    let found = format!(
        "role \"{}\" in the database {}; {}",
        connection.server.user,
        connection.config().place(),
        tls.summary()
    );
    if let Some(at) = tls.expires_soon() {
        return Check::warned(
            CONNECT,
            Reason::new(
                Code::TlsFailed,
                format!("{found}; the server's certificate ends at {at}"),
            )
            .hint("renew the certificate on the server"),
        );
    }
    if tls.transport == Transport::Plain && !is_loopback(connection) {
        return Check::warned(
            CONNECT,
            Reason::new(Code::TlsFailed, format!("{found}: rows travel in clear"))
                .hint("switch TLS on in the server and use sslmode: verify-full"),
        );
    }
    Check::passed(CONNECT, found)
}

fn is_loopback(connection: &Connection) -> bool {
    let host = &connection.config().host;
    // Behind a tunnel, it is the SSH host's own loopback: no wire in the open either.
    host.starts_with('/')
        || host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn version(connection: &Connection) -> Check {
    outcome(
        VERSION,
        require_version(&connection.server)
            .map(|()| format!("PostgreSQL {}", connection.server.version)),
    )
}

fn place(connection: &Connection, request: &CheckRequest) -> Check {
    let state_here = matches!(request.state, StatePlace::Here { .. });
    match (connection.server.in_recovery, state_here) {
        (false, _) => Check::passed(ROLE, "primary"),
        (true, false) => Check::passed(ROLE, "replica; state is kept elsewhere"),
        (true, true) => Check::failed(
            ROLE,
            Reason::new(
                Code::StateNotWritable,
                "the server is a replica, which can't hold state",
            )
            .hint("keep the state in another source: state: { source: NAME }"),
        ),
    }
}

/// Proves that a reading transaction can't be made to write.
async fn read_only(connection: &Connection) -> Result<String, Reason> {
    const WHAT: &str = "proving that models can't write";
    let client = &connection.client;
    let begin = format!(
        "BEGIN READ ONLY; {}",
        guard_statements(&ReadSettings::default())
    );
    let attempts = [
        // 25001: after a query the transaction stays as it is.
        ("SET TRANSACTION READ WRITE", "25001"),
        // 25006: refused before privileges are looked at.
        ("CREATE SCHEMA rowcast_read_only_proof", "25006"),
    ];
    for (statement, expected) in attempts {
        let run = async {
            client.batch_execute(&begin).await?;
            let result = client.execute_typed(statement, &[]).await;
            client.batch_execute("ROLLBACK").await?;
            Ok::<_, tokio_postgres::Error>(result)
        };
        let refused = match run.await.map_err(|error| db_error(&error, WHAT))? {
            Ok(_) => false,
            Err(error) => error.code().is_some_and(|code| code.code() == expected),
        };
        if !refused {
            return Err(Reason::new(
                Code::ModelWrites,
                "a write in a read-only transaction was not refused",
            )
            .detail(format!("the statement was: {statement}"))
            .hint("something between rowcast and the server changes transactions; connect to PostgreSQL directly"));
        }
    }
    Ok("a write in a read-only transaction is refused".to_owned())
}

async fn list_schemas(connection: &Connection) -> Result<String, Reason> {
    let schemas = catalog::schemas(&connection.client).await?;
    let usable: Vec<&str> = schemas
        .iter()
        .filter(|(_, usable)| *usable)
        .map(|(name, _)| name.as_str())
        .collect();
    Ok(format!(
        "{} of {} schemas can be used: {}",
        usable.len(),
        schemas.len(),
        usable.join(", ")
    ))
}

async fn read_model(connection: &Connection, model: &ModelCheck) -> Result<String, Reason> {
    let client = &connection.client;
    let what = format!("reading the model \"{}\"", model.name);
    let begin = format!("BEGIN READ ONLY; {}", guard_statements(&model.settings));
    let work = async {
        client
            .batch_execute(&begin)
            .await
            .map_err(|error| db_error(&error, &what))?;
        validate(client, &model.sql).await
    };
    let result = connection
        .cancel_handle()
        .within(model.settings.statement_timeout, &what, work)
        .await;
    client
        .batch_execute("ROLLBACK")
        .await
        .map_err(|error| db_error(&error, &what))?;
    match result {
        Ok(columns) => {
            let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            Ok(format!("{} columns: {}", names.len(), names.join(", ")))
        }
        // A schema without USAGE also looks like a table that does not exist.
        Err(reason) if matches!(reason.code, Code::PermissionMissing | Code::ModelInvalid) => {
            let found = missing::find(client, &model.sql, &model.settings.search_path).await?;
            Err(match found {
                Some(missing) => missing.into_reason(&what, &reason),
                None => reason,
            })
        }
        Err(reason) => Err(reason),
    }
}

async fn temporary(connection: &Connection) -> Result<String, Reason> {
    let allowed: bool = connection
        .client
        .query_typed_one(
            "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY')",
            &[],
        )
        .await
        .and_then(|row| row.try_get(0))
        .map_err(|error| db_error(&error, "looking up the role's privileges"))?;
    if allowed {
        return Ok("can be made".to_owned());
    }
    let server = &connection.server;
    Err(Reason::new(
        Code::PermissionMissing,
        format!(
            "the role \"{}\" may not make temporary tables in the database \"{}\"",
            server.user, server.database
        ),
    )
    .hint(format!(
        "GRANT TEMPORARY ON DATABASE {} TO {};",
        crate::sql::ident(&server.database),
        crate::sql::ident(&server.user)
    )))
}
