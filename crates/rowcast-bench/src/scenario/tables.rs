//! PostgreSQL to PostgreSQL, into an indexed table, beside plain pipes and the peers.

use super::contender;
use crate::bench::Bench;
use crate::data;
use crate::results::{Kind, Sample};

/// Goal 6.
pub(super) fn postgres(bench: &mut Bench) -> Result<(), String> {
    bench.users()?;
    let rows = bench.options.rows;
    let ours = move |bench: &mut Bench, _| {
        bench.reset("base", "copy")?;
        data::empty_target(&bench.cluster, "users_ours")?;
        let sample = bench.run_sync("copy")?;
        compared(bench, sample, "users_ours", rows, true)
    };
    let pipe = |format: &'static str| {
        move |bench: &mut Bench, _: usize| {
            data::empty_target(&bench.cluster, "users_pipe")?;
            let mut command = pipe(bench, format);
            let sample = bench.measured(&mut command, "psql | psql")?;
            compared(bench, sample, "users_pipe", rows, true)
        }
    };
    let mut contenders = vec![
        contender(
            bench,
            "pipe_binary",
            "psql COPY | psql COPY, binary, no state",
            Kind::Limit,
            Box::new(pipe("binary")),
        ),
        contender(
            bench,
            "pipe_text",
            "psql COPY | psql COPY, text, no state",
            Kind::Limit,
            Box::new(pipe("text")),
        ),
        contender(
            bench,
            "ours",
            "rowcast, mirror, state written",
            Kind::Ours,
            Box::new(ours),
        ),
    ];
    if bench.peers.has("sling") {
        let attempt = move |bench: &mut Bench, _: usize| {
            bench
                .cluster
                .psql("target", "DROP TABLE IF EXISTS users_sling")?;
            let mut command = bench
                .peers
                .sling_postgres(bench.cluster.port, "users_sling")?;
            let sample = bench.measured(&mut command, "sling")?;
            compared(bench, sample, "users_sling", rows, false)
        };
        let label = "sling, incremental, first run";
        let mut sling = contender(bench, "sling", label, Kind::Peer, Box::new(attempt));
        sling.runs = sling.runs.min(3);
        contenders.push(sling);
    }
    if bench.peers.has("dlt") {
        let part = (rows / 5).max(50_000).min(rows);
        bench.part("fifth", part)?;
        let attempt = move |bench: &mut Bench, _: usize| {
            let drop = "DROP SCHEMA IF EXISTS dlt_bench, dlt_bench_staging CASCADE";
            bench.cluster.psql("target", drop)?;
            let mut command = bench.peers.dlt(bench.cluster.port, "fifth")?;
            let sample = bench.measured(&mut command, "dlt")?;
            compared(bench, sample, "dlt_bench.fifth", part, false)
        };
        let label = "dlt, Arrow batches, appended";
        let mut dlt = contender(bench, "dlt", label, Kind::Peer, Box::new(attempt));
        dlt.rows = part;
        dlt.runs = dlt.runs.min(3);
        contenders.push(dlt);
    }
    if bench.peers.has("drt") {
        let part = SLOWEST;
        bench.part("slowest", part)?;
        let attempt = move |bench: &mut Bench, _: usize| {
            // It remembers what it sent in the source; with that, the next attempt has nothing to do.
            bench.cluster.psql("base", FORGET_DRT)?;
            data::empty_target(&bench.cluster, "users_drt")?;
            let port = bench.cluster.port;
            let mut command = bench.peers.drt_mirror(port, "slowest", "users_drt")?;
            let sample = bench.measured(&mut command, "drt")?;
            compared(bench, sample, "users_drt", part, false)
        };
        let label = "drt, mirror, first run";
        let mut drt = contender(bench, "drt", label, Kind::Peer, Box::new(attempt));
        drt.rows = part;
        drt.runs = 1;
        contenders.push(drt);
    }
    bench.take_turns(6, contenders);
    Ok(())
}

const FORGET_DRT: &str = "DROP SCHEMA IF EXISTS _drt CASCADE";

/// Rows for the slowest: a thousand a second.
const SLOWEST: u64 = 10_000;

fn pipe(bench: &Bench, format: &str) -> std::process::Command {
    let psql = |database: &str, statement: &str| {
        let command = bench.cluster.psql_command(database);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<String> = words
            .map(|word| format!("'{}'", word.to_string_lossy()))
            .collect();
        format!("{} -c \"{statement}\"", words.join(" "))
    };
    let from = psql("base", &format!("COPY users TO STDOUT (FORMAT {format})"));
    let to = psql(
        "target",
        &format!("COPY users_pipe FROM STDIN (FORMAT {format})"),
    );
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &format!("{from} | {to}")]);
    command
}

fn compared(
    bench: &Bench,
    sample: Sample,
    table: &str,
    rows: u64,
    values: bool,
) -> Result<Sample, String> {
    let differs = data::target_differs(&bench.cluster, table, rows, values)?;
    Ok(sample.judge(differs))
}
