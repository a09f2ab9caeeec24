//! Deadlines kept from this side: a model can lift the server's own timeout with set_config.

use std::time::Duration;

use rowcast_core::{Code, Reason};

use super::CancelHandle;

/// How long a cancelled query may take to answer that it was cancelled.
const CANCEL_GRACE: Duration = Duration::from_secs(5);

impl CancelHandle {
    /// Runs `work` on the connection for at most `limit`, then cancels it in the server. Without a
    /// limit it only runs it. `what` is what was attempted, as in `reading the model "customers"`.
    ///
    /// # Errors
    /// `E0215` when the limit passed; else what `work` says.
    pub async fn within<T>(
        &self,
        limit: Option<Duration>,
        what: &str,
        work: impl Future<Output = Result<T, Reason>>,
    ) -> Result<T, Reason> {
        let Some(limit) = limit else {
            return work.await;
        };
        tokio::pin!(work);
        if let Ok(result) = tokio::time::timeout(limit, &mut work).await {
            return result;
        }
        // The server's answer is awaited, so that the connection is usable again.
        let cancelled = async {
            if self.cancel().await.is_ok() {
                let _ = (&mut work).await;
            }
        };
        let _ = tokio::time::timeout(CANCEL_GRACE, cancelled).await;
        Err(Reason::new(Code::Deadline, format!("{what} took too long"))
            .detail(format!("it was cancelled after {} s", limit.as_secs_f32()))
            .hint("raise limits.statement_timeout of the source, or make the query faster"))
    }
}
