//! From the driver's and the server's errors to reasons with a way out.
//!
//! Must never show parameters or a row's values: the server's context lines and the details of
//! data and constraint errors hold them, so they are left out.

use std::error::Error as _;

use rowcast_core::{Code, Reason};
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, SqlState};

use super::config::{ConnectConfig, Password, SslMode};
use super::tls;
use super::verify::Observed;

/// How a login ended, and thereby whether the other kind of encryption may be tried.
pub(super) enum LoginFailure {
    /// The server answered that it has no TLS.
    NoTls(Reason),
    /// The server has no rule for connections with this encryption.
    Encryption(Reason),
    Final(Reason),
}

/// Whether the connection itself is gone (and not merely a statement failed).
pub fn is_connection_lost(error: &Error) -> bool {
    match error.as_db_error() {
        Some(db) => lost(db.code()),
        None => error.is_closed() || io_error(error).is_some(),
    }
}

fn lost(state: &SqlState) -> bool {
    state.code().starts_with("08")
        || [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
        ]
        .contains(state)
        // idle_session_timeout, idle_in_transaction_session_timeout
        || matches!(state.code(), "57P05" | "25P03")
}

fn io_error(error: &Error) -> Option<&std::io::Error> {
    error
        .source()
        .and_then(|source| source.downcast_ref::<std::io::Error>())
}

/// The server's own words, without values of rows.
fn words(db: &DbError) -> String {
    let mut words = db.message().to_owned();
    let holds_values = matches!(&db.code().code()[..2], "22" | "23");
    if let Some(detail) = db.detail().filter(|_| !holds_values) {
        words.push_str("; ");
        words.push_str(detail);
    }
    if let Some(tokio_postgres::error::ErrorPosition::Original(position)) = db.position() {
        words.push_str(&format!(" (at character {position})"));
    }
    words
}

/// The last of an error's causes: the driver's own text only names the step.
fn innermost(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = cause.to_string();
        source = cause.source();
    }
    text
}

/// A failed statement as a reason. `what` is what was attempted on which object, lower case, as in
/// `reading the model "customers"`.
pub fn db_error(error: &Error, what: &str) -> Reason {
    let failed = |code| Reason::new(code, format!("{what} failed"));
    let Some(db) = error.as_db_error() else {
        if is_connection_lost(error) {
            return failed(Code::ConnectionLost).detail(innermost(error)).hint(
                "the server or something between ended the connection, or gave no answer within limits.statement_timeout; progress is kept, run again",
            );
        }
        return failed(Code::SourceQueryFailed).detail(innermost(error));
    };
    let state = db.code();
    let (code, hint) = classify(state, db);
    let reason = failed(code).detail(words(db));
    match hint.or_else(|| db.hint().map(str::to_owned)) {
        Some(hint) => reason.hint(hint),
        None => reason,
    }
}

fn classify(state: &SqlState, db: &DbError) -> (Code, Option<String>) {
    let with = |code, hint: &str| (code, Some(hint.to_owned()));
    // The function that raised it is the same in every language of the server.
    match (db.routine(), state.code()) {
        (Some("check_enable_rls"), _) => {
            return with(
                Code::RowSecurity,
                "rows hidden by a policy would look deleted: read as a role with BYPASSRLS or the table's owner, or say row_security: allow in the source if the visible rows are all you want",
            );
        }
        (Some("exec_parse_message"), "42601") => {
            return with(
                Code::ModelNotOneStatement,
                "write one SELECT; put preparations into a view",
            );
        }
        _ => {}
    }
    match state.code() {
        "42501" => (Code::PermissionMissing, Some(grant_hint(db.message()))),
        "57014" => with(
            Code::Deadline,
            "raise limits.statement_timeout of the source, or make the query faster; pg_blocking_pids() tells whether it waited for a lock",
        ),
        "55P03" => with(
            Code::Deadline,
            "another session holds a lock on it: find it with SELECT pid, query FROM pg_stat_activity WHERE state <> 'idle', end it, run again",
        ),
        "25006" => with(
            Code::ModelWrites,
            "a model may only read: take the writing function or statement out",
        ),
        "53300" => with(
            Code::SourceQueryFailed,
            "too many connections: close idle ones, or use the pooler's port",
        ),
        "53100" | "53200" => with(
            Code::SourceQueryFailed,
            "the server ran out of disk or memory: make the model smaller or give the server more",
        ),
        "40001" | "40P01" => with(
            Code::SourceQueryFailed,
            "run again; on a replica raise max_standby_streaming_delay or switch hot_standby_feedback on",
        ),
        "42P01" | "3F000" => with(
            Code::ModelInvalid,
            "check the name and the source's search_path, or write schema.table",
        ),
        "42703" => with(
            Code::ModelInvalid,
            "check the column's name; names with capitals need double quotes",
        ),
        _ if lost(state) => with(
            Code::ConnectionLost,
            "the server or a pooler ended the connection; progress is kept, run again",
        ),
        code if code.starts_with("42") || code.starts_with("0A") => (Code::ModelInvalid, None),
        _ => (Code::SourceQueryFailed, None),
    }
}

/// Stands for the role in a hint until somebody who knows it says so.
const ROLE: &str = "the source's role";

/// Names the role in a hint that asks for a GRANT.
pub fn for_role(mut reason: Reason, role: &str) -> Reason {
    if let Some(hint) = reason.hint.take() {
        reason.hint = Some(hint.replace(ROLE, &quoted(role)));
    }
    reason
}

/// From `permission denied for table orders` to the grant that is missing.
fn grant_hint(message: &str) -> String {
    let fallback = "`rowcast check` prints every grant that is missing";
    let Some(rest) = message.strip_prefix("permission denied for ") else {
        return fallback.to_owned();
    };
    let kinds = [
        ("materialized view ", "SELECT ON"),
        ("foreign table ", "SELECT ON"),
        ("table ", "SELECT ON"),
        ("view ", "SELECT ON"),
        ("schema ", "USAGE ON SCHEMA"),
        ("function ", "EXECUTE ON FUNCTION"),
        ("sequence ", "SELECT ON SEQUENCE"),
        ("foreign server ", "USAGE ON FOREIGN SERVER"),
    ];
    kinds
        .iter()
        .find_map(|(kind, grant)| rest.strip_prefix(kind).map(|name| (grant, name)))
        .map_or_else(
            || fallback.to_owned(),
            |(grant, name)| format!("GRANT {grant} {name} TO {ROLE}; {fallback}"),
        )
}

/// A refused login or handshake.
pub(super) fn login(
    config: &ConnectConfig,
    error: &Error,
    handshake: Option<&Observed>,
) -> LoginFailure {
    if let Some(db) = error.as_db_error() {
        return refused(config, db, handshake);
    }
    let innermost = innermost(error);
    // The driver gives its kinds no names; its two TLS texts are covered by tests.
    if let Some(observed) = handshake {
        if innermost == "server does not support TLS" {
            return LoginFailure::NoTls(tls::not_offered(config));
        }
        if error
            .to_string()
            .starts_with("error performing TLS handshake")
        {
            return LoginFailure::Final(tls::explain(config, observed, &innermost));
        }
    }
    let reason = if innermost == "password missing" {
        login_failed(config)
            .detail("the server asks for a password, and none is configured")
            .hint("set password in the source, for example to ${env:NAME}")
    } else if error.to_string().starts_with("authentication error") {
        login_failed(config)
            .detail(innermost)
            .hint("check the password and channel_binding")
    } else {
        // A server that asked for a client certificate says no only after the TLS 1.3 handshake.
        match handshake {
            Some(observed) if observed.with(|seen| seen.client_certificate_wanted) => {
                tls::explain(config, observed, &innermost)
            }
            _ => Reason::new(
                Code::ConnectFailed,
                format!(
                    "the connection to {} broke during the login",
                    config.place()
                ),
            )
            .detail(innermost)
            .hint("check that host and port are those of a PostgreSQL server or pooler"),
        }
    };
    LoginFailure::Final(reason)
}

fn login_failed(config: &ConnectConfig) -> Reason {
    Reason::new(
        Code::LoginFailed,
        format!(
            "the server refused the role \"{}\" in the database {}",
            config.user,
            config.place()
        ),
    )
}

/// An SQL identifier in double quotes.
fn quoted(name: &str) -> String {
    crate::sql::ident(name)
}

fn refused(config: &ConnectConfig, db: &DbError, handshake: Option<&Observed>) -> LoginFailure {
    let state = db.code().code();
    let reason = login_failed(config).detail(words(db));
    let (user, database) = (quoted(&config.user), quoted(&config.database));
    let says = db.message();
    let reason = match state {
        "28P01" => match &config.password {
            Some(Password::Command(_)) => {
                reason.hint("the password command printed a password that the server does not take")
            }
            _ => reason.hint(format!(
                "check user and password; a new one is set with: ALTER ROLE {user} PASSWORD '…';"
            )),
        },
        // The server asked for a certificate, got none, and a rule (which names pg_hba.conf in
        // every language when it is missing) was found.
        "28000"
            if config.sslcert.is_none()
                && !says.contains("pg_hba.conf")
                && handshake.is_some_and(|o| o.with(|seen| seen.client_certificate_wanted))
                && db.routine() == Some("ClientAuthentication") =>
        {
            reason.hint("set sslcert and sslkey to the client certificate issued for this role")
        }
        // ClientAuthentication raises this when no line of pg_hba.conf matches.
        "28000" if db.routine() == Some("ClientAuthentication") || says.contains("pg_hba.conf") => {
            let encryption = if config.sslmode == SslMode::Disable {
                "; it may take encrypted connections only: use sslmode: verify-full"
            } else {
                ""
            };
            return LoginFailure::Encryption(reason.hint(format!(
                "add a line to pg_hba.conf for this database, role and address, and reload the server{encryption}"
            )));
        }
        "28000" => reason.hint(format!(
            "check that the role exists and may log in: CREATE ROLE {user} LOGIN PASSWORD '…'; or ALTER ROLE {user} LOGIN;"
        )),
        "3D000" => reason.hint("check the database's name"),
        "42501" => reason.hint(format!("GRANT CONNECT ON DATABASE {database} TO {user};")),
        "53300" => reason.hint(
            "the server has no connection left for this role: close idle ones, raise the limit, or use the pooler's port",
        ),
        "57P03" => Reason::new(
            Code::ConnectFailed,
            format!("the database {} is not ready", config.place()),
        )
        .detail(words(db))
        .hint("the server is starting, stopping or recovering: try again"),
        _ if says.contains("unsupported startup parameter") => reason
            .hint("the pooler refuses startup options: remove options= from the URL"),
        _ => reason.hint("the words above are the server's or the pooler's"),
    };
    LoginFailure::Final(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_object_becomes_its_grant() {
        assert!(
            grant_hint("permission denied for table orders").starts_with("GRANT SELECT ON orders")
        );
        assert!(
            grant_hint("permission denied for schema app").starts_with("GRANT USAGE ON SCHEMA app")
        );
        assert!(grant_hint("accès refusé").starts_with("`rowcast check`"));
    }
}
