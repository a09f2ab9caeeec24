//! Finding what changed: nothing, 1 %, 10 %; with the log, the state and the memory it takes.

use super::{contender, copy_text};
use crate::bench::{Bench, Contender};
use crate::data::{self, MARKER, ONE, Share, TEN};
use crate::results::{Kind, Sample};
use crate::verify::Tally;

const ALL: &str = "SELECT * FROM users";

/// A run of `sync`, with what arrived compared to what must.
fn run_and_compare(bench: &Bench, sync: &str, expected: &Tally) -> Result<Sample, String> {
    let sample = bench.run_sync(sync)?;
    let arrived = bench.arrived()?;
    Ok(sample.judge(arrived.differs(expected, true)))
}

/// Goal 1.
pub(super) fn no_change(bench: &mut Bench) -> Result<(), String> {
    bench.users()?;
    bench.first_sync("changes")?;
    let none = |bench: &mut Bench, _| run_and_compare(bench, "changes", &Tally::default());
    let binary = |bench: &mut Bench, _| bench.copy("base", ALL, true);
    let contenders = vec![
        copy_text(bench, "base", ALL),
        contender(
            bench,
            "copy_binary",
            "psql COPY, binary",
            Kind::Limit,
            Box::new(binary),
        ),
        contender(
            bench,
            "none",
            "rowcast, nothing changed",
            Kind::Ours,
            Box::new(none),
        ),
    ];
    bench.take_turns(1, contenders);
    Ok(())
}

/// One more round of changes, and the run that delivers them.
fn change_and_run(
    bench: &mut Bench,
    database: &str,
    sync: &str,
    share: Share,
) -> Result<Sample, String> {
    bench.change(database, share)?;
    let expected = data::changed(&bench.cluster, database, true)?;
    run_and_compare(bench, sync, &expected)
}

/// Goal 3, with cursor mode and 10 % beside it.
pub(super) fn changes(bench: &mut Bench) -> Result<(), String> {
    bench.users()?;
    bench.first_sync("changes")?;
    bench.first_sync("changes_cursor")?;
    let one = |bench: &mut Bench, _| change_and_run(bench, "base", "changes", ONE);
    // The same changes again, found by the cursor.
    let cursor = |bench: &mut Bench, _| {
        let expected = data::changed(&bench.cluster, "base", true)?;
        run_and_compare(bench, "changes_cursor", &expected)
    };
    let ten = |bench: &mut Bench, _| {
        let sample = change_and_run(bench, "base", "changes", TEN)?;
        bench.quietly(&["run", "changes_cursor"])?;
        bench.sink.clear()?;
        Ok(sample)
    };
    let ndjson = "NDJSON over HTTP";
    let mut contenders = vec![
        copy_text(bench, "base", ALL),
        contender(
            bench,
            "one",
            &format!("rowcast, 1 % changed, {ndjson}"),
            Kind::Ours,
            Box::new(one),
        ),
        contender(
            bench,
            "cursor",
            &format!("rowcast, 1 % changed, cursor, {ndjson}"),
            Kind::Ours,
            Box::new(cursor),
        ),
        contender(
            bench,
            "ten",
            &format!("rowcast, 10 % changed, {ndjson}"),
            Kind::Ours,
            Box::new(ten),
        ),
    ];
    if let Some(ten) = contenders.last_mut() {
        ten.runs = ten.runs.min(3);
    }
    bench.take_turns(3, contenders);
    Ok(())
}

/// Goal 2: the big table, with nothing tuned.
pub(super) fn big(bench: &mut Bench) -> Result<(), String> {
    bench.users_big()?;
    bench.first_sync("changes_big")?;
    bench.baseline_by_uuid()?;
    let heap = heap(bench, "big")?;
    let one = move |bench: &mut Bench, _| {
        let mut sample = change_and_run(bench, "big", "changes_big", ONE)?;
        sample.set_bytes("source_mb", heap);
        Ok(sample)
    };
    // The same changes again, in a state whose keys have no order.
    let uuid = move |bench: &mut Bench, _| {
        let expected = data::changed(&bench.cluster, "big", true)?;
        let changed = expected.present + expected.deleted;
        let mut sample = bench.run_counted("changes_big_uuid", changed)?;
        sample.set_bytes("source_mb", heap);
        Ok(sample)
    };
    let mut contenders = vec![
        copy_text(bench, "big", ALL),
        contender(
            bench,
            "one",
            "rowcast, 1 % changed, NDJSON over HTTP",
            Kind::Ours,
            Box::new(one),
        ),
    ];
    contenders.push(contender(
        bench,
        "uuid",
        "rowcast, the same by a random uuid, null",
        Kind::Ours,
        Box::new(uuid),
    ));
    for contender in &mut contenders {
        contender.rows = bench.options.rows_big;
        // Half a minute each.
        contender.runs = contender.runs.min(3);
    }
    bench.take_turns(2, contenders);
    Ok(())
}

fn heap(bench: &Bench, database: &str) -> Result<f64, String> {
    bench
        .cluster
        .number(database, "SELECT pg_relation_size('users')")
}

/// Goal 7: one run of each kind at both sizes.
pub(super) fn memory(bench: &mut Bench) -> Result<(), String> {
    bench.users()?;
    bench.users_big()?;
    let sizes = [
        ("base", "changes", ["first", "one"], bench.options.rows),
        (
            "big",
            "changes_big",
            ["first_big", "one_big"],
            bench.options.rows_big,
        ),
    ];
    for (database, sync, [first, one], rows) in sizes {
        let expected = data::all(&bench.cluster, database, "users")?;
        let deliver_all = move |bench: &mut Bench, _: usize| {
            bench.reset(database, sync)?;
            let sample = run_and_compare(bench, sync, &expected)?;
            bench.has_synced(sync)?;
            Ok(sample)
        };
        let deliver_some =
            move |bench: &mut Bench, _: usize| change_and_run(bench, database, sync, ONE);
        let contender = |id, label: &str, attempt| Contender {
            id,
            label: label.to_owned(),
            kind: Kind::Ours,
            rows,
            runs: 1,
            attempt,
        };
        bench.one_time(
            7,
            contender(first, "rowcast, first sync", Box::new(deliver_all)),
        );
        bench.one_time(
            7,
            contender(one, "rowcast, 1 % changed", Box::new(deliver_some)),
        );
    }
    Ok(())
}

/// Goal 8. Directly after a checkpoint the server logs whole pages when they are first touched, so
/// both cases are measured.
pub(super) fn log(bench: &mut Bench) -> Result<(), String> {
    bench.users()?;
    bench.first_sync("changes_wal")?;
    let run = |bench: &mut Bench, share: Option<Share>, checkpoint: bool| {
        let expected = match share {
            Some(share) => {
                bench.change("base", share)?;
                data::changed(&bench.cluster, "base", true)?
            }
            None => Tally::default(),
        };
        let mut command = bench.rowcast(&["run", "changes_wal", "--json"]);
        let mut sample = if checkpoint {
            bench.measured(&mut command, "rowcast run")?
        } else {
            bench.measured_as_it_is(&mut command, "rowcast run")?
        };
        let (from, to) = sample.log;
        sample.set("payloads_in_log", bench.marked(MARKER, from, to)? as f64);
        Ok(sample.judge(bench.arrived()?.differs(&expected, true)))
    };
    let cases = [
        ("none", "rowcast, nothing changed", None, false),
        ("none_checkpoint", "the same after a checkpoint", None, true),
        ("one", "rowcast, 1 % changed", Some(ONE), false),
        (
            "one_checkpoint",
            "the same after a checkpoint",
            Some(ONE),
            true,
        ),
    ];
    let contenders = cases.map(|(id, label, share, checkpoint)| {
        let attempt = move |bench: &mut Bench, _| run(bench, share, checkpoint);
        contender(bench, id, label, Kind::Ours, Box::new(attempt))
    });
    bench.take_turns(8, contenders.into());
    Ok(())
}

/// Goal 9.
pub(super) fn state(bench: &mut Bench) -> Result<(), String> {
    bench.users()?;
    let attempt = |bench: &mut Bench, _: usize| {
        bench.reset("base", "nothing")?;
        bench.quietly(&["run", "nothing", "--json"])?;
        let mut sample = Sample::default();
        sample.set_bytes("state_mb", bench.state_size("base", "nothing")?);
        sample.set_bytes("source_mb", heap(bench, "base")?);
        Ok(sample)
    };
    let label = "rowcast, state with its index after a first sync";
    let mut contender = contender(bench, "state", label, Kind::Ours, Box::new(attempt));
    contender.runs = 1;
    bench.one_time(9, contender);
    Ok(())
}
