//! First syncs: to HTTP in batches and row by row, to a file; beside the peers and the load client.

use std::cell::RefCell;
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;

use super::{contender, copy_text};
use crate::bench::Bench;
use crate::data;
use crate::results::{Kind, Sample};
use crate::verify::Tally;

/// A first sync to HTTP; what arrived is compared with the table.
fn deliver(bench: &Bench, sync: &str, expected: &Tally) -> Result<Sample, String> {
    bench.reset("base", sync)?;
    let sample = bench.run_sync(sync)?;
    let differs = bench.arrived()?.differs(expected, true);
    Ok(sample.judge(differs))
}

/// Goal 4.
pub(super) fn first_sync(bench: &mut Bench) -> Result<(), String> {
    bench.users()?;
    let all = data::all(&bench.cluster, "base", "users")?;
    let thousand = move |bench: &mut Bench, _| deliver(bench, "first_1000", &all);
    let hundred = move |bench: &mut Bench, _| deliver(bench, "first_100", &all);
    let contenders = vec![
        copy_text(bench, "base", "SELECT * FROM users"),
        contender(
            bench,
            "thousand",
            "rowcast, first sync, 1,000 rows a request",
            Kind::Ours,
            Box::new(thousand),
        ),
        contender(
            bench,
            "hundred",
            "rowcast, first sync, 100 rows a request",
            Kind::Ours,
            Box::new(hundred),
        ),
    ];
    bench.take_turns(4, contenders);
    Ok(())
}

/// Goal 5. The peers get fewer rows, and rows a second are compared.
pub(super) fn beside_peers(bench: &mut Bench) -> Result<(), String> {
    bench.users()?;
    let few = (bench.options.rows / 10).max(20_000);
    bench.part("few", few)?;
    bench.part("small", SMALL)?;
    let all = data::all(&bench.cluster, "base", "users")?;
    let some = data::all(&bench.cluster, "base", "few")?;
    let smallest = data::all(&bench.cluster, "base", "small")?;
    let thousand = move |bench: &mut Bench, _| deliver(bench, "first_1000", &all);
    let single = move |bench: &mut Bench, _| deliver(bench, "single", &some);
    let file = move |bench: &mut Bench, _| {
        bench.reset("base", "file")?;
        let sample = bench.run_sync("file")?;
        Ok(sample.judge(written(bench)?.differs(&all, true)))
    };
    let mut contenders = vec![
        contender(
            bench,
            "thousand",
            "rowcast, HTTP, 1,000 rows a request",
            Kind::Ours,
            Box::new(thousand),
        ),
        contender(
            bench,
            "single",
            "rowcast, HTTP, one row a request",
            Kind::Ours,
            Box::new(single),
        ),
        contender(
            bench,
            "file",
            "rowcast, JSON lines file",
            Kind::Ours,
            Box::new(file),
        ),
    ];
    contenders[1].rows = few;
    if bench.peers.has("drt") {
        let http = move |table: &'static str, batch: Option<usize>, expected: Tally| {
            move |bench: &mut Bench, _: usize| {
                let (port, url) = (bench.cluster.port, bench.sink.url("drt"));
                let mut command = bench.peers.drt_http(port, table, &url, batch)?;
                let sample = bench.measured(&mut command, "drt")?;
                Ok(sample.judge(bench.arrived()?.differs(&expected, false)))
            }
        };
        let mut batch = contender(
            bench,
            "drt_batch",
            "drt, HTTP, 1,000 rows a request",
            Kind::Peer,
            Box::new(http("few", Some(1000), some)),
        );
        batch.rows = few;
        let mut single = contender(
            bench,
            "drt_single",
            "drt, HTTP, one row a request",
            Kind::Peer,
            Box::new(http("small", None, smallest)),
        );
        single.rows = SMALL;
        contenders.extend([batch, single]);
    }
    if bench.peers.has("sling") {
        let attempt = move |bench: &mut Bench, _: usize| {
            let file = bench.files.join("sling.jsonl");
            let mut command = bench.peers.sling_file(bench.cluster.port, &file)?;
            let sample = bench.measured(&mut command, "sling")?;
            Ok(sample.judge(written(bench)?.differs(&all, false)))
        };
        let label = "sling, JSON lines file";
        let mut sling = contender(bench, "sling_file", label, Kind::Peer, Box::new(attempt));
        sling.runs = sling.runs.min(3);
        contenders.push(sling);
    }
    bench.take_turns(5, contenders);
    Ok(())
}

/// Rows of the smallest table: those of goal 12.
pub(super) const SMALL: u64 = 5000;

/// What the files hold that were written; they are removed.
fn written(bench: &Bench) -> Result<Tally, String> {
    let failed = |error: std::io::Error| format!("could not read what was written: {error}");
    let mut tally = Tally::default();
    for entry in std::fs::read_dir(&bench.files).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let file = std::fs::File::open(&path).map_err(failed)?;
        let lines = std::io::BufReader::with_capacity(1 << 20, file);
        for line in std::io::BufRead::lines(lines) {
            tally.add_body(line.map_err(failed)?.as_bytes())?;
        }
        std::fs::remove_file(path).map_err(failed)?;
    }
    Ok(tally)
}

/// Goal 10: the same bodies, sent by Rowcast and by a client that does nothing else.
pub(super) fn single(bench: &mut Bench) -> Result<(), String> {
    bench.users()?;
    let few = (bench.options.rows / 10).max(20_000);
    bench.part("few", few)?;
    let expected = data::all(&bench.cluster, "base", "few")?;
    // Kept from the warm-up for the load client.
    let bodies: Rc<RefCell<Option<PathBuf>>> = Rc::default();
    let kept = Rc::clone(&bodies);
    let ours = move |bench: &mut Bench, repetition: usize| {
        bench.reset("base", "single")?;
        let sample = bench.run_sync("single")?;
        let (tally, folder) = bench.arrived_and_kept()?;
        if repetition == 0 {
            kept.replace(Some(folder));
        } else {
            std::fs::remove_dir_all(&folder).map_err(|error| error.to_string())?;
        }
        Ok(sample.judge(tally.differs(&expected, true)))
    };
    let raw = move |bench: &mut Bench, _: usize| {
        let bodies = bodies
            .borrow()
            .clone()
            .ok_or("there are no bodies to send")?;
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command
            .arg("load")
            .arg(bodies)
            .arg(bench.sink.port.to_string());
        let mut sample = bench.measured(&mut command, "the load client")?;
        // Reading the bodies is not sending them.
        let seconds = sample.stdout.trim().parse();
        sample.set(
            "wall_s",
            seconds.map_err(|_| "the load client said no time")?,
        );
        Ok(sample.judge(bench.arrived()?.differs(&expected, true)))
    };
    let mut contenders = vec![
        contender(
            bench,
            "single",
            "rowcast, 8 requests at a time",
            Kind::Ours,
            Box::new(ours),
        ),
        contender(
            bench,
            "raw",
            "load client, 8 connections",
            Kind::Limit,
            Box::new(raw),
        ),
    ];
    for contender in &mut contenders {
        contender.rows = few;
    }
    bench.take_turns(10, contenders);
    Ok(())
}
