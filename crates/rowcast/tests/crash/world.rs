//! One source, two syncs, their receivers, and the processes that run and die between them.

use std::collections::{BTreeMap, BTreeSet};

use rowcast_testkit::api::{Act, Answer, Api, BadRecords, Script};
use rowcast_testkit::postgres::{Cluster, Database};
use serde_json::Value;

use crate::chance::Chance;
use crate::command::{self, Ended};
use crate::history::{History, Records};
use crate::points::{Kind, Needs, Point};
use crate::project::{Project, report};
use crate::receiver::{self, Receiver};
use crate::table::{Cast, Table};

/// Rows of each table at the beginning.
const ROWS: usize = 60;

/// So many records in a request, so that a run has several.
const BATCH: usize = 5;

/// Where every run writes its changes beside state, and moves some of them into it.
const BESIDE: &str = "0:1000:200";

/// The same, and moves them all.
const MOVED: &str = "0:1000:0";

/// Runs fold what they acknowledged while they go on, however little it is.
const AT_ONCE: &str = "1:1:1000";

/// A lease lasts three timeouts and at least 3 s: with this one exactly 3 s.
const TIMEOUT: &str = "1s";

/// A sync, named like its table, with everything that is known about it.
struct Stream {
    name: &'static str,
    mode: &'static str,
    table: Table,
    edition: i64,
    receiver: Receiver,
    history: History,
    open: BTreeMap<usize, BTreeSet<i64>>,
}

impl Stream {
    fn records(&self) -> Records {
        let rows = self.table.rows.iter();
        rows.map(|(id, row)| (*id, (row.name.clone(), row.version, self.edition)))
            .collect()
    }
}

pub(crate) struct World {
    kind: Kind,
    chance: Chance,
    project: Project,
    client: tokio_postgres::Client,
    target: Database,
    /// A mirror, and one whose mode skips removed rows.
    streams: [Stream; 2],
    /// Where changes are written, unless as everywhere.
    recent: Option<&'static str>,
    /// Whether runs fold while they go on.
    ahead: bool,
}

impl World {
    /// A world after its first, undisturbed runs.
    pub(crate) async fn new(kind: Kind, seed: u64) -> Self {
        let cluster = Cluster::shared();
        let source = cluster.database(&format!("crash_source_{seed}"));
        let target = cluster.database(&format!("crash_target_{seed}"));
        let client = source.client().await;
        let project = Project::new(&source);
        let names = [("mirrored", "mirror"), ("kept", "upsert")];
        if kind == Kind::Postgres {
            let tables = receiver::tables(&names.map(|(name, _)| name));
            let made = target.client().await.batch_execute(&tables).await;
            made.expect("make the target");
        }
        let mut streams = Vec::new();
        for (name, mode) in names {
            let sql = format!(
                "CREATE TABLE {name} (id bigint PRIMARY KEY, name text NOT NULL, version bigint NOT NULL)"
            );
            client.batch_execute(&sql).await.expect("make a table");
            let more =
                format!("batch: {{ max_records: {BATCH} }}\nconcurrency: 2\ntimeout: {TIMEOUT}\n");
            let receiver = match kind {
                Kind::Http => {
                    let api = Box::new(Api::start());
                    project.http(name, &api, "", &more);
                    Receiver::Http(api)
                }
                Kind::Postgres => {
                    project.postgres(name, &target, &more);
                    Receiver::Postgres(target.clone(), name)
                }
            };
            project.model(name, name);
            streams.push(Stream {
                name,
                mode,
                table: Table::default(),
                edition: 1,
                receiver,
                history: History::default(),
                open: BTreeMap::new(),
            });
        }
        let streams = streams.try_into().ok().expect("two streams");
        let mut world = Self {
            kind,
            chance: Chance::new(seed),
            project,
            client,
            target,
            streams,
            recent: seed.is_multiple_of(2).then_some(BESIDE),
            ahead: false,
        };
        for at in 0..2 {
            world.map(at);
            world.change(at, |table, _| *table = Table::new(ROWS)).await;
            world.settle(at).await;
        }
        world
    }

    /// Kills a run at a point, changes the source before and after, and lets runs come to rest.
    pub(crate) async fn cross(&mut self, point: Point) {
        match point.needs {
            Needs::Additions => return self.cross_with_additions(point).await,
            Needs::Ahead => {
                let recent = self.recent.replace(MOVED);
                // Nothing is folded early while changes lie beside state.
                self.change(0, Table::before).await;
                self.settle(0).await;
                self.ahead = true;
                self.cross_with_additions(point).await;
                self.ahead = false;
                self.recent = recent;
                return;
            }
            _ => {}
        }
        let at = usize::from(point.needs == Needs::Skips);
        if point.needs == Needs::EarlierCrash {
            let cast = self.change(at, Table::before).await;
            self.killed(at, "request-answered", 1).await;
            self.change(at, |table, chance| table.after(cast, chance))
                .await;
        }
        let cast = self.change(at, Table::before).await;
        match point.needs {
            Needs::Retry => self.refuse_once().await,
            Needs::BadRecord => self.refuse_record(&cast),
            Needs::NewMapping => {
                self.streams[at].edition += 1;
                self.map(at);
            }
            Needs::Changes
            | Needs::EarlierCrash
            | Needs::Skips
            | Needs::Additions
            | Needs::Ahead
            | Needs::Recent => {}
        }
        let passage = 1 + self.chance.below(point.passages);
        let recent = self.recent;
        if point.needs == Needs::Recent {
            self.recent = Some(MOVED);
        }
        self.killed(at, point.name, passage).await;
        self.recent = recent;
        self.behave();
        self.change(at, |table, chance| table.after(cast, chance))
            .await;
        self.settle(at).await;
        self.judge(at).await;
    }

    /// As `cross`, in a run that only adds rows, so that it acknowledges whole intents and folds.
    async fn cross_with_additions(&mut self, point: Point) {
        let at = 0;
        if self.chance.below(2) == 0 {
            self.change(at, |table, _| table.more()).await;
            self.killed(at, "ledger-mark-committed", 1).await;
        }
        let added = self.change(at, |table, _| table.more()).await;
        self.killed(at, point.name, 1).await;
        self.change(at, |table, _| table.after_more(&added)).await;
        self.settle(at).await;
        self.judge(at).await;
    }

    /// Writes the sync's file anew: a new edition changes every record.
    fn map(&self, at: usize) {
        let stream = &self.streams[at];
        let (name, edition) = (stream.name, stream.edition);
        self.project.sync(
            name,
            name,
            name,
            &format!(
                "object: {name}\nmode: {}\nguards: {{ removed: 100% }}\nfields:\n  name: name\n  \
                 version: version\n  edition: {{ literal: {edition} }}\n",
                stream.mode
            ),
        );
    }

    async fn change<T>(
        &mut self,
        at: usize,
        change: impl FnOnce(&mut Table, &mut Chance) -> T,
    ) -> T {
        let stream = &mut self.streams[at];
        let old = stream.table.clone();
        let changed = change(&mut stream.table, &mut self.chance);
        let sql = stream.table.sql_from(&old, stream.name);
        let done = self.client.batch_execute(&sql).await;
        done.expect("change the source");
        changed
    }

    async fn refuse_once(&self) {
        match &self.streams[0].receiver {
            Receiver::Http(api) => api.script(Script::once(Act::Answer(Answer::status(503)))),
            Receiver::Postgres(..) => {
                let client = self.target.client().await;
                let told = client.batch_execute("SELECT setval('hiccup', -1)").await;
                told.expect("arm the trigger");
            }
        }
    }

    fn refuse_record(&self, cast: &Cast) {
        if let Receiver::Http(api) = &self.streams[0].receiver {
            api.refuse(BadRecords::refuse_whole(BadRecords::ids(&[cast.sent()])));
        }
    }

    fn behave(&self) {
        if let Receiver::Http(api) = &self.streams[0].receiver {
            api.behave();
        }
    }

    /// Notes what the next process can read.
    async fn process(&mut self, at: usize) {
        let has_state = "SELECT to_regclass('_rowcast.run_history') IS NOT NULL";
        let row = self.client.query_one(has_state, &[]).await;
        let last = if row.expect("look for state").get(0) {
            let sql = "SELECT coalesce(max(run), 0) FROM _rowcast.run_history";
            let row = self.client.query_one(sql, &[]).await;
            row.expect("read the runs").get(0)
        } else {
            0
        };
        let records = self.streams[at].records();
        self.streams[at].history.process(last, records);
    }

    async fn run(&mut self, at: usize, kill: Option<&str>) -> Ended {
        self.process(at).await;
        let name = self.streams[at].name;
        let mut command = self.project.rowcast(&["run", name, "--json"]);
        if let Some(place) = kill {
            command.env("ROWCAST_KILL_AT", place);
        }
        if let Some(policy) = self.recent {
            command.env("ROWCAST_RECENT", policy);
        }
        if self.ahead {
            command.env("ROWCAST_FOLD_AHEAD", AT_ONCE);
        }
        let ended = tokio::task::spawn_blocking(move || command::run(command));
        ended.await.expect("run rowcast")
    }

    /// A run that dies at a point, and the keys whose outcome it leaves open.
    async fn killed(&mut self, at: usize, point: &str, passage: u64) {
        let place = format!("{point}:{passage}");
        let ended = self.run(at, Some(&place)).await;
        assert_eq!(
            ended.signal,
            Some(9),
            "{place} was not reached: {}",
            ended.words()
        );
        let name = self.streams[at].name;
        let sql = "SELECT id FROM _rowcast.sync WHERE name = $1";
        let row = self.client.query_one(sql, &[&name]).await;
        let id: i32 = row.expect("the sync is known").get(0);
        let sql = format!(
            "SELECT unnest(k1) FROM _rowcast.intent_{id} WHERE NOT acknowledged UNION SELECT k1 FROM _rowcast.doubt_{id}"
        );
        let rows = self.client.query(&sql, &[]).await.expect("read intents");
        let keys = rows.iter().map(|row| row.get(0)).collect();
        let stream = &mut self.streams[at];
        stream.open.insert(stream.history.newest(), keys);
    }

    /// Runs until nothing is sent any more, at most three times.
    async fn settle(&mut self, at: usize) {
        let mut last = Value::Null;
        for _ in 0..3 {
            let ended = self.run(at, None).await;
            assert_eq!(ended.code, Some(0), "{}", ended.words());
            last = report(&ended);
            assert_eq!(last["status"], "succeeded", "{last:#}");
            let rows = self.streams[at].table.rows.len();
            assert_eq!(last["read"], rows, "{last:#}");
            if last["requests"] == 0 {
                assert_eq!(last["delivered"], 0, "{last:#}");
                return;
            }
        }
        panic!("after three runs without a change still something is sent: {last:#}");
    }

    /// The receiver holds what the source holds, and everything on the way there was right.
    async fn judge(&self, at: usize) {
        let stream = &self.streams[at];
        let mut holds = stream.receiver.holds().await;
        let records = stream.records();
        if stream.mode != "mirror" {
            holds.retain(|key, _| records.contains_key(key));
        }
        assert_eq!(holds, records, "the receiver holds something else");
        let effects = stream.receiver.effects().await;
        let problems = match self.kind {
            Kind::Http => stream.history.problems_by_run(&effects, &stream.open),
            Kind::Postgres => stream.history.problems_exactly_once(&effects),
        };
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }
}
