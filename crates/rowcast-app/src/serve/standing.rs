//! How the syncs of a served project stand, with what waits here.

use super::Service;
use crate::Answer;
use crate::health::Activity;
use crate::state;
use crate::view::SyncStatus;

impl Service {
    /// How syncs stand; all without names.
    ///
    /// # Errors
    /// A name is unknown, or state or the control database can't be read.
    pub async fn status(&self, syncs: &[String]) -> Answer<Vec<SyncStatus>> {
        let project = self.project();
        let mut all = state::status(&project, syncs).await?;
        let waiting = self.inner.asks.waiting().await?;
        for status in &mut all {
            if status.activity == Activity::Pending && waiting.contains(&status.sync) {
                status.activity = Activity::Waiting;
            }
        }
        Ok(all)
    }
}
