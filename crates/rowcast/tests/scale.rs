//! Ten million rows to a destination that takes a hundred a second: the memory of the process is
//! bounded, and the source's transaction ends when the rows are read, not when they are sent.
//!
//! `cargo xtask test scale` sends for five minutes, `scale-short` for thirty seconds; both use the
//! release build and ten million rows. A plain `cargo test` tries the same with the debug build and
//! a million rows, and measures no ratio, because there the client is the slow side.

#[path = "support/command.rs"]
mod command;
#[path = "support/project.rs"]
mod project;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use project::{Project, report};
use rowcast_testkit::api::Api;
use rowcast_testkit::postgres::{Cluster, Database, bin_dir};

/// The promise of the contract for 10 M rows with a slow destination.
const MEMORY_MAX: u64 = 256 * 1024 * 1024;

/// A source transaction may last so many times a plain COPY of the same rows.
const TRANSACTION_MAX: f64 = 1.2;

/// Records a second that the destination takes, one a request.
const PER_SECOND: usize = 100;

/// Thirteen columns of the usual types, about 240 bytes a row.
fn model(rows: u64) -> String {
    format!(
        "SELECT id, md5(id::text)::uuid AS account, 'user' || id || '@example.com' AS email,
           'First' || id % 5000 AS first_name, 'Last' || id % 70000 AS last_name,
           jsonb_build_object('theme', id % 7, 'beta', id % 3 = 0) AS settings,
           (id % 100000)::numeric / 100 AS revenue,
           timestamptz '2020-01-01' + id * interval '1 second' AS created_at,
           timestamptz '2024-01-01' + id % 1000000 * interval '1 second' AS updated_at,
           id % 11 = 0 AS active, CASE WHEN id % 4 > 0 THEN '+49 30 ' || id END AS phone,
           (ARRAY['free', 'pro', 'team'])[1 + id % 3] AS plan, (id % 1000)::int AS logins
         FROM generate_series(1::bigint, {rows}) AS id"
    )
}

struct Size {
    program: PathBuf,
    release: bool,
    rows: u64,
    sending: usize,
}

#[expect(
    clippy::disallowed_methods,
    reason = "what `cargo xtask` tells this test"
)]
fn asked(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl Size {
    fn asked() -> Self {
        let seconds = asked("ROWCAST_SCALE_SECONDS");
        let sending = seconds.map_or(30, |seconds| seconds.parse().expect("seconds"));
        match asked("ROWCAST_RELEASE_BIN") {
            Some(program) => Self {
                program: program.into(),
                release: true,
                rows: 10_000_000,
                sending,
            },
            None => Self {
                program: env!("CARGO_BIN_EXE_rowcast").into(),
                release: false,
                rows: 1_000_000,
                sending,
            },
        }
    }
}

/// How long psql takes for a plain COPY of the query to nowhere.
fn plain_copy(database: &Database, query: &str) -> Duration {
    let began = Instant::now();
    let status = Command::new(bin_dir().join("psql"))
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres"])
        .args(["-h", &database.host, "-p", &database.port.to_string()])
        .args(["-d", &database.name, "-c"])
        .arg(format!("COPY ({query}) TO STDOUT"))
        .stdout(Stdio::null())
        .status()
        .expect("run psql");
    assert!(status.success());
    began.elapsed()
}

/// The longest transaction of anybody else in the database, looked at ten times a second until
/// told to end.
fn longest_transaction(database: &Database, end: &AtomicBool) -> Duration {
    let look =
        "SELECT coalesce(max((extract(epoch FROM clock_timestamp() - xact_start) * 1000)::int8), 0)
         FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
           AND backend_type = 'client backend'";
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let client = database.client().await;
        let mut longest = 0;
        while !end.load(Ordering::Relaxed) {
            let row = client.query_one(look, &[]).await.expect("look");
            longest = longest.max(row.get::<_, i64>(0));
            let pause = client.batch_execute("SELECT pg_sleep(0.1)").await;
            pause.expect("wait in the server");
        }
        Duration::from_millis(longest as u64)
    })
}

/// Most memory that a process has had, in bytes.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kilobytes: u64 = kilobytes.expect("VmHWM").parse().expect("a number");
    kilobytes * 1024
}

#[test]
fn rule_10_memory_and_transactions_are_bounded_with_many_rows_and_a_slow_destination() {
    let size = Size::asked();
    let source = Cluster::shared().database("scale");
    let query = model(size.rows);
    let project = Project::new(&source);
    project.file(
        "models/users.yml",
        "model: users\nsource: source\nprimary_key: [id]\n",
    );
    project.file("models/users.sql", &query);
    let api = Api::start();
    let rate = format!("rate: {{ requests: {PER_SECOND}, per: 1s }}\n");
    project.http("slow", &api, "", &rate);
    let columns = [
        "account",
        "email",
        "first_name",
        "last_name",
        "settings",
        "revenue",
        "created_at",
        "updated_at",
        "active",
        "phone",
        "plan",
        "logins",
    ];
    let fields: String = columns
        .map(|column| format!("  {column}: {column}\n"))
        .concat();
    project.sync(
        "users",
        "users",
        "slow",
        &format!("mode: mirror\nguards: {{ calls: 20000000 }}\nfields:\n{fields}"),
    );

    let copy_before = plain_copy(&source, &query);
    let end = AtomicBool::new(false);
    let (hwm, ended, until_first, sending, longest) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| longest_transaction(&source, &end));
        let began = Instant::now();
        let words = ["run", "users", "--json"];
        let child = command::program(&size.program, project.dir(), &words)
            .spawn()
            .expect("start rowcast");
        // The rows are read, and the first is sent.
        while api.requests() == 0 && child_lives(child.id()) {
            a_moment(&source);
        }
        let first = Instant::now();
        if api.requests() == 0 {
            end.store(true, Ordering::Relaxed);
            panic!("it ended early: {}", command::wait(child).words());
        }
        for second in 1..=size.sending {
            api.wait(|log| log.len() >= second * PER_SECOND);
        }
        let sending = first.elapsed();
        let hwm = memory(child.id());
        command::signal(&child, "INT");
        let ended = command::wait(child);
        end.store(true, Ordering::Relaxed);
        let longest = watch.join().expect("the watcher");
        (hwm, ended, first - began, sending, longest)
    });
    let copy_after = plain_copy(&source, &query);
    let copy = (copy_before + copy_after) / 2;
    let ratio = longest.as_secs_f64() / copy.as_secs_f64();

    assert_eq!(ended.code, Some(130), "{}", ended.words());
    let stopped = report(&ended);
    writeln!(
        std::io::stderr(),
        "{} rows, {} build: VmHWM {:.1} MiB, spool {:.1} MiB, {:.1} s to the first request, then \
         {:.1} s of sending; longest source transaction {:.1} s = {ratio:.2} x a plain COPY \
         ({:.1} s before, {:.1} s after); steps {}",
        size.rows,
        if size.release { "release" } else { "debug" },
        hwm as f64 / 1_048_576.0,
        stopped["spool_bytes"].as_f64().unwrap_or_default() / 1_048_576.0,
        until_first.as_secs_f64(),
        sending.as_secs_f64(),
        longest.as_secs_f64(),
        copy_before.as_secs_f64(),
        copy_after.as_secs_f64(),
        stopped["steps"],
    )
    .expect("write the figures");
    assert_eq!(stopped["read"], size.rows, "{stopped:#}");
    assert_eq!(
        stopped["delivered"].as_u64().expect("a count"),
        api.store().records.len() as u64
    );
    assert!(
        sending.as_secs_f64() > 0.9 * size.sending as f64,
        "the destination was not slow: {sending:?}"
    );
    assert!(hwm <= MEMORY_MAX, "{hwm} bytes of memory");
    assert!(
        longest < until_first,
        "a source transaction was open while requests were sent"
    );
    if size.release {
        assert!(ratio <= TRANSACTION_MAX, "{ratio:.2} x a plain COPY");
    }
}

/// Whether the process still runs.
fn child_lives(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Waits in the server.
fn a_moment(database: &Database) {
    Cluster::shared().psql(&database.name, "SELECT pg_sleep(0.2)");
}
