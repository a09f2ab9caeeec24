//! How a cancel request ends: the other side closes first, as with libpq.
//!
//! The driver closes at once. Whoever passes requests on then has nobody to answer: PgBouncer 1.18, the
//! one of Debian 12, ends itself with all its connections when that happens. And a request that was
//! closed by the server is one that the server has carried out.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

/// A stream that waits for the other side to close before it does.
pub(super) struct ClosedByPeer<S>(pub(super) S);

impl<S: AsyncRead + Unpin> AsyncRead for ClosedByPeer<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClosedByPeer<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut self.get_mut().0;
        loop {
            let mut bytes = [0; 64];
            let mut read = ReadBuf::new(&mut bytes);
            let heard = ready!(Pin::new(&mut *inner).poll_read(cx, &mut read));
            // A reset, or an end without TLS's own goodbye, is an end.
            if heard.is_err() || read.filled().is_empty() {
                break;
            }
        }
        // Nothing is left to be lost: the other side is gone.
        let _ = ready!(Pin::new(inner).poll_shutdown(cx));
        Poll::Ready(Ok(()))
    }
}

impl<S: TlsStream + Unpin> TlsStream for ClosedByPeer<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.0.channel_binding()
    }
}

/// Makes the decrypted side of a TLS connection one that is closed by the other side.
pub(super) struct TlsClosedByPeer<T>(pub(super) T);

impl<S, T> TlsConnect<S> for TlsClosedByPeer<T>
where
    T: TlsConnect<S>,
    T::Stream: Unpin,
    T::Future: Send + 'static,
{
    type Stream = ClosedByPeer<T::Stream>;
    type Error = T::Error;
    type Future = futures::future::BoxFuture<'static, Result<Self::Stream, T::Error>>;

    fn connect(self, stream: S) -> Self::Future {
        let connecting = self.0.connect(stream);
        Box::pin(async move { Ok(ClosedByPeer(connecting.await?)) })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_sent_is_closed_by_the_other_side_first() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut ours = ClosedByPeer(ours);
        ours.write_all(b"cancel").await.unwrap();
        let early = tokio::time::timeout(Duration::from_secs(1), ours.shutdown()).await;
        assert!(early.is_err(), "closed before the other side");
        let mut heard = [0; 6];
        theirs.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"cancel");
        drop(theirs);
        ours.shutdown().await.unwrap();
    }
}
