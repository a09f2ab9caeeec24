//! Adopting another tool's state (semantics 31): old tables as their documentation describes them,
//! and what the run after it finds.

use rowcast_core::{Code, Key, Mode, Selection};
use rowcast_postgres::ledger::{AdoptRequest, Adopted, Belief, ModelBody, OldTool};

use super::harness::{World, connector};

const SYNC: &str = "customers_to_crm";

fn request(tool: OldTool, belief: Belief) -> AdoptRequest {
    AdoptRequest {
        tool,
        belief,
        id: None,
        run: None,
        schema: None,
        dry_run: false,
    }
}

fn segment() -> AdoptRequest {
    request(OldTool::Segment, Belief::Resend)
}

fn rudder() -> AdoptRequest {
    request(OldTool::Rudder, Belief::Compare)
}

fn dry(request: AdoptRequest) -> AdoptRequest {
    AdoptRequest {
        dry_run: true,
        ..request
    }
}

/// old, present, trusted, to send, gone, left out, new
fn counts(adopted: &Adopted) -> [u64; 7] {
    assert_eq!(
        adopted.old_rows,
        adopted.present + adopted.gone + adopted.left_out
    );
    assert_eq!(adopted.present, adopted.trusted + adopted.to_send);
    [
        adopted.old_rows,
        adopted.present,
        adopted.trusted,
        adopted.to_send,
        adopted.gone,
        adopted.left_out,
        adopted.new,
    ]
}

/// Five customers; Segment has seen 1 to 3, one that is gone, and an id that is no number.
async fn from_segment(name: &str) -> World {
    let world = World::new(name).await;
    world
        .sql(
            "INSERT INTO customers SELECT n, 'n' || n, 'p' FROM generate_series(1, 5) n;
             CREATE SCHEMA __segment_reverse_etl;
             CREATE TABLE __segment_reverse_etl.records_5zAbc (record_id text, checksum text);
             INSERT INTO __segment_reverse_etl.records_5zAbc
               SELECT id, md5(id) FROM unnest(ARRAY['1', '2', '3', '9', 'x']) id;
             CREATE TABLE __segment_reverse_etl.checkpoints_5zAbc (source_id text, model_id text, checkpoint timestamptz)",
        )
        .await;
    world
}

/// Six customers as RudderStack saw them in two runs: 2 has changed since, 3 failed, 4 was new and
/// failed, 5 was deleted there, 8 is gone now, 9's deletion failed, 6 came later.
async fn from_rudder(name: &str) -> World {
    let world = World::new(name).await;
    world
        .sql(
            r#"INSERT INTO customers SELECT n, 'n' || n, 'p' FROM generate_series(1, 4) n;
             INSERT INTO customers VALUES (6, 'n6', 'p');
             UPDATE customers SET plan = 'new' WHERE id = 2;
             CREATE SCHEMA _rudderstack;
             CREATE TABLE _rudderstack."SNAPSHOT_2abc_run1" ("ID" bigint, "NAME" text, "PLAN" text, "RUDDER_OPERATION_TYPE" text);
             INSERT INTO _rudderstack."SNAPSHOT_2abc_run1" VALUES (1, 'older', 'p', 'insert');
             CREATE TABLE _rudderstack."SNAPSHOT_2abc_run2" ("ID" bigint, "NAME" text, "PLAN" text, "RUDDER_OPERATION_TYPE" text);
             INSERT INTO _rudderstack."SNAPSHOT_2abc_run2" VALUES
               (1, 'n1', 'p', 'unchanged'), (2, 'n2', 'p', 'update'), (3, 'n3', 'p', 'update'),
               (4, 'n4', 'p', 'insert'), (5, 'n5', 'p', 'delete'), (8, 'n8', 'p', 'unchanged'),
               (9, 'n9', 'p', 'delete');
             CREATE TABLE _rudderstack."FAILED_KEYS_2abc_run2" ("ID" text, "_RUDDER_ID" text, "RUDDER_OPERATION" text, "RUDDER_INVALID" boolean);
             INSERT INTO _rudderstack."FAILED_KEYS_2abc_run2" VALUES
               ('3', 'a', 'update', false), ('4', 'b', 'insert', false), ('9', 'c', 'delete', false)"#,
        )
        .await;
    world
}

#[tokio::test]
async fn rule_31_segments_ids_are_taken_over_and_present_rows_are_sent_again() {
    let world = from_segment("adopt_segment").await;
    let expected = [5, 3, 0, 3, 1, 1, 2];
    let looked = world.ledger().adopt(&dry(segment())).await.unwrap();
    assert_eq!(counts(&looked), expected);
    assert_eq!(
        world
            .number("SELECT count(*) FROM pg_namespace WHERE nspname = '_rowcast'")
            .await,
        0,
        "a dry run writes nothing"
    );
    let adopted = world.ledger().adopt(&segment()).await.unwrap();
    assert_eq!(adopted, looked);
    assert_eq!(adopted.tables, ["__segment_reverse_etl.records_5zabc"]);
    assert!(
        adopted.notes.iter().any(|note| note.contains("ids only")),
        "{:?}",
        adopted.notes
    );
    world.assert_counted().await;
    // 3 of 4 known rows are sent again, 2 are new, 1 is gone.
    assert_eq!(world.plan().await.unwrap().list(), "d9 u1 u2 u3 a4 a5");
    assert_eq!(world.run().await.list(), "d9 u1 u2 u3 a4 a5");
    assert_eq!(world.run().await.list(), "");
    let run = &world.admin().runs(Some(SYNC), 5).await.unwrap()[2];
    assert_eq!(
        (run.trigger.as_str(), run.status.as_str()),
        ("adopt", "succeeded")
    );
    // The old tool's own tables are as they were.
    assert_eq!(
        world
            .number("SELECT count(*) FROM __segment_reverse_etl.records_5zabc")
            .await,
        5
    );
}

#[tokio::test]
async fn rule_31_segments_rows_can_be_trusted_as_they_are_now() {
    let world = from_segment("adopt_trust").await;
    let trust = request(OldTool::Segment, Belief::Trust);
    let adopted = world.ledger().adopt(&trust).await.unwrap();
    assert_eq!(counts(&adopted), [5, 3, 3, 0, 1, 1, 2]);
    assert_eq!(world.run().await.list(), "d9 a4 a5");
    world
        .sql("UPDATE customers SET plan = 'q' WHERE id = 1")
        .await;
    assert_eq!(world.run().await.list(), "u1");
}

#[tokio::test]
async fn rule_31_an_adopted_row_exists_there_so_a_mode_that_inserts_skips_it() {
    let mut world = from_segment("adopt_insert").await;
    world.config.sync.mode = Mode::Insert;
    world.ledger().adopt(&segment()).await.unwrap();
    let ran = world.run().await;
    assert_eq!(ran.list(), "d9 u1 u2 u3 a4 a5");
    assert_eq!(
        world
            .number("SELECT delivered FROM _rowcast.runs ORDER BY run DESC LIMIT 1")
            .await,
        2
    );
    world.assert_counted().await;
}

#[tokio::test]
async fn rule_31_segments_state_of_several_mappings_asks_which() {
    let world = from_segment("adopt_which").await;
    world
        .sql("CREATE TABLE __segment_reverse_etl.records_other (record_id text, checksum text)")
        .await;
    let reason = world.ledger().adopt(&segment()).await.unwrap_err();
    assert_eq!(reason.code, Code::OldStateMissing);
    assert!(
        reason.detail.as_deref().unwrap().contains("5zabc, other"),
        "{reason:?}"
    );
    let named = |id: &str| AdoptRequest {
        id: Some(id.to_owned()),
        ..dry(segment())
    };
    // The id as Segment writes it, though the unquoted name was folded.
    let looked = world.ledger().adopt(&named("5zAbc")).await.unwrap();
    assert_eq!(looked.old_rows, 5);
    assert_eq!(
        world
            .ledger()
            .adopt(&named("other"))
            .await
            .unwrap()
            .old_rows,
        0
    );
    let reason = world.ledger().adopt(&named("none")).await.unwrap_err();
    assert_eq!(reason.code, Code::OldStateMissing);
}

#[tokio::test]
async fn rule_31_rudders_snapshot_is_hashed_so_that_only_differences_are_sent() {
    let world = from_rudder("adopt_rudder").await;
    // Old: 1 2 3 8 9, and 4 that never arrived. 1 is equal, 2 differs, 3 failed, 8 and 9 are gone.
    let expected = [6, 3, 1, 2, 2, 1, 2];
    let looked = world.ledger().adopt(&dry(rudder())).await.unwrap();
    assert_eq!(counts(&looked), expected, "{looked:?}");
    assert_eq!(world.ledger().adopt(&rudder()).await.unwrap(), looked);
    assert_eq!(
        looked.tables,
        [
            "_rudderstack.SNAPSHOT_2abc_run2",
            "_rudderstack.FAILED_KEYS_2abc_run2"
        ]
    );
    world.assert_counted().await;
    assert_eq!(world.run().await.list(), "d8 d9 u2 u3 a4 a6");
    assert_eq!(world.run().await.list(), "");
}

#[tokio::test]
async fn rule_31_rudders_log_tells_failures_of_earlier_runs() {
    let world = from_rudder("adopt_log").await;
    world
        .sql(
            r#"DROP TABLE _rudderstack."FAILED_KEYS_2abc_run2";
             CREATE TABLE _rudderstack.sync_log (connection_id text, sync_run_id text, primary_key text,
               operation text, status text, error_reason text, sync_started_at timestamp, sync_finished_at timestamp);
             INSERT INTO _rudderstack.sync_log VALUES
               ('2aBC', 'run1', '1', 'insert', 'failed', 'x', '2026-01-01', '2026-01-01'),
               ('2aBC', 'run1', '2', 'insert', 'failed', 'x', '2026-01-01', '2026-01-01'),
               ('2aBC', 'run2', '2', 'update', 'succeeded', null, '2026-01-02', '2026-01-02'),
               ('2aBC', 'run2', '9', 'delete', 'failed', 'x', '2026-01-02', '2026-01-02'),
               ('other', 'run2', '3', 'update', 'failed', 'x', '2026-01-02', '2026-01-02')"#,
        )
        .await;
    // 1 failed in the first run and was not tried again; 3's failure is another connection's.
    world.ledger().adopt(&rudder()).await.unwrap();
    assert_eq!(world.run().await.list(), "d8 d9 u1 u2 a6");
}

#[tokio::test]
async fn rule_31_a_snapshot_in_other_types_is_read_in_the_models() {
    let world = World::new("adopt_types").await;
    world
        .sql(
            "ALTER TABLE customers ADD amount numeric(10, 2), ADD seen timestamptz, ADD tags text[];
             INSERT INTO customers VALUES (1, 'a', NULL, 1.50, '2026-01-01 00:00:00+00', '{x}'),
               (2, 'b', 'p', 2, '2026-01-01 00:00:00+00', '{x}');
             CREATE SCHEMA _rudderstack;
             CREATE TABLE _rudderstack.snapshot_c_r AS SELECT id::text AS id, name::varchar AS name, plan,
               amount::text AS amount, seen::text AS seen, tags::text AS tags,
               'unchanged'::text AS rudder_operation_type FROM customers;
             UPDATE _rudderstack.snapshot_c_r SET amount = '2.10' WHERE id = '2'",
        )
        .await;
    let mut world = world;
    world.config.sync.columns = ["name", "plan", "amount", "seen", "tags"]
        .map(Into::into)
        .to_vec();
    let adopted = world.ledger().adopt(&rudder()).await.unwrap();
    assert_eq!(counts(&adopted), [2, 2, 1, 1, 0, 0, 0]);
    assert!(adopted.notes[0].contains("no row is known to have failed"));
    assert_eq!(world.run().await.list(), "u2");
}

#[tokio::test]
async fn rule_31_a_snapshot_without_a_mapped_column_proves_nothing() {
    let world = from_rudder("adopt_lacks").await;
    world
        .sql(r#"ALTER TABLE _rudderstack."SNAPSHOT_2abc_run2" DROP COLUMN "PLAN""#)
        .await;
    let adopted = world.ledger().adopt(&rudder()).await.unwrap();
    assert_eq!(counts(&adopted), [6, 3, 0, 3, 2, 1, 2]);
    assert!(adopted.notes[0].contains("(plan)"), "{:?}", adopted.notes);
    assert_eq!(world.run().await.list(), "d8 d9 u1 u2 u3 a4 a6");
}

#[tokio::test]
async fn rule_31_what_is_ambiguous_or_unfit_is_refused() {
    let mut world = from_rudder("adopt_unfit").await;
    world
        .sql(
            "CREATE TABLE _rudderstack.sync_log (connection_id text, sync_run_id text, primary_key text,
               operation text, status text, sync_started_at timestamp);
             INSERT INTO _rudderstack.sync_log VALUES ('2abc', 'run2', '1', 'u', 'succeeded', '2026-01-01'),
               ('2abc', 'run1', '1', 'u', 'succeeded', '2026-01-02')",
        )
        .await;
    let reason = world.ledger().adopt(&rudder()).await.unwrap_err();
    assert!(
        reason.hint.as_deref().unwrap().contains("--run"),
        "{reason:?}"
    );
    let chosen = AdoptRequest {
        run: Some("run1".into()),
        ..dry(rudder())
    };
    assert_eq!(world.ledger().adopt(&chosen).await.unwrap().old_rows, 1);
    world
        .sql(
            r#"DROP TABLE _rudderstack.sync_log;
             ALTER TABLE _rudderstack."FAILED_KEYS_2abc_run2" RENAME "ID" TO "CONTEXT_TRAITS_EMAIL""#,
        )
        .await;
    let reason = world.ledger().adopt(&rudder()).await.unwrap_err();
    assert_eq!(reason.code, Code::OldStateUnfit);
    assert!(reason.hint.as_deref().unwrap().contains("--resend"));
    let resend = dry(request(OldTool::Rudder, Belief::Resend));
    assert_eq!(world.ledger().adopt(&resend).await.unwrap().to_send, 4);
    world
        .sql(r#"CREATE TABLE _rudderstack."SNAPSHOT_other_run9" (id int, rudder_operation_type text)"#)
        .await;
    let reason = world.ledger().adopt(&rudder()).await.unwrap_err();
    assert!(reason.detail.as_deref().unwrap().contains("2abc, other"));
    // Segment has one id, the model two key columns; and no ids of identities that are deleted.
    world
        .sql("CREATE SCHEMA __segment_reverse_etl; CREATE TABLE __segment_reverse_etl.records_a (record_id text)")
        .await;
    world.config.sync.match_columns = Some(vec!["name".into()]);
    let reason = world.ledger().adopt(&segment()).await.unwrap_err();
    assert_eq!(reason.code, Code::OldStateUnfit);
    world.config.sync.match_columns = None;
    world.config.model.primary_key = vec!["id".into(), "name".into()];
    let reason = world.ledger().adopt(&segment()).await.unwrap_err();
    assert_eq!(reason.code, Code::OldStateUnfit);
    assert_eq!(
        world
            .number("SELECT count(*) FROM pg_namespace WHERE nspname = '_rowcast'")
            .await,
        0
    );
}

#[tokio::test]
async fn rule_31_state_of_its_own_is_never_overwritten() {
    let world = from_segment("adopt_occupied").await;
    world.run().await;
    for request in [segment(), dry(segment())] {
        let reason = world.ledger().adopt(&request).await.unwrap_err();
        assert_eq!(reason.code, Code::StateOccupied);
        assert!(reason.hint.unwrap().contains("rowcast reset"));
    }
    world.admin().reset(SYNC).await.unwrap();
    assert_eq!(world.ledger().adopt(&segment()).await.unwrap().present, 3);
    world.assert_counted().await;
}

#[tokio::test]
async fn rule_31_adopting_takes_the_lease() {
    let world = from_segment("adopt_lease").await;
    let ledger = world.ledger();
    let lease = world.open(&ledger).await.unwrap();
    assert_eq!(
        world.ledger().adopt(&segment()).await.unwrap_err().code,
        Code::SyncRunning
    );
    world
        .finish(&ledger, &lease, rowcast_core::RunStatus::Succeeded)
        .await;
    world.ledger().adopt(&segment()).await.unwrap();
    assert!(!world.admin().status(&[]).await.unwrap()[0].running);
}

#[tokio::test]
async fn rule_31_match_values_come_from_the_snapshot() {
    let mut world = from_rudder("adopt_match").await;
    world.config.sync.match_columns = Some(vec!["name".into()]);
    world.ledger().adopt(&rudder()).await.unwrap();
    world
        .sql("UPDATE customers SET name = 'moved' WHERE id = 1")
        .await;
    let ran = world.run().await;
    let moved = ran
        .changes
        .iter()
        .find(|change| change.key == Key::int(1))
        .expect("row 1 changed");
    assert_eq!(
        moved.delivered_match.as_deref(),
        Some(&[rowcast_core::Value::text("n1")][..])
    );
}

#[tokio::test]
async fn rule_31_state_may_live_elsewhere_and_the_model_be_a_query_with_text_ids() {
    let mut world = from_segment("adopt_elsewhere").await;
    let elsewhere = rowcast_testkit::postgres::Cluster::shared().database("adopt_elsewhere_state");
    world.config.state = Some(connector(&elsewhere, "postgres"));
    world.config.model.body =
        ModelBody::Sql("SELECT id::text AS id, name, plan FROM customers -- all".into());
    world.config.model.primary_key = vec!["id".into()];
    world.config.sync.on = Selection::default();
    let adopted = world.ledger().adopt(&segment()).await.unwrap();
    // As text every id is one.
    assert_eq!(counts(&adopted), [5, 3, 0, 3, 2, 0, 2]);
    assert_eq!(world.run().await.list(), "d9 dx u1 u2 u3 a4 a5");
}
