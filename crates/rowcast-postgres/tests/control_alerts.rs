//! Alerts and events in the control schema on a real server: one of several servers moves a watch and
//! tells, messages go out in order, an event starts its jobs once.

#![allow(clippy::unwrap_used)] // the helpers of tests are tests

use std::time::Duration;

use rowcast_postgres::connect::{ConnectConfig, Connector};
use rowcast_postgres::control::{Control, Job, JobFilter, Moved, NewMessage, Started};
use rowcast_testkit::postgres::{Cluster, Database};

const LEASE: Duration = Duration::from_secs(60);

async fn prepared(name: &str) -> (Database, Control) {
    let database = Cluster::shared().database(name);
    let config = ConnectConfig::from_url(&database.url()).unwrap();
    let control = Control::new(Connector::new(config), "_rowcast");
    control.prepare().await.unwrap();
    (database, control)
}

fn message<'a>(id: &'a str, channel: &'a str, subject: &'a str) -> NewMessage<'a> {
    NewMessage {
        id,
        channel,
        subject,
        body: "{}",
    }
}

fn moved<'a>(version: i64, messages: &'a [NewMessage<'a>]) -> Moved<'a> {
    Moved {
        project: "shop",
        sync: "orders",
        version,
        state: "{\"since_us\":1}",
        jobs: &[],
        messages,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_servers_one_moves_a_watch_and_tells() {
    let (_database, control) = prepared("alerts_race").await;
    for version in 0..20 {
        let mut servers = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let control = control.beside();
            servers.spawn(async move {
                let id = format!("alert_{version}");
                let messages = [
                    message(&id, "ops", "failed"),
                    message(&id, "mail", "failed"),
                ];
                control
                    .move_watch(&moved(version, &messages))
                    .await
                    .unwrap()
            });
        }
        let won = servers.join_all().await;
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "{won:?}");
    }
    let rows = control
        .watches(&["orders".into(), "other".into()])
        .await
        .unwrap();
    let orders = rows.iter().find(|row| row.sync == "orders").unwrap();
    assert_eq!((orders.version, orders.news), (20, false));
    let channels = control.channels("shop").await.unwrap();
    let waiting: Vec<_> = channels
        .iter()
        .map(|row| (&*row.channel, row.waiting))
        .collect();
    assert_eq!(waiting, [("mail", 20), ("ops", 20)]);
    assert!(control.channels("another").await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_about_one_thing_go_out_in_order_and_again_until_they_are_settled() {
    let (database, control) = prepared("alerts_messages").await;
    let messages = [
        message("1", "ops", "failed"),
        message("2", "ops", "failed"),
        message("3", "ops", "late"),
        message("1", "mail", "failed"),
    ];
    assert!(control.move_watch(&moved(0, &messages)).await.unwrap());
    let next = async |busy: &[String]| control.claim_message("shop", busy, LEASE).await.unwrap();
    assert_eq!(
        control.claim_message("another", &[], LEASE).await.unwrap(),
        None
    );
    let first = next(&[]).await.unwrap();
    assert_eq!((first.id, &*first.channel, first.attempt), (1, "ops", 1));
    // The second about it waits for the first; another thing and another channel do not.
    assert_eq!(next(&["mail".into()]).await.map(|m| m.id), Some(3));
    assert_eq!(next(&[]).await.map(|m| m.channel).as_deref(), Some("mail"));
    assert_eq!(next(&[]).await, None);
    let failed = Some("no answer");
    control
        .settle_message(&first, failed, Some(Duration::ZERO))
        .await
        .unwrap();
    let again = next(&[]).await.unwrap();
    assert_eq!((again.id, again.attempt), (1, 2));
    // Who was overtaken settles nothing.
    control.settle_message(&first, None, None).await.unwrap();
    assert_eq!(next(&[]).await, None);
    control.settle_message(&again, failed, None).await.unwrap();
    let ops = control.channels("shop").await.unwrap().remove(1);
    assert_eq!(
        (ops.given_up, ops.waiting, ops.error.as_deref()),
        (1, 2, failed)
    );
    let second = next(&[]).await.unwrap();
    assert_eq!(second.id, 2);
    control.settle_message(&second, None, None).await.unwrap();
    // A server that died on the way: its lease comes to an end.
    Cluster::shared().psql(
        &database.name,
        "UPDATE _rowcast.control_message SET due_at = now() WHERE status = 'waiting'",
    );
    assert_eq!(next(&[]).await.map(|m| (m.id, m.attempt)), Some((3, 2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_of_jobs_are_news_once() {
    let (database, control) = prepared("alerts_news").await;
    let job = Job {
        sync: "orders",
        source: "shop",
        trigger: "api",
        request: "{}",
    };
    let id = control.ask(&job).await.unwrap().unwrap();
    let syncs = ["orders".to_owned()];
    assert!(!control.watches(&syncs).await.unwrap()[0].news);
    assert!(control.withdraw("orders").await.unwrap());
    assert!(control.watches(&syncs).await.unwrap()[0].news);
    let ended = control.ended_jobs("orders").await.unwrap();
    assert_eq!((ended[0].id, &*ended[0].outcome), (id, "cancelled"));
    let jobs = [id];
    // Who does not win the watch takes no note of the job either.
    let late = Moved {
        jobs: &jobs,
        ..moved(3, &[])
    };
    assert!(control.move_watch(&moved(0, &[])).await.unwrap());
    assert!(!control.move_watch(&late).await.unwrap());
    assert!(control.watches(&syncs).await.unwrap()[0].news);
    let won = Moved { version: 1, ..late };
    assert!(control.move_watch(&won).await.unwrap());
    assert!(!control.watches(&syncs).await.unwrap()[0].news);
    control.mute("orders", None).await.unwrap();
    let muted = control.watches(&syncs).await.unwrap().remove(0);
    assert_eq!(muted.muted_until_us, Some(i64::MAX));
    assert!(control.unmute("orders").await.unwrap() && !control.unmute("orders").await.unwrap());
    drop(database);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_starts_its_jobs_once_however_often_it_comes() {
    let (_database, control) = prepared("events_race").await;
    let mut servers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let control = control.beside();
        servers.spawn(async move {
            let started = ["orders", "items"].map(|sync| Started {
                sync,
                source: "shop",
                request: "{}",
                queue: false,
            });
            control
                .event("dbt", "wev_1", "dbt", &started)
                .await
                .unwrap()
        });
    }
    let won: Vec<_> = servers.join_all().await.into_iter().flatten().collect();
    assert_eq!(won.len(), 1);
    assert_eq!(won[0].len(), 2);
    // The same id at another hook is another event; what waits already is not started again.
    let busy = Started {
        sync: "orders",
        source: "shop",
        request: "{}",
        queue: false,
    };
    let other = control
        .event("nightly", "wev_1", "hook", &[busy])
        .await
        .unwrap();
    assert_eq!(other, Some(Vec::new()));
    let filter = JobFilter {
        going_on: Some(true),
        ..JobFilter::default()
    };
    let (jobs, total) = control.jobs_of("orders", &filter, 0, 10).await.unwrap();
    assert_eq!((jobs.len(), total), (1, 1));
    assert_eq!(jobs[0].job.trigger, "dbt");
    control.forget_events(Duration::ZERO).await.unwrap();
    assert!(
        control
            .event("dbt", "wev_1", "dbt", &[])
            .await
            .unwrap()
            .is_some()
    );
}
