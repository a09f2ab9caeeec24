//! Steps of a run and renewals of its lease, on a connection that may be lost and made again.

use std::time::{Duration, Instant};

use rowcast_core::ledger::{Lease, Step};
use rowcast_core::{Code, Reason};

use super::commit::Writer;
use super::{PgLedger, Session, commit, layout, lease};

/// A lost connection is made again this often within one step.
const RECONNECTS: u32 = 5;

/// Whether work that failed so is tried again over another connection.
pub(super) fn may_reconnect(reason: &Reason, attempt: u32, lease: &Lease) -> bool {
    reason.code == Code::ConnectionLost
        && attempt < RECONNECTS
        && lease.outlives(Instant::now(), Duration::ZERO)
}

/// The wait before that.
pub(super) fn pause(attempt: u32) -> Duration {
    Duration::from_millis(50 << attempt)
}

impl PgLedger {
    pub(super) async fn commit_step(&self, lease: &Lease, step: Step) -> Result<(), Reason> {
        let mut session = self.session.lock().await;
        let session = session
            .as_mut()
            .ok_or_else(|| Reason::defect("no run is open"))?;
        session.marked |= !step.whole.is_empty();
        let mut attempt = 0;
        let mut unsure = None;
        loop {
            match self.try_step(session, lease, &step, &mut unsure).await {
                Err(reason) if may_reconnect(&reason, attempt, lease) => {
                    attempt += 1;
                    tokio::time::sleep(pause(attempt)).await;
                }
                Ok(()) => break,
                Err(reason) => return Err(layout::not_writable(reason)),
            }
        }
        let acknowledged = step.whole.iter().map(|whole| whole.settled.len()).sum();
        session.fold_ahead(self.state_connector(), lease, &step.open, acknowledged);
        Ok(())
    }

    /// A lost answer to COMMIT is looked up, so that no step counts twice.
    pub(super) async fn try_step(
        &self,
        session: &mut Session,
        lease: &Lease,
        step: &Step,
        unsure: &mut Option<String>,
    ) -> Result<(), Reason> {
        session.ensure_connected(self.state_connector()).await?;
        if let Some(transaction) = unsure {
            match commit::took_effect(&session.connection.client, transaction).await? {
                Some(true) => return Ok(()),
                Some(false) => *unsure = None,
                None => {
                    return Err(Reason::new(
                        Code::ConnectionLost,
                        "the server is still busy with an acknowledgement whose connection was lost",
                    ));
                }
            }
        }
        let writer = Writer {
            client: &session.connection.client,
            shape: &session.shape,
            mode: self.config.sync.mode,
            keep_rows: self.config.sync.keep_rows,
            logged: session.logged,
            recent: session.recent,
        };
        writer.commit(lease, step, &session.open, unsure).await
    }

    pub(super) async fn renew_lease(&self, lease: &Lease) -> Result<(), Reason> {
        let asked = Instant::now();
        let mut session = self.session.lock().await;
        let Some(session) = session.as_mut() else {
            return Ok(());
        };
        session.ensure_connected(self.state_connector()).await?;
        let renewed = lease::renew(
            &session.connection.client,
            &session.shape,
            lease.epoch,
            session.term,
        )
        .await?;
        match renewed {
            None => {
                lease.lose();
                Err(commit::lease_lost())
            }
            Some(cancelled) => {
                lease.extend(asked + session.term);
                if cancelled {
                    return Err(Reason::new(
                        Code::Cancelled,
                        "the run was cancelled by `rowcast cancel`",
                    ));
                }
                Ok(())
            }
        }
    }
}
