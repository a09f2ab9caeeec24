//! A run that speaks to its destination on a thread of its own.

mod world;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock};

use rowcast_core::record::Batch;
use rowcast_core::{
    BoxFuture, Capabilities, Check, Destination, Fault, Outcome, RunContext, destination::Committed,
};
use rowcast_core::{RunReport, RunStatus};
use rowcast_engine::run;
use tokio::sync::{Notify, mpsc, oneshot};
use world::{Shape, World};

/// A destination that does its work in a task, begun when it is opened.
#[derive(Default)]
struct Clerk {
    inner: Option<Arc<dyn Destination>>,
    desk: OnceLock<mpsc::Sender<oneshot::Sender<()>>>,
    threads: Mutex<BTreeSet<String>>,
    /// Once this is set no write ends; it hears when one was begun, and when it was given up.
    stuck: Option<Arc<Stuck>>,
}

#[derive(Default)]
struct Stuck {
    begun: Notify,
    given_up: Notify,
}

struct GivenUp(Arc<Stuck>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.given_up.notify_one();
    }
}

impl Clerk {
    fn of(world: &World) -> Self {
        Self {
            inner: Some(world.destination.clone()),
            ..Self::default()
        }
    }

    fn inner(&self) -> &dyn Destination {
        self.inner.as_deref().expect("a destination")
    }

    async fn ask(&self) {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        self.threads.lock().expect("no panic").insert(name);
        let (done, told) = oneshot::channel();
        let desk = self.desk.get().expect("open");
        desk.send(done).await.expect("a clerk");
        told.await.expect("the clerk still works");
    }
}

impl Destination for Clerk {
    fn capabilities(&self) -> &Capabilities {
        self.inner().capabilities()
    }

    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        self.inner().check()
    }

    fn open<'a>(
        &'a self,
        context: &'a Arc<RunContext>,
    ) -> BoxFuture<'a, Result<Vec<Committed>, Fault>> {
        Box::pin(async move {
            let (desk, mut asked) = mpsc::channel::<oneshot::Sender<()>>(1);
            tokio::spawn(async move {
                while let Some(done) = asked.recv().await {
                    let _ = done.send(());
                }
            });
            let _ = self.desk.set(desk);
            self.ask().await;
            self.inner().open(context).await
        })
    }

    fn write<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>> {
        Box::pin(async move {
            if let Some(stuck) = &self.stuck {
                let _given_up = GivenUp(stuck.clone());
                stuck.begun.notify_one();
                std::future::pending::<()>().await;
            }
            self.ask().await;
            self.inner().write(batch).await
        })
    }

    fn finish(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async {
            self.ask().await;
            self.inner().finish().await
        })
    }
}

async fn deliver(world: &World, clerk: Arc<Clerk>, own_thread: bool) -> RunReport {
    let run = world.run_with(|input| {
        input.destination = clerk;
        input.own_thread = own_thread;
    });
    run.await
}

#[tokio::test]
async fn everything_said_to_the_destination_is_said_on_one_thread_that_lasts() {
    let world = World::filled(
        500,
        Shape {
            batch: 10,
            concurrency: 8,
            publishes: true,
            ..Shape::default()
        },
    );
    for own_thread in [true, false] {
        let clerk = Arc::new(Clerk::of(&world));
        world
            .ledger
            .edit(|table| (0..500).for_each(|id| table.put(id, &format!("{own_thread}"))));
        let report = deliver(&world, clerk.clone(), own_thread).await;
        assert_eq!(report.status, RunStatus::Succeeded, "{report:?}");
        assert_eq!(report.delivered, 500);
        assert!(world.is_mirrored());
        let threads = clerk.threads.lock().unwrap();
        assert_eq!(threads.contains("customers"), own_thread, "{threads:?}");
        assert_eq!(threads.len(), 1, "{threads:?}");
    }
}

#[tokio::test]
async fn large_requests_stay_on_the_threads_of_the_program() {
    let large = Shape {
        batch: 11,
        ..Shape::default()
    };
    let world = World::filled(100, large);
    let clerk = Arc::new(Clerk::of(&world));
    let report = deliver(&world, clerk.clone(), true).await;
    assert_eq!(report.delivered, 100);
    let threads = clerk.threads.lock().expect("no panic");
    assert!(!threads.contains("customers"), "{threads:?}");
}

#[tokio::test]
async fn a_run_that_is_given_up_gives_its_requests_up() {
    let single = Shape {
        batch: 1,
        ..Shape::default()
    };
    let world = World::filled(3, single);
    let stuck = Arc::new(Stuck::default());
    let mut input = world.input();
    input.own_thread = true;
    input.destination = Arc::new(Clerk {
        stuck: Some(stuck.clone()),
        ..Clerk::of(&world)
    });
    tokio::select! {
        _ = run(input) => panic!("no write ends"),
        () = stuck.begun.notified() => {}
    }
    stuck.given_up.notified().await;
    assert!(world.memory.records().is_empty());
}
