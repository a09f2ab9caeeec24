//! What becomes of rows that a destination refuses, and of runs that are stopped: two bad rows of
//! a thousand harm nobody else, are tried again with their newest values, and are held when that
//! was in vain; a signal ends a run in time and loses nothing.

#[path = "support/command.rs"]
mod command;
#[path = "support/project.rs"]
mod project;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::process::Child;
use std::time::{Duration, Instant};

use project::{Project, report};
use rowcast_testkit::api::{Act, Api, BadRecords, Script, Seen};
use rowcast_testkit::postgres::{Cluster, Database};
use serde_json::Value;

/// Rows of the table.
const ROWS: usize = 1_000;

/// Rows that the destination refuses, and in what words.
const BAD: [i64; 2] = [3, 500];
const WORDS: &str = "no such plan";

/// In how many following runs a refused value is tried again.
const RETRIES: usize = 2;

/// A project that mirrors a thousand rows, and two of them are bad.
struct World {
    project: Project,
    source: Database,
    receiver: Receiver,
}

enum Receiver {
    Http(Api),
    /// Its table refuses rows by a CHECK constraint, and counts in a sequence what it was asked to
    /// write: sequences do not roll back.
    Postgres(Database),
}

impl World {
    /// The source and the sync; the destination `there` is still missing.
    fn prepare(name: &str) -> (Project, Database) {
        let source = Cluster::shared().database(name);
        sql(
            &source,
            &format!(
                "CREATE TABLE users (id bigint PRIMARY KEY, plan text, version bigint);
                 INSERT INTO users SELECT n, CASE WHEN n IN (3, 500) THEN 'bad' ELSE 'free' END, 1
                 FROM generate_series(1, {ROWS}) n"
            ),
        );
        let project = Project::new(&source);
        project.model("users", "users");
        project.sync(
            "users",
            "users",
            "there",
            &format!(
                "object: users\nmode: mirror\nretry: {{ runs: {RETRIES} }}\n\
                 fields: {{ plan: plan, version: version }}\n"
            ),
        );
        (project, source)
    }

    fn http(name: &str, settings: &str, more: &str, bad: BadRecords) -> Self {
        let (project, source) = Self::prepare(name);
        let api = Api::start();
        project.http("there", &api, settings, more);
        api.refuse(bad.message(WORDS));
        Self {
            project,
            source,
            receiver: Receiver::Http(api),
        }
    }

    fn postgres(name: &str) -> Self {
        let (project, source) = Self::prepare(name);
        let target = Cluster::shared().database(&format!("{name}_target"));
        sql(
            &target,
            "CREATE SEQUENCE asked;
             CREATE TABLE users (id bigint PRIMARY KEY, plan text, version bigint,
               CONSTRAINT \"no such plan\" CHECK (plan <> 'bad'));
             CREATE FUNCTION ask() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN PERFORM nextval('asked'); RETURN NEW; END $$;
             CREATE TRIGGER ask BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION ask()",
        );
        project.postgres("there", &target, "");
        Self {
            project,
            source,
            receiver: Receiver::Postgres(target),
        }
    }

    /// Every record that the destination was asked to take so far: key and version. PostgreSQL
    /// does not tell which, only how many.
    fn asked(&self) -> Asked {
        match &self.receiver {
            Receiver::Http(api) => Asked::Records(api.log().iter().flat_map(records).collect()),
            Receiver::Postgres(target) => {
                let count = sql(target, "SELECT last_value FROM asked WHERE is_called");
                Asked::Count(count.trim().parse().unwrap_or(0))
            }
        }
    }

    /// The report of a run with this exit code, and what it asked for.
    fn run(&self, more: &[&str], code: i32) -> (Value, Asked) {
        let before = self.asked();
        let report = self.project.run("users", more, code);
        (report, self.asked().since(&before))
    }

    /// The refused rows with the version that was refused last.
    fn rejects(&self) -> Vec<Value> {
        let listed = self.project.ran(&["rejects", "users", "--json"]).json();
        listed.as_array().expect("a list").clone()
    }

    fn holds(&self) -> BTreeSet<(i64, i64)> {
        match &self.receiver {
            Receiver::Http(api) => api
                .store()
                .records
                .iter()
                .map(|(key, fields)| {
                    let key: Value = serde_json::from_str(key).expect("a key");
                    (number(&key["id"]), number(&fields["version"]))
                })
                .collect(),
            Receiver::Postgres(target) => pairs(target),
        }
    }

    /// Mends the destination.
    fn mend(&self) {
        match &self.receiver {
            Receiver::Http(api) => api.behave(),
            Receiver::Postgres(target) => {
                sql(target, "ALTER TABLE users DROP CONSTRAINT \"no such plan\"");
            }
        }
    }
}

/// What a destination was asked to take.
#[derive(Debug)]
enum Asked {
    Records(Vec<(i64, i64)>),
    Count(usize),
}

impl Asked {
    fn since(self, before: &Self) -> Self {
        match (self, before) {
            (Self::Records(all), Self::Records(before)) => {
                Self::Records(all[before.len()..].to_vec())
            }
            (Self::Count(all), Self::Count(before)) => Self::Count(all - before),
            _ => unreachable!("one destination"),
        }
    }

    /// Only these records were asked for, each of them, and no oftener than halving must.
    fn is_only(&self, expected: &[(i64, i64)]) {
        match self {
            Self::Records(records) => {
                let distinct: BTreeSet<(i64, i64)> = records.iter().copied().collect();
                assert_eq!(distinct, expected.iter().copied().collect(), "{records:?}");
                assert!(records.len() <= 2 * expected.len(), "{records:?}");
            }
            // Together, then each alone.
            Self::Count(count) => {
                let range = expected.len()..=2 * expected.len();
                assert!(range.contains(count), "{count} of {expected:?}");
            }
        }
    }
}

fn records(seen: &Seen) -> Vec<(i64, i64)> {
    let pair = |record: &Value| {
        (
            number(&record["key"]["id"]),
            number(&record["fields"]["version"]),
        )
    };
    seen.records.iter().map(pair).collect()
}

fn number(value: &Value) -> i64 {
    value
        .as_i64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

fn sql(database: &Database, sql: &str) -> String {
    Cluster::shared().psql(&database.name, sql)
}

fn pairs(database: &Database) -> BTreeSet<(i64, i64)> {
    sql(database, "SELECT id, version FROM users")
        .lines()
        .map(|line| {
            let (id, version) = line.split_once('|').expect("two columns");
            (
                id.parse().expect("an id"),
                version.parse().expect("a version"),
            )
        })
        .collect()
}

fn is(report: &Value, expected: &[(&str, u64)]) {
    for (name, count) in expected {
        assert_eq!(report[*name], *count, "{name}: {report:#}");
    }
}

/// The story of two bad rows, for every kind of destination. `requests`: how many the first run
/// may need.
fn two_bad_rows_of_a_thousand(world: &World, requests: u64) {
    let change = |ids: &str, what: &str| {
        sql(
            &world.source,
            &format!("UPDATE users SET version = version + 1 {what} WHERE id IN ({ids})"),
        );
    };
    let (first, _) = world.run(&["--fail-on-rejected"], 5);
    is(&first, &[("delivered", 998), ("rejected", 2)]);
    assert_eq!(first["status"], "partial");
    assert!(number(&first["requests"]) <= requests as i64, "{first:#}");
    let good: BTreeSet<(i64, i64)> = pairs(&world.source)
        .into_iter()
        .filter(|(id, _)| !BAD.contains(id))
        .collect();
    assert_eq!(world.holds(), good);

    // The second and the third run: only these two, with their newest values. A run in which
    // everything is rejected is a failed one.
    change("3, 500", "");
    for _ in 0..2 {
        let (again, asked) = world.run(&[], 1);
        is(
            &again,
            &[("delivered", 0), ("rejected", 2), ("unchanged", 998)],
        );
        assert_eq!(again["status"], "failed");
        asked.is_only(&[(3, 2), (500, 2)]);
    }
    let rejects = world.rejects();
    assert_eq!(rejects.len(), 2, "{rejects:?}");
    for reject in &rejects {
        assert!(reject.to_string().contains(WORDS), "{reject:#}");
    }

    // One more retry, then the policy is used up: they are held, and nothing is sent.
    world.run(&[], 1).1.is_only(&[(3, 2), (500, 2)]);
    for _ in 0..2 {
        let (held, asked) = world.run(&[], 0);
        is(&held, &[("rejected", 0), ("held", 2), ("requests", 0)]);
        asked.is_only(&[]);
    }

    // A new value is worth a try, and so is what somebody asks for.
    change("3", "");
    let (one, asked) = world.run(&[], 1);
    is(&one, &[("rejected", 1), ("held", 1)]);
    asked.is_only(&[(3, 3)]);
    let told = world.project.ran(&["retry", "users", "--keys", "500"]);
    assert_eq!(told.code, Some(0), "{}", told.words());
    let (both, asked) = world.run(&[], 1);
    is(&both, &[("rejected", 2), ("held", 0)]);
    asked.is_only(&[(3, 3), (500, 2)]);

    // One row is mended at the source, the other by the destination.
    change("3", ", plan = 'free'");
    sql(&world.source, "UPDATE users SET plan = 'free' WHERE id = 3");
    let (mended, _) = world.run(&[], 0);
    is(&mended, &[("delivered", 1)]);
    world.mend();
    let told = world.project.ran(&["retry", "users"]);
    assert_eq!(told.code, Some(0), "{}", told.words());
    let (rest, asked) = world.run(&[], 0);
    is(&rest, &[("delivered", 1), ("rejected", 0), ("held", 0)]);
    asked.is_only(&[(500, 2)]);
    let (nothing, asked) = world.run(&[], 0);
    is(&nothing, &[("requests", 0), ("unchanged", ROWS as u64)]);
    asked.is_only(&[]);
    assert_eq!(world.holds(), pairs(&world.source));
    assert!(world.rejects().is_empty());
}

fn bad_plan(record: &Value) -> bool {
    record["fields"]["plan"] == "bad"
}

#[test]
fn rule_26_two_bad_rows_in_a_batch_that_is_refused_whole() {
    let world = World::http(
        "failures_whole",
        "",
        "batch: { max_records: 1000 }\n",
        BadRecords::refuse_whole(bad_plan),
    );
    two_bad_rows_of_a_thousand(&world, 2 * 21);
}

#[test]
fn two_bad_rows_in_a_batch_with_a_result_for_each_record() {
    let world = World::http(
        "failures_by_record",
        "outcomes: { at: results, pair_by: index, rejected_when: { path: status, in: [error] }, message: error }",
        "batch: { max_records: 100 }\n",
        BadRecords::by_record(bad_plan),
    );
    two_bad_rows_of_a_thousand(&world, 10);
}

#[test]
fn two_bad_rows_when_each_record_has_a_request_of_its_own() {
    let world = World::http(
        "failures_single",
        "",
        "concurrency: 8\n",
        BadRecords::refuse_whole(bad_plan),
    );
    two_bad_rows_of_a_thousand(&world, ROWS as u64);
}

#[test]
fn two_bad_rows_that_a_check_constraint_of_the_target_table_refuses() {
    let world = World::postgres("failures_check");
    two_bad_rows_of_a_thousand(&world, ROWS as u64);
}

/// Batches of ten, four at a time, and answers that are held from the 21st request on.
fn held_world(name: &str) -> (World, Api) {
    let (project, source) = World::prepare(name);
    let api = Api::start();
    project.http(
        "there",
        &api,
        "",
        "batch: { max_records: 10 }\nconcurrency: 4\n",
    );
    api.script(Script::when(|seen| seen.number >= 20, Act::Hold));
    let world = World {
        project,
        source,
        receiver: Receiver::Http(Api::start()),
    };
    (world, api)
}

/// Starts a run and waits until the service holds four answers back.
fn start(world: &World, api: &Api, words: &[&str]) -> Child {
    let mut command = world.project.rowcast(words);
    let child = command.spawn().expect("start rowcast");
    api.wait(|log| log.len() == 24);
    child
}

/// What was acknowledged in the stopped run is not sent again, everything else is, and the
/// destination ends equal to the source.
fn goes_on(world: &World, api: &Api, stopped: &Value) {
    let delivered = number(&stopped["delivered"]);
    let pending = number(&stopped["pending"]);
    assert_eq!(delivered + pending, ROWS as i64, "{stopped:#}");
    let answered: BTreeMap<i64, i64> = api
        .log()
        .iter()
        .take(delivered as usize / 10)
        .flat_map(records)
        .collect();
    api.behave();
    let before = api.requests();
    let next = world.project.run("users", &[], 0);
    assert_eq!(
        number(&next["delivered"]),
        ROWS as i64 - delivered,
        "{next:#}"
    );
    let sent: Vec<i64> = api.log()[before..]
        .iter()
        .flat_map(records)
        .map(|(id, _)| id)
        .collect();
    assert_eq!(
        sent.len() as i64,
        ROWS as i64 - delivered,
        "each of the rest once"
    );
    let again: Vec<&i64> = sent.iter().filter(|id| answered.contains_key(id)).collect();
    assert!(again.is_empty(), "acknowledged, yet sent again: {again:?}");
    let holds = api.store().records.len();
    assert_eq!(holds, ROWS);
    let nothing = world.project.run("users", &[], 0);
    is(&nothing, &[("requests", 0)]);
}

fn stopped_while_no_answer_comes(name: &str, signal: &str) {
    let (world, api) = held_world(name);
    let child = start(&world, &api, &["run", "users", "--json"]);
    let asked = Instant::now();
    command::signal(&child, signal);
    let ended = command::wait(child);
    let took = asked.elapsed();
    assert_eq!(ended.code, Some(130), "{}", ended.words());
    assert!(took < Duration::from_secs(10), "it took {took:?}");
    let stopped = report(&ended);
    assert_eq!(stopped["status"], "cancelled");
    assert_eq!(
        number(&stopped["delivered"]),
        200,
        "20 requests were answered"
    );
    // What was in flight takes effect after all: its outcome was unknown.
    api.release();
    api.wait(|log| log.iter().all(|seen| seen.ended.is_some()));
    goes_on(&world, &api, &stopped);
}

#[test]
fn an_interrupt_ends_a_run_within_ten_seconds_although_no_answer_comes() {
    stopped_while_no_answer_comes("failures_interrupt", "INT");
}

#[test]
fn a_termination_ends_a_run_within_ten_seconds_although_no_answer_comes() {
    stopped_while_no_answer_comes("failures_terminate", "TERM");
}

#[test]
fn answers_that_come_after_an_interrupt_still_count() {
    let (world, api) = held_world("failures_late_answers");
    let mut child = start(&world, &api, &["run", "users"]);
    command::signal(&child, "INT");
    // The signal was heard when the program says so.
    let mut heard = String::new();
    let stderr = child.stderr.as_mut().expect("a pipe");
    let mut stderr = BufReader::new(stderr);
    while !heard.contains("stopping") {
        assert_ne!(stderr.read_line(&mut heard).expect("read"), 0, "{heard}");
    }
    api.release();
    let ended = command::wait(child);
    assert_eq!(ended.code, Some(130), "{}", ended.words());
    let stopped = sql(
        &world.source,
        "SELECT row_to_json(r) FROM _rowcast.runs r ORDER BY run DESC LIMIT 1",
    );
    let stopped: Value = serde_json::from_str(&stopped).expect("a run");
    assert_eq!(number(&stopped["delivered"]), 240, "{stopped:#}");
    assert_eq!(api.requests(), 24, "no request starts after the signal");
    goes_on(&world, &api, &stopped);
}
