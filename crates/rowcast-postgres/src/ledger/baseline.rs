//! Baseline: the present rows are accepted as delivered, without sending anything.
//!
//! For a destination that was filled by other means. State takes over what is there now; it must
//! never do so for a row whose identity is unclear.

use std::time::Duration;

use rowcast_core::guard::Guard;
use rowcast_core::ledger::{
    DiffRequest, Intent, IntentItem, Lease, Ledger, OpenRequest, Step, Whole,
};
use rowcast_core::{
    Change, Code, Kind, Operation, Reason, RunReport, RunStatus, Settled, Value, Verdict,
};

use super::config::LogLevel;
use super::{PgLedger, StateAdmin};
use crate::connect::db_error;

/// Rows accepted in one transaction.
const CHUNK: usize = 10_000;
/// No request is made, so the lease only has to outlive a lost process by a little.
const LEASE: Duration = Duration::from_secs(20);

impl PgLedger {
    /// Accepts the present rows as delivered, without sending: every row of the model enters state,
    /// every row that is gone leaves it, doubts and rejects are forgotten. When the sync writes to
    /// another place than its state is about, the state is reset first. Gives the number of rows
    /// that entered state anew or with another checksum.
    ///
    /// # Errors
    /// The sync is running, the model can't be read, state can't be written.
    pub async fn baseline(&self) -> Result<u64, Reason> {
        // Everything is accepted, so no guard holds; everything is compared, so no cursor narrows;
        // nothing was delivered, so no row is logged as such.
        let mut config = self.config.clone();
        config.model.cursor = None;
        config.sync.log = LogLevel::Errors;
        config.sync.overrides = Guard::ALL.to_vec();
        let mut ledger = Self::new(config);
        // An identity outside the key is read from its columns.
        ledger.bare = ledger.config.sync.match_columns.is_none();
        ledger.accept().await
    }

    async fn accept(&self) -> Result<u64, Reason> {
        let request = OpenRequest {
            trigger: "baseline".into(),
            request_timeout: LEASE,
            ..OpenRequest::default()
        };
        let opened = match self.open(&request).await {
            Err(reason) if reason.code == Code::IdentityChanged => {
                let place = self.state_connector().clone();
                let admin = StateAdmin::new(place, &self.config.state_schema);
                admin.reset(&self.config.sync.name).await?;
                self.open(&request).await?
            }
            opened => opened?,
        };
        let lease = opened.lease;
        let mut report = RunReport::new(self.config.sync.name.as_str().into(), lease.run, 0);
        let accepted = self
            .renewed(&lease, self.take_over(&lease, &mut report))
            .await;
        report.status = match &accepted {
            Ok(_) => RunStatus::Succeeded,
            Err(reason) => {
                report.failure = Some(reason.clone());
                RunStatus::Failed
            }
        };
        let finished = self.finish(&lease, &report).await;
        let accepted = accepted?;
        finished?;
        Ok(accepted)
    }

    async fn take_over(&self, lease: &Lease, report: &mut RunReport) -> Result<u64, Reason> {
        self.recover(lease, &[]).await?;
        let mut set = self.changes(Some(lease), &DiffRequest::default()).await?;
        report.counts = set.counts;
        report.notes.append(&mut set.notes);
        let mut accepted = 0;
        for number in 1.. {
            let changes = set.changes.next(CHUNK).await?;
            if changes.is_empty() {
                break;
            }
            let mut step = Step::default();
            let mut added = Vec::new();
            for change in &changes {
                match self.accepted(change)? {
                    Some(one) => {
                        accepted += u64::from(change.kind != Kind::Removed);
                        report.skipped += 1;
                        if one.is_plain() {
                            added.push(one);
                        } else {
                            step.settled.push(one);
                        }
                    }
                    None => report.invalid += 1,
                }
            }
            if !added.is_empty() {
                (step.open, step.whole) = whole(lease.epoch, number, added);
            }
            self.commit(lease, step).await?;
        }
        self.forget_outcomes(lease).await?;
        report.notes.push(format!(
            "baseline: {accepted} rows were accepted as delivered; nothing was sent"
        ));
        Ok(accepted)
    }

    /// What accepting does to one row; `None` where two rows claim one identity.
    fn accepted(&self, change: &Change) -> Result<Option<Settled>, Reason> {
        let removed = change.kind == Kind::Removed;
        if change.conflict.is_some() && !removed {
            return Ok(None);
        }
        let mode = self.config.sync.mode;
        let verdict = match change.kind {
            // A mode that must not insert twice remembers the rows that are gone.
            Kind::Removed if mode.keeps_tombstones() => Verdict::Skipped,
            Kind::Removed => Verdict::Delivered(Operation::Delete),
            _ => Verdict::Delivered(Operation::Upsert),
        };
        let retried = change.kind != Kind::Added || change.retried.is_some();
        Ok(Some(Settled {
            key: change.key.clone(),
            // Accepting a removal is not a removal that a guard should count.
            kind: match change.kind {
                Kind::Removed if verdict != Verdict::Skipped => Kind::Updated,
                kind => kind,
            },
            checksum: change.checksum,
            verdict,
            retried,
            match_values: if removed {
                None
            } else {
                self.identity_of(change)?
            },
            sent: None,
            idempotency_key: None,
            keep_state: false,
        }))
    }

    fn identity_of(&self, change: &Change) -> Result<Option<Vec<Value>>, Reason> {
        let Some(columns) = &self.config.sync.match_columns else {
            return Ok(None);
        };
        let mut values = Vec::with_capacity(columns.len());
        for column in columns {
            let value = change.row.as_ref().and_then(|row| row.get(column));
            match value.ok_or_else(|| {
                Reason::defect(format!(
                    "match column {column:?} is not read from the model"
                ))
            })? {
                Value::Null => return Ok(None),
                value => values.push(value.clone()),
            }
        }
        Ok(Some(values))
    }

    /// Doubts and rejects say nothing any more.
    async fn forget_outcomes(&self, lease: &Lease) -> Result<(), Reason> {
        let session = self.session.lock().await;
        let session = session
            .as_ref()
            .ok_or_else(|| Reason::defect("no run is open"))?;
        let sql = ["doubt", "reject"]
            .map(|kind| format!("DELETE FROM {}", session.shape.table(kind)))
            .join("; ");
        session
            .fence(lease)
            .all_or_nothing(async {
                session
                    .connection
                    .client
                    .batch_execute(&sql)
                    .await
                    .map_err(|error| db_error(&error, "forgetting doubts and rejects"))
            })
            .await
    }

    /// Keeps the lease while the work goes on.
    pub(super) async fn renewed<T>(
        &self,
        lease: &Lease,
        work: impl Future<Output = Result<T, Reason>>,
    ) -> Result<T, Reason> {
        beside(work, LEASE, || self.renew(lease)).await
    }
}

/// Does the work and, each time `every` has passed, what keeps it permitted; ends when that fails.
/// Beside the work, never in its place: both use the session, one after the other, so that neither
/// may be left half done while the other one waits.
async fn beside<T, R: Future<Output = Result<(), Reason>>>(
    work: impl Future<Output = Result<T, Reason>>,
    every: Duration,
    keep: impl Fn() -> R,
) -> Result<T, Reason> {
    let kept = async {
        loop {
            tokio::time::sleep(every).await;
            if let Err(reason) = keep().await {
                return reason;
            }
        }
    };
    tokio::select! {
        done = work => done,
        reason = kept => Err(reason),
    }
}

/// Rows that were never delivered, in the way that costs least: as an intent that is acknowledged
/// in the step that opens it, and folded into state at the end.
fn whole(epoch: i64, intent: i64, settled: Vec<Settled>) -> (Vec<Intent>, Vec<Whole>) {
    let items = settled.iter().map(|one| IntentItem {
        key: one.key.clone(),
        operation: Operation::Upsert,
        checksum: one.checksum,
        match_values: None,
    });
    let opened = Intent {
        id: intent,
        epoch,
        items: items.collect(),
    };
    (vec![opened], vec![Whole { intent, settled }])
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;

    use tokio::sync::Mutex;
    use tokio::time::timeout;

    use super::*;

    const EVERY: Duration = Duration::from_secs(10);

    async fn passes(time: Duration) {
        let _ = timeout(time, pending::<()>()).await;
    }

    /// The session is busy with the work when the lease is due, and free afterwards.
    #[tokio::test(start_paused = true)]
    async fn a_lease_is_renewed_between_two_steps_of_long_work() {
        let session = Mutex::new(());
        let renewals = Cell::new(0);
        let work = async {
            for _ in 0..3 {
                let _held = session.lock().await;
                passes(EVERY * 3 / 2).await;
            }
            Ok(())
        };
        let renewed = beside(work, EVERY, || async {
            let _held = session.lock().await;
            renewals.set(renewals.get() + 1);
            Ok(())
        });
        timeout(EVERY * 100, renewed)
            .await
            .expect("neither waits for the other for ever")
            .unwrap();
        assert!(renewals.get() >= 2, "{}", renewals.get());
    }

    #[tokio::test(start_paused = true)]
    async fn work_ends_when_its_lease_is_lost() {
        let lost = || async { Err(Reason::defect("the lease is lost")) };
        let ended = beside(pending::<Result<(), Reason>>(), EVERY, lost);
        let reason = timeout(EVERY * 2, ended).await.unwrap().unwrap_err();
        assert_eq!(reason.message, "the lease is lost");
    }
}
