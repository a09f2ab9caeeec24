//! Statements that travel together: sent one behind the other without waiting, answered in order.
//!
//! A step of a run is many small statements, and a round trip for each would cost more than what
//! they do. The server keeps their order, and in a transaction the first that fails fails all that
//! follow.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row};

/// A statement's parameters.
pub(super) type Params<'a> = Vec<(&'a (dyn ToSql + Sync), Type)>;

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Vec<Row>, Error>> + Send + 'a>>;

/// Statements in the order in which they are to be executed.
#[derive(Debug, Default)]
pub(super) struct Flight<'a>(Vec<(String, Params<'a>)>);

impl<'a> Flight<'a> {
    /// Adds a statement.
    pub(super) fn push(&mut self, sql: String, params: Params<'a>) {
        self.0.push((sql, params));
    }

    /// Sends all, then waits for all.
    ///
    /// # Errors
    /// The first error, in the order of the statements.
    pub(super) async fn send(&self, client: &Client) -> Result<(), Error> {
        let mut waiting: Vec<Option<Answer<'_>>> = self
            .0
            .iter()
            .map(|(sql, params)| Some(Box::pin(client.query_typed(sql, params)) as Answer<'_>))
            .collect();
        let mut failures: Vec<Option<Error>> = self.0.iter().map(|_| None).collect();
        // The first poll of a query sends it: polled in order, they are sent in order.
        poll_fn(|context| {
            let mut open = false;
            for (answer, failure) in waiting.iter_mut().zip(&mut failures) {
                let Some(future) = answer else { continue };
                match future.as_mut().poll(context) {
                    Poll::Pending => open = true,
                    Poll::Ready(result) => {
                        *failure = result.err();
                        *answer = None;
                    }
                }
            }
            if open { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        failures.into_iter().flatten().next().map_or(Ok(()), Err)
    }
}
