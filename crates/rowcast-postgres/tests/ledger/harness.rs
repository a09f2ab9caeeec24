//! A database with a table, a ledger over it, and runs whose outcomes the test decides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rowcast_core::change::Conflict;
use rowcast_core::ledger::{
    DiffCounts, DiffRequest, Intent, IntentItem, Ledger, OpenRequest, Step,
};
use rowcast_core::sync::RetryPolicy;
use rowcast_core::{
    Change, Code, Key, Kind, Lease, Mode, Operation, Reason, RunReport, RunStatus, Selection,
    Settled, Verdict,
};
use rowcast_postgres::connect::{ConnectConfig, Connector};
use rowcast_postgres::ledger::{
    LedgerConfig, LogLevel, ModelBody, ModelSpec, PgLedger, SpoolConfig, StateAdmin, SyncSpec,
};
use rowcast_testkit::postgres::{Cluster, Database};

/// A test's world: one database with the table `customers (id bigint primary key, name text, plan text)`.
pub(crate) struct World {
    pub database: Database,
    pub client: tokio_postgres::Client,
    pub config: LedgerConfig,
}

/// What one run found and did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub counts: DiffCounts,
    pub changes: Vec<Change>,
    pub notes: Vec<String>,
    pub held: Vec<&'static str>,
    pub duplicates: Vec<Key>,
}

impl Ran {
    /// `d3 u2 a1`: the changes as they came, kind and key; in order of their keys within each of the
    /// parts removed, known and new, where no order is promised.
    pub(crate) fn list(&self) -> String {
        let part = |change: &Change| match (change.kind, &change.retried) {
            (Kind::Removed, _) => 0,
            (Kind::Added, None) => 2,
            _ => 1,
        };
        let words = self
            .changes
            .chunk_by(|a, b| part(a) == part(b))
            .flat_map(|changes| {
                let mut changes: Vec<&Change> = changes.iter().collect();
                changes.sort_by(|a, b| a.key.cmp(&b.key));
                changes
            });
        words.map(describe).collect::<Vec<_>>().join(" ")
    }
}

/// `a1`, `u2`, `d3`; a `?` follows doubts, a `!` rejects.
pub(crate) fn describe(change: &Change) -> String {
    let letter = match change.kind {
        Kind::Added => 'a',
        Kind::Updated => 'u',
        Kind::Removed => 'd',
    };
    let mark = match &change.retried {
        None => "",
        Some(rowcast_core::Retried::Doubt { .. }) => "?",
        Some(rowcast_core::Retried::Reject { due: true, .. }) => "!",
        Some(rowcast_core::Retried::Reject { due: false, .. }) => "~",
    };
    format!("{letter}{}{mark}", change.key)
}

/// A connector to a test database as a role.
pub(crate) fn connector(database: &Database, role: &str) -> Connector {
    let config = ConnectConfig::from_url(&format!(
        "postgresql://{role}@/{}?host={}&port={}",
        database.name, database.host, database.port
    ))
    .expect("a test URL");
    Connector::new(config)
}

impl World {
    pub(crate) async fn new(name: &str) -> Self {
        let database = Cluster::shared().database(name);
        let client = database.client().await;
        client
            .batch_execute("CREATE TABLE customers (id bigint PRIMARY KEY, name text, plan text)")
            .await
            .unwrap();
        let config = LedgerConfig {
            source: connector(&database, "postgres"),
            state: None,
            source_name: "shop".into(),
            state_schema: "_rowcast".into(),
            model: ModelSpec {
                name: "customers".into(),
                body: ModelBody::Table {
                    schema: None,
                    name: "customers".into(),
                },
                primary_key: vec![],
                time_zone: "UTC".into(),
                search_path: vec!["public".into()],
                filter: None,
                cursor: None,
                allow_row_security: false,
                statement_timeout: None,
            },
            sync: SyncSpec {
                name: "customers_to_crm".into(),
                was: None,
                identity: BTreeMap::from([("destination".to_owned(), "crm".to_owned())]),
                mode: Mode::Mirror,
                on: Selection::default(),
                gate: String::new(),
                columns: vec!["name".into(), "plan".into()],
                digests: BTreeMap::from([
                    ("name".to_owned(), "column name".to_owned()),
                    ("plan".to_owned(), "column plan".to_owned()),
                ]),
                match_columns: None,
                keep_rows: false,
                log: LogLevel::Default,
                retry: RetryPolicy::default(),
                overrides: vec![],
            },
            spool: SpoolConfig::default(),
        };
        Self {
            database,
            client,
            config,
        }
    }

    /// A world with the customers 1, 2, … `count`, named n1, n2, …, all on plan p.
    pub(crate) async fn with_customers(name: &str, count: u32) -> Self {
        let world = Self::new(name).await;
        world
            .sql(&format!(
                "INSERT INTO customers SELECT i, 'n' || i, 'p' FROM generate_series(1, {count}) i"
            ))
            .await;
        world
    }

    /// A world of two rows whose key has columns of three types.
    pub(crate) async fn with_pairs(name: &str) -> Self {
        let mut world = Self::new(name).await;
        world
            .sql(
                "CREATE TABLE pairs (a text, b uuid, c numeric, v text, PRIMARY KEY (a, b, c)); \
                 INSERT INTO pairs VALUES ('x', gen_random_uuid(), 1.5, 'v'), ('y', gen_random_uuid(), 2, 'v')",
            )
            .await;
        world.config.sync.columns = vec!["v".into()];
        world.config.sync.digests = [("v".to_owned(), "v".to_owned())].into();
        world.config.model.body = ModelBody::Table {
            schema: None,
            name: "pairs".into(),
        };
        world
    }

    pub(crate) fn ledger(&self) -> PgLedger {
        PgLedger::new(self.config.clone())
    }

    pub(crate) async fn sql(&self, sql: &str) {
        self.client
            .batch_execute(sql)
            .await
            .unwrap_or_else(|error| panic!("{error:?}\n{sql}"));
    }

    /// One number from the database.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Text values of one column.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<String> {
        let rows = self.client.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Opens a run and settles what earlier ones left, with a lease of three seconds.
    pub(crate) async fn open(&self, ledger: &PgLedger) -> Result<Arc<Lease>, Reason> {
        let request = OpenRequest {
            request_timeout: Duration::from_secs(1),
            trigger: "test".into(),
            ..OpenRequest::default()
        };
        let lease = ledger.open(&request).await?.lease;
        ledger.recover(&lease, &[]).await?;
        Ok(lease)
    }

    /// All changes that a run finds, which is then left as it is.
    pub(crate) async fn changes(
        &self,
        ledger: &PgLedger,
        lease: Option<&Lease>,
        request: &DiffRequest,
    ) -> Result<Ran, Reason> {
        let mut set = ledger.changes(lease, request).await?;
        Ok(Ran {
            counts: set.counts,
            changes: set.changes.next(usize::MAX).await?,
            notes: set.notes,
            held: set.held.iter().map(|held| held.guard.as_str()).collect(),
            duplicates: set.duplicates,
        })
    }

    /// A run that has found its changes, in order of their keys, and sent nothing yet.
    pub(crate) async fn begin(&self) -> (PgLedger, Arc<Lease>, Ran) {
        let ledger = self.ledger();
        let lease = self.open(&ledger).await.unwrap();
        let mut found = self
            .changes(&ledger, Some(&lease), &DiffRequest::default())
            .await
            .unwrap();
        found.changes.sort_by(|a, b| a.key.cmp(&b.key));
        (ledger, lease, found)
    }

    /// Commits an intent for each of the changes.
    pub(crate) async fn announce(ledger: &PgLedger, lease: &Lease, changes: &[Change]) {
        let step = Step {
            open: Self::intents(lease, changes),
            ..Step::default()
        };
        ledger.commit(lease, step).await.unwrap();
    }

    /// What a run would do, without a lease.
    pub(crate) async fn plan(&self) -> Result<Ran, Reason> {
        let request = DiffRequest {
            dry_run: true,
            ..DiffRequest::default()
        };
        self.changes(&self.ledger(), None, &request).await
    }

    /// A step in which everything is delivered.
    pub(crate) fn delivered(&self, changes: &[Change]) -> Step {
        Step {
            settled: changes
                .iter()
                .map(|change| self.settle(change, &|_| None))
                .collect(),
            ..Step::default()
        }
    }

    /// Intents over changes, in batches of one.
    pub(crate) fn intents(lease: &Lease, changes: &[Change]) -> Vec<Intent> {
        let item = |change: &Change| IntentItem {
            key: change.key.clone(),
            operation: match change.kind {
                Kind::Removed => Operation::Delete,
                _ => Operation::Upsert,
            },
            checksum: change.checksum,
            match_values: None,
        };
        let numbered = changes.iter().zip(1..);
        numbered
            .map(|(change, id)| Intent {
                id,
                epoch: lease.epoch,
                items: vec![item(change)],
            })
            .collect()
    }

    /// Ends a run without anything to report.
    pub(crate) async fn finish(&self, ledger: &PgLedger, lease: &Lease, status: RunStatus) {
        let mut report = RunReport::new("s".into(), lease.run, 0);
        report.status = status;
        ledger.finish(lease, &report).await.unwrap();
    }

    /// Makes it look as if the process that holds the lease had died.
    pub(crate) async fn holder_dies(&self) {
        self.sql(
            "UPDATE _rowcast.sync SET lease_owner = regexp_replace(lease_owner, ':[0-9]+:[0-9]+$', ':4194305:1')",
        )
        .await;
    }

    /// State's own count against its rows (semantics 4).
    pub(crate) async fn assert_counted(&self) {
        let counted = self
            .number(
                "SELECT count(*) FROM _rowcast.state_1 s LEFT JOIN _rowcast.recent_1 r USING (k1) \
                 WHERE r.gone IS NOT TRUE",
            )
            .await;
        let alone = "SELECT count(*) FROM _rowcast.recent_1 r LEFT JOIN _rowcast.state_1 s USING (k1) \
            WHERE s.k1 IS NULL";
        assert_eq!(
            self.number(alone).await,
            0,
            "recent rows that state has not"
        );
        let kept = self.number("SELECT rows FROM _rowcast.progress").await;
        assert_eq!(counted, kept, "rows in state");
    }

    pub(crate) fn admin(&self) -> StateAdmin {
        StateAdmin::new(connector(&self.database, "postgres"), "_rowcast")
    }

    /// A run in which everything is delivered as the mode asks.
    pub(crate) async fn run(&self) -> Ran {
        self.run_with(|_| None).await.unwrap()
    }

    /// A run whose outcomes `decide` overrides.
    pub(crate) async fn run_with(
        &self,
        decide: impl Fn(&Change) -> Option<Verdict>,
    ) -> Result<Ran, Reason> {
        self.run_as(&self.ledger(), &DiffRequest::default(), false, decide)
            .await
    }

    /// A run on a given ledger.
    pub(crate) async fn run_as(
        &self,
        ledger: &PgLedger,
        request: &DiffRequest,
        full: bool,
        decide: impl Fn(&Change) -> Option<Verdict>,
    ) -> Result<Ran, Reason> {
        let open = OpenRequest {
            full,
            request_timeout: Duration::from_secs(1),
            trigger: "test".into(),
            ..OpenRequest::default()
        };
        let opened = ledger.open(&open).await?;
        let lease = opened.lease;
        ledger.recover(&lease, &[]).await?;
        let mut set = match ledger.changes(Some(&lease), request).await {
            Ok(set) => set,
            Err(reason) => {
                let mut report = RunReport::new("s".into(), lease.run, 0);
                report.status = RunStatus::Failed;
                report.failure = Some(reason.clone());
                ledger.finish(&lease, &report).await?;
                return Err(reason);
            }
        };
        let mut report = RunReport::new("s".into(), lease.run, 0);
        report.counts = set.counts;
        report.pending = set.counts.beyond_limit;
        // As the engine does: a held run ends before its first request.
        let overrides = &self.config.sync.overrides;
        if set.held.iter().any(|held| !overrides.contains(&held.guard)) {
            report.status = RunStatus::Held;
            ledger.finish(&lease, &report).await?;
            return Ok(Ran {
                counts: set.counts,
                changes: Vec::new(),
                notes: set.notes,
                held: set.held.iter().map(|held| held.guard.as_str()).collect(),
                duplicates: set.duplicates,
            });
        }
        let mut changes = Vec::new();
        loop {
            let batch = set.changes.next(3).await?;
            if batch.is_empty() {
                break;
            }
            let settled: Vec<Settled> = batch
                .iter()
                .map(|change| self.settle(change, &decide))
                .collect();
            for change in &settled {
                match &change.verdict {
                    Verdict::Delivered(_) => report.delivered += 1,
                    Verdict::Skipped | Verdict::SkippedFor(_) => report.skipped += 1,
                    Verdict::Rejected { .. } => report.rejected += 1,
                    Verdict::Invalid(_) => report.invalid += 1,
                    Verdict::Unknown { .. } | Verdict::Pending => report.pending += 1,
                    Verdict::Held => report.held += 1,
                }
            }
            ledger
                .commit(
                    &lease,
                    Step {
                        settled,
                        ..Step::default()
                    },
                )
                .await?;
            changes.extend(batch);
        }
        report.status = RunStatus::Succeeded;
        report.balance()?;
        ledger.finish(&lease, &report).await?;
        let held = set.held.iter().map(|held| held.guard.as_str()).collect();
        Ok(Ran {
            counts: set.counts,
            changes,
            notes: set.notes,
            held,
            duplicates: set.duplicates,
        })
    }

    fn settle(&self, change: &Change, decide: &impl Fn(&Change) -> Option<Verdict>) -> Settled {
        let operation = self
            .config
            .sync
            .on
            .includes(change.kind)
            .then(|| self.config.sync.mode.operation(change.kind))
            .flatten();
        let due = !matches!(
            &change.retried,
            Some(rowcast_core::Retried::Reject { due: false, .. })
        );
        let verdict = decide(change).unwrap_or(match operation {
            _ if !due => Verdict::Held,
            Some(operation) => Verdict::Delivered(operation),
            None => Verdict::Skipped,
        });
        let (verdict, keep_state) = match &change.conflict {
            Some(Conflict::Claimed { .. }) => (
                Verdict::Invalid(Reason::new(Code::IdentityClaimedTwice, "claimed twice")),
                false,
            ),
            Some(Conflict::TakenOver { settled }) => (Verdict::Skipped, !settled),
            _ => (verdict, false),
        };
        let columns = self.config.sync.match_columns.as_ref();
        let row = change.row.as_ref();
        Settled {
            key: change.key.clone(),
            kind: change.kind,
            checksum: change.checksum,
            retried: change.retried.is_some(),
            match_values: columns.zip(row).map(|(columns, row)| {
                let value = |column: &String| {
                    row.get(column)
                        .cloned()
                        .unwrap_or(rowcast_core::Value::Null)
                };
                columns.iter().map(value).collect()
            }),
            sent: (self.config.sync.keep_rows && matches!(verdict, Verdict::Delivered(_)))
                .then(|| row.map(sent))
                .flatten(),
            verdict,
            idempotency_key: None,
            keep_state,
        }
    }
}

fn sent(row: &rowcast_core::Row) -> String {
    let names = row.schema.columns.iter().map(|column| column.name.clone());
    let members = names.zip(row.values.iter().cloned()).collect();
    rowcast_core::json::to_json(&rowcast_core::Value::Object(members))
}

/// Rejects one key, in the words of a destination.
pub(crate) fn reject(key: i64) -> impl Fn(&Change) -> Option<Verdict> {
    move |change| {
        (change.key == Key::int(key)).then(|| Verdict::Rejected {
            operation: rowcast_core::Operation::Upsert,
            reason: Reason::new(Code::DestinationRejected, "invalid email"),
            doubt: false,
        })
    }
}

/// Loses the answer for one key.
pub(crate) fn lose(key: i64) -> impl Fn(&Change) -> Option<Verdict> {
    move |change| {
        (change.key == Key::int(key)).then(|| Verdict::Unknown {
            operation: rowcast_core::Operation::Upsert,
            reason: Reason::new(Code::NoResult, "no answer"),
        })
    }
}
