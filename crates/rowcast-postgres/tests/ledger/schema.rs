//! The state schema, the sync's identity, and who may do what.

use rowcast_core::ledger::{DiffRequest, Ledger, OpenRequest};
use rowcast_core::{Code, RunStatus};

use crate::harness::{World, connector};

#[tokio::test]
async fn rule_2_another_place_is_refused_with_what_changed_until_reset() {
    let mut world = World::with_customers("s_identity", 1).await;
    world.run().await;
    world
        .config
        .sync
        .identity
        .insert("destination".into(), "other crm".into());
    let reason = world.open(&world.ledger()).await.unwrap_err();
    assert_eq!(reason.code, Code::IdentityChanged);
    assert_eq!(
        reason.detail.as_deref(),
        Some("destination was crm, is other crm")
    );
    assert_eq!(world.plan().await.unwrap_err().code, Code::IdentityChanged);
    assert_eq!(world.admin().reset("customers_to_crm").await.unwrap(), 1);
    assert_eq!(world.plan().await.unwrap().list(), "a1");
    assert_eq!(world.run().await.list(), "a1");
}

#[tokio::test]
async fn rule_2_another_key_is_refused_but_a_wider_integer_is_the_same_key() {
    let mut world = World::with_customers("s_key", 1).await;
    world.sql("ALTER TABLE customers ALTER id TYPE int").await;
    world.run().await;
    world
        .sql("ALTER TABLE customers ALTER id TYPE bigint")
        .await;
    assert_eq!(world.run().await.list(), "");
    world.config.model.primary_key = vec!["name".into()];
    let reason = world.open(&world.ledger()).await.unwrap_err();
    assert_eq!(
        reason.detail.as_deref(),
        Some("primary key was id bigint, is name text")
    );
}

#[tokio::test]
async fn rule_2_a_renamed_sync_is_new_unless_it_says_what_it_was() {
    let mut world = World::with_customers("s_rename", 1).await;
    world.run().await;
    world.config.sync.name = "people_to_crm".into();
    world.config.sync.was = Some("customers_to_crm".into());
    assert_eq!(
        world.plan().await.unwrap().list(),
        "",
        "looking sees it too"
    );
    assert_eq!(world.run().await.list(), "");
    world.config.sync.name = "third".into();
    world.config.sync.was = None;
    assert_eq!(world.run().await.list(), "a1");
}

#[tokio::test]
async fn a_plan_before_the_first_run_needs_no_state_and_writes_nothing() {
    let world = World::with_customers("s_plan", 1).await;
    world
        .sql("CREATE ROLE s_plan_reader LOGIN; GRANT SELECT ON customers TO s_plan_reader")
        .await;
    let mut reader = world.config.clone();
    reader.source = connector(&world.database, "s_plan_reader");
    let ledger = rowcast_postgres::ledger::PgLedger::new(reader);
    let plan = world
        .changes(&ledger, None, &DiffRequest::default())
        .await
        .unwrap();
    assert_eq!((plan.list().as_str(), plan.counts.state_rows), ("a1", 0));
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = '_rowcast'";
    assert_eq!(world.number(schemas).await, 0);
    // The same role can't run: it may not make the schema.
    let reason = ledger.open(&OpenRequest::default()).await.unwrap_err();
    assert_eq!(reason.code, Code::StateSchemaMissing);
    assert!(
        reason
            .hint
            .unwrap()
            .contains("rowcast setup-sql shop --style managed")
    );
    // Nor where the schema is there but not its to write.
    world.sql("CREATE SCHEMA _rowcast").await;
    let reason = ledger.open(&OpenRequest::default()).await.unwrap_err();
    assert_eq!(reason.code, Code::StateNotWritable);
    let hint = reason.hint.unwrap();
    assert!(
        hint.contains("GRANT USAGE, CREATE ON SCHEMA \"_rowcast\" TO s_plan_reader"),
        "{hint}"
    );
    world.sql("DROP SCHEMA _rowcast CASCADE").await;
    world.run().await;
    world.sql("GRANT USAGE ON SCHEMA _rowcast TO s_plan_reader; GRANT SELECT ON ALL TABLES IN SCHEMA _rowcast TO s_plan_reader").await;
    let reason = ledger.open(&OpenRequest::default()).await.unwrap_err();
    assert_eq!(
        reason.code,
        Code::StateNotWritable,
        "tables of another role"
    );
}

#[tokio::test]
async fn rule_20_an_ordinary_role_runs_and_its_source_is_known() {
    let mut world = World::with_customers("s_role", 1).await;
    world
        .sql("CREATE ROLE s_role_plain LOGIN; GRANT SELECT ON customers TO s_role_plain; CREATE SCHEMA _rowcast; GRANT USAGE, CREATE ON SCHEMA _rowcast TO s_role_plain")
        .await;
    world.config.source = connector(&world.database, "s_role_plain");
    assert_eq!(world.run().await.list(), "a1");
    assert_eq!(world.run().await.list(), "");
    let known =
        "SELECT count(*) FROM _rowcast.progress WHERE wal_position IS NOT NULL AND timeline = 1";
    assert_eq!(world.number(known).await, 1);
}

#[tokio::test]
async fn a_newer_layout_is_left_alone() {
    let world = World::with_customers("s_newer", 1).await;
    world.run().await;
    world.sql("UPDATE _rowcast.layout SET version = 99").await;
    assert_eq!(
        world.open(&world.ledger()).await.unwrap_err().code,
        Code::StateLayoutNewer
    );
    assert_eq!(world.plan().await.unwrap_err().code, Code::StateLayoutNewer);
}

#[tokio::test]
async fn guarantee_7_and_rule_10_no_transaction_is_open_when_sending_starts() {
    let world = World::with_customers("s_open", 1).await;
    let ledger = world.ledger();
    let lease = world.open(&ledger).await.unwrap();
    world
        .changes(&ledger, Some(&lease), &DiffRequest::default())
        .await
        .unwrap();
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
        AND (xact_start IS NOT NULL OR backend_xmin IS NOT NULL) AND backend_type = 'client backend'";
    assert_eq!(world.number(open).await, 0);
    world.finish(&ledger, &lease, RunStatus::Succeeded).await;
}

#[tokio::test]
async fn rule_21_rows_hidden_by_a_policy_are_an_error_unless_allowed() {
    let mut world = World::with_customers("s_rls", 1).await;
    world
        .sql("CREATE ROLE s_rls_reader LOGIN; GRANT SELECT ON customers TO s_rls_reader; DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO s_rls_reader', current_database()); END $$; \
              INSERT INTO customers VALUES (2, 'hidden', 'p'); ALTER TABLE customers ENABLE ROW LEVEL SECURITY; \
              CREATE POLICY visible ON customers USING (id = 1)")
        .await;
    world.config.source = connector(&world.database, "s_rls_reader");
    let reason = world.run_with(|_| None).await.unwrap_err();
    assert_eq!(reason.code, Code::RowSecurity);
    world.config.model.allow_row_security = true;
    assert_eq!(world.run().await.list(), "a1");
}
