//! Models other than a large table: a join with an aggregate, and five thousand rows.

use std::time::Instant;

use super::sending::SMALL;
use super::{contender, copy_text};
use crate::bench::Bench;
use crate::measure;
use crate::project::{self, JOINED};
use crate::proxy::Proxy;
use crate::results::{Kind, Sample};

/// Goal 11.
pub(super) fn joined(bench: &mut Bench) -> Result<(), String> {
    bench.orders()?;
    bench.first_sync("joined")?;
    let none = |bench: &mut Bench, _| bench.run_counted("joined", 0);
    let contenders = vec![
        copy_text(bench, "base", JOINED),
        contender(
            bench,
            "none",
            "rowcast, nothing changed",
            Kind::Ours,
            Box::new(none),
        ),
    ];
    bench.take_turns(11, contenders);
    Ok(())
}

/// Goal 12: the time of a whole process, and until it asks the server something.
pub(super) fn small(bench: &mut Bench) -> Result<(), String> {
    bench.part("small", SMALL)?;
    bench.first_sync("small")?;
    let proxy = Proxy::start(bench.cluster.port)?;
    // The same project, with the proxy in the source's place.
    let folder = bench.scratch.join("behind-proxy");
    copy_folder(&bench.project, &folder)?;
    project::write(&folder, &[project::source_file("base", "base", proxy.port)])?;
    let whole = |bench: &mut Bench, _| bench.run_counted("small", 0);
    let start = |bench: &mut Bench, _| {
        bench.cluster.settle()?;
        let mut command = bench.rowcast(&["run", "small", "--json"]);
        command.current_dir(&folder);
        let began = Instant::now();
        let ended = measure::run(&mut command, &bench.scratch)?.succeeded("rowcast run small")?;
        let first = proxy.first_query().ok_or("no query passed the proxy")?;
        let mut sample = Sample::default();
        sample.set("wall_s", ended.wall);
        sample.set("start_s", first.duration_since(began).as_secs_f64());
        Ok(sample)
    };
    let mut contenders = vec![
        contender(
            bench,
            "whole",
            "rowcast, 5,000 rows, nothing changed",
            Kind::Ours,
            Box::new(whole),
        ),
        contender(
            bench,
            "start",
            "the same, until the first query",
            Kind::Ours,
            Box::new(start),
        ),
    ];
    for contender in &mut contenders {
        contender.rows = SMALL;
        // Short, so more of them.
        contender.runs *= 3;
    }
    bench.take_turns(12, contenders);
    Ok(())
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("could not copy the project: {error}");
    std::fs::create_dir_all(to).map_err(failed)?;
    for entry in std::fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let target = to.join(entry.file_name());
        if entry.file_type().map_err(failed)?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target).map_err(failed)?;
        }
    }
    Ok(())
}
