//! Customers in the source, and a worker that is killed while it sends them.

use std::collections::BTreeMap;

use rowcast_testkit::postgres::{Cluster, Database};

use crate::command;
use crate::project::Project;

/// A source with 300 customers.
pub(crate) async fn source(name: &str) -> Database {
    let source = Cluster::shared().database(name);
    let client = source.client().await;
    client
        .batch_execute(
            "CREATE TABLE customers (id bigint PRIMARY KEY, name text); \
             INSERT INTO customers SELECT n, 'first' FROM generate_series(1, 300) n",
        )
        .await
        .expect("the source's rows");
    source
}

/// The names it has, by id.
pub(crate) async fn rows(source: &Database) -> BTreeMap<i64, String> {
    let client = source.client().await;
    let rows = client.query("SELECT id, name FROM customers", &[]).await;
    let rows = rows.expect("the source's rows");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// A run that is killed at this place.
pub(crate) fn killed(project: &Project, sync: &str, place: &str) {
    let mut killed = project.rowcast(&["run", sync]);
    killed.env("ROWCAST_KILL_AT", place);
    let ended = command::run(killed);
    assert_eq!(ended.signal, Some(9), "{place}: {}", ended.words());
}
