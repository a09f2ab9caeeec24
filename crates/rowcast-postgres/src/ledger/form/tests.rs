//! Joins of state and model by key: which index a real server uses for each type of key.

use std::collections::BTreeMap;
use std::time::Duration;

use rowcast_core::ledger::{DiffRequest, Ledger, OpenRequest};
use rowcast_core::sync::RetryPolicy;
use rowcast_core::{Mode, Selection};
use rowcast_testkit::postgres::{Cluster, Database};

use super::*;
use crate::connect::{ConnectConfig, Connector};
use crate::ledger::config::{LedgerConfig, LogLevel, ModelSpec, SyncSpec};
use crate::ledger::diff::Bound;
use crate::ledger::plan::HashPlan;
use crate::ledger::spool::SpoolConfig;
use crate::ledger::{PgLedger, extract, shape::Shape};

fn config(database: &Database) -> LedgerConfig {
    let url = format!(
        "postgresql://postgres@/{}?host={}&port={}",
        database.name, database.host, database.port
    );
    LedgerConfig {
        source: Connector::new(ConnectConfig::from_url(&url).expect("a test URL")),
        state: None,
        source_name: "shop".into(),
        state_schema: "_rowcast".into(),
        model: ModelSpec {
            name: "t".into(),
            body: ModelBody::Table {
                schema: None,
                name: "t".into(),
            },
            primary_key: vec![],
            time_zone: "UTC".into(),
            search_path: vec!["public".into()],
            filter: None,
            cursor: None,
            allow_row_security: false,
            statement_timeout: None,
        },
        sync: SyncSpec {
            name: "t".into(),
            was: None,
            identity: BTreeMap::new(),
            mode: Mode::Mirror,
            on: Selection::default(),
            gate: String::new(),
            columns: vec!["v".into()],
            digests: BTreeMap::new(),
            match_columns: None,
            keep_rows: false,
            log: LogLevel::Default,
            retry: RetryPolicy::default(),
            overrides: vec![],
        },
        spool: SpoolConfig::default(),
    }
}

/// A table with this key and 5,000 rows, all of them in state.
async fn filled(name: &str, key: &str, literal: &str) -> (Client, PgLedger, Shape) {
    filled_for(name, key, literal, None).await
}

/// The same, with a query over the table as the model.
async fn filled_for(
    name: &str,
    key: &str,
    literal: &str,
    query: Option<&str>,
) -> (Client, PgLedger, Shape) {
    let database = Cluster::shared().database(name);
    let client = database.client().await;
    let fill = format!(
        "CREATE TABLE t (k {key} PRIMARY KEY, v int); \
         INSERT INTO t SELECT {literal}, i FROM generate_series(1, 5000) i; ANALYZE t"
    );
    client.batch_execute(&fill).await.unwrap();
    let mut config = config(&database);
    if let Some(query) = query {
        config.model.body = ModelBody::Sql(query.into());
        config.model.primary_key = vec!["k".into()];
    }
    let ledger = PgLedger::new(config);
    let open = OpenRequest {
        request_timeout: Duration::from_secs(1),
        ..OpenRequest::default()
    };
    ledger.open(&open).await.unwrap();
    let shape = ledger.session.lock().await.as_ref().unwrap().shape.clone();
    let state = shape.own("state");
    client
        .batch_execute(&format!(
            "INSERT INTO {state} (k1, h, run) SELECT k, 0, 1 FROM t; ANALYZE {state}"
        ))
        .await
        .unwrap();
    (client, ledger, shape)
}

fn nothing_hashed() -> HashPlan {
    let columns = BTreeMap::new();
    HashPlan::new(
        &[],
        &columns,
        "UTC",
        0,
        0,
        Mode::Mirror,
        Selection::default(),
    )
}

/// One that only looks, over one connection.
fn extraction<'a>(
    config: &'a LedgerConfig,
    shape: &'a Shape,
    plan: &'a HashPlan,
    request: &'a DiffRequest,
) -> Extraction<'a> {
    Extraction {
        config,
        shape,
        plan,
        planned: &[],
        request,
        fence: None,
        join_memory: JOIN_MEMORY_MAX,
        two_from: None,
        bare: false,
    }
}

/// The plan of the wide form over a table with this key, when only a merge is possible; rows of state may
/// have successors beside it.
async fn plan(name: &str, key: &str, literal: &str) -> String {
    let (client, ledger, shape) = filled(name, key, literal).await;
    let config = &ledger.config;
    let plan = nothing_hashed();
    let request = DiffRequest::default();
    let extraction = extraction(config, &shape, &plan, &request);
    model::begin(&client, &config.model, None).await.unwrap();
    let model = model::describe(&client, config).await.unwrap();
    let facts = extract::StateFacts::default();
    let sql = extraction.diff(&model, &facts, &[]).wide();
    client
        .batch_execute("SET LOCAL enable_hashjoin = off; SET LOCAL enable_seqscan = off")
        .await
        .unwrap();
    let rows = client
        .query(&format!("EXPLAIN (COSTS OFF) {sql}"), &[])
        .await
        .unwrap();
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    lines.join("\n")
}

#[tokio::test]
async fn rule_3_integer_keys_of_any_width_are_merged_by_their_indexes() {
    for (i, key) in ["smallint", "int", "bigint"].into_iter().enumerate() {
        let plan = plan(&format!("merge{i}"), key, "i").await;
        assert!(plan.contains("Merge Full Join"), "{key}: {plan}");
        assert!(!plan.contains("Sort"), "both sides come in order: {plan}");
        assert!(!plan.contains("::bigint ="), "no cast in the join: {plan}");
        assert_eq!(plan.matches("Index").count(), 3, "{plan}");
        assert!(plan.contains("Merge Left Join"), "{plan}");
    }
}

#[tokio::test]
async fn rule_3_text_keys_are_merged_by_their_indexes_in_byte_order_only() {
    for (name, key) in [
        ("mergec", "text COLLATE \"C\""),
        ("mergev", "varchar COLLATE \"C\""),
    ] {
        let plan = plan(name, key, "i::text").await;
        assert!(plan.contains("Merge Full Join"), "{plan}");
        assert!(!plan.contains("Sort"), "both sides come in order: {plan}");
    }
    // The default collation has another order: the model's side must be sorted.
    let plan = plan("mergedefault", "text", "i::text").await;
    assert!(plan.contains("Sort"), "{plan}");
}

/// Whether a table with this key is read in two halves from `two_from` rows on.
async fn halved(name: &str, key: &str, literal: &str, two_from: u64) -> bool {
    halved_after("", name, key, literal, two_from).await
}

/// The same, after a statement that a superuser ran.
async fn halved_after(before: &str, name: &str, key: &str, literal: &str, two_from: u64) -> bool {
    let (client, ledger, shape) = filled(name, key, literal).await;
    client.batch_execute(before).await.unwrap();
    let config = &ledger.config;
    model::begin(&client, &config.model, None).await.unwrap();
    let model = model::describe(&client, config).await.unwrap();
    let plan = nothing_hashed();
    let request = DiffRequest::default();
    let extraction = Extraction {
        planned: &model.data,
        two_from: Some(two_from),
        ..extraction(config, &shape, &plan, &request)
    };
    let facts = extract::StateFacts::default();
    let diff = extraction.diff(&model, &facts, &[]);
    let halves = extraction
        .halves(&client, &model, &facts, &diff, Manner::Wide)
        .await
        .unwrap();
    halves.is_some()
}

#[tokio::test]
async fn tables_are_read_in_halves_when_they_are_large_and_their_key_can_be_divided() {
    assert!(halved("halfint", "int", "i", 5000).await);
    assert!(!halved("halfsmall", "int", "i", 5001).await, "too few rows");
    assert!(halved("halftext", "text", "'k' || i", 5000).await);
    assert!(halved("halfuuid", "uuid", "md5(i::text)::uuid", 5000).await);
    assert!(
        !halved("halfnumeric", "numeric", "i", 5000).await,
        "the text of a numeric is not its order"
    );
}

#[tokio::test]
async fn a_role_that_may_not_share_its_snapshot_reads_a_table_over_one_connection() {
    for (name, revoke, expected) in [
        ("halfreader", "SELECT 1", true),
        (
            "halfsnapshot",
            "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_export_snapshot() FROM PUBLIC",
            false,
        ),
        (
            "halfstatistics",
            "REVOKE SELECT ON pg_catalog.pg_stats FROM PUBLIC",
            false,
        ),
    ] {
        let role = format!("role_{name}");
        let before = format!(
            "{revoke}; CREATE ROLE {role}; GRANT SELECT ON t TO {role}; \
             GRANT USAGE ON SCHEMA _rowcast TO {role}; \
             GRANT SELECT ON ALL TABLES IN SCHEMA _rowcast TO {role}; SET ROLE {role}"
        );
        let halved = halved_after(&before, name, "int", "i", 5000).await;
        assert_eq!(halved, expected, "{name}");
    }
}

/// Where a table with this key is divided, after a statement that a superuser ran.
async fn bound(name: &str, key: &str, manner: Manner, before: &str) -> Option<Bound> {
    let (client, ledger, shape) = filled(name, key, "i").await;
    client.batch_execute(before).await.unwrap();
    let config = &ledger.config;
    model::begin(&client, &config.model, None).await.unwrap();
    let model = model::describe(&client, config).await.unwrap();
    let (plan, request) = (nothing_hashed(), DiffRequest::default());
    let extraction = Extraction {
        two_from: Some(5000),
        ..extraction(config, &shape, &plan, &request)
    };
    let facts = extract::StateFacts::default();
    let bound = extraction.bound(&client, &model, &facts, manner).await;
    bound.unwrap()
}

#[tokio::test]
async fn the_pages_of_a_table_are_divided_when_there_is_no_state_to_divide_alike() {
    let nothing = "SELECT 1";
    // 5,000 rows: 226 of them in a page with int keys, 185 with bigint.
    for (name, key, manner, page) in [
        ("pageint", "int", Manner::Plain, 11),
        ("pagebig", "bigint", Manner::First, 14),
    ] {
        let bound = bound(name, key, manner, nothing).await;
        assert_eq!(bound, Some(Bound::Page(page)), "{name}");
    }
    let numeric = bound("pagenumeric", "numeric", Manner::Plain, nothing).await;
    assert!(matches!(numeric, Some(Bound::Page(_))), "{numeric:?}");
    for (name, manner, before) in [
        ("pagestate", Manner::Wide, nothing),
        ("pagenarrow", Manner::Narrow, nothing),
        (
            "pageparent",
            Manner::Plain,
            "CREATE TABLE child () INHERITS (t)",
        ),
        (
            "pagecolumns",
            Manner::Plain,
            "CREATE ROLE role_pagecolumns; GRANT SELECT (k, v) ON t TO role_pagecolumns; \
             GRANT USAGE ON SCHEMA _rowcast TO role_pagecolumns; \
             GRANT SELECT ON ALL TABLES IN SCHEMA _rowcast TO role_pagecolumns; SET ROLE role_pagecolumns",
        ),
    ] {
        let bound = bound(name, "int", manner, before).await;
        assert!(matches!(bound, Some(Bound::Key(_))), "{name}: {bound:?}");
    }
}

#[tokio::test]
async fn the_join_with_a_table_gets_the_memory_its_state_needs_and_no_less_than_the_server_gives() {
    let (client, ledger, shape) = filled("join_memory", "int", "i").await;
    let config = &ledger.config;
    let plan = nothing_hashed();
    let request = DiffRequest::default();
    let extraction = extraction(config, &shape, &plan, &request);
    for (rows, shares, multiplier, expected) in [
        (1, 1, "1", "4MB"),
        (1_000_000, 1, "1", "112305kB"),
        (1_000_000, 2, "1", "70191kB"),
        (1_000_000, 2, "2", "35096kB"),
        (100_000_000, 1, "1", "512MB"),
        (100_000_000, 1, "2", "256MB"),
        (100_000_000, 2, "2", "128MB"),
    ] {
        model::begin(&client, &config.model, None).await.unwrap();
        let hashed = format!("SET LOCAL hash_mem_multiplier = {multiplier}");
        client.batch_execute(&hashed).await.unwrap();
        let table = model::describe(&client, config).await.unwrap().table;
        extraction
            .allow_memory(&client, table, rows, shares)
            .await
            .unwrap();
        let memory = client.query_one("SHOW work_mem", &[]).await.unwrap();
        client.batch_execute("ROLLBACK").await.unwrap();
        let what = format!("{rows} rows in {shares} shares, times {multiplier}");
        assert_eq!(memory.get::<_, &str>(0), expected, "{what}");
    }
}

/// Whether a query is asked for its rows in the order of its key, and the plan of its comparison as
/// it is then made.
async fn sorted(name: &str, key: &str, query: &str, before: &str) -> (bool, String) {
    let (client, ledger, shape) = filled_for(name, key, "i", Some(query)).await;
    let config = &ledger.config;
    let plan = nothing_hashed();
    let request = DiffRequest::default();
    let extraction = extraction(config, &shape, &plan, &request);
    model::begin(&client, &config.model, None).await.unwrap();
    client.batch_execute(before).await.unwrap();
    shape.look_for_unfolded(&client).await.unwrap();
    let model = model::describe(&client, config).await.unwrap();
    let facts = extract::StateFacts::default();
    let mut diff = extraction.diff(&model, &facts, &[]);
    diff.sorted = extraction
        .is_cheaper_sorted(&client, &diff, 5000)
        .await
        .unwrap();
    let explain = format!("EXPLAIN (COSTS OFF) {}", diff.wide());
    let rows = client.query(&explain, &[]).await.unwrap();
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    (diff.sorted, lines.join("\n"))
}

/// State spills, and an index is worth reading a table by.
const SMALL: &str = "SET LOCAL work_mem = '64kB'; SET LOCAL hash_mem_multiplier = 1; \
     SET LOCAL random_page_cost = 1";

#[tokio::test]
async fn a_query_that_comes_in_the_order_of_its_key_is_merged_where_state_would_spill() {
    let grouped = "SELECT k, count(*) AS v FROM t GROUP BY k";
    let (asked, plan) = sorted("sorted", "int", grouped, SMALL).await;
    assert!(asked, "{plan}");
    assert!(plan.contains("Merge Full Join"), "{plan}");
    assert!(!plan.contains("Sort"), "both sides come in order: {plan}");

    let (asked, plan) = sorted("sortedfits", "int", grouped, "SELECT 1").await;
    assert!(!asked, "state fits the memory of a join: {plan}");

    // Rows that come in no order, wide enough that the server would rather not sort them.
    let unordered = "SELECT v AS k, repeat('x', 1000) AS v FROM t ORDER BY md5(v::text)";
    let (asked, plan) = sorted("sortednot", "int", unordered, SMALL).await;
    assert!(!asked, "{plan}");
    assert!(plan.contains("Hash Full Join"), "{plan}");
}

#[tokio::test]
async fn a_query_with_text_keys_is_asked_for_byte_order_or_for_none() {
    let grouped = "SELECT k, count(*) AS v FROM t GROUP BY k";
    let (asked, plan) = sorted("sortedc", "text COLLATE \"C\"", grouped, SMALL).await;
    assert!(asked && plan.contains("Merge Full Join"), "{plan}");
    assert!(!plan.contains("Sort"), "{plan}");
}
