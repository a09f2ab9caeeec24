//! A database with a table, a ledger over it, and runs whose outcomes the test decides.

use std::collections::BTreeMap;
use std::time::Duration;

use rowcast_core::ledger::{DiffCounts, DiffRequest, Ledger, OpenRequest, Step};
use rowcast_core::sync::RetryPolicy;
use rowcast_core::{
    Change, Code, Key, Kind, Mode, Reason, RunReport, RunStatus, Selection, Settled, Verdict,
};
use rowcast_postgres::connect::{ConnectConfig, Connector};
use rowcast_postgres::ledger::{
    LedgerConfig, LogLevel, ModelBody, ModelSpec, PgLedger, SpoolConfig, SyncSpec,
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
}

impl Ran {
    /// `a1 u2 d3`: the changes in order, kind and key.
    pub(crate) fn list(&self) -> String {
        let words: Vec<String> = self.changes.iter().map(describe).collect();
        words.join(" ")
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
                    Verdict::Skipped => report.skipped += 1,
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
        Settled {
            key: change.key.clone(),
            kind: change.kind,
            checksum: change.checksum,
            verdict,
            retried: change.retried.is_some(),
            match_values: None,
            sent: None,
            idempotency_key: None,
            keep_state: false,
        }
    }
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
