//! A destination made from a manifest: the `http` connector's client, credentials, address policy
//! and reading of answers, with requests that the manifest describes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use rowcast_core::mapping::template::Template;
use rowcast_core::record::{Batch, Operation, Record};
use rowcast_core::{
    Applied, BoxFuture, Capabilities, Check, Code, Destination, Fault, Name, Object, Outcome,
    Reason, Secret, Value,
};
use url::Url;

use super::call::{Call, Preparation, Steps, Target};
use super::object::ObjectSpec;
use super::scope::{Scope, record, shared};
use super::{Manifest, RateHeaders, ResetUnit};
use crate::http::client::{Answer, wall_clock};
use crate::http::request::Prepared;
use crate::http::sender::Sender;

/// A service that a manifest describes, opened for one sync.
pub(super) struct Described {
    pub(super) manifest: Arc<Manifest>,
    /// The name as the sync says it.
    pub(super) object: Name,
    pub(super) match_field: Option<Name>,
    pub(super) settings: Secret<Value>,
    pub(super) root: Url,
    /// Whether the root holds a secret.
    pub(super) secret_root: bool,
    pub(super) sender: Sender,
    pub(super) capabilities: Capabilities,
    /// When requests may start again, by the service's headers: milliseconds since 1970.
    pub(super) resumes_ms: AtomicU64,
}

impl Described {
    fn spec(&self, operation: Operation) -> Result<(&ObjectSpec, &Steps), Fault> {
        let object = self.manifest.object(&self.object);
        object
            .and_then(|object| Some((object, object.steps(operation)?)))
            .ok_or_else(|| {
                Fault::fatal(Reason::defect(format!(
                    "operation {operation} has no request"
                )))
            })
    }

    fn target(&self, key: Option<String>) -> Target<'_> {
        let header = self.manifest.connect.idempotency_header.clone();
        Target {
            root: &self.root,
            secret_root: self.secret_root,
            auth: &self.sender.auth,
            headers: &self.manifest.connect.headers,
            idempotency: header.zip(key),
        }
    }

    async fn exchange(&self, prepared: &Prepared, id: &str) -> Result<Answer, Fault> {
        let answer = self.sender.send(prepared, id).await?;
        if let Some(headers) = &self.manifest.connect.rate_headers
            && let Some(wait) = exhausted(headers, &answer)
        {
            let until = now_ms() + u64::try_from(wait.as_millis()).unwrap_or(u64::MAX / 2);
            self.resumes_ms.fetch_max(until, Ordering::Relaxed);
        }
        Ok(answer)
    }

    async fn deliver(&self, batch: &Batch) -> Result<Vec<Outcome>, Fault> {
        let (object, steps) = self.spec(batch.operation)?;
        let shared = shared_of(batch, &self.object, self.match_field.as_ref());
        let scope = Scope::new(&self.settings, &shared);
        let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.records.len()];
        let all: Vec<usize> = (0..batch.records.len()).collect();
        match steps {
            Steps::One {
                call,
                look_up: false,
            } => {
                let records: Vec<Value> = batch
                    .records
                    .iter()
                    .map(|of| record(of, batch, object, None))
                    .collect();
                self.send(call, batch, &scope, &all, &records, &mut outcomes)
                    .await?;
            }
            steps => {
                let found = self.look_up(object, batch, &scope, &mut outcomes).await?;
                self.after_lookup(object, steps, batch, &scope, &found, &mut outcomes)
                    .await?;
            }
        }
        outcomes
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Fault::lost(Reason::defect("a record of a request got no outcome")))
    }

    /// Sends what the lookup decided.
    async fn after_lookup(
        &self,
        object: &ObjectSpec,
        steps: &Steps,
        batch: &Batch,
        scope: &Scope<'_>,
        found: &[Option<Value>],
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), Fault> {
        let open: Vec<usize> = (0..outcomes.len())
            .filter(|position| outcomes[*position].is_none())
            .collect();
        let (present, absent): (Vec<usize>, Vec<usize>) = open
            .into_iter()
            .partition(|position| found[*position].is_some());
        let values = |positions: &[usize]| -> Vec<Value> {
            positions
                .iter()
                .map(|p| record(&batch.records[*p], batch, object, found[*p].as_ref()))
                .collect()
        };
        let (call, otherwise) = match steps {
            Steps::One { call, .. } => (call, None),
            Steps::ByLookup { found, missing } => (found, Some(missing)),
        };
        if let Some(call) = otherwise {
            let records = values(&absent);
            self.send(call, batch, scope, &absent, &records, outcomes)
                .await?;
        } else {
            for position in absent {
                outcomes[position] = Some(match batch.operation {
                    Operation::Delete => Outcome::Delivered,
                    _ => Outcome::Rejected(Reason::new(
                        Code::NotFound,
                        "the record to update does not exist",
                    )),
                });
            }
        }
        let records = values(&present);
        self.send(call, batch, scope, &present, &records, outcomes)
            .await
    }

    /// Sends one request for the records at these positions and notes their outcomes.
    async fn send(
        &self,
        call: &Call,
        batch: &Batch,
        scope: &Scope<'_>,
        positions: &[usize],
        records: &[Value],
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), Fault> {
        if positions.is_empty() {
            return Ok(());
        }
        let id = batch.idempotency_key();
        let preparation = call
            .prepare(scope, records, &self.target(Some(id.clone())))
            .map_err(Fault::fatal)?;
        for (index, reason) in preparation.failed {
            outcomes[positions[index]] = Some(Outcome::Rejected(reason));
        }
        if let Some(prepared) = preparation.request {
            let held: Vec<usize> = prepared.held.iter().map(|i| positions[*i]).collect();
            let sent: Vec<&Record> = held.iter().map(|i| &batch.records[*i]).collect();
            let answer = self.exchange(&prepared, &id).await?;
            let reading = call.reading(&self.sender.service);
            for (position, outcome) in held.into_iter().zip(reading.judge(batch, &sent, &answer)?) {
                outcomes[position] = Some(outcome);
            }
        }
        Ok(())
    }

    /// What the service has of a batch's records. A record whose lookup fails gets its outcome here.
    async fn look_up(
        &self,
        object: &ObjectSpec,
        batch: &Batch,
        scope: &Scope<'_>,
        outcomes: &mut [Option<Outcome>],
    ) -> Result<Vec<Option<Value>>, Fault> {
        let Some(lookup) = &object.lookup else {
            return Err(Fault::fatal(Reason::defect("an operation lost its lookup")));
        };
        let records: Vec<Value> = batch
            .records
            .iter()
            .map(|of| record(of, batch, object, None))
            .collect();
        let mut found = vec![None; records.len()];
        let preparation = lookup
            .call
            .prepare(scope, &records, &self.target(None))
            .map_err(Fault::fatal)?;
        for (position, reason) in preparation.failed {
            outcomes[position] = Some(Outcome::Rejected(reason));
        }
        let Some(prepared) = preparation.request else {
            return Ok(found);
        };
        let answer = self
            .exchange(&prepared, &batch.idempotency_key())
            .await
            .map_err(unwritten)?;
        let sent: Vec<&Record> = prepared.held.iter().map(|i| &batch.records[*i]).collect();
        let asked: Vec<Value> = prepared.held.iter().map(|i| records[*i].clone()).collect();
        if !lookup.call.accepts(answer.status) && !(200..=299).contains(&answer.status) {
            let reading = lookup.call.reading(&self.sender.service);
            let judged = reading.judge(batch, &sent, &answer).map_err(unwritten)?;
            for (position, outcome) in prepared.held.iter().zip(judged) {
                // `delivered` by a rule about a lookup says that there is nothing.
                if outcome != Outcome::Delivered {
                    outcomes[*position] = Some(outcome);
                }
            }
            return Ok(found);
        }
        let service = &self.sender.service;
        let field = self.match_field.as_deref().unwrap_or_default();
        let items = lookup.found(&asked, &answer, field, service)?;
        for (position, item) in prepared.held.iter().zip(items) {
            found[*position] = item;
        }
        Ok(found)
    }

    fn drawn(&self, batch: &Batch) -> Result<Vec<String>, Reason> {
        let (object, steps) = self.spec(batch.operation).map_err(|f| f.reason().clone())?;
        let shared = shared_of(batch, &self.object, self.match_field.as_ref());
        let scope = Scope::new(&self.settings, &shared);
        let mut lines = Vec::new();
        let records: Vec<Value> = batch
            .records
            .iter()
            .map(|of| record(of, batch, object, None))
            .collect();
        let mut draw = |preparation: Preparation| {
            lines.extend(preparation.request.iter().map(|r| self.sender.curl(r)));
            for (position, reason) in &preparation.failed {
                let key = &batch.records[*position].key;
                lines.push(format!("# not sent, {key}: {reason}"));
            }
        };
        if steps.looks_up()
            && let Some(lookup) = &object.lookup
        {
            draw(lookup.call.prepare(&scope, &records, &self.target(None))?);
        }
        if steps.looks_up() {
            // What it will find decides the rest.
            lines.extend(
                steps
                    .calls()
                    .map(|call| format!("# then {}", call.outline())),
            );
            return Ok(lines);
        }
        let key = Some(batch.idempotency_key());
        for call in steps.calls() {
            draw(call.prepare(&scope, &records, &self.target(key.clone()))?);
        }
        Ok(lines)
    }
}

/// A batch's names, with the object that a sync may leave out.
fn shared_of(batch: &Batch, object: &Name, match_field: Option<&Name>) -> Object {
    let mut shared = shared(batch, match_field);
    shared[0].1 = Value::from(&**object);
    shared
}

/// A fault of a request that only reads: nothing was written.
fn unwritten(fault: Fault) -> Fault {
    match fault {
        Fault::Transient { after, reason, .. } => Fault::Transient {
            after,
            applied: Applied::No,
            reason,
        },
        Fault::Fatal { reason, .. } => Fault::fatal(reason),
        split @ Fault::Split { .. } => split,
    }
}

fn now_ms() -> u64 {
    let since = wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX / 2)
}

/// How long to wait when an answer says that nothing is left of the rate.
fn exhausted(headers: &RateHeaders, answer: &Answer) -> Option<Duration> {
    let number = |name| -> Option<f64> {
        let text = answer.headers.get(name)?.to_str().ok()?;
        // Some list several windows: the first is the shortest.
        text.split([',', ';']).next()?.trim().parse().ok()
    };
    if number(&headers.remaining)? >= 1.0 {
        return None;
    }
    let reset = number(&headers.reset)?.max(0.0);
    let seconds = match headers.unit {
        ResetUnit::Seconds => reset,
        ResetUnit::Milliseconds => reset / 1_000.0,
        ResetUnit::Epoch => reset - now_ms() as f64 / 1_000.0,
    };
    Duration::try_from_secs_f64(seconds.clamp(0.0, 24.0 * 3_600.0)).ok()
}

impl std::fmt::Debug for Described {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Described")
            .field("manifest", &self.manifest.name)
            .finish_non_exhaustive()
    }
}

impl Destination for Described {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(async {
            let (mut checks, connected) = self.sender.check_connection(&self.root).await;
            let Some((path, expect)) = &self.manifest.connect.check else {
                let why = "not called: the service has no request that changes nothing";
                checks.push(Check::skipped("account", why));
                return checks;
            };
            if !connected {
                checks.push(Check::skipped("account", "the connection must work first"));
                return checks;
            }
            checks.push(self.check_account(path, *expect).await);
            checks
        })
    }

    fn discover(
        &self,
    ) -> BoxFuture<'_, Result<Vec<rowcast_core::destination::ObjectSchema>, Fault>> {
        Box::pin(async { Ok(super::describe::schemas(&self.manifest)) })
    }

    fn write<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>> {
        Box::pin(async move {
            self.capabilities.admit(batch)?;
            self.deliver(batch).await
        })
    }

    fn quota(&self) -> Option<rowcast_core::destination::Rate> {
        self.manifest.connect.quota
    }

    fn resumes_in(&self) -> Option<Duration> {
        let until = self.resumes_ms.load(Ordering::Relaxed);
        let wait = until.checked_sub(now_ms()).filter(|wait| *wait > 0)?;
        Some(Duration::from_millis(wait))
    }

    fn render(&self, batch: &Batch) -> Vec<String> {
        self.drawn(batch)
            .unwrap_or_else(|reason| vec![format!("# can't be sent: {reason}")])
    }
}

impl Described {
    async fn check_account(&self, path: &Template, expect: u16) -> Check {
        let nothing = Object::new();
        let scope = Scope::new(&self.settings, &nothing);
        let prepared = Call::reading_only(path, &scope, &self.target(None));
        let answer = match prepared {
            Ok(prepared) => self.sender.send(&prepared, "").await,
            Err(reason) => return Check::failed("account", reason),
        };
        let service = &self.sender.service;
        match answer {
            Ok(answer) if answer.status == expect => {
                Check::passed("account", format!("{} takes the credentials", service.host))
            }
            Ok(answer) if matches!(answer.status, 401 | 403) => {
                Check::failed("account", service.unauthorized(&answer))
            }
            Ok(answer) => {
                let reason = Reason::new(
                    Code::DestinationAnswer,
                    format!("{} answered otherwise than expected", service.host),
                );
                Check::failed("account", reason.detail(service.said(&answer)))
            }
            Err(fault) => Check::failed("account", fault.reason().clone()),
        }
    }
}
