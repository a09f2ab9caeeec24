//! Quotas of services, shared by every process through the state schema.

use std::sync::Arc;
use std::time::Duration;

use rowcast_core::destination::Rate;
use rowcast_core::{Lease, Ledger, Quota};
use rowcast_postgres::ledger::PgLedger;

use crate::harness::World;

const DAY: Duration = Duration::from_secs(86_400);

/// A quota whose window does not end while a test runs: the present one began in 2024.
pub(crate) fn quota(account: &str, requests: u32) -> Quota {
    Quota {
        account: account.into(),
        allowed: Rate {
            requests,
            per: 20_000 * DAY,
        },
    }
}

/// As another process has it: a sync and a run of its own.
async fn process(world: &mut World, number: usize) -> (Arc<PgLedger>, Arc<Lease>) {
    world.config.sync.name = format!("sync_{number}");
    let ledger = world.ledger();
    let lease = world.open(&ledger).await.unwrap();
    (Arc::new(ledger), lease)
}

async fn spent(ledger: &PgLedger, quota: &Quota) -> u32 {
    ledger.spent(quota).await.unwrap().requests
}

#[tokio::test]
async fn processes_that_ask_at_once_are_given_each_request_once() {
    let mut world = World::with_customers("q_at_once", 1).await;
    let quota = quota("crm", 1_000);
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..4 {
        let (ledger, lease) = process(&mut world, number).await;
        let quota = quota.clone();
        asking.spawn(async move {
            let mut given = Vec::new();
            loop {
                let reserved = ledger.reserve(&lease, &quota, 7).await.unwrap();
                given.push(reserved.requests);
                if reserved.requests < 7 {
                    return given;
                }
            }
        });
    }
    let given = asking.join_all().await;
    let total: u32 = given.iter().flatten().sum();
    assert_eq!(total, 1_000, "{given:?}");
    assert_eq!(spent(&world.ledger(), &quota).await, 1_000);
}

#[tokio::test]
async fn what_is_given_back_is_there_for_others_and_what_is_not_stays_used() {
    let mut world = World::with_customers("q_back", 1).await;
    let (first, lease) = process(&mut world, 1).await;
    let (other, other_lease) = process(&mut world, 2).await;
    let quota = quota("crm", 10);
    let reserved = first.reserve(&lease, &quota, 6).await.unwrap();
    assert_eq!(reserved.requests, 6);
    let began = reserved.window.began;
    first.give_back(&quota, began, 2).await.unwrap();
    assert_eq!(spent(&other, &quota).await, 4);
    drop(first); // Killed: nothing more is given back.
    let reserved = other.reserve(&other_lease, &quota, 10).await.unwrap();
    assert_eq!(reserved.requests, 6);
    let more = other.reserve(&other_lease, &quota, 1).await.unwrap();
    assert_eq!((more.requests, more.window.began), (0, began));
    // Another account, or a window of another length, is counted for itself.
    let elsewhere = Quota {
        account: "shop/mail".into(),
        ..quota.clone()
    };
    assert_eq!(spent(&other, &elsewhere).await, 0);
    let by_hour = Quota {
        allowed: Rate {
            requests: 5,
            per: Duration::from_secs(3_600),
        },
        ..quota.clone()
    };
    let reserved = other.reserve(&other_lease, &by_hour, 9).await.unwrap();
    assert_eq!(reserved.requests, 5);
    assert!(reserved.window.ends_in <= Duration::from_secs(3_600));
    // An edit that allows less gives nothing, and takes nothing back.
    let less = Quota {
        allowed: Rate {
            requests: 3,
            ..quota.allowed
        },
        ..quota
    };
    let reserved = other.reserve(&other_lease, &less, 1).await.unwrap();
    assert_eq!((reserved.requests, spent(&other, &less).await), (0, 3));
}

#[tokio::test]
async fn windows_are_days_of_utc_and_each_begins_at_nothing() {
    let mut world = World::with_customers("q_windows", 1).await;
    let name = &world.database.name;
    world
        .sql(&format!(
            "ALTER DATABASE {name} SET timezone = 'Asia/Kathmandu'"
        ))
        .await;
    let (ledger, lease) = process(&mut world, 1).await;
    let quota = Quota {
        account: "crm".into(),
        allowed: Rate {
            requests: 10,
            per: DAY,
        },
    };
    let reserved = ledger.reserve(&lease, &quota, 4).await.unwrap();
    let today = reserved.window.began;
    assert_eq!(today % 86_400, 0);
    assert!(reserved.window.ends_in <= DAY);
    let stored = "SELECT (extract(epoch FROM began_at))::bigint FROM _rowcast.budget";
    assert_eq!(world.number(stored).await, today);

    world
        .sql("UPDATE _rowcast.budget SET began_at = began_at - interval '1 day'")
        .await;
    assert_eq!(spent(&ledger, &quota).await, 0);
    let reserved = ledger.reserve(&lease, &quota, 3).await.unwrap();
    assert_eq!((reserved.requests, reserved.window.began), (3, today));
    // What was set aside yesterday does not make today's longer.
    ledger.give_back(&quota, today - 86_400, 2).await.unwrap();
    assert_eq!(spent(&ledger, &quota).await, 3);

    // Others were already in the next window when this statement's turn came.
    world
        .sql("UPDATE _rowcast.budget SET began_at = began_at + interval '1 day'")
        .await;
    let reserved = ledger.reserve(&lease, &quota, 10).await.unwrap();
    assert_eq!(
        (reserved.requests, reserved.window.began),
        (7, today + 86_400)
    );
    // A clock that was wrong by years is not believed for ever.
    world
        .sql("UPDATE _rowcast.budget SET began_at = began_at + interval '9 years'")
        .await;
    let reserved = ledger.reserve(&lease, &quota, 10).await.unwrap();
    assert_eq!((reserved.requests, reserved.window.began), (10, today));
}

#[tokio::test]
async fn a_quota_outlives_a_lost_connection_and_a_plan_makes_nothing() {
    let mut world = World::with_customers("q_lost", 1).await;
    let quota = quota("crm", 10);
    assert_eq!(spent(&world.ledger(), &quota).await, 0);
    let schema = "SELECT count(*) FROM pg_namespace WHERE nspname = '_rowcast'";
    assert_eq!(world.number(schema).await, 0);
    let (ledger, lease) = process(&mut world, 1).await;
    ledger.reserve(&lease, &quota, 4).await.unwrap();
    world
        .sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await;
    let reserved = ledger.reserve(&lease, &quota, 10).await.unwrap();
    assert_eq!(reserved.requests, 6);
}
