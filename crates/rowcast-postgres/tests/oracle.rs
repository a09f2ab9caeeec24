//! The change sets of random histories against an oracle that fits on a page, in every form the
//! comparison has: wide, narrow, either of them in two halves, and merged with state in another
//! database; with changes that are written where their rows are, that stay beside state, and that
//! are moved into it now and then. All of them give one change set the same digest.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

#[path = "oracle/forms.rs"]
mod forms;
#[path = "ledger/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the ledger")]
mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use harness::{World, connector};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rowcast_core::ledger::DiffRequest;
use rowcast_core::{Change, Code, Kind, Operation, Reason, Verdict, json};
use rowcast_postgres::ledger::{ModelBody, RecentPolicy};
use rowcast_testkit::postgres::Cluster;

/// Both columns of the key, and both of the value; `None` is null.
type Key = (Option<&'static str>, Option<i32>);
type Row = (Option<&'static str>, Option<&'static str>);

const TEXTS: [Option<&str>; 7] = [
    Some("a"),
    Some("A"),
    Some(""),
    Some("é\"🦀\\"),
    Some("a,b"),
    Some("null"),
    None,
];
const NUMBERS: [Option<i32>; 4] = [Some(1), Some(-1), Some(i32::MAX), None];
const VALUES: [Row; 6] = [
    (Some("x"), Some("1")),
    (Some("x"), Some("-1")),
    (Some("x"), None),
    (None, Some("1")),
    (None, None),
    (Some("null"), Some("NaN")),
];

/// What the destination did with a change.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    Delivered,
    Rejected,
    Unknown,
    Pending,
}

/// What happens to the rows before a run, and to the changes in it.
#[derive(Debug, Clone)]
struct Step {
    puts: Vec<(Key, Row)>,
    deletes: Vec<Key>,
    outcomes: Vec<Outcome>,
}

/// The kind of a change, whether it is a doubt (`?`) or a reject (`!`), and its row.
type Expected = BTreeMap<Key, (Kind, char, Option<Row>)>;

/// The oracle: what a run must find, and what an outcome must move. State holds what was
/// acknowledged, and nothing for a key whose outcome was unknown.
#[derive(Debug, Default)]
struct Oracle {
    state: BTreeMap<Key, Option<Row>>,
    doubts: BTreeMap<Key, Kind>,
    rejects: BTreeSet<Key>,
}

impl Oracle {
    fn changes(&mut self, rows: &[(Key, Row)]) -> Expected {
        let model = unique(rows);
        let keys: BTreeSet<Key> = model.keys().chain(self.state.keys()).copied().collect();
        self.rejects.retain(|key| keys.contains(key));
        let mut found = Expected::new();
        for key in keys {
            let kind = match (model.get(&key), self.state.get(&key)) {
                (Some(row), Some(sent)) if *sent == Some(*row) => {
                    self.rejects.remove(&key);
                    continue;
                }
                (Some(_), None) => Kind::Added,
                // An unanswered delete may have arrived.
                // What was never acknowledged is still an addition, and so is what may be deleted.
                (Some(_), _)
                    if matches!(self.doubts.get(&key), Some(Kind::Added | Kind::Removed)) =>
                {
                    Kind::Added
                }
                (Some(_), _) => Kind::Updated,
                (None, _) => Kind::Removed,
            };
            let mark = match (self.doubts.contains_key(&key), self.rejects.contains(&key)) {
                (true, _) => '?',
                (_, true) => '!',
                _ => ' ',
            };
            found.insert(key, (kind, mark, model.get(&key).copied()));
        }
        found
    }

    fn settle(&mut self, key: Key, (kind, _, row): (Kind, char, Option<Row>), outcome: Outcome) {
        match outcome {
            Outcome::Delivered => {
                self.state.remove(&key);
                self.state.extend(row.map(|row| (key, Some(row))));
                self.doubts.remove(&key);
                self.rejects.remove(&key);
            }
            Outcome::Rejected => _ = self.rejects.insert(key),
            Outcome::Unknown => {
                self.state.insert(key, None);
                self.doubts.entry(key).or_insert(kind);
            }
            Outcome::Pending => {}
        }
    }
}

/// Rows with a whole key that no other row has.
fn unique(rows: &[(Key, Row)]) -> BTreeMap<Key, Row> {
    let alone = |key: &Key| rows.iter().filter(|(other, _)| other == key).count() == 1;
    let whole = |key: &Key| key.0.is_some() && key.1.is_some();
    let good = rows.iter().filter(|(key, _)| whole(key) && alone(key));
    good.copied().collect()
}

fn history(nulls: bool, duplicates: bool) -> impl Strategy<Value = (Vec<(Key, Row)>, Vec<Step>)> {
    let (texts, numbers) = (
        TEXTS.len() - usize::from(!nulls),
        NUMBERS.len() - usize::from(!nulls),
    );
    let key = move || (0..texts, 0..numbers).prop_map(|(a, b)| (TEXTS[a], NUMBERS[b]));
    let row = move || (key(), (0..VALUES.len()).prop_map(|i| VALUES[i]));
    let outcome = || {
        prop_oneof![
            4 => Just(Outcome::Delivered),
            1 => Just(Outcome::Rejected),
            1 => Just(Outcome::Unknown),
            1 => Just(Outcome::Pending),
        ]
    };
    let step = (
        prop::collection::vec(row(), 0..5),
        prop::collection::vec(key(), 0..4),
        prop::collection::vec(outcome(), 5),
    )
        .prop_map(|(puts, deletes, outcomes)| Step {
            puts,
            deletes,
            outcomes,
        });
    let first = prop::collection::vec(row(), 0..12).prop_map(move |mut rows: Vec<(Key, Row)>| {
        if !duplicates {
            let mut seen = BTreeSet::new();
            rows.retain(|(key, _)| seen.insert(*key));
        }
        rows
    });
    (first, prop::collection::vec(step, 1..4))
}

fn sql_text(text: Option<&str>) -> String {
    text.map_or("NULL".into(), |text| {
        format!("'{}'", text.replace('\'', "''"))
    })
}

fn insert(rows: &[(Key, Row)]) -> String {
    let mut sql = String::from("TRUNCATE t;");
    for ((a, b), (v, n)) in rows {
        let b = b.map_or("NULL".into(), |b| b.to_string());
        sql.push_str(&format!(
            "INSERT INTO t VALUES ({}, {b}, {}, {});",
            sql_text(*a),
            sql_text(*v),
            sql_text(*n)
        ));
    }
    sql
}

/// The key and row of a change, in the words of the history.
fn understood(change: &Change) -> (Key, (Kind, char, Option<Row>)) {
    let [
        rowcast_core::KeyPart::Text(a),
        rowcast_core::KeyPart::Int(b),
    ] = &change.key.0[..]
    else {
        panic!("{:?}", change.key);
    };
    let known = |text: &str| {
        TEXTS
            .into_iter()
            .flatten()
            .find(|known| *known == text)
            .unwrap()
    };
    let row = change.row.as_ref().map(|row| {
        let text = |i: usize| (!row.values[i].is_null()).then(|| json::to_text(&row.values[i]));
        let (v, n) = (text(0), text(1));
        VALUES
            .into_iter()
            .find(|(kv, kn)| *kv == v.as_deref() && *kn == n.as_deref())
            .unwrap()
    });
    let mark = match &change.retried {
        None => ' ',
        Some(rowcast_core::Retried::Doubt { .. }) => '?',
        Some(rowcast_core::Retried::Reject { .. }) => '!',
    };
    let key = (Some(known(a)), Some(i32::try_from(*b).unwrap()));
    (key, (change.kind, mark, row))
}

fn verdict(change: &Change, outcome: Outcome) -> Option<Verdict> {
    let operation = match change.kind {
        Kind::Removed => Operation::Delete,
        _ => Operation::Upsert,
    };
    let reason = Reason::new(Code::DestinationRejected, "not today");
    match outcome {
        Outcome::Delivered => None,
        Outcome::Rejected => Some(Verdict::Rejected {
            operation,
            reason,
            doubt: false,
        }),
        Outcome::Unknown => Some(Verdict::Unknown { operation, reason }),
        Outcome::Pending => Some(Verdict::Pending),
    }
}

/// Where a key's outcome stands in a step's list: the same for every form and order.
fn outcome_of(key: Key, step: &Step) -> Outcome {
    let text = key.0.unwrap_or_default().len() as u64;
    let number = key.1.unwrap_or_default().unsigned_abs();
    step.outcomes[((text + u64::from(number)) % step.outcomes.len() as u64) as usize]
}

/// Notes each temporary table: only the narrow form makes one in the source.
const NOTE: &str = "CREATE TABLE staged (tag text); \
    CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS \
    $$ BEGIN INSERT INTO public.staged VALUES (tg_tag); END $$; \
    CREATE EVENT TRIGGER note ON ddl_command_end WHEN TAG IN ('CREATE TABLE AS') EXECUTE FUNCTION note()";

/// One way to compare: a world, and the memory its ledger may take.
struct Way {
    name: &'static str,
    world: World,
    join_memory: Option<u64>,
    halves: bool,
    recent: RecentPolicy,
}

/// Every change where its row is.
const AT_ONCE: RecentPolicy = RecentPolicy {
    from: u64::MAX,
    run: 0,
    keep: 0,
};
/// Changes beside state, for ever.
const BESIDE: RecentPolicy = RecentPolicy {
    from: 0,
    run: 1_000,
    keep: 1_000,
};
/// Changes beside state, and into it soon.
const MOVED: RecentPolicy = RecentPolicy {
    from: 0,
    run: 1_000,
    keep: 200,
};

async fn ways(name: &str, table: &str, narrow: bool) -> Vec<Way> {
    let base = || async {
        let mut world = World::new(name).await;
        world.config.model.primary_key = vec!["a".into(), "b".into()];
        world.config.sync.columns = vec!["v".into(), "n".into()];
        world.config.sync.digests =
            BTreeMap::from([("v".into(), "v".into()), ("n".into(), "n".into())]);
        world.config.sync.retry.runs = 1_000;
        world.config.sync.retry.within = Duration::from_secs(86_400);
        world.config.model.body = if narrow {
            ModelBody::Table {
                schema: None,
                name: "t".into(),
            }
        } else {
            ModelBody::Sql("SELECT * FROM t".into())
        };
        world.sql(&format!("CREATE TABLE t {table}")).await;
        world
    };
    let mut elsewhere = base().await;
    let place = Cluster::shared().database(&format!("{name}_state"));
    elsewhere.config.state = Some(connector(&place, "postgres"));
    let mut ways = vec![
        Way {
            name: "wide",
            world: base().await,
            join_memory: None,
            halves: false,
            recent: AT_ONCE,
        },
        Way {
            name: "beside",
            world: base().await,
            join_memory: None,
            halves: false,
            recent: BESIDE,
        },
        Way {
            name: "elsewhere",
            world: elsewhere,
            join_memory: None,
            halves: false,
            recent: MOVED,
        },
    ];
    if narrow {
        let ways_of_tables = [
            ("wide halves", None, true, MOVED),
            ("narrow", Some(0), false, BESIDE),
            ("narrow halves", Some(0), true, AT_ONCE),
        ];
        for (name, join_memory, halves, recent) in ways_of_tables {
            let world = base().await;
            world.sql(NOTE).await;
            ways.push(Way {
                name,
                world,
                join_memory,
                halves,
                recent,
            });
        }
    }
    ways
}

/// Lives through one history in one way. Gives the digests of its change sets.
async fn live(way: &mut Way, case: u64, rows: &[(Key, Row)], steps: &[Step]) -> Vec<u128> {
    let mut digests = Vec::new();
    way.world.config.sync.name = format!("case {case}");
    let mut oracle = Oracle::default();
    let mut rows = rows.to_vec();
    for step in steps {
        way.world.sql(&insert(&rows)).await;
        let expected = oracle.changes(&rows);
        let mut ledger = way
            .world
            .ledger()
            .with_first_seed(7)
            .with_recent(way.recent);
        if way.halves {
            // The bound comes from statistics of these rows.
            way.world.sql("ANALYZE t").await;
            ledger = ledger.with_two_connections_from(Some(0));
        }
        if let Some(bytes) = way.join_memory {
            ledger = ledger.with_join_memory(bytes);
        }
        let decide = |change: &Change| verdict(change, outcome_of(understood(change).0, step));
        let ran = way
            .world
            .run_as(&ledger, &DiffRequest::default(), false, decide)
            .await
            .unwrap_or_else(|reason| panic!("{}: {reason:?}", way.name));
        let found: Expected = ran.changes.iter().map(understood).collect();
        assert_eq!(found, expected, "{}", way.name);
        assert_eq!(
            ran.changes.len(),
            found.len(),
            "{}: one change a key",
            way.name
        );
        let counts = ran.counts;
        digests.push(counts.digest);
        assert_eq!(counts.read, rows.len() as u64, "{}", way.name);
        let invalid = rows.len() - unique(&rows).len();
        assert_eq!(counts.invalid_keys, invalid as u64, "{}", way.name);
        for (key, change) in expected {
            oracle.settle(key, change, outcome_of(key, step));
        }
        for (key, row) in &step.puts {
            rows.retain(|(other, _)| other != key);
            rows.push((*key, *row));
        }
        rows.retain(|(key, _)| !step.deletes.contains(key));
    }
    digests
}

/// Runs histories in every way.
fn histories(name: &str, cases: u32, table: &str, narrow: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let ways = runtime.block_on(ways(name, table, narrow));
    let ways = Arc::new(tokio::sync::Mutex::new(ways));
    let case = AtomicU64::new(0);
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 40,
        ..Config::default()
    });
    let result = runner.run(&history(!narrow, !narrow), |(rows, steps)| {
        let case = case.fetch_add(1, Ordering::Relaxed);
        runtime.block_on(async {
            let mut ways = ways.lock().await;
            let lives = ways.iter_mut().map(|way| live(way, case, &rows, &steps));
            let digests = futures::future::join_all(lives).await;
            assert!(
                digests.windows(2).all(|pair| pair[0] == pair[1]),
                "one change set, one digest: {digests:?}"
            );
        });
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    if narrow {
        runtime.block_on(async {
            let ways = ways.lock().await;
            let mut staged = Vec::new();
            for way in ways.iter().filter(|way| way.join_memory == Some(0)) {
                let number = way.world.number("SELECT count(*) FROM staged").await;
                staged.push(number);
            }
            assert!(staged[0] > 0, "the narrow form was never taken");
            assert!(
                staged[1] > staged[0],
                "each half stages for itself: {staged:?}"
            );
        });
    }
}

#[test]
fn tables_are_compared_as_the_oracle_says_in_every_form() {
    histories(
        "oracle",
        60,
        "(a text, b int, v text, n numeric, PRIMARY KEY (a, b))",
        true,
    );
}

#[test]
fn models_with_null_and_duplicate_keys_are_compared_as_the_oracle_says() {
    histories(
        "oracle_model",
        60,
        "(a text, b int, v text, n numeric)",
        false,
    );
}
