//! The writes that are under way at the destination.
//!
//! A small write runs within the delivery's own task: handing it to another task, and its answer
//! back, costs more than the write does. A large one has a task of its own, so that another core
//! turns its records into bytes (ADR 32). A connector that panics ends its own write and no other.

use std::any::Any;
use std::collections::VecDeque;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use rowcast_core::{BoxFuture, Fault, Outcome};

use crate::place::Place;

/// What a destination said to a write.
pub(crate) type Answer = Result<Vec<Outcome>, Fault>;

/// A write's number, and what came of it: an answer, or what a panic said.
pub(crate) type Written = (u64, Result<Answer, String>);

/// Writes between start and answer.
pub(crate) struct Writes {
    /// Where large ones run.
    home: Place,
    running: FuturesUnordered<BoxFuture<'static, Written>>,
    /// Answers that came while somebody else was waited for.
    came: VecDeque<Written>,
    last: u64,
}

impl Writes {
    /// None yet.
    pub(crate) fn new(home: Place) -> Self {
        Self {
            home,
            running: FuturesUnordered::new(),
            came: VecDeque::new(),
            last: 0,
        }
    }

    /// Starts a write, in a task of its own if it is large; gives its number.
    pub(crate) fn start(
        &mut self,
        write: impl Future<Output = Answer> + Send + 'static,
        large: bool,
    ) -> u64 {
        self.last += 1;
        let id = self.last;
        let write = AssertUnwindSafe(write).catch_unwind();
        let running: BoxFuture<'static, Written> = if large {
            let task = self.home.spawn(write);
            Box::pin(async move {
                let stopped = |_| Err("it was stopped".to_owned());
                let answer = task.await.map(|ended| ended.map_err(words));
                (id, answer.unwrap_or_else(stopped))
            })
        } else {
            Box::pin(write.map(move |ended| (id, ended.map_err(words))))
        };
        self.running.push(running);
        id
    }

    /// The next answer; never, when nothing is under way.
    pub(crate) async fn next(&mut self) -> Written {
        if let Some(written) = self.came.pop_front() {
            return written;
        }
        match self.running.next().await {
            Some(written) => written,
            None => std::future::pending().await,
        }
    }

    /// An answer that is there already.
    pub(crate) fn try_next(&mut self) -> Option<Written> {
        self.next().now_or_never()
    }

    /// Waits for something else while the writes go on.
    pub(crate) async fn during<T>(&mut self, other: impl Future<Output = T>) -> T {
        tokio::pin!(other);
        loop {
            tokio::select! {
                biased;
                done = &mut other => return done,
                Some(written) = self.running.next(), if !self.running.is_empty() => {
                    self.came.push_back(written);
                }
            }
        }
    }

    /// Gives up all that are under way, and their answers.
    pub(crate) fn abort(&mut self) {
        self.running.clear();
        self.came.clear();
    }
}

/// What a panic said.
fn words(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it gave no words").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered() -> std::future::Ready<Answer> {
        std::future::ready(Ok(vec![Outcome::Delivered]))
    }

    #[tokio::test]
    async fn a_panic_ends_its_own_write_whether_large_or_small() {
        for large in [false, true] {
            let mut writes = Writes::new(Place::here());
            let broken = writes.start(async { panic!("out of {}", "order") }, large);
            let whole = writes.start(delivered(), large);
            let mut ended = [writes.next().await, writes.next().await];
            ended.sort_by_key(|(id, _)| *id);
            assert_eq!(ended[0], (broken, Err("out of order".to_owned())));
            assert_eq!(ended[1], (whole, Ok(Ok(vec![Outcome::Delivered]))));
        }
    }

    #[tokio::test]
    async fn writes_go_on_while_something_else_is_waited_for() {
        let mut writes = Writes::new(Place::here());
        let (tell, told) = tokio::sync::oneshot::channel();
        let id = writes.start(
            async move {
                let _ = tell.send(());
                delivered().await
            },
            false,
        );
        writes.during(told).await.expect("the write ran");
        let (first, answer) = writes.try_next().expect("its answer is kept");
        assert_eq!((first, answer.is_ok()), (id, true));
        assert_eq!(writes.try_next(), None);
    }
}
