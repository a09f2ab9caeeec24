//! What a destination allows: quotas that processes share, and requests at once.

mod world;

use std::sync::Arc;
use std::time::Duration;

use rowcast_core::destination::Rate;
use rowcast_core::{Ledger, Quota, RunStatus};
use rowcast_engine::{Limiter, RunInput, preview};
use rowcast_testkit::crowded::Crowded;
use rowcast_testkit::faulty::Act;
use world::{Shape, World};

const DAY: Duration = Duration::from_secs(86_400);

fn quota(requests: u32) -> Quota {
    Quota {
        account: "crm".into(),
        allowed: Rate { requests, per: DAY },
    }
}

async fn spent(world: &World, quota: &Quota) -> u32 {
    let spent = world.ledger.spent(quota).await;
    spent.expect("it is counted").requests
}

/// A world that sends one record a request.
fn single(rows: i64, concurrency: usize) -> World {
    World::filled(
        rows,
        Shape {
            batch: 1,
            concurrency,
            ..Shape::default()
        },
    )
}

#[tokio::test(start_paused = true)]
async fn a_quota_is_shared_by_runs_that_know_nothing_of_each_other() {
    let world = single(50, 4);
    let quota = quota(20);
    for (delivered, pending) in [(20, 30), (0, 30)] {
        let report = world
            .run_with(|input| input.quota = Some(quota.clone()))
            .await;
        assert_eq!(report.status, RunStatus::Succeeded);
        assert_eq!((report.delivered, report.pending), (delivered, pending));
        let said = report.notes.last().unwrap();
        assert!(
            said.contains("quota is used up until 24 h 0 min from now"),
            "{said}"
        );
    }
    tokio::time::advance(DAY).await;
    world.ledger.crash();
    let report = world
        .run_with(|input| input.quota = Some(quota.clone()))
        .await;
    assert_eq!((report.delivered, report.pending), (20, 10));
}

#[tokio::test(start_paused = true)]
async fn a_run_sets_aside_what_it_needs_and_gives_back_what_it_did_not() {
    let quota = quota(10_000);
    let world = single(250, 4);
    let report = world
        .run_with(|input| input.quota = Some(quota.clone()))
        .await;
    assert_eq!(report.requests, 250);
    assert_eq!(spent(&world, &quota).await, 250);

    // Fewer requests than expected: it stops after the tenth.
    let world = single(250, 1);
    let mut acts = vec![Act::Pass; 9];
    acts.push(Act::Fatal);
    world.destination.play(acts);
    let report = world
        .run_with(|input| input.quota = Some(quota.clone()))
        .await;
    assert_eq!(report.requests, 10);
    assert_eq!(spent(&world, &quota).await, 10);

    // More than expected: some are tried again.
    let world = single(10, 2);
    world.destination.play(vec![Act::Busy(None); 8]);
    let report = world
        .run_with(|input| input.quota = Some(quota.clone()))
        .await;
    assert_eq!((report.delivered, report.requests), (10, 18));
    assert_eq!(spent(&world, &quota).await, 18);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_killed_loses_at_most_a_hundredth_of_the_quota() {
    let quota = quota(1_000);
    for nth in 1..60 {
        let world = single(100, 2);
        world.crash.arm(Some(nth));
        let mut input = world.input();
        input.quota = Some(quota.clone());
        let ended = tokio::select! {
            biased;
            () = world.crash.fired() => false,
            _ = rowcast_engine::run(input) => true,
        };
        assert!(!ended, "killed at the {nth}th passage");
        let counted = u64::from(spent(&world, &quota).await);
        let sent = world.memory.requests();
        assert!(
            (sent..=sent + 10).contains(&counted),
            "{sent} sent, {counted} counted"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_says_what_is_used_of_a_quota_and_uses_nothing() {
    let world = single(50, 4);
    let quota = quota(20);
    world
        .run_with(|input| {
            input.quota = Some(quota.clone());
            input.options.diff.limit = Some(15);
        })
        .await;
    let mut input: RunInput = world.input();
    input.quota = Some(quota.clone());
    let preview = preview(&input).await.unwrap();
    assert_eq!(preview.quota.as_ref().unwrap().1.requests, 15);
    let said = preview.report.notes.last().unwrap();
    assert!(said.starts_with("15 of 20 requests"), "{said}");
    // 5 today, 20 tomorrow, 10 the day after.
    assert_eq!((preview.calls, preview.time), (35, 2 * DAY));
    assert_eq!(spent(&world, &quota).await, 15);
}

#[tokio::test(start_paused = true)]
async fn concurrency_falls_to_what_a_service_takes_and_rises_when_it_takes_more() {
    let world = single(1_200, 16);
    let service = Crowded::new(4, 16, 600);
    let report = world
        .run_with(|input| {
            input.destination = service.clone();
            input.limiter = Arc::new(Limiter::new(None));
        })
        .await;
    assert_eq!((report.delivered, report.pending), (1_200, 0), "{report:?}");
    assert_eq!(service.taken(), 1_200, "each was taken once");
    // At first 16 are tried; from then on hardly more than the service takes.
    assert_eq!(service.most(0, 20), 16);
    assert!(service.most(60, 600) <= 6, "{}", service.most(60, 600));
    assert_eq!(service.most(1_000, 1_200), 16, "it rises again");
    let refused = service.refused();
    assert_eq!(report.retries as usize, refused);
    // Sixteen at a time would be refused twelve times for each four that are taken.
    assert!(refused < 120, "{refused} of 600");
}

#[tokio::test(start_paused = true)]
async fn what_one_run_learned_of_a_service_the_next_run_of_the_process_knows() {
    let limiter = Arc::new(Limiter::new(None));
    let mut refused = Vec::new();
    for _ in 0..2 {
        let world = single(300, 16);
        let service = Crowded::new(2, 16, u64::MAX);
        let report = world
            .run_with(|input| {
                input.destination = service.clone();
                input.limiter = limiter.clone();
            })
            .await;
        assert_eq!(report.delivered, 300);
        refused.push((service.most(0, 2), service.refused()));
    }
    assert_eq!(refused[0].0, 16);
    assert!(refused[1].0 <= 4, "{refused:?}");
}
