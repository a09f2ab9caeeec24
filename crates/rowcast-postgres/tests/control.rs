//! The control schema on a real server: races for ticks and jobs, leases, syncs that follow others.

#![allow(clippy::unwrap_used)] // the helpers of tests are tests

use std::time::Duration;

use rowcast_core::Code;
use rowcast_postgres::connect::{ConnectConfig, Connector};
use rowcast_postgres::control::{Arrival, Claim, Claimed, Control, Job, Tick};
use rowcast_testkit::postgres::{Cluster, Database};

const LEASE: Duration = Duration::from_secs(60);

fn control(database: &Database) -> Control {
    let config = ConnectConfig::from_url(&database.url()).expect("a URL of the cluster");
    Control::new(Connector::new(config), "_rowcast")
}

async fn prepared(name: &str) -> (Database, Control) {
    let database = Cluster::shared().database(name);
    let control = control(&database);
    control.prepare().await.unwrap();
    (database, control)
}

fn known(syncs: &[&str], most: i32) -> Vec<(String, String, i32)> {
    syncs
        .iter()
        .map(|sync| ((*sync).to_owned(), "shop".to_owned(), most))
        .collect()
}

async fn claim(control: &Control, owner: &str, syncs: &[&str], lease: Duration) -> Option<Claimed> {
    let syncs = known(syncs, 100);
    let claim = Claim {
        owner,
        lease,
        syncs: &syncs,
    };
    control.claim(&claim).await.unwrap()
}

async fn ask(control: &Control, sync: &str) -> Option<i64> {
    let job = Job {
        sync,
        source: "shop",
        trigger: "api",
        request: "{}",
    };
    control.ask(&job).await.unwrap()
}

async fn end(control: &Control, job: &Claimed, followers: &[Arrival<'_>]) -> bool {
    control
        .finish(job, "succeeded", Some(1), None, followers)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_races_each_tick_runs_once() {
    let (_database, first) = prepared("races").await;
    let second = first.beside();
    let start = 1_700_000_000_000_000;
    first.schedules(&["s".into()], start).await.unwrap();
    let mut jobs = std::collections::BTreeSet::new();
    let mut by_second = 0;
    for race in 1..=1_000 {
        let tick = Tick {
            sync: "s",
            source: "shop",
            due_us: start + race * 10_000_000,
            request: "{}",
            queue: race % 2 == 0,
        };
        let (a, b) = tokio::join!(first.tick(&tick), second.tick(&tick));
        let made: Vec<i64> = [a.unwrap(), b.unwrap()].into_iter().flatten().collect();
        assert_eq!(
            made.len(),
            1,
            "race {race}: the tick was noted {} times",
            made.len()
        );
        let (a, b) = tokio::join!(
            claim(&first, "a", &["s"], LEASE),
            claim(&second, "b", &["s"], LEASE)
        );
        by_second += i32::from(b.is_some());
        let taken: Vec<Claimed> = [a, b].into_iter().flatten().collect();
        assert_eq!(
            taken.len(),
            1,
            "race {race}: {} servers run it",
            taken.len()
        );
        assert_eq!(taken[0].id, made[0]);
        assert!(
            jobs.insert(taken[0].id),
            "race {race} runs an earlier job again"
        );
        assert!(end(&first, &taken[0], &[]).await);
    }
    assert_eq!(jobs.len(), 1_000);
    assert!(
        (1..1_000).contains(&by_second),
        "the races had no second runner"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_finds_its_sync_busy_is_left_out_or_waits() {
    let (_database, control) = prepared("busy").await;
    control.schedules(&["s".into()], 0).await.unwrap();
    let tick = |due_us, queue| Tick {
        sync: "s",
        source: "shop",
        due_us,
        request: "{}",
        queue,
    };
    assert!(control.tick(&tick(10, false)).await.unwrap().is_some());
    let running = claim(&control, "a", &["s"], LEASE).await.unwrap();
    assert_eq!(control.tick(&tick(20, false)).await.unwrap(), None);
    let queued = control.tick(&tick(30, true)).await.unwrap();
    assert!(queued.is_some());
    // One waits, however many times pass.
    assert_eq!(control.tick(&tick(40, true)).await.unwrap(), None);
    assert_eq!(claim(&control, "b", &["s"], LEASE).await, None);
    assert_eq!(ask(&control, "s").await, None);
    assert!(end(&control, &running, &[]).await);
    let next = claim(&control, "b", &["s"], LEASE).await.unwrap();
    assert_eq!(Some(next.id), queued);
    // Times before the last one are over.
    assert_eq!(control.tick(&tick(40, true)).await.unwrap(), None);
    control.pass("s", 60).await.unwrap();
    assert_eq!(control.tick(&tick(50, true)).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_server_is_gone_is_taken_over_and_the_old_one_fenced() {
    let (_database, control) = prepared("takeover").await;
    let id = ask(&control, "s").await.unwrap();
    let old = claim(&control, "a", &["s"], Duration::ZERO).await.unwrap();
    assert!(control.began(&old).await.unwrap());
    let new = claim(&control, "b", &["s"], LEASE).await.unwrap();
    assert_eq!((new.id, new.attempt, new.began), (id, 2, true));
    assert!(!control.renew(&old, LEASE).await.unwrap());
    assert!(
        !end(&control, &old, &[]).await,
        "a fenced server ended the job"
    );
    assert_eq!(control.job(id).await.unwrap().unwrap().status, "running");
    assert!(control.renew(&new, LEASE).await.unwrap());
    // A server that stops in order gives it back, and the next carries on.
    assert_eq!(claim(&control, "c", &["s"], LEASE).await, None);
    assert!(control.give_back(&new).await.unwrap());
    let last = claim(&control, "c", &["s"], LEASE).await.unwrap();
    assert!(end(&control, &last, &[]).await);
    let row = control.job(id).await.unwrap().unwrap();
    assert_eq!(
        (row.status.as_str(), row.outcome.as_deref(), row.run),
        ("done", Some("succeeded"), Some(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_has_only_so_many_runs_at_once() {
    let (_database, control) = prepared("per_source").await;
    for sync in ["a", "b", "c"] {
        ask(&control, sync).await.unwrap();
    }
    let syncs = known(&["a", "b", "c"], 2);
    let claim = Claim {
        owner: "x",
        lease: LEASE,
        syncs: &syncs,
    };
    let first = control.claim(&claim).await.unwrap().unwrap();
    assert_eq!(first.sync, "a");
    assert_eq!(control.claim(&claim).await.unwrap().unwrap().sync, "b");
    assert_eq!(control.claim(&claim).await.unwrap(), None);
    assert!(end(&control, &first, &[]).await);
    assert_eq!(control.claim(&claim).await.unwrap().unwrap().sync, "c");
    // A sync that the server does not know is another server's.
    ask(&control, "d").await.unwrap();
    assert_eq!(control.claim(&claim).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_follows_others_runs_when_all_have_ended() {
    let (_database, control) = prepared("followers").await;
    let parents = ["a".to_owned(), "b".to_owned()];
    let follower = |counts| Arrival {
        sync: "c",
        source: "shop",
        parents: &parents,
        counts,
        request: "{}",
    };
    let run = async |sync: &str, counts| {
        ask(&control, sync).await.unwrap();
        let job = claim(&control, "x", &[sync], LEASE).await.unwrap();
        assert!(end(&control, &job, &[follower(counts)]).await);
    };
    run("a", true).await;
    run("a", true).await;
    assert_eq!(claim(&control, "x", &["c"], LEASE).await, None);
    // The latest end of a parent counts: this one failed.
    run("a", false).await;
    run("b", true).await;
    assert_eq!(claim(&control, "x", &["c"], LEASE).await, None);
    run("a", true).await;
    let job = claim(&control, "x", &["c"], LEASE).await.unwrap();
    assert_eq!(job.trigger, "after");
    assert!(end(&control, &job, &[]).await);
    // Everything begins anew.
    run("b", true).await;
    assert_eq!(claim(&control, "x", &["c"], LEASE).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_are_made_once_and_those_of_a_newer_version_are_left_alone() {
    let (database, first) = prepared("versions").await;
    let second = first.beside();
    let (a, b) = tokio::join!(first.prepare(), second.prepare());
    a.and(b).unwrap();
    assert!(
        control(&database)
            .withdraw("s")
            .await
            .is_ok_and(|found| !found)
    );
    Cluster::shared().psql(
        &database.name,
        "UPDATE _rowcast.control_layout SET version = 99",
    );
    let refused = first.prepare().await.unwrap_err();
    assert_eq!(refused.code, Code::StateLayoutNewer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_lost_is_made_again() {
    let (database, control) = prepared("lost").await;
    Cluster::shared().psql(
        &database.name,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    control.ping().await.unwrap();
}

/// Tables, columns, indexes and constraints of a control schema, as the server describes them.
async fn shape(database: &Database) -> Vec<String> {
    let connector = Connector::new(ConnectConfig::from_url(&database.url()).unwrap());
    let connection = connector.connect().await.unwrap();
    let sql = "SELECT format('%s.%s %s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, \
                 pg_get_expr(d.adbin, d.adrelid)) \
               FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 \
               LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum \
               WHERE c.relnamespace = '_rowcast'::regnamespace AND c.relkind = 'r' \
               UNION SELECT indexdef FROM pg_indexes WHERE schemaname = '_rowcast' \
               UNION SELECT format('%s %s', conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint \
                 WHERE connamespace = '_rowcast'::regnamespace ORDER BY 1";
    let rows = connection.client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_earlier_layout_is_brought_up_and_its_jobs_go_on() {
    let (now, _) = prepared("control_now").await;
    let wanted = shape(&now).await;
    let dumps = [
        include_str!("control_1.sql"),
        include_str!("control_2.sql"),
        include_str!("control_3.sql"),
    ];
    for (number, dump) in dumps.into_iter().enumerate() {
        let layout = number + 1;
        let database = Cluster::shared().database(&format!("control_of_{layout}"));
        let connector = Connector::new(ConnectConfig::from_url(&database.url()).unwrap());
        let connection = connector.connect().await.unwrap();
        connection.client.batch_execute(dump).await.unwrap();
        let control = control(&database);
        control.prepare().await.unwrap();
        assert_eq!(shape(&database).await, wanted, "brought up from {layout}");
        // Twice is once.
        control.prepare().await.unwrap();

        let until = control.schedules(&["orders".into()], 0).await.unwrap();
        assert_eq!(until, [("orders".to_owned(), 1_793_512_800_000_000)]);
        let orders = claim(&control, "here", &["orders", "items"], LEASE).await;
        let orders = orders.expect("the job of the server that is gone");
        assert_eq!((orders.sync.as_str(), orders.attempt), ("orders", 2));
        assert!(orders.began, "a full resend would not begin anew");
        let items = claim(&control, "here", &["orders", "items"], LEASE).await;
        let items = items.expect("the job that waits");
        assert_eq!(items.request, "{\"full\":true}");
        let parents = ["orders".to_owned(), "items".to_owned()];
        let report = Arrival {
            sync: "report",
            source: "shop",
            parents: &parents,
            counts: true,
            request: "{}",
        };
        // `orders` had arrived before: the other one completes it.
        assert!(end(&control, &items, &[report]).await);
        let report = claim(&control, "here", &["report"], LEASE).await;
        assert_eq!(report.map(|job| job.trigger).as_deref(), Some("after"));
        let tokens = control.tokens().await.unwrap();
        assert_eq!(tokens.len(), usize::from(layout > 1));
    }
}
