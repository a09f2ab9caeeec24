//! A crash in the middle of a long run: what is sent again fits into the intent window and was not
//! acknowledged, however much was sent before.

use std::collections::{BTreeMap, BTreeSet};

use rowcast_testkit::api::{Act, Api, Script, Seen};
use rowcast_testkit::postgres::Cluster;

use crate::command;
use crate::project::Project;
use crate::receiver::number;

const ROWS: usize = 5_000;

/// Most records that are announced and not acknowledged when all requests in flight hold fewer
/// (`rowcast-engine`, `ANNOUNCED_MIN`).
const WINDOW: usize = 1_000;

/// The ids of records by the run that sent them.
fn sent(log: &[Seen]) -> BTreeMap<i64, Vec<i64>> {
    let mut sent: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for record in log.iter().flat_map(|seen| &seen.records) {
        let run = number(&record["run"]);
        let id = number(&record["key"]["id"]);
        sent.entry(run).or_default().push(id);
    }
    sent
}

#[test]
fn rule_8_a_crash_in_a_long_run_repeats_at_most_one_window() {
    let source = Cluster::shared().database("crash_window");
    Cluster::shared().psql(
        &source.name,
        &format!(
            "CREATE TABLE rows (id bigint PRIMARY KEY, name text);
             INSERT INTO rows SELECT n, 'name ' || n FROM generate_series(1, {ROWS}) n"
        ),
    );
    let project = Project::new(&source);
    let api = Api::start();
    let more = "batch: { max_records: 10 }\nconcurrency: 4\ntimeout: 1s\n";
    project.http("there", &api, "", more);
    project.model("rows", "rows");
    project.sync(
        "rows",
        "rows",
        "there",
        "mode: mirror\nfields: { name: name }\n",
    );

    // One request without an answer keeps its intent open, while the others go on.
    api.script(Script::once(Act::Cut));
    api.script(Script::once(Act::Hold));
    let mut killed = project.rowcast(&["run", "rows"]);
    killed.env("ROWCAST_KILL_AT", "request-answered:200");
    let ended = command::run(killed);
    assert_eq!(ended.signal, Some(9), "{}", ended.words());
    api.release();
    let acknowledged = "SELECT k1 FROM _rowcast.state_1 WHERE h IS NOT NULL \
        UNION ALL SELECT unnest(k1) FROM _rowcast.intent_1 WHERE acknowledged";
    let acknowledged: BTreeSet<i64> = Cluster::shared()
        .psql(&source.name, acknowledged)
        .lines()
        .map(|id| id.parse().expect("a number"))
        .collect();

    let report = project.run("rows", &[], 0);
    // A last request of the killed process may have arrived after its end: the run tells them apart.
    let sent = sent(&api.log());
    let [before, after] = sent.values().collect::<Vec<_>>()[..] else {
        panic!("two runs sent something, not {:?}", sent.keys());
    };
    assert!(before.len() >= 1_990, "200 requests were answered or cut");
    assert!(!acknowledged.is_empty() && acknowledged.is_subset(&before.iter().copied().collect()));
    let all: BTreeSet<&i64> = before.iter().chain(after).collect();
    assert_eq!(all.len(), ROWS, "nothing is lost");
    let again: Vec<&i64> = after.iter().filter(|id| before.contains(id)).collect();
    assert!(again.len() <= WINDOW, "{} were sent again", again.len());
    let needless: Vec<_> = again
        .iter()
        .filter(|id| acknowledged.contains(id))
        .collect();
    assert!(
        needless.is_empty(),
        "acknowledged, yet sent again: {needless:?}"
    );
    assert_eq!(report["delivered"], after.len());
    assert_eq!(project.run("rows", &[], 0)["requests"], 0);
}
