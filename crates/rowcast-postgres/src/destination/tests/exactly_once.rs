//! The progress rows: once is once, older runs are refused, what is committed is told.

use rowcast_core::destination::Committed;
use rowcast_core::{Applied, Code, Destination as _, Fault, Mode, Operation, Outcome, Value};

use super::*;

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, name text); \
    CREATE TABLE log (id int); \
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS \
      'BEGIN INSERT INTO log VALUES (NEW.id); RETURN NEW; END'; \
    CREATE TRIGGER note AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION note()";

fn one(intent: i64, epoch: i64, id: i64, name: &str) -> Batch {
    Batch {
        context: context(epoch),
        ..batch(intent, Operation::Upsert, &[(id, "name", name.into())])
    }
}

#[tokio::test]
async fn rule_14_a_batch_written_twice_takes_effect_once_and_answers_the_same() {
    let bench = Bench::new("once", TABLE).await;
    let destination = bench.open("t", Mode::Upsert, &["id"]).await;
    let batch = batch(
        1,
        Operation::Upsert,
        &[(1, "name", "one".into()), (2, "name", Value::text("a\0b"))],
    );
    let first = destination.write(&batch).await.unwrap();
    assert_eq!(first[0], Outcome::Delivered);
    assert_eq!(rejected(&first[1]).code, Code::DestinationRejected);
    bench
        .client
        .batch_execute("UPDATE t SET name = 'changed since'")
        .await
        .unwrap();
    // The answer of the first attempt was lost; another worker process asks again.
    let again = Postgres::new(bench.config("t", Mode::Upsert, &["id"])).unwrap();
    assert_eq!(again.write(&batch).await.unwrap(), first);
    assert_eq!(
        bench.text("SELECT string_agg(name, ' ') FROM t").await,
        "changed since"
    );
}

#[tokio::test]
async fn rule_14_open_tells_exactly_the_committed_batches_of_older_runs() {
    let bench = Bench::new("recover", TABLE).await;
    let destination = bench.open("t", Mode::Upsert, &["id"]).await;
    let mut second = batch(
        7,
        Operation::Upsert,
        &[(2, "name", "two".into()), (3, "name", Value::text("\0"))],
    );
    second.context = context(1);
    destination.write(&one(5, 1, 1, "one")).await.unwrap();
    destination.write(&second).await.unwrap();
    // A batch that failed leaves nothing behind.
    let unknown = batch(6, Operation::Upsert, &[(4, "nome", "x".into())]);
    destination.write(&unknown).await.unwrap_err();

    let next = Postgres::new(bench.config("t", Mode::Upsert, &["id"])).unwrap();
    let committed = next.open(&context(4)).await.unwrap();
    let told: Vec<(i64, i64)> = committed.iter().map(|c| (c.epoch, c.intent)).collect();
    assert_eq!(told, [(1, 5), (1, 7)]);
    assert!(committed[0].rejected.is_empty());
    assert_eq!(committed[1].rejected.len(), 1);
    assert_eq!(committed[1].rejected[0].0, 1);
    assert!(
        committed[1].rejected[0].1.contains("U+0000"),
        "{committed:?}"
    );

    // Asked again, because the worker died before it had acknowledged: still there.
    let next = Postgres::new(bench.config("t", Mode::Upsert, &["id"])).unwrap();
    assert_eq!(next.open(&context(5)).await.unwrap(), committed);
    // A run that wrote had settled everything older before.
    next.write(&one(1, 5, 9, "nine")).await.unwrap();
    let last = Postgres::new(bench.config("t", Mode::Upsert, &["id"])).unwrap();
    last.open(&context(6)).await.unwrap();
    let told = last.open(&context(7)).await.unwrap();
    assert_eq!(
        told,
        [Committed {
            epoch: 5,
            intent: 1,
            rejected: Vec::new()
        }]
    );
    // Finishing keeps the run's own batches, whose acknowledgement may not be durable yet.
    last.write(&one(1, 7, 9, "neuf")).await.unwrap();
    last.finish().await.unwrap();
    assert_eq!(
        bench
            .text("SELECT string_agg(epoch || ':' || intent, ' ') FROM _rowcast.delivery")
            .await,
        "7:1"
    );
}

#[tokio::test]
async fn rule_14_an_older_run_is_refused_after_a_newer_one_has_opened() {
    let bench = Bench::new("fence", TABLE).await;
    let older = bench.open("t", Mode::Upsert, &["id"]).await;
    older.write(&one(1, 1, 1, "one")).await.unwrap();
    let newer = Postgres::new(bench.config("t", Mode::Upsert, &["id"])).unwrap();
    newer.open(&context(2)).await.unwrap();
    for fault in [
        older
            .write(&one(2, 1, 1, "late"))
            .await
            .map(|_| ())
            .unwrap_err(),
        older.open(&context(1)).await.map(|_| ()).unwrap_err(),
    ] {
        assert!(
            matches!(&fault, Fault::Fatal { applied: Applied::No, reason } if reason.code == Code::DestinationFenced),
            "{fault:?}"
        );
    }
    assert_eq!(bench.text("SELECT name FROM t").await, "one");
}

#[tokio::test]
async fn rule_14_a_newer_run_waits_for_an_older_write_that_is_under_way() {
    let bench = Bench::new("fence_wait", TABLE).await;
    let older = bench.open("t", Mode::Upsert, &["id"]).await;
    // The older write stands still inside its transaction: the row it wants is locked.
    bench
        .client
        .batch_execute("INSERT INTO t VALUES (1, 'was'); BEGIN; SELECT 1 FROM t FOR UPDATE")
        .await
        .unwrap();
    let writing = tokio::spawn(async move { older.write(&one(1, 1, 1, "older")).await });
    let watch = bench.database.client().await;
    wait_for_locks(&watch, 1).await;
    let newer = Postgres::new(bench.config("t", Mode::Upsert, &["id"])).unwrap();
    let opening = tokio::spawn(async move { newer.open(&context(2)).await });
    wait_for_locks(&watch, 2).await;
    bench.client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(writing.await.unwrap().unwrap(), [Outcome::Delivered]);
    let committed = opening.await.unwrap().unwrap();
    assert_eq!(
        committed.len(),
        1,
        "the older write is told of: {committed:?}"
    );
}

/// Until so many sessions of this database wait for a lock.
async fn wait_for_locks(client: &tokio_postgres::Client, count: i64) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        assert!(
            std::time::Instant::now() < deadline,
            "nobody waits for the lock"
        );
        let row = client
            .query_one(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
                &[],
            )
            .await
            .unwrap();
        if row.get::<_, i64>(0) >= count {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_late_batch_is_cancelled_and_has_no_effect() {
    let bench = Bench::new("late", TABLE).await;
    let mut config = bench.config("t", Mode::Upsert, &["id"]);
    config.timeout = Some(std::time::Duration::from_millis(300));
    let destination = opened(config).await;
    bench
        .client
        .batch_execute("INSERT INTO t VALUES (1, 'was'); BEGIN; SELECT 1 FROM t FOR UPDATE")
        .await
        .unwrap();
    let fault = destination.write(&one(1, 1, 1, "x")).await.unwrap_err();
    assert!(
        matches!(
            fault,
            Fault::Transient {
                applied: Applied::No,
                ..
            }
        ),
        "{fault:?}"
    );
    bench.client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(bench.text("SELECT name FROM t").await, "was");
    assert_eq!(
        destination.write(&one(1, 1, 1, "x")).await.unwrap(),
        [Outcome::Delivered]
    );
}

#[tokio::test]
async fn a_lost_connection_is_made_anew() {
    let bench = Bench::new("lost", TABLE).await;
    let destination = bench.open("t", Mode::Upsert, &["id"]).await;
    destination.write(&one(1, 1, 1, "one")).await.unwrap();
    bench
        .client
        .batch_execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        .await
        .unwrap();
    // Either the loss is noticed before (then nothing is lost) or by this write.
    if let Err(fault) = destination.write(&one(2, 1, 1, "two")).await {
        assert!(
            matches!(
                fault,
                Fault::Transient {
                    applied: Applied::No,
                    ..
                }
            ),
            "{fault:?}"
        );
        destination.write(&one(2, 1, 1, "two")).await.unwrap();
    }
    assert_eq!(bench.text("SELECT name FROM t").await, "two");
}

#[tokio::test]
async fn concurrent_writers_lose_nothing() {
    let bench = Bench::new("writers", TABLE).await;
    let mut config = bench.config("t", Mode::Upsert, &["id"]);
    config.concurrency = Some(9);
    let destination = std::sync::Arc::new(opened(config).await);
    assert_eq!(destination.capabilities().concurrency_max, 4);
    let writers = (0..4_i64).map(|writer| {
        let destination = destination.clone();
        tokio::spawn(async move {
            for round in 0..5_i64 {
                let rows: Vec<(i64, &str, Value)> = (0..50)
                    .map(|n| (n * 4 + writer, "name", Value::from(round.to_string())))
                    .collect();
                let batch = batch(writer * 100 + round, Operation::Upsert, &rows);
                let outcomes = destination.write(&batch).await.unwrap();
                assert_eq!(outcomes, vec![Outcome::Delivered; 50]);
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(
        bench
            .text("SELECT count(*) || ' ' || min(name) FROM t")
            .await,
        "200 4"
    );
    assert_eq!(bench.text("SELECT count(*)::text FROM log").await, "1000");
}
