//! A table in a bucket, as Parquet, through the program: killed in the middle of an upload, then
//! read by another program and compared with the table.

#![cfg(all(feature = "objects", feature = "parquet"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

#[path = "support/command.rs"]
mod command;
#[path = "support/project.rs"]
mod project;

use rowcast_testkit::object_store::ObjectServer;
use rowcast_testkit::postgres::Cluster;
use rowcast_testkit::proxy::{Fault, Proxy, Rule, When};

use crate::project::Project;

/// Rows of 64 kB that do not compress: their file goes up in three parts.
const TABLE: &str = "
    CREATE TABLE customers (id bigint PRIMARY KEY, email text, total numeric(12,2),
        seen timestamptz, born date, ref uuid, doc jsonb, photo bytea, active bool);
    INSERT INTO customers SELECT n, CASE WHEN n % 7 > 0 THEN 'c' || n || '@example.com' END,
        n * 1.25 - 100, '2024-02-29 12:30:00.000001+01'::timestamptz + n * interval '1 s',
        DATE '1900-01-01' + n::int, md5(n::text)::uuid, jsonb_build_object('n', n),
        (SELECT string_agg(sha256(convert_to(n || '-' || k, 'UTF8')), ''::bytea)
           FROM generate_series(1, 2000) k), n % 2 = 0
      FROM generate_series(1, 300) n";

/// The table's rows as text, the same as `READ` makes of the file's.
const ROWS: &str = "
    SELECT concat_ws('|', id, coalesce(email, '-'), total, (extract(epoch FROM seen) * 1000000)::bigint,
        born, ref, doc->>'n', md5(photo), active::text) FROM customers ORDER BY id";

const READ: &str = r#"
import duckdb, sys
c = duckdb.connect()
c.execute("SET TimeZone='UTC'")
r = c.execute(f"""SELECT concat_ws('|', "key.id", coalesce(email, '-'), total, epoch_us(seen), born,
    ref, doc::JSON->>'n', md5(photo), active) FROM '{sys.argv[1]}' ORDER BY "key.id" """)
[print(row[0]) for row in r.fetchall()]
"#;

fn destination(project: &Project, proxy: &Proxy, timeout: &str) {
    project.file(
        "destinations/lake.yml",
        &format!(
            "destination: lake\nconnector: s3\nallow_addresses: [127.0.0.1/32]\n\
             timeout: {timeout}\nsettings:\n  bucket: exports\n  endpoint: http://{}\n  \
             access_key_id: any\n  secret_access_key: \"${{env:S3_SECRET}}\"\n  \
             path: \"customers/year={{{{ year }}}}/{{{{ run }}}}.parquet\"\n  format: parquet\n",
            proxy.address()
        ),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_15_a_kill_in_mid_upload_publishes_nothing_and_loses_nothing() {
    let server = ObjectServer::s3();
    server.bucket("exports");
    let proxy = Proxy::to(server.address());
    let database = Cluster::shared().database("buckets");
    let client = database.client().await;
    client.batch_execute(TABLE).await.unwrap();
    let project = Project::new(&database);
    project.model("customers", "customers");
    project.sync(
        "customers_to_lake",
        "customers",
        "lake",
        "mode: mirror\nfields:\n  email: email\n  total: total\n  seen: seen\n  born: born\n  \
         ref: ref\n  doc: doc\n  photo: photo\n  active: active\n",
    );
    destination(&project, &proxy, "3s");
    let words = ["run", "customers_to_lake", "--json"];
    let start = || {
        let mut command = project.rowcast(&words);
        command.env("S3_SECRET", "canary-lake-2719");
        command
    };

    proxy.inject(Rule::up(When::text("partNumber=2"), Fault::Stall));
    let mut child = start().spawn().unwrap();
    proxy.wait(1);
    child.kill().unwrap();
    let ended = command::wait(child);
    assert_eq!(ended.signal, Some(9), "{}", ended.words());
    assert!(!ended.words().contains("canary-lake-2719"));
    assert!(server.names("exports").is_empty());
    assert_eq!(
        server.uploads("exports").len(),
        1,
        "a kill leaves the parts, unseen"
    );

    proxy.heal();
    destination(&project, &proxy, "60s");
    let ended = command::run(start());
    assert_eq!(ended.code, Some(0), "{}", ended.words());
    let report = project::report(&ended);
    assert_eq!(report["delivered"], 300, "{report:#}");
    let names = server.names("exports");
    assert_eq!(names.len(), 1, "{names:?}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("read.parquet");
    std::fs::write(&path, server.object("exports", &names[0])).unwrap();
    let read = ObjectServer::python()
        .args(["-c", READ])
        .arg(&path)
        .output()
        .unwrap();
    let said = String::from_utf8(read.stdout).unwrap();
    let found: Vec<&str> = said.lines().collect();
    let rows = client.query(ROWS, &[]).await.unwrap();
    let expected: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(found, expected, "{}", String::from_utf8_lossy(&read.stderr));

    client
        .batch_execute(
            "UPDATE customers SET total = 0 WHERE id = 7; DELETE FROM customers WHERE id = 8",
        )
        .await
        .unwrap();
    let ended = command::run(start());
    assert_eq!(ended.code, Some(0), "{}", ended.words());
    assert_eq!(project::report(&ended)["delivered"], 2);
    assert_eq!(
        server.names("exports").len(),
        2,
        "each run has an object of its own"
    );
}
