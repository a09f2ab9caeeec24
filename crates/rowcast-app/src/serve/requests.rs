//! What is remembered of requests: who asked for what, and answers for those who ask again.

use rowcast_postgres::control::AuditEntry;
pub use rowcast_postgres::control::{AuditRow, Repeat};

use super::{Caller, Service};
use crate::Answer;
use crate::history::{Page, cut, page};

impl Service {
    /// Remembers a request of a token. What is done is done: that it could not be remembered is only
    /// logged.
    pub async fn note(&self, caller: &Caller, method: &str, path: &str, status: u16) {
        let entry = AuditEntry {
            token: caller.id,
            token_name: &caller.name,
            method,
            path,
            status,
        };
        if let Err(reason) = self.inner.asks.note(&entry).await {
            tracing::error!(%reason, method, path, token = caller.id, "a request is not in the audit");
        }
    }

    /// Requests that were remembered, the newest first.
    ///
    /// # Errors
    /// The limit is wrong, or the control database fails.
    pub async fn audit(&self, before: Option<i64>, limit: u32) -> Answer<Page<AuditRow>> {
        let limit = page(limit)?;
        let items = self.inner.asks.audit(before, limit + 1).await?;
        Ok(cut(items, limit, |row| row.id.to_string()))
    }

    /// Takes an idempotency key for a request; its parts are hashed.
    ///
    /// # Errors
    /// The control database fails.
    pub async fn begin_repeat(
        &self,
        caller: &Caller,
        key: &str,
        request: &[&[u8]],
    ) -> Answer<Repeat> {
        let mut hasher = blake3::Hasher::new();
        for part in request {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let hash = hasher.finalize().to_hex();
        Ok(self.inner.asks.begin_repeat(caller.id, key, &hash).await?)
    }

    /// Remembers the answer to the request of a key; without one, the key is free again.
    pub async fn end_repeat(&self, caller: &Caller, key: &str, answer: Option<(u16, &str)>) {
        let asks = &self.inner.asks;
        let done = match answer {
            Some((status, body)) => asks.end_repeat(caller.id, key, status, body).await,
            None => asks.free_repeat(caller.id, key).await,
        };
        if let Err(reason) = done {
            tracing::error!(%reason, "the answer to a request with an idempotency key is not remembered");
        }
    }
}
