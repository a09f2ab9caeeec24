//! The change set of a run: plan settled, model and state compared, spool handed on.

use std::sync::Arc;

use rowcast_core::guard::Held;
use rowcast_core::ledger::{ChangeReader, ChangeSet, DiffRequest, Lease};
use rowcast_core::mapping::Plain;
use rowcast_core::{BoxFuture, Change, Code, Key, Reason, killpoint};

use super::carried::Carrying;
use super::extract::{Extracted, Extraction};
use super::finish::AfterDiff;
use super::fold_ahead::Ahead;
use super::model::Model;
use super::registry::Registered;
use super::rendered::Rendering;
use super::row_log::Logged;
use super::shape::Shape;
use super::spool::SpoolReader;
use super::tuple::Layout;
use super::{LogLevel, PgLedger, layout, registry};

/// Runs under this many changes log every operation by default (semantics 27).
const LOG_ALL_BELOW: u64 = 10_000;

impl PgLedger {
    pub(super) async fn extract(
        &self,
        lease: Option<&Lease>,
        request: &DiffRequest,
    ) -> Result<ChangeSet, Reason> {
        let (shape, registered, moved_back, model) = self.diff_inputs(lease).await?;
        let source = self.config.source.connect().await?;
        let mut held: Vec<Held> = moved_back.into_iter().collect();
        let mut notes = Vec::new();
        let mut plan = self
            .settle_plan(
                lease,
                request,
                &shape,
                &registered,
                &model.data,
                &source,
                &mut held,
                &mut notes,
            )
            .await?;
        // A run that stores the plan has marked these rows; to look must say the same of them.
        if let (true, Some(stored)) = (lease.is_none() || request.dry_run, &registered.plan) {
            plan.judges_anew = plan.selects_otherwise(stored);
        }
        let fence = lease.map(|lease| (lease.epoch, lease.generation as i32));
        let extraction = Extraction {
            config: &self.config,
            shape: &shape,
            plan: &plan,
            planned: &model.data,
            request,
            fence,
            join_memory: self.join_memory,
            two_from: self.two_from,
            bare: self.bare,
        };
        let extracted = if self.config.state.is_some() && !shape.is_absent() {
            let state = self.state_connector().connect().await?;
            extraction.merge(&source.client, &state.client).await?
        } else {
            extraction.run(&source).await?
        };
        drop(source);
        killpoint::reach("ledger-spooled");
        self.remember(lease, request, &extracted).await;
        notes.extend(frozen_note(&extracted.duplicates));
        notes.extend(extracted.notes);
        Ok(ChangeSet {
            counts: extracted.counts,
            schema: Arc::clone(&extracted.layout.schema),
            held,
            notes,
            duplicates: extracted
                .duplicates
                .into_iter()
                .map(|(key, _)| key)
                .collect(),
            changes: Box::new(Reader {
                layout: extracted.layout,
                spool: extracted.reader,
                given: Given::Rows,
            }),
        })
    }

    /// Shape and registration: the session's with a lease, a look from outside without one.
    pub(super) async fn diff_inputs(
        &self,
        lease: Option<&Lease>,
    ) -> Result<(Shape, Registered, Option<Held>, Model), Reason> {
        if lease.is_some() {
            let session = self.session.lock().await;
            let session = session
                .as_ref()
                .ok_or_else(|| Reason::defect("no run is open"))?;
            return Ok((
                session.shape.clone(),
                session.registered.clone(),
                session.moved_back.clone(),
                session.model.clone(),
            ));
        }
        let connection = self.state_connector().connect().await?;
        let client = &connection.client;
        let (schema, sync) = (&self.config.state_schema, &self.config.sync);
        let (model, source) = if self.config.state.is_some() {
            let source = self.config.source.connect().await?;
            self.describe(&source).await?
        } else {
            self.describe(&connection).await?
        };
        let keys = model.keys.clone();
        let known = if layout::readable(client, schema).await?.is_some() {
            registry::look(client, schema, sync).await?
        } else {
            None
        };
        match known {
            Some(known) => {
                let shape = Shape::new(schema, known.id, keys);
                registry::prove(sync, &known, &shape.keys)?;
                let moved_back = self.moved_back(&connection, &shape, &source).await?;
                Ok((shape, known, moved_back, model))
            }
            None => {
                let mut unknown = Registered::unknown();
                unknown.random = self.first_seed.unwrap_or_default();
                Ok((Shape::absent(keys), unknown, None, model))
            }
        }
    }

    pub(super) async fn remember(
        &self,
        lease: Option<&Lease>,
        request: &DiffRequest,
        extracted: &Extracted,
    ) {
        if lease.is_none() || request.dry_run {
            return;
        }
        let mut session = self.session.lock().await;
        let Some(session) = session.as_mut() else {
            return;
        };
        let counts = &extracted.counts;
        let changes = counts.added + counts.updated + counts.removed + counts.retried;
        session.logged = match self.config.sync.log {
            LogLevel::All => Logged::All,
            LogLevel::Default if changes < LOG_ALL_BELOW => Logged::All,
            _ => Logged::Errors,
        };
        // Where identities are kept, one row's change may concern another's.
        session.recent = self.config.sync.match_columns.is_none() && self.recent.fits(counts);
        session.ahead = Ahead::of(self.ahead, extracted, &session.shape);
        session.after = AfterDiff {
            ran: true,
            full: extracted.full,
            bounded: !request.keys.is_empty() || request.limit.is_some(),
            checked: extracted.checked,
            unique: extracted.unique,
            model_digest: Some(extracted.model_digest.clone()),
            duplicates: extracted.duplicates.clone(),
            obsolete: extracted.obsolete.clone(),
            watermark: extracted.watermark.clone(),
        };
    }
}

/// The change set, read from the spool.
struct Reader {
    layout: Layout,
    spool: SpoolReader,
    given: Given,
}

/// What changes come with.
pub(super) enum Given {
    Rows,
    /// Their records as text, in place of rows.
    Text(Rendering),
    /// Their columns undecoded, in place of rows.
    Raw(Carrying),
}

impl Reader {
    fn read(&mut self, max: usize) -> Result<Vec<Change>, Reason> {
        let mut changes = Vec::with_capacity(max.min(1024));
        while changes.len() < max
            && let Some(tuple) = self.spool.next()?
        {
            changes.push(self.layout.change(tuple, &mut self.given)?);
        }
        match &mut self.given {
            Given::Rows => {}
            Given::Text(rendering) => rendering.hand_out(&mut changes),
            Given::Raw(carrying) => carrying.hand_out(&mut changes),
        }
        Ok(changes)
    }
}

impl ChangeReader for Reader {
    fn next(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Change>, Reason>> {
        Box::pin(std::future::ready(self.read(max)))
    }

    fn write_json(&mut self, plain: &Plain) -> bool {
        let rendering = Rendering::new(plain, &self.layout.schema);
        self.given = rendering.map_or(Given::Rows, Given::Text);
        matches!(self.given, Given::Text(_))
    }

    fn give_raw(&mut self, plain: &Plain) -> bool {
        let carrying = Carrying::new(plain, &self.layout.schema, &self.layout.decoders);
        self.given = carrying.map_or(Given::Rows, Given::Raw);
        matches!(self.given, Given::Raw(_))
    }

    fn rewind(&mut self) -> BoxFuture<'_, Result<bool, Reason>> {
        let rewound = self.spool.rewind().map(|()| true);
        Box::pin(std::future::ready(rewound))
    }
}

/// Frozen keys that a run's note names.
const FROZEN_SHOWN: usize = 5;

/// What a run says of keys that its model returned more than once (semantics 19).
fn frozen_note(duplicates: &[(Key, i64)]) -> Option<String> {
    if duplicates.is_empty() {
        return None;
    }
    let rows: i64 = duplicates.iter().map(|(_, rows)| rows).sum();
    let mut keys: Vec<&Key> = duplicates.iter().map(|(key, _)| key).collect();
    keys.sort();
    let shown: Vec<String> = keys
        .iter()
        .take(FROZEN_SHOWN)
        .map(ToString::to_string)
        .collect();
    let more = match keys.len().saturating_sub(FROZEN_SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "{rows} rows share their primary key with another row, so they are frozen: neither sent nor removed; \
         their keys: {}{more} ({})",
        shown.join("; "),
        Code::DuplicateKeys
    ))
}
