//! The client's transport and what was received on it but not yet used.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::scratch;
use crate::transport::Transport;
use crate::watchdog::Watchdog;

/// Bytes taken in while a request is being answered. A client that sends more is no longer watched for leaving.
const AHEAD: usize = 64 << 10;
/// How long a client may take to read the last answer before its connection is reset.
const LINGER: Duration = Duration::from_secs(5);

pub(super) struct Client<S> {
    stream: S,
    received: Vec<u8>,
    /// Part of an answer was written since the last request began.
    answering: bool,
    watchdog: Arc<Watchdog>,
}

/// The client closed its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

impl<S: Transport> Client<S> {
    pub(super) fn new(stream: S, watchdog: Arc<Watchdog>) -> Self {
        Self {
            stream,
            received: Vec::new(),
            answering: false,
            watchdog,
        }
    }

    pub(super) fn watchdog(&self) -> &Arc<Watchdog> {
        &self.watchdog
    }

    /// Part of an answer was written since [`Client::expect_request`].
    pub(super) fn is_answering(&self) -> bool {
        self.answering
    }

    /// Nothing of the next request was answered yet.
    pub(super) fn expect_request(&mut self) {
        self.answering = false;
    }

    /// The transport, and what was received on it but not used.
    pub(super) fn into_parts(self) -> (S, Vec<u8>, Arc<Watchdog>) {
        (self.stream, self.received, self.watchdog)
    }

    /// What was received and not yet used.
    pub(super) fn received(&self) -> &[u8] {
        &self.received
    }

    /// Reads once. 0 = the client sends no more.
    pub(super) async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let received = &mut self.received;
        scratch::poll_read(&mut self.stream, cx, |_, bytes| {
            received.extend_from_slice(bytes);
            bytes.len()
        })
    }

    /// Takes the first `size` bytes out of what was received.
    pub(super) fn take(&mut self, size: usize) -> Vec<u8> {
        let rest = if size >= self.received.len() {
            Vec::new()
        } else {
            self.received.split_off(size)
        };
        std::mem::replace(&mut self.received, rest)
    }

    /// Forgets the first `size` bytes received.
    pub(super) fn consume(&mut self, size: usize) {
        drop(self.take(size));
    }

    /// Ready once the client has gone. What it sends meanwhile is kept for later.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        while self.received.len() < AHEAD {
            match ready!(self.poll_fill(cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(Gone),
            }
        }
        Poll::Pending
    }

    /// Runs `work` to its end unless the client goes first.
    pub(super) async fn unless_gone<F: Future>(&mut self, work: F) -> Result<F::Output, Gone> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => self.poll_gone(cx).map(Err),
        })
        .await
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.answering = true;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    /// Ready once nothing that was written waits in the transport. Plain sockets hold nothing back.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Sends all of `bytes`; a client that does not read for `limit` loses its connection.
    pub(super) async fn send(&mut self, bytes: &[u8], limit: Duration) -> io::Result<()> {
        self.watchdog.arm(limit);
        self.answering = true;
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        let sent = sent.await;
        self.watchdog.disarm();
        sent
    }

    /// Waits until everything written has left; a client that does not take it for `limit` gets no more.
    pub(super) async fn finish(mut self, limit: Duration) {
        self.watchdog.arm(limit);
        // A client that does not take its answer has given it up.
        let _ = self.stream.shutdown().await;
    }

    /// Ends the sending side, then reads on for a while: closing while unread bytes wait would reset the connection
    /// and could take the answer with it.
    pub(super) async fn linger(mut self) {
        self.watchdog.arm(LINGER);
        if self.stream.shutdown().await.is_err() {
            return;
        }
        while self.fill().await.unwrap_or(0) > 0 {
            self.received.clear();
        }
    }
}
