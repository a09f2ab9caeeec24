//! Adopt: what another tool had delivered becomes state, so that the first run sends only what
//! differs.
//!
//! Everything enters state in one fenced transaction that also ends the run, or nothing does. It
//! never calls a row delivered unless the old state proves it or somebody said to trust it, and
//! never touches the old tool's tables.

use std::time::Duration;

use rowcast_core::ledger::{DiffRequest, Lease, Ledger as _, OpenRequest};
use rowcast_core::{Code, Key, Reason, RunReport, RunStatus, killpoint};
use schemars::JsonSchema;
use serde::Serialize;
use tokio_postgres::types::Type;

use super::copy::Tuples;
use super::decode::{Cursor, Malformed, int8, text};
use super::model::{self, Model};
use super::old_state::{self, OldState};
use super::plan::HashPlan;
use super::recent;
use super::registry::Registered;
use super::shape::{KeyArrays, Shape};
use super::spool::{Part, Spool};
use super::{PgLedger, Session};
use crate::connect::{Connection, db_error};

/// Rows written by one statement.
const CHUNK: usize = 10_000;
/// No request is made, so the lease only has to outlive a lost process by a little.
const LEASE: Duration = Duration::from_secs(20);

/// Whose state is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldTool {
    Segment,
    Rudder,
}

impl OldTool {
    /// Its name as people write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Segment => "Segment",
            Self::Rudder => "RudderStack",
        }
    }
}

/// What becomes of rows that are in the old state and in the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Belief {
    /// Their old values are compared: only those that differ are sent. Needs values (RudderStack).
    Compare,
    /// They count as delivered as they are now.
    Trust,
    /// They count as there, with values nobody knows: all are sent.
    Resend,
}

/// What to take over, and how.
#[derive(Debug, Clone)]
pub struct AdoptRequest {
    pub tool: OldTool,
    pub belief: Belief,
    /// The old tool's name of the mapping or connection, where its schema holds several.
    pub id: Option<String>,
    /// The run whose snapshot is the newest, where that can't be told (RudderStack).
    pub run: Option<String>,
    /// The old tool's schema, where it is not the usual one.
    pub schema: Option<String>,
    /// Nothing is written.
    pub dry_run: bool,
}

/// What was taken over, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Adopted {
    /// The old tool's tables that were read.
    pub tables: Vec<String>,
    /// Rows in the old state: `present + gone + left_out`.
    pub old_rows: u64,
    /// Of these, rows that the model has: `trusted + to_send`.
    pub present: u64,
    /// Present rows that count as delivered.
    pub trusted: u64,
    /// Present rows that the next run finds updated.
    pub to_send: u64,
    /// Rows that the model does not have: the next run finds them removed.
    pub gone: u64,
    /// Rows of the old state that name no row: ids of another form, rows that never arrived.
    pub left_out: u64,
    /// Rows of the model that the old state does not have: the next run finds them added.
    pub new: u64,
    pub notes: Vec<String>,
}

/// One row of the comparison.
struct Compared {
    in_model: bool,
    in_old: bool,
    trusted: bool,
    checksum: Option<i64>,
    identity: Option<String>,
    key: Key,
}

impl PgLedger {
    /// Takes over what another tool had delivered (semantics 31).
    ///
    /// # Errors
    /// The old state is missing, ambiguous or unfit; the sync has state already or is running; the
    /// model can't be read. Nothing was written then.
    pub async fn adopt(&self, request: &AdoptRequest) -> Result<Adopted, Reason> {
        let mut config = self.config.clone();
        config.model.cursor = None;
        let ledger = Self::new(config);
        // First without a lease: most of what can be wrong is found before anything is registered.
        let looked = ledger.look_at_old(request).await?;
        if request.dry_run {
            return Ok(looked);
        }
        Box::pin(ledger.take_old(request)).await
    }

    async fn look_at_old(&self, request: &AdoptRequest) -> Result<Adopted, Reason> {
        let (shape, registered, _, model) = self.diff_inputs(None).await?;
        if !shape.is_absent() {
            let state = self.state_connector().connect().await?;
            shape.look_for_unfolded(&state.client).await?;
            refuse_occupied(&state.client, &shape, &self.config.sync.name).await?;
        }
        let plan = self.plan_of(&registered, &model);
        Ok(self
            .compare_old(request, &shape, &model, &plan, None)
            .await?
            .0)
    }

    async fn take_old(&self, request: &AdoptRequest) -> Result<Adopted, Reason> {
        let opened = self
            .open(&OpenRequest {
                trigger: "adopt".into(),
                request_timeout: LEASE,
                ..OpenRequest::default()
            })
            .await?;
        let lease = opened.lease;
        match Box::pin(self.renewed(&lease, self.enter_old(&lease, request))).await {
            Ok(adopted) => {
                // Its end was written with it.
                *self.session.lock().await = None;
                Ok(adopted)
            }
            Err(reason) => {
                let mut report =
                    RunReport::new(self.config.sync.name.as_str().into(), lease.run, 0);
                report.status = RunStatus::Failed;
                report.failure = Some(reason.clone());
                let _ = self.finish(&lease, &report).await;
                Err(reason)
            }
        }
    }

    async fn enter_old(&self, lease: &Lease, request: &AdoptRequest) -> Result<Adopted, Reason> {
        self.recover(lease, &[]).await?;
        let (shape, registered, _, model) = self.diff_inputs(Some(lease)).await?;
        let plan = self.plan_of(&registered, &model);
        let mut spool = Spool::new(self.config.spool.clone());
        let (adopted, columns) = self
            .compare_old(request, &shape, &model, &plan, Some(&mut spool))
            .await?;
        self.store_plan(
            Some(lease),
            &DiffRequest::default(),
            &plan,
            registered.plan.as_ref(),
        )
        .await?;
        let mut rows = spool.into_reader(u64::MAX)?;
        let mut report = RunReport::new(self.config.sync.name.as_str().into(), lease.run, 0);
        report.status = RunStatus::Succeeded;
        report.notes = adopted.notes.clone();
        report.notes.push(format!(
            "adopted from {}: {} rows of its state, {} of them as delivered; nothing was sent",
            request.tool.as_str(),
            adopted.present + adopted.gone,
            adopted.trusted
        ));
        let mut session = self.session.lock().await;
        let session = session
            .as_mut()
            .ok_or_else(|| Reason::defect("no run is open"))?;
        session.ensure_connected(self.state_connector()).await?;
        // Its statements are as long as state is large, not as a lease.
        session.connection.wait_at_most(None);
        let (client, fence) = (&session.connection.client, session.fence(lease));
        fence
            .all_or_nothing(async {
                // Of a state without rows, keys may still be left.
                recent::fold_all(client, &shape).await?;
                refuse_occupied(client, &shape, &self.config.sync.name).await?;
                let mut entered = 0;
                loop {
                    let mut chunk = Vec::with_capacity(CHUNK.min(1024));
                    while chunk.len() < CHUNK
                        && let Some(tuple) = rows.next()?
                    {
                        chunk.push(columns.read(&shape, tuple)?);
                    }
                    if chunk.is_empty() {
                        break;
                    }
                    entered += chunk.len() as u64;
                    enter(session, &shape, lease, request.belief, &chunk).await?;
                }
                count(client, &shape, entered).await?;
                self.write_end(session, lease, &report, None).await
            })
            .await?;
        killpoint::reach("ledger-finished");
        let _ = client
            .batch_execute(&format!("ANALYZE {}", shape.own("state")))
            .await;
        Ok(adopted)
    }

    fn plan_of(&self, registered: &Registered, model: &Model) -> HashPlan {
        let columns: Vec<_> = model
            .data
            .iter()
            .map(|column| (column.name.clone(), column.facts.clone()))
            .collect();
        let sync = &self.config.sync;
        HashPlan::new(
            &columns,
            &sync.digests,
            &self.config.model.time_zone,
            registered.random,
            registered.backfill,
            sync.mode,
            sync.on,
        )
    }

    /// Compares the old state with the model in one snapshot of the source, which has ended when
    /// this returns. What belongs into state goes to the spool.
    async fn compare_old(
        &self,
        request: &AdoptRequest,
        shape: &Shape,
        model: &Model,
        plan: &HashPlan,
        mut spool: Option<&mut Spool>,
    ) -> Result<(Adopted, Columns), Reason> {
        let source = self.config.source.connect().await?;
        let client = &source.client;
        model::begin(client, &self.config.model, None).await?;
        let old = old_state::find(client, request, shape, plan, model).await?;
        let columns = Columns {
            belief: request.belief,
            comparable: old.comparable,
        };
        let what = format!("comparing {}'s state with the model", request.tool.as_str());
        let mut adopted = Adopted {
            tables: old.tables.clone(),
            left_out: old.left_out,
            notes: old.notes.clone(),
            ..Adopted::default()
        };
        let query = self.comparison(shape, plan, model, &old);
        let mut tuples = Tuples::start(client, &query, &what).await?;
        while let Some(tuple) = tuples.next().await? {
            let row = columns.read(shape, &tuple)?;
            match (row.in_old, row.in_model) {
                (true, true) if row.trusted => adopted.trusted += 1,
                (true, true) => adopted.to_send += 1,
                (true, false) => adopted.gone += 1,
                (false, _) => adopted.new += 1,
            }
            if row.in_old
                && let Some(spool) = spool.as_mut()
            {
                spool.push(Part::Known, [&tuple, &[]])?;
            }
        }
        drop(tuples);
        adopted.present = adopted.trusted + adopted.to_send;
        adopted.old_rows = adopted.present + adopted.gone + adopted.left_out;
        end_read(&source, &what).await?;
        Ok((adopted, columns))
    }

    /// Old state and model, one row for each key: in the model, in the old state, both checksums,
    /// failed, both identities, key.
    fn comparison(&self, shape: &Shape, plan: &HashPlan, model: &Model, old: &OldState) -> String {
        let keys: Vec<String> = shape
            .keys
            .iter()
            .map(|key| {
                let column = format!("m.{}", crate::sql::ident(&key.name));
                key.form
                    .stored_as_key(&key.form.join_form(&column, &key.facts))
            })
            .collect();
        let named: Vec<String> = keys
            .iter()
            .enumerate()
            .map(|(i, key)| format!("{key} AS k{}", i + 1))
            .collect();
        let complete: Vec<String> = (1..=keys.len())
            .map(|i| format!("x.k{i} IS NOT NULL"))
            .collect();
        let filter = self
            .config
            .model
            .filter
            .as_ref()
            .map(|filter| format!("\nWHERE (\n{filter}\n)"))
            .unwrap_or_default();
        let identity = model
            .matching
            .as_deref()
            .map_or_else(|| "NULL::text".to_owned(), super::matching::sql);
        // A key that comes twice proves nothing of either row.
        let once = |column: &str| format!("CASE WHEN count(*) = 1 THEN min(x.{column}) END");
        let names = shape.names("x.");
        let wire: Vec<String> = shape
            .keys
            .iter()
            .enumerate()
            .map(|(i, key)| {
                key.form
                    .wire_form(&format!("coalesce(o.k{n}, n.k{n})", n = i + 1))
            })
            .collect();
        format!(
            "WITH n AS (SELECT {names}, true AS p, {h} AS h, {m} AS m FROM \
             (SELECT {columns}, {checksum} AS h, {identity} AS m FROM {relation}{filter}) x \
             WHERE {complete} GROUP BY {names}),\n\
             o AS ({old})\n\
             SELECT n.p IS NOT NULL, o.p IS NOT NULL, n.h, o.h, coalesce(o.failed, false), n.m, o.m, {wire} \
             FROM o FULL JOIN n ON {equal}",
            h = once("h"),
            m = once("m"),
            columns = named.join(", "),
            checksum = plan.checksum_sql(),
            relation = model.relation,
            complete = complete.join(" AND "),
            old = old.query,
            wire = wire.join(", "),
            equal = shape.equal("o", "n"),
        )
    }
}

/// How the tuples of one comparison are read.
#[derive(Debug, Clone, Copy)]
struct Columns {
    belief: Belief,
    /// Whether the old checksums can be compared with the model's.
    comparable: bool,
}

impl Columns {
    fn read(self, shape: &Shape, tuple: &[u8]) -> Result<Compared, Reason> {
        let mut cursor = Cursor(tuple);
        let mut read = || -> Result<Option<Compared>, Malformed> {
            let mut flag = || Ok(cursor.field()?.is_some_and(|bytes| bytes == [1]));
            let (in_model, in_old) = (flag()?, flag()?);
            let now = cursor.field()?.map(int8).transpose()?;
            let then = cursor.field()?.map(int8).transpose()?;
            let failed = cursor.field()?.is_some_and(|bytes| bytes == [1]);
            let present = cursor.field()?.map(text).transpose()?;
            let delivered = cursor.field()?.map(text).transpose()?;
            let (checksum, identity) = match self.belief {
                Belief::Trust => (now, present.or(delivered)),
                Belief::Compare if self.comparable && !failed => (then, delivered),
                Belief::Compare | Belief::Resend => (None, delivered),
            };
            let identity = identity.map(str::to_owned);
            Ok(shape.read_key(&mut cursor)?.map(|key| Compared {
                in_model,
                in_old,
                trusted: in_model && in_old && checksum.is_some() && checksum == now,
                checksum,
                identity,
                key,
            }))
        };
        read()
            .ok()
            .flatten()
            .ok_or_else(|| Reason::defect("a row of the comparison can't be read"))
    }
}

async fn end_read(source: &Connection, what: &str) -> Result<(), Reason> {
    source
        .client
        .batch_execute("COMMIT")
        .await
        .map_err(|error| db_error(&error, what))
}

/// State that is not empty says what was acknowledged; old state must never overwrite it.
async fn refuse_occupied(
    client: &tokio_postgres::Client,
    shape: &Shape,
    sync: &str,
) -> Result<(), Reason> {
    let sql = format!(
        "SELECT (SELECT rows FROM {} WHERE sync_id = {}), \
         EXISTS (SELECT 1 FROM {} AS s) OR EXISTS (SELECT 1 FROM {}) OR EXISTS (SELECT 1 FROM {}) \
         OR EXISTS (SELECT 1 FROM {})",
        shape.shared("progress"),
        shape.sync,
        shape.table("state"),
        shape.table("doubt"),
        shape.table("reject"),
        shape.table("intent"),
    );
    let rows = client
        .query_typed(&sql, &[])
        .await
        .map_err(|error| db_error(&error, "reading state"))?;
    let Some(row) = rows.first() else {
        return Ok(());
    };
    if !row.get::<_, bool>(1) {
        return Ok(());
    }
    Err(Reason::new(
        Code::StateOccupied,
        format!("sync {sync:?} has state of its own already"),
    )
    .detail(format!(
        "{} rows were acknowledged to it; another tool's state would overwrite that",
        row.get::<_, Option<i64>>(0).unwrap_or_default()
    ))
    .hint(format!(
        "`rowcast reset {sync} --yes` forgets it; then adopt, before the next run"
    )))
}

async fn enter(
    session: &Session,
    shape: &Shape,
    lease: &Lease,
    belief: Belief,
    rows: &[Compared],
) -> Result<(), Reason> {
    let keys = KeyArrays::of(shape, rows.iter().map(|row| &row.key));
    let checksums: Vec<Option<i64>> = rows
        .iter()
        // What is gone has no values to trust; the next run finds it removed whatever it holds.
        .map(|row| {
            row.checksum
                .filter(|_| row.in_model || belief == Belief::Compare)
        })
        .collect();
    let identities: Vec<Option<&str>> = rows.iter().map(|row| row.identity.as_deref()).collect();
    let n = shape.keys.len();
    let names = shape.names("");
    let sql = format!(
        "INSERT INTO {} ({names}, h, m, run) SELECT {}, u.h, u.m, {} FROM {} AS u({names}, h, m)",
        shape.own("state"),
        shape.names("u."),
        lease.run,
        shape.unnest(&[
            &format!("${}::bigint[]", n + 1),
            &format!("${}::text[]", n + 2)
        ]),
    );
    let mut params = keys.params();
    params.push((&checksums, Type::INT8_ARRAY));
    params.push((&identities, Type::TEXT_ARRAY));
    session
        .connection
        .client
        .query_typed(&sql, &params)
        .await
        .map_err(|error| db_error(&error, "writing state"))?;
    Ok(())
}

/// The exact count of rows, in the transaction that changes state (semantics 4).
async fn count(client: &tokio_postgres::Client, shape: &Shape, rows: u64) -> Result<(), Reason> {
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    let sql = format!(
        "UPDATE {} SET rows = rows + $2 WHERE sync_id = $1",
        shape.shared("progress")
    );
    client
        .query_typed(&sql, &[(&shape.sync, Type::INT4), (&rows, Type::INT8)])
        .await
        .map_err(|error| db_error(&error, "writing state"))?;
    Ok(())
}
