//! Notices a server that was asked and says nothing any more.
//!
//! A dead path between two living machines (a firewall that forgot the flow, a frozen host, a
//! pooler that lost its server) shows no error for hours. Keepalive sees dead hosts only, and the
//! server's own timeouts are of no use to a client that does not get their message. So the stream
//! counts time from here while an answer is outstanding: first the query is cancelled over another
//! connection, and when that brings no word either, the connection is given up. It must never end
//! a connection that is idle, nor one whose rows are merely not read yet.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

/// After a cancel the server may take so long to say that it cancelled.
const GRACE: Duration = Duration::from_secs(5);

/// Type and length of a message.
const HEADER: usize = 5;

/// The type of `ReadyForQuery`: what a server says when nothing is outstanding.
const READY: u8 = b'Z';

/// How long one connection waits for a word of the server.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// Milliseconds; 0 is without end.
    limit: AtomicU64,
    late: Notify,
}

impl Patience {
    pub(super) fn new(limit: Option<Duration>) -> Arc<Self> {
        let patience = Self::default();
        patience.set(limit);
        Arc::new(patience)
    }

    /// From the next question on.
    pub(super) fn set(&self, limit: Option<Duration>) {
        let limit = limit.map_or(0, |limit| limit.as_millis().max(1) as u64);
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Ends when the server has been silent for too long: time to cancel what it does.
    pub(super) async fn ended(&self) {
        self.late.notified().await;
    }

    fn get(&self) -> Option<Duration> {
        let limit = self.limit.load(Ordering::Relaxed);
        (limit > 0).then(|| Duration::from_millis(limit))
    }
}

/// What is outstanding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    No,
    ForAnswer,
    /// The query was cancelled from here.
    AfterCancel,
}

/// A stream of PostgreSQL's messages, decrypted, with an eye on the clock.
pub(super) struct Watched<S> {
    inner: S,
    patience: Arc<Patience>,
    waiting: Waiting,
    limit: Duration,
    /// The last word of either side.
    last: Instant,
    timer: Pin<Box<Sleep>>,
    /// Of the message that is coming: its header so far, and how much of its body is still to come.
    header: [u8; HEADER],
    header_bytes: usize,
    body_bytes: usize,
}

impl<S> Watched<S> {
    pub(super) fn new(inner: S, patience: Arc<Patience>) -> Self {
        let now = Instant::now();
        Self {
            inner,
            patience,
            waiting: Waiting::No,
            limit: Duration::ZERO,
            last: now,
            timer: Box::pin(sleep_until(now)),
            header: [0; HEADER],
            header_bytes: 0,
            body_bytes: 0,
        }
    }

    /// Something was asked, or more of it.
    fn asked(&mut self, cx: &mut Context<'_>) {
        let Some(limit) = self.patience.get() else {
            return;
        };
        self.last = Instant::now();
        if self.waiting == Waiting::No {
            self.waiting = Waiting::ForAnswer;
            self.limit = limit;
            self.timer.as_mut().reset(self.last + limit);
            // Reading is not polled again before something comes, so the timer is told whom to wake.
            let _ = self.timer.as_mut().poll(cx);
        }
    }

    /// Follows the messages as the driver will: only a `ReadyForQuery` at a message's place, and
    /// whole, ends the waiting.
    ///
    /// Only a whole message is a word: a server that drips bytes is as good as silent.
    fn heard(&mut self, mut bytes: &[u8]) {
        let mut messages = false;
        while !bytes.is_empty() {
            if self.header_bytes < HEADER {
                let taken = (HEADER - self.header_bytes).min(bytes.len());
                self.header[self.header_bytes..self.header_bytes + taken]
                    .copy_from_slice(&bytes[..taken]);
                self.header_bytes += taken;
                bytes = &bytes[taken..];
                if self.header_bytes < HEADER {
                    break;
                }
                let [_, a, b, c, d] = self.header;
                // The length counts itself.
                self.body_bytes = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(4);
            }
            let taken = self.body_bytes.min(bytes.len());
            self.body_bytes -= taken;
            bytes = &bytes[taken..];
            if self.body_bytes > 0 {
                break;
            }
            messages = true;
            self.header_bytes = 0;
            if self.header[0] == READY {
                self.waiting = Waiting::No;
            }
        }
        if messages && self.waiting != Waiting::No {
            self.last = Instant::now();
        }
    }

    /// Ready when the server has been silent for too long, a second time after the cancel.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        while self.waiting != Waiting::No {
            ready!(self.timer.as_mut().poll(cx));
            let until = self.last + self.limit;
            if Instant::now() < until {
                self.timer.as_mut().reset(until);
            } else if self.waiting == Waiting::ForAnswer {
                self.waiting = Waiting::AfterCancel;
                self.limit = GRACE;
                self.last = Instant::now();
                self.timer.as_mut().reset(self.last + self.limit);
                self.patience.late.notify_one();
            } else {
                return Poll::Ready(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the server gave no answer in time, and none to a cancel",
                ));
            }
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            Poll::Ready(result) => {
                this.heard(&buf.filled()[before..]);
                Poll::Ready(result)
            }
            Poll::Pending => this.poll_silence(cx).map(Err),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write(cx, buf);
        // A peer that takes nothing in is silent as well.
        this.asked(cx);
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Watched<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.channel_binding()
    }
}

/// Makes the decrypted side of a TLS connection a watched one.
pub(super) struct WatchedTls<T> {
    pub(super) inner: T,
    pub(super) patience: Arc<Patience>,
}

impl<S, T> TlsConnect<S> for WatchedTls<T>
where
    T: TlsConnect<S>,
    T::Stream: Unpin,
    T::Future: Send + 'static,
{
    type Stream = Watched<T::Stream>;
    type Error = T::Error;
    type Future = futures::future::BoxFuture<'static, Result<Self::Stream, T::Error>>;

    fn connect(self, stream: S) -> Self::Future {
        let connecting = self.inner.connect(stream);
        let patience = self.patience;
        Box::pin(async move { Ok(Watched::new(connecting.await?, patience)) })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;

    fn watched() -> (Watched<DuplexStream>, DuplexStream, Arc<Patience>) {
        let (ours, theirs) = tokio::io::duplex(1024);
        let patience = Patience::new(Some(Duration::from_secs(60)));
        (Watched::new(ours, patience.clone()), theirs, patience)
    }

    const MINUTES: Duration = Duration::from_secs(3 * 60);

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_cancelled_then_given_up() {
        let (mut stream, _server, patience) = watched();
        stream.write_all(b"Q").await.unwrap();
        let began = Instant::now();
        let mut buffer = [0; 8];
        let (read, at) = tokio::join!(stream.read(&mut buffer), async {
            patience.ended().await;
            began.elapsed()
        });
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(at.as_secs(), 60);
        assert_eq!(began.elapsed().as_secs(), 65);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_and_one_that_talks_are_left_alone() {
        let (mut stream, mut server, patience) = watched();
        let mut buffer = [0; 64];
        assert!(
            tokio::time::timeout(MINUTES, stream.read(&mut buffer))
                .await
                .is_err()
        );

        stream.write_all(b"Q").await.unwrap();
        let talk = async {
            for (word, seconds) in [
                (&b"D\0\0\0\x08Z\0"[..], 20),
                (b"\0\x05", 35),
                (b"Z\0\0", 20),
                (b"\0\x05", 20),
                (b"I", 15),
            ] {
                tokio::time::advance(Duration::from_secs(seconds)).await;
                server.write_all(word).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let listen = async {
            let mut heard = 0;
            while heard < 15 {
                heard += stream.read(&mut buffer).await.unwrap();
            }
            tokio::time::timeout(MINUTES, stream.read(&mut buffer)).await
        };
        let (idle, ()) = tokio::join!(listen, talk);
        assert!(idle.is_err(), "after ReadyForQuery nothing is outstanding");
        // The next question is watched again, and bytes that make no message are no answer.
        patience.set(Some(Duration::from_secs(1)));
        stream.write_all(b"Q").await.unwrap();
        server.write_all(b"D\0").await.unwrap();
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 2);
        assert!(stream.read(&mut buffer).await.is_err());
    }
}
