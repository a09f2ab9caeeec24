//! Connecting without TLS: who answered, logins refused, deadlines, cancelling.

use std::time::Duration;

use rowcast_core::{Code, Secret};
use rowcast_postgres::connect::{
    ConnectConfig, Connector, Password, SslMode, Transport, cancels_delivered, db_error,
    require_version,
};
use rowcast_testkit::postgres::{Cluster, Database, Options};
use rowcast_testkit::proxy::{Fault, Proxy, Rule, When};
use tokio_postgres::error::SqlState;

fn config(database: &Database, role: &str) -> ConnectConfig {
    ConnectConfig::from_url(&database.url_as(role)).expect("a URL of the test cluster")
}

#[tokio::test]
async fn a_socket_is_reached_and_says_who_answered() {
    let database = Cluster::shared().database("connect");
    let connection = Connector::new(config(&database, "postgres"))
        .connect()
        .await
        .unwrap();
    assert_eq!(connection.tls.transport, Transport::UnixSocket);
    assert!(!connection.tls.encrypted());
    assert_eq!(connection.server.user, "postgres");
    assert_eq!(connection.server.database, database.name);
    assert!(!connection.server.in_recovery);
    assert!(connection.server.system_identifier.is_some());
    let row = connection
        .client
        .query_typed_one("SELECT current_setting('application_name')", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, String>(0), "rowcast");
}

#[tokio::test]
async fn a_server_older_than_14_is_refused() {
    let database = Cluster::shared().database("old");
    let mut server = Connector::new(config(&database, "postgres"))
        .connect()
        .await
        .unwrap()
        .server;
    server.version_num = 130_022;
    server.version = "13.22".to_owned();
    let reason = require_version(&server).unwrap_err();
    assert_eq!(reason.code, Code::ServerTooOld);
    assert!(reason.message.contains("13.22"));
}

#[tokio::test]
async fn the_connection_ends_with_its_value() {
    let database = Cluster::shared().database("ends");
    let connection = Connector::new(config(&database, "postgres"))
        .connect()
        .await
        .unwrap();
    let pid: i32 = connection
        .client
        .query_typed_one("SELECT pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);
    drop(connection);
    let watcher = database.client().await;
    // Bounded by the statement's own loop in the server: at most 10 s.
    let gone: bool = watcher
        .query_one(
            "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $1",
            &[&pid],
        )
        .await
        .unwrap()
        .get(0);
    if !gone {
        let wait = format!(
            "DO $$ BEGIN FOR i IN 1..1000 LOOP PERFORM pg_stat_clear_snapshot(); \
             EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid}); \
             PERFORM pg_sleep(0.01); END LOOP; \
             ASSERT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid}); END $$"
        );
        watcher.batch_execute(&wait).await.unwrap();
    }
}

#[tokio::test]
async fn a_running_query_can_be_cancelled() {
    let database = Cluster::shared().database("cancel");
    let connection = Connector::new(config(&database, "postgres"))
        .connect()
        .await
        .unwrap();
    let cancel = connection.cancel_handle();
    let watcher = database.client().await;
    let query = connection.client.query_typed("SELECT pg_sleep(60)", &[]);
    let cancelling = async {
        // Cancel only what has started: asking is no sleep, the server answers each time.
        loop {
            let running: i64 = watcher
                .query_one(
                    "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND datname = current_database() AND query = 'SELECT pg_sleep(60)'",
                    &[],
                )
                .await
                .unwrap()
                .get(0);
            if running == 1 {
                break;
            }
        }
        cancel.cancel().await.unwrap();
    };
    let (result, ()) = tokio::join!(query, cancelling);
    let reason = db_error(&result.unwrap_err(), "reading the model \"slow\"");
    assert_eq!(reason.code, Code::Deadline);
    assert_eq!(reason.message, "reading the model \"slow\" failed");
}

#[tokio::test]
async fn a_cancel_request_is_carried_to_its_end_although_nobody_waits_for_it() {
    let database = Cluster::shared().database("cancel_late");
    let proxy = Proxy::to_port(database.port);
    let mut config = config(&database, "postgres");
    "127.0.0.1".clone_into(&mut config.host);
    config.port = proxy.port();
    config.sslmode = SslMode::Disable;
    let connection = Connector::new(config).connect().await.unwrap();
    let cancel = connection.cancel_handle();
    // The server acts on the request and closes it, and the client does not learn of the end.
    proxy.inject(Rule::down(When::Start, Fault::Stall).on(2));
    let query = connection.client.query_typed("SELECT pg_sleep(60)", &[]);
    let error = tokio::select! {
        biased;
        result = query => result.unwrap_err(),
        result = cancel.cancel() => panic!("heard of by the client: {result:?}"),
    };
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED), "{error}");
    assert!(!cancels_delivered(Duration::ZERO).await, "closed early");
    proxy.hang_up();
    assert!(cancels_delivered(Duration::from_secs(60)).await);
}

#[tokio::test]
async fn unreachable_servers_are_told_apart() {
    let mut config = ConnectConfig::new("127.0.0.1", "d", "u");
    config.sslmode = SslMode::Disable;
    config.port = rowcast_testkit::postgres::free_port();
    let reason = Connector::new(config.clone()).connect().await.unwrap_err();
    assert_eq!(reason.code, Code::ConnectFailed);
    assert!(reason.detail.unwrap().contains("refused the connection"));

    config.host = "no-such-host.invalid".to_owned();
    let reason = Connector::new(config.clone()).connect().await.unwrap_err();
    assert_eq!(reason.code, Code::ConnectFailed);
    assert!(reason.detail.unwrap().contains("can't be resolved"));

    config.host = "/no/such/directory".to_owned();
    let reason = Connector::new(config.clone()).connect().await.unwrap_err();
    assert!(reason.detail.unwrap().contains("no such socket"));

    // A listener that never says a word.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    config.host = "127.0.0.1".to_owned();
    config.port = silent.local_addr().unwrap().port();
    config.connect_timeout = std::time::Duration::from_millis(50);
    let reason = Connector::new(config).connect().await.unwrap_err();
    assert_eq!(reason.code, Code::ConnectFailed);
    assert!(reason.detail.unwrap().contains("no answer within"));
    assert!(reason.hint.unwrap().contains("security group"));
}

#[tokio::test]
async fn refused_logins_name_their_cure_and_no_password() {
    let cluster = Cluster::start(&Options {
        hba: Some(
            "local all postgres trust\nlocal all all scram-sha-256\nhost d nobody 127.0.0.1/32 trust\n"
                .to_owned(),
        ),
        ..Options::default()
    });
    let database = cluster.database("login");
    cluster.psql(
        &database.name,
        &format!(
            "CREATE ROLE reader LOGIN PASSWORD 'right'; CREATE ROLE locked NOLOGIN PASSWORD 'right'; \
             REVOKE CONNECT ON DATABASE {} FROM PUBLIC; GRANT CONNECT ON DATABASE {} TO locked",
            database.name, database.name
        ),
    );
    let cases = [
        (
            "reader",
            Some("canary"),
            None,
            "password authentication failed",
            "ALTER ROLE \"reader\" PASSWORD",
        ),
        (
            "reader",
            None,
            None,
            "asks for a password",
            "set password in the source",
        ),
        (
            "reader",
            Some("right"),
            None,
            "permission denied for database",
            "GRANT CONNECT ON DATABASE",
        ),
        (
            "locked",
            Some("right"),
            None,
            "not permitted to log in",
            "LOGIN",
        ),
        (
            "reader",
            Some("right"),
            Some("nowhere"),
            "does not exist",
            "database's name",
        ),
        (
            "postgres",
            None,
            Some("nowhere"),
            "does not exist",
            "database's name",
        ),
    ];
    for (role, password, name, says, cure) in cases {
        let mut config = config(&database, role);
        config.password = password.map(|text| Password::Secret(Secret::new(text.to_owned())));
        if let Some(name) = name {
            name.clone_into(&mut config.database);
        }
        let reason = Connector::new(config).connect().await.unwrap_err();
        assert_eq!(reason.code, Code::LoginFailed, "{reason:?}");
        assert!(
            reason.detail.as_deref().unwrap().contains(says),
            "{reason:?}"
        );
        assert!(reason.hint.as_deref().unwrap().contains(cure), "{reason:?}");
        assert!(!format!("{reason:?}").contains("canary"));
    }
    // No line of pg_hba.conf for this connection.
    let mut tcp = config(&database, "reader");
    tcp.host = "127.0.0.1".to_owned();
    tcp.sslmode = SslMode::Disable;
    let reason = Connector::new(tcp).connect().await.unwrap_err();
    assert_eq!(reason.code, Code::LoginFailed);
    assert!(reason.hint.unwrap().contains("pg_hba.conf"));
}

#[tokio::test]
async fn a_password_command_runs_at_each_connection() {
    let cluster = Cluster::start(&Options {
        hba: Some("local all postgres trust\nlocal all all scram-sha-256\n".to_owned()),
        ..Options::default()
    });
    let database = cluster.database("command");
    cluster.psql(&database.name, "CREATE ROLE reader LOGIN PASSWORD 'one'");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "one\n").unwrap();
    let mut config = config(&database, "reader");
    let path = file.path().display().to_string();
    config.password = Some(Password::File(file.path().to_owned()));
    let from_file = Connector::new(config.clone());
    from_file.connect().await.unwrap();
    config.password = Some(Password::Command(vec!["cat".to_owned(), path]));
    let connector = Connector::new(config.clone());
    connector.connect().await.unwrap();
    cluster.psql(&database.name, "ALTER ROLE reader PASSWORD 'two'");
    assert_eq!(
        from_file.connect().await.unwrap_err().code,
        Code::LoginFailed
    );
    assert_eq!(
        connector.connect().await.unwrap_err().code,
        Code::LoginFailed
    );
    std::fs::write(file.path(), "two\n").unwrap();
    connector.connect().await.unwrap();
    from_file.connect().await.unwrap();

    for (command, says) in [
        (vec!["false"], "exit status: 1"),
        (vec!["true"], "printed nothing"),
        (vec!["/no/such/program"], "No such file"),
        (
            vec![
                "sh",
                "-c",
                "echo canary; echo the token expired >&2; exit 3",
            ],
            "the token expired",
        ),
    ] {
        config.password = Some(Password::Command(
            command.iter().map(|&part| part.to_owned()).collect(),
        ));
        let reason = Connector::new(config.clone()).connect().await.unwrap_err();
        assert_eq!(reason.code, Code::LoginFailed);
        assert!(
            reason.detail.as_deref().unwrap().contains(says),
            "{reason:?}"
        );
        assert!(!format!("{reason:?}").contains("canary"));
    }
}
