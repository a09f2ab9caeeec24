//! Hostile names through a real server: schemas, tables, columns and roles are names, whatever is
//! written in them, when we quote them and when a person pastes what `setup-sql` printed.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

use rowcast_postgres::setup_sql::{SetupRequest, SetupStyle, setup_sql};
use rowcast_postgres::sql::{ident, literal, qualified};
use rowcast_testkit::postgres::Cluster;

/// Every name would drop the table `victim`, end a comment, a string or a block, or be taken for
/// something else, if it were pasted as it is.
const NAMES: [&str; 22] = [
    "a\"; DROP TABLE public.victim; --",
    "a\"\"; DROP TABLE public.victim; --",
    "a'; DROP TABLE public.victim; --",
    "a\nDROP TABLE public.victim;\n--",
    "a\r\nDROP TABLE public.victim;\r\n--",
    "a\"\n; DROP TABLE public.victim;\n--\"",
    "*/ DROP TABLE public.victim; /*",
    "$rowcast$; DROP TABLE public.victim; $rowcast$",
    "$rowcast_$ $rowcast$ $$",
    "\\! touch victim",
    "a\n\\! touch victim\n",
    "a\\'; DROP TABLE public.victim; --",
    "a\\\"; DROP TABLE public.victim; --",
    ":victim",
    ":\"victim\" :'victim' :{?victim}",
    "public.victim",
    "public\".\"victim",
    "null",
    "Ünïcode \u{202e}\u{2028}\u{1b}[2J",
    "%s %I {} {0} $1 ?",
    "U&\"\\0061\"",
    "63 bytes and a quote at the very end of what fits, here it is:\"",
];

#[tokio::test]
async fn injection_names_are_names_in_every_statement() {
    let cluster = Cluster::shared();
    let database = cluster.database("injection_names");
    let client = database.client().await;
    client
        .batch_execute("CREATE TABLE public.victim AS SELECT 1 AS one")
        .await
        .unwrap();
    let mut cases = 0;
    for name in NAMES {
        // As schema, table and column, read back from the catalog.
        let table = qualified(name, name);
        let sql = format!(
            "CREATE SCHEMA {}; CREATE TABLE {table} ({} text); INSERT INTO {table} VALUES ({})",
            ident(name),
            ident(name),
            literal(name)
        );
        client.batch_execute(&sql).await.unwrap();
        let row = client
            .query_one(
                &format!(
                    "SELECT n.nspname::text, c.relname::text, a.attname::text, (SELECT {} FROM {table}) \
                     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                     JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = 1 \
                     WHERE c.oid = {}::regclass",
                    ident(name),
                    literal(&table)
                ),
                &[],
            )
            .await
            .unwrap();
        let stored = &name[..name.floor_char_boundary(63)];
        for column in 0..3 {
            assert_eq!(row.get::<_, String>(column), stored);
        }
        assert_eq!(row.get::<_, String>(3), name);
        cases += 4;
    }
    assert!(cases >= 80, "{cases}");
    let one: i32 = client
        .query_one("SELECT one FROM public.victim", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(one, 1);
}

#[test]
fn injection_pasted_setup_sql_does_what_it_says_and_no_more() {
    let cluster = Cluster::shared();
    let made = cluster.database("injection_setup");
    let database = made.name.as_str();
    cluster.psql(database, "CREATE TABLE public.victim AS SELECT 1 AS one");
    let mut cases = 0;
    for (number, name) in NAMES.into_iter().enumerate() {
        let role = format!("{number} {name}");
        let role = &role[..role.floor_char_boundary(63)];
        let made = format!(
            "CREATE SCHEMA {0}; CREATE TABLE {0}.{0} (a int)",
            ident(&format!("s{name}"))
        );
        cluster.psql(database, &made);
        let name = format!("s{name}");
        for style in [SetupStyle::Managed, SetupStyle::Owned] {
            let sql = setup_sql(&SetupRequest {
                style,
                role: role.to_owned(),
                database: database.to_owned(),
                state_schema: format!("state of {name}"),
                schemas: vec![name.clone()],
                tables: vec![(name.clone(), name.clone())],
                all_tables: true,
                future_tables: Some("postgres".to_owned()),
            });
            cluster.psql(database, &sql);
            let reads = format!(
                "SELECT count(*) FROM pg_roles r WHERE rolname = {} AND \
                 has_table_privilege(r.oid, {}::regclass, 'SELECT')",
                literal(role),
                literal(&qualified(&name, &name))
            );
            assert_eq!(cluster.psql(database, &reads).trim(), "1", "{sql}");
            cases += 1;
        }
    }
    assert!(cases >= 44, "{cases}");
    let victims = "SELECT one FROM public.victim";
    assert_eq!(cluster.psql(database, victims).trim(), "1");
    let folder = std::path::Path::new("victim");
    assert!(!folder.exists(), "a command of psql was run");
}
