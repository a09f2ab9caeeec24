//! Extract and diff: one snapshot of model and state, streamed into the spool and counted.
//!
//! The source's transaction ends before this returns: no snapshot is held while requests are sent
//! (semantics 10). Nothing is written here.

use std::time::Duration;

use rowcast_core::ledger::{DiffCounts, DiffRequest};
use rowcast_core::{Code, Key, Mode, Reason, killpoint};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::config::LedgerConfig;
use super::copy::Tuples;
use super::diff::{DataColumn, DiffSql};
use super::form::{Form, Manner};
use super::hash::Checksum;
use super::model::{self, Model};
use super::plan::HashPlan;
use super::shape::Shape;
use super::sink::Sink;
use super::spool::SpoolReader;
use super::tuple::Layout;
use crate::connect::{Connection, db_error};

/// More frozen keys than this are an error: the key is not a key.
pub(super) const FROZEN_MAX: usize = 10_000;
/// Uniqueness that no index proves is checked again every so many runs.
pub(super) const UNIQUENESS_RUNS: i32 = 20;
/// Keys of rejects are remembered up to this many, to find those that no longer apply.
pub(super) const REJECTS_TRACKED: usize = 100_000;

/// What state said in the run's snapshot.
#[derive(Debug, Clone, Default)]
pub(super) struct StateFacts {
    pub rows: i64,
    /// Whether the state table holds anything at all.
    pub occupied: bool,
    pub tombstones: i64,
    pub rejects: i64,
    pub doubts: i64,
    pub removed_24h: i64,
    pub generation: i32,
    pub epoch: i64,
    pub model_digest: Option<String>,
    pub runs_since_check: i32,
    pub frozen: Vec<Key>,
    pub watermark: Option<String>,
    /// Seconds since the last full diff.
    pub full_age: Option<i64>,
}

/// What an extraction found.
pub(super) struct Extracted {
    pub counts: DiffCounts,
    pub layout: Layout,
    pub reader: SpoolReader,
    pub notes: Vec<String>,
    pub duplicates: Vec<(Key, i64)>,
    /// Whether uniqueness was checked, so that the ledger can remember it.
    pub checked: bool,
    /// Rejects that no longer apply: their row came back to what was delivered, or is gone.
    pub obsolete: Vec<Key>,
    /// The highest cursor value that was read.
    pub watermark: Option<String>,
    /// Everything was compared, not only a cursor's window or some keys.
    pub full: bool,
    pub unique: bool,
    pub model_digest: String,
}

/// Reads what a diff needs to know of state, in the current transaction.
///
/// # Errors
/// The tables can't be read.
pub(super) async fn state_facts(
    client: &Client,
    shape: &Shape,
    mode: Mode,
) -> Result<StateFacts, Reason> {
    let what = "reading state";
    let tombstones = if mode.keeps_tombstones() {
        format!(
            "(SELECT count(*) FROM {} s WHERE s.mark = 't')",
            shape.table("state")
        )
    } else {
        "0::bigint".into()
    };
    let sql = format!(
        "SELECT p.rows, {tombstones}, (SELECT count(*) FROM {reject}), (SELECT count(*) FROM {doubt}), \
         coalesce((SELECT sum(removals_done) FROM {history} WHERE sync_id = s.id AND generation = s.generation \
           AND started_at > clock_timestamp() - interval '24 hours'), 0)::bigint, \
         s.generation, s.epoch, p.model_digest, p.runs_since_check, p.watermark, \
         extract(epoch FROM clock_timestamp() - p.full_diff_at)::bigint, EXISTS (SELECT 1 FROM {state} o) \
         FROM {sync} s JOIN {progress} p ON p.sync_id = s.id WHERE s.id = $1",
        state = shape.table("state"),
        reject = shape.table("reject"),
        doubt = shape.table("doubt"),
        history = shape.shared("run_history"),
        sync = shape.shared("sync"),
        progress = shape.shared("progress"),
    );
    let rows = client
        .query_typed(&sql, &[(&shape.sync, Type::INT4)])
        .await
        .map_err(|error| db_error(&error, what))?;
    let row = rows
        .first()
        .ok_or_else(|| Reason::defect("the sync has no progress row"))?;
    let texts: Vec<String> = (1..=shape.keys.len())
        .map(|i| format!("k{i}::text"))
        .collect();
    let sql = format!(
        "SELECT ARRAY[{}] FROM {}",
        texts.join(", "),
        shape.table("frozen")
    );
    let frozen = client
        .query_typed(&sql, &[])
        .await
        .map_err(|error| db_error(&error, what))?;
    let frozen = frozen
        .iter()
        .map(|row| shape.parse_key(&row.get::<_, Vec<String>>(0)))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(StateFacts {
        rows: row.get(0),
        tombstones: row.get(1),
        rejects: row.get(2),
        doubts: row.get(3),
        removed_24h: row.get(4),
        generation: row.get(5),
        epoch: row.get(6),
        model_digest: row.get(7),
        runs_since_check: row.get(8),
        watermark: row.get(9),
        full_age: row.get(10),
        occupied: row.get(11),
        frozen,
    })
}

/// One extraction.
pub(super) struct Extraction<'a> {
    pub config: &'a LedgerConfig,
    pub shape: &'a Shape,
    pub plan: &'a HashPlan,
    /// The columns that the plan was made for.
    pub planned: &'a [DataColumn],
    pub request: &'a DiffRequest,
    /// The epoch and generation the run holds; `None` only looks.
    pub fence: Option<(i64, i32)>,
    /// The most memory, in bytes, that the comparison may take on the server.
    pub join_memory: u64,
    /// Tables from this many rows on are read over two connections; `None` for never.
    pub two_from: Option<u64>,
    /// The mapped columns are left out.
    pub bare: bool,
}

impl Extraction<'_> {
    pub(super) fn what(&self) -> String {
        format!("reading model {:?}", self.config.model.name)
    }

    /// Runs the whole extraction on a connection of its own, within the source's time limit.
    ///
    /// # Errors
    /// See the module.
    pub(super) async fn run(&self, connection: &Connection) -> Result<Extracted, Reason> {
        let guard = CancelOnDrop::new(connection);
        let limit = self.config.model.statement_timeout;
        // The model may lift the server's own limit (set_config), so the worker keeps time too.
        let deadline = limit.map(|limit| limit * 2 + Duration::from_secs(5));
        let read = self.read(&connection.client);
        let result = match deadline {
            None => read.await,
            Some(deadline) => match tokio::time::timeout(deadline, read).await {
                Ok(result) => result,
                Err(_) => Err(Reason::new(Code::Deadline, format!("{} took too long", self.what()))
                    .detail(format!("it was cancelled after {} s", deadline.as_secs()))
                    .hint("raise `limits: { statement_timeout: … }` of the source, or make the model faster")),
            },
        };
        if result.is_ok() {
            guard.disarm();
        }
        result
    }

    async fn read(&self, client: &Client) -> Result<Extracted, Reason> {
        let lock = (!self.shape.is_absent()).then(|| self.shape.read_together());
        let form = self.begin(client, lock.as_deref()).await?;
        killpoint::reach("ledger-snapshot");
        self.shape.look_for_unfolded(client).await?;
        let facts = if self.shape.is_absent() {
            StateFacts::default()
        } else {
            state_facts(client, self.shape, self.config.sync.mode).await?
        };
        if let Some((epoch, generation)) = self.fence
            && (facts.epoch != epoch || facts.generation != generation)
        {
            return Err(super::commit::lease_lost());
        }
        let model = self.model(client).await?;
        let (duplicates, checked) = self.duplicates(client, &model, &facts).await?;
        let frozen: Vec<Key> = if checked {
            duplicates.iter().map(|(key, _)| key.clone()).collect()
        } else {
            facts.frozen.clone()
        };
        let window = super::cursor::window(self.config, &facts, &model, self.request)?;
        let mut diff = self.diff(&model, &facts, &frozen);
        diff.cursor = window.condition.as_deref();
        diff.cursor_removals = self.config.sync.mode.deletes();
        diff.cursor_column = window.value.as_deref();
        diff.has_retries |= form == Form::Narrow;
        let mut sink = Sink::new(self, &model, &diff, window.value.is_some());
        let manner = match form {
            Form::Narrow => Manner::Narrow,
            Form::Wide if !facts.occupied && diff.needs_no_state() => {
                self.first(client, &diff, &mut sink).await?
            }
            Form::Wide => Manner::Wide,
        };
        // The watermark of the same model never moves back.
        if window.value.is_some() && facts.model_digest.as_deref() == Some(&model.digest) {
            sink.watermark.clone_from(&facts.watermark);
        }
        let second = self.halves(client, &model, &facts, &diff, manner).await?;
        match second {
            None => {
                self.allow_memory(client, model.table, facts.rows, 1)
                    .await?;
                diff.sorted = manner == Manner::Wide
                    && self.is_cheaper_sorted(client, &diff, facts.rows).await?;
                let mut tuples = self.start(client, &diff, manner).await?;
                while let Some(tuple) = tuples.next().await? {
                    sink.take(&tuple)?;
                }
            }
            Some(halves) => {
                self.read_halves(client, halves, &diff, manner, &mut sink)
                    .await?;
            }
        }
        let frozen_in_state = self.count_frozen(client, &frozen).await?;
        let obsolete = self.obsolete(client, &facts, &sink, &diff).await?;
        client
            .batch_execute("COMMIT")
            .await
            .map_err(|error| db_error(&error, &self.what()))?;
        let full = !diff.streams_unchanged();
        // Of the rows this run looks at.
        let narrowed = &self.request.keys;
        let frozen_rows: i64 = duplicates
            .iter()
            .filter(|(key, _)| narrowed.is_empty() || narrowed.contains(key))
            .map(|(_, rows)| rows)
            .sum();
        let streams = diff.streams_unchanged();
        let mut extracted = sink.finish(&facts, streams, frozen_in_state, frozen_rows as u64)?;
        extracted.obsolete = obsolete;
        extracted.duplicates = duplicates;
        extracted.checked = checked;
        extracted.full = full && self.request.limit.is_none();
        extracted.unique = model.unique;
        extracted.model_digest = model.digest;
        extracted.notes.extend(window.note);
        Ok(extracted)
    }

    /// Which comparison with an empty state: the worker computes the checksums where it can.
    async fn first(
        &self,
        client: &Client,
        diff: &DiffSql<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<Manner, Reason> {
        let checksum = Checksum::new(self.plan, diff.data);
        if let Some(checksum) = checksum.filter(|_| diff.cursor_column.is_none())
            && checksum.agrees(client).await?
        {
            sink.complete(checksum, diff.mapped_keys());
            return Ok(Manner::Plain);
        }
        sink.read_as(diff.first_decoders());
        Ok(Manner::First)
    }

    /// The model as it is in this snapshot.
    ///
    /// # Errors
    /// It can't be read, or is no longer what the checksums were planned for.
    pub(super) async fn model(&self, client: &Client) -> Result<Model, Reason> {
        let model = model::describe(client, self.config).await?;
        if model.data == self.planned && model.keys == self.shape.keys {
            return Ok(model);
        }
        Err(Reason::new(
            Code::ModelInvalid,
            format!(
                "the columns of model {:?} changed while the run began",
                self.config.model.name
            ),
        )
        .hint("nothing was sent; run again"))
    }

    /// The comparison of this run.
    pub(super) fn diff<'b>(
        &'b self,
        model: &'b Model,
        facts: &StateFacts,
        frozen: &'b [Key],
    ) -> DiffSql<'b> {
        DiffSql {
            shape: self.shape,
            plan: self.plan,
            relation: &model.relation,
            filter: self.config.model.filter.as_deref(),
            data: if self.bare { &[] } else { &model.data },
            matching: model.matching.as_deref(),
            keep_rows: self.config.sync.keep_rows,
            has_retries: facts.rejects + facts.doubts > 0,
            retry_runs: self.config.sync.retry.runs,
            retry_seconds: self.config.sync.retry.within.as_secs(),
            keys: &self.request.keys,
            frozen,
            cursor: None,
            cursor_removals: false,
            cursor_column: None,
            range: None,
            sorted: false,
        }
    }

    /// Starts the comparison.
    pub(super) async fn start(
        &self,
        client: &Client,
        diff: &DiffSql<'_>,
        manner: Manner,
    ) -> Result<Tuples, Reason> {
        if manner == Manner::Narrow {
            self.fill(client, diff).await?;
        }
        Tuples::start(client, &manner.query(diff), &self.what()).await
    }

    /// Duplicate keys (semantics 19): proven absent by an index, or looked for on the first run,
    /// when the model changed, every n-th run, and as long as there are some.
    pub(super) async fn duplicates(
        &self,
        client: &Client,
        model: &Model,
        facts: &StateFacts,
    ) -> Result<(Vec<(Key, i64)>, bool), Reason> {
        if model.unique {
            return Ok((Vec::new(), !facts.frozen.is_empty()));
        }
        let due = facts.model_digest.as_deref() != Some(&model.digest)
            || !facts.frozen.is_empty()
            || facts.runs_since_check >= UNIQUENESS_RUNS;
        if !due {
            return Ok((Vec::new(), false));
        }
        let diff = self.diff(model, facts, &[]);
        let rows = client
            .query_typed(&diff.duplicates(FROZEN_MAX + 1), &[])
            .await
            .map_err(|error| db_error(&error, &self.what()))?;
        let mut found = Vec::new();
        for row in &rows {
            found.push((
                self.shape.parse_key(&row.get::<_, Vec<String>>(0))?,
                row.get(1),
            ));
        }
        if found.len() > FROZEN_MAX {
            let shown: Vec<String> = found
                .iter()
                .take(5)
                .map(|(key, _)| key.to_string())
                .collect();
            return Err(Reason::new(
                Code::DuplicateKeys,
                format!(
                    "model {:?} returns more than {FROZEN_MAX} keys more than once",
                    self.config.model.name
                ),
            )
            .detail(format!("for example {}", shown.join("; ")))
            .hint("name the columns that identify a row in primary_key"));
        }
        Ok((found, true))
    }

    async fn count_frozen(&self, client: &Client, frozen: &[Key]) -> Result<i64, Reason> {
        if frozen.is_empty() {
            return Ok(0);
        }
        let keys = super::shape::KeyArrays::of(self.shape, frozen);
        let sql = format!(
            "SELECT count(*) FROM {} s JOIN {} AS u({}) ON {} WHERE s.mark IS DISTINCT FROM 't'",
            self.shape.table("state"),
            self.shape.unnest(&[]),
            self.shape.names(""),
            self.shape.equal("s", "u"),
        );
        let rows = client
            .query_typed(&sql, &keys.params())
            .await
            .map_err(|error| db_error(&error, "reading state"))?;
        Ok(rows.first().map_or(0, |row| row.get(0)))
    }

    async fn obsolete(
        &self,
        client: &Client,
        facts: &StateFacts,
        sink: &Sink<'_>,
        diff: &DiffSql<'_>,
    ) -> Result<Vec<Key>, Reason> {
        if diff.streams_unchanged()
            || sink.rejects.len() as i64 == facts.rejects
            || facts.rejects as usize > REJECTS_TRACKED
            || self.request.limit.is_some()
        {
            return Ok(Vec::new());
        }
        let texts: Vec<String> = (1..=self.shape.keys.len())
            .map(|i| format!("k{i}::text"))
            .collect();
        let sql = format!(
            "SELECT ARRAY[{}] FROM {}",
            texts.join(", "),
            self.shape.table("reject")
        );
        let rows = client
            .query_typed(&sql, &[])
            .await
            .map_err(|error| db_error(&error, "reading rejects"))?;
        let mut obsolete = Vec::new();
        for row in &rows {
            let key = self.shape.parse_key(&row.get::<_, Vec<String>>(0))?;
            if !sink.rejects.contains(&key) {
                obsolete.push(key);
            }
        }
        Ok(obsolete)
    }
}

/// Cancels the server's query when the read is abandoned.
pub(super) struct CancelOnDrop {
    handle: Option<crate::connect::CancelHandle>,
}

impl CancelOnDrop {
    pub(super) fn new(connection: &Connection) -> Self {
        Self {
            handle: Some(connection.cancel_handle()),
        }
    }

    pub(super) fn disarm(mut self) {
        self.handle = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            handle.begin();
        }
    }
}
