//! What a run has written before its files are published, wherever they go.
//!
//! Records become lines of a draft, one batch after the other, and are *accepted*. Nothing here may
//! give a draft a name that others can see: that is for the end of a run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rowcast_core::record::{Batch, RunContext};
use rowcast_core::{Fault, Outcome, Reason};

use super::{Format, Known};

/// A file in the making.
pub trait Draft: Send + 'static {
    /// Writes lines at its end.
    ///
    /// # Errors
    /// The disk's.
    fn append(&mut self, lines: &str) -> Result<(), Reason>;
}

/// What a run has written so far.
pub struct Written<D> {
    /// None before the first record.
    pub draft: Option<(D, Arc<RunContext>)>,
    /// What is known of the columns.
    pub known: Known,
}

impl<D> Default for Written<D> {
    fn default() -> Self {
        Self {
            draft: None,
            known: Known::default(),
        }
    }
}

/// A run's draft, as the batches of the run share it.
pub struct Writing<D>(Arc<Mutex<Written<D>>>);

impl<D> Default for Writing<D> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<D: Draft> Writing<D> {
    /// Forgets what was written, and gives it.
    pub fn take(&self) -> Written<D> {
        std::mem::take(&mut *lock(&self.0))
    }

    /// Appends a batch's records to the draft, which `begin` makes for the first of them.
    ///
    /// # Errors
    /// The draft's.
    pub async fn write(
        &self,
        format: &Format,
        batch: &Batch,
        begin: impl FnOnce(&RunContext) -> Result<D, Reason> + Send + 'static,
    ) -> Result<Vec<Outcome>, Fault> {
        let context = Arc::clone(&batch.context);
        let (lines, outcomes) = format.lines(&mut lock(&self.0).known, batch);
        let written = Arc::clone(&self.0);
        let appended = tokio::task::spawn_blocking(move || {
            if lines.is_empty() {
                return Ok(());
            }
            let mut written = lock(&written);
            let (draft, _) = match &mut written.draft {
                Some(open) => open,
                none => none.insert((begin(&context)?, context)),
            };
            draft.append(&lines)
        });
        appended
            .await
            .map_err(|_| broken())?
            .map_err(Fault::fatal)?;
        Ok(outcomes)
    }
}

fn lock<D>(written: &Mutex<Written<D>>) -> MutexGuard<'_, Written<D>> {
    written.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A batch as people read it: where it goes, and its lines.
pub fn shown(format: &Format, batch: &Batch, place: String) -> Vec<String> {
    let (lines, _) = format.lines(&mut Known::default(), batch);
    let mut shown = vec![place];
    shown.extend(lines.lines().map(str::to_owned));
    shown
}

/// The task that works on a file ended without an answer.
pub fn broken() -> Fault {
    Fault::fatal(Reason::defect("making the files of a run ended early"))
}
