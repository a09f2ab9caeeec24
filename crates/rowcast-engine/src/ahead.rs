//! Reads the change set and prepares its records beside delivery, one chunk ahead.
//!
//! Decoding and mapping are most of what a row costs, and they need nothing of what delivery
//! knows: so they run in a task of their own, on another core when there is one. It must never
//! hold more than one chunk, nor give changes in another order than the reader's.

use std::sync::Arc;

use rowcast_core::{ChangeReader, Reason};
use tokio_util::task::AbortOnDropHandle;

use crate::place::Place;
use crate::prepare::{Pass, Prepared, Preparer};

/// Changes of one chunk at most.
const CHANGES_MAX: usize = 500;

/// Changes of the first chunk, whose size nobody knows yet.
const CHANGES_FIRST: usize = 16;

/// Bytes of records that a chunk is meant to hold.
const CHUNK_BYTES: usize = 256 * 1024;

/// A chunk, and the reader it came from.
struct Chunk {
    reader: Box<dyn ChangeReader>,
    prepared: Result<Vec<Prepared>, Reason>,
}

enum State {
    Idle(Box<dyn ChangeReader>),
    Busy(AbortOnDropHandle<Chunk>),
    /// Prepared, and not taken yet.
    Done(Box<Chunk>),
    /// Reading failed; there is nothing more.
    Over,
}

/// The changes of a run, prepared ahead.
pub(crate) struct Ahead {
    home: Place,
    preparer: Arc<Preparer>,
    state: State,
    /// Changes of the next chunk.
    changes: usize,
}

impl Ahead {
    pub(crate) fn new(
        home: Place,
        preparer: Arc<Preparer>,
        mut reader: Box<dyn ChangeReader>,
    ) -> Self {
        if let Some(plain) = preparer.plain() {
            if preparer.json {
                reader.write_json(&plain);
            } else {
                reader.give_raw(&plain);
            }
        }
        Self {
            home,
            preparer,
            state: State::Idle(reader),
            changes: CHANGES_FIRST,
        }
    }

    /// Starts again at the first change; `false` when the changes can be read only once.
    pub(crate) async fn rewind(&mut self) -> Result<bool, Reason> {
        match &mut self.state {
            State::Idle(reader) => reader.rewind().await,
            State::Busy(_) | State::Done(_) | State::Over => Err(Reason::defect(
                "the change set was read again before its end",
            )),
        }
    }

    /// The next changes, decided about; empty at the end. Dropped before that, it loses nothing.
    pub(crate) async fn next(&mut self, pass: Pass) -> Result<Vec<Prepared>, Reason> {
        self.start(pass);
        self.arrival().await?;
        let State::Done(chunk) = std::mem::replace(&mut self.state, State::Over) else {
            return Ok(Vec::new());
        };
        let Chunk { reader, prepared } = *chunk;
        let prepared = prepared?;
        self.state = State::Idle(reader);
        if !prepared.is_empty() {
            self.resize(&prepared);
            self.start(pass);
        }
        Ok(prepared)
    }

    /// Until the chunk that is being prepared is there. Dropped before that, it loses nothing.
    pub(crate) async fn arrival(&mut self) -> Result<(), Reason> {
        if let State::Busy(task) = &mut self.state {
            let ended = task.await;
            self.state = State::Over;
            let chunk = ended.map_err(|error| {
                Reason::defect("preparing records stopped in the middle").detail(error.to_string())
            })?;
            self.state = State::Done(Box::new(chunk));
        }
        Ok(())
    }

    fn start(&mut self, pass: Pass) {
        self.state = match std::mem::replace(&mut self.state, State::Over) {
            State::Idle(reader) => {
                let task = prepare(self.preparer.clone(), reader, pass, self.changes);
                State::Busy(self.home.spawn(task))
            }
            other => other,
        };
    }

    /// Chunks grow to their measure of bytes, so that wide rows do not fill the memory.
    fn resize(&mut self, prepared: &[Prepared]) {
        let bytes: usize = prepared.iter().map(Prepared::bytes).sum();
        let fitting = CHUNK_BYTES / (bytes / prepared.len()).max(1);
        self.changes = fitting.clamp(1, (self.changes * 2).min(CHANGES_MAX));
    }
}

async fn prepare(
    preparer: Arc<Preparer>,
    mut reader: Box<dyn ChangeReader>,
    pass: Pass,
    changes: usize,
) -> Chunk {
    let mut room = String::new();
    let prepared = reader.next(changes).await.map(|changes| {
        changes
            .into_iter()
            .map(|change| preparer.prepare(change, pass, &mut room))
            .collect()
    });
    Chunk { reader, prepared }
}
