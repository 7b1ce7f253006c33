//! Short requests of the router's own to one engine, on a connection that is kept.
//!
//! What the request path needs (streaming, cancelling with the client, any header) is not here; what it does not
//! need is: an answer is wanted whole, up to a cap, within a time limit.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::http1::chunks::ChunkWalker;
use crate::http1::response::{BodyLength, ResponseHead};
use crate::tls::EngineTls;
use crate::upstream::{EngineStream, dial};

/// First size of the receive buffer, in bytes.
const BUFFER: usize = 4 << 10;
/// Receive buffers a thread keeps for the next answer, and the largest that it keeps.
const SPARE: usize = 4;
const LARGEST: usize = 256 << 10;

thread_local! {
    /// Buffers that nobody uses at the moment.
    static BUFFERS: RefCell<Vec<Vec<u8>>> = RefCell::default();
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FetchFault {
    #[error("the engine cannot be reached")]
    Connect,
    #[error("no answer in time")]
    Timeout,
    #[error("the connection closed inside the answer")]
    Closed,
    #[error("the answer is not HTTP")]
    Malformed,
    #[error("the answer is longer than it may be")]
    TooLong,
    #[error("the engine answered {0}")]
    Status(u16),
}

/// Bounds of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FetchLimits {
    /// From dialling to the last byte.
    pub(crate) time: Duration,
    /// Bytes of the body.
    pub(crate) body: usize,
}

/// One engine, and the connection to it while nothing went wrong.
#[derive(Debug)]
pub(crate) struct Fetcher {
    address: SocketAddr,
    /// How the engine proves who it is; `None` = it speaks without TLS.
    tls: Option<Arc<EngineTls>>,
    kept: Option<EngineStream>,
    received: Vec<u8>,
}

/// The body of an answer. Its buffer serves other answers when it drops.
#[derive(Debug, Default)]
pub(crate) struct Body {
    buffer: Vec<u8>,
    start: usize,
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        give_back(std::mem::take(&mut self.buffer));
    }
}

/// A buffer that is empty, for an answer that begins to arrive.
fn take_buffer() -> Vec<u8> {
    BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_default()
}

fn give_back(mut buffer: Vec<u8>) {
    if (1..=LARGEST).contains(&buffer.capacity()) {
        buffer.clear();
        BUFFERS.with_borrow_mut(|spare| {
            if spare.len() < SPARE {
                spare.push(buffer);
            }
        });
    }
}

enum Failed {
    /// Before any byte of an answer.
    Unanswered,
    Fault(FetchFault),
}

impl From<FetchFault> for Failed {
    fn from(fault: FetchFault) -> Self {
        Self::Fault(fault)
    }
}

impl Fetcher {
    pub(crate) fn new(address: SocketAddr, tls: Option<Arc<EngineTls>>) -> Self {
        Self {
            address,
            tls,
            kept: None,
            received: Vec::new(),
        }
    }

    /// Whether a connection is open that the next request can use.
    pub(crate) fn is_connected(&self) -> bool {
        self.kept.is_some()
    }

    /// The body of a 200 answer to `GET path`.
    pub(crate) async fn get(
        &mut self,
        path: &str,
        limits: FetchLimits,
    ) -> Result<Body, FetchFault> {
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\naccept-encoding: identity\r\n\r\n",
            self.address
        );
        let (status, body) = self.request(head.as_bytes(), limits).await?;
        if status == 200 {
            return Ok(body);
        }
        Err(FetchFault::Status(status))
    }

    /// Status and body of the answer to `POST path` with a JSON body.
    pub(crate) async fn post(
        &mut self,
        path: &str,
        json: &[u8],
        limits: FetchLimits,
    ) -> Result<(u16, Body), FetchFault> {
        let mut message = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\naccept-encoding: identity\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.address,
            json.len()
        )
        .into_bytes();
        message.extend_from_slice(json);
        self.request(&message, limits).await
    }

    async fn request(
        &mut self,
        message: &[u8],
        limits: FetchLimits,
    ) -> Result<(u16, Body), FetchFault> {
        let deadline = Instant::now() + limits.time;
        let kept = self.kept.take();
        let answered = tokio::time::timeout_at(deadline, self.exchange(kept, message, limits));
        let (stream, status, body) = answered.await.map_err(|_| FetchFault::Timeout)??;
        self.kept = stream;
        Ok((status, body))
    }

    /// Uses `kept` if it is still alive, else a fresh connection.
    async fn exchange(
        &mut self,
        kept: Option<EngineStream>,
        message: &[u8],
        limits: FetchLimits,
    ) -> Result<(Option<EngineStream>, u16, Body), FetchFault> {
        let cap = limits.body;
        if let Some(stream) = kept {
            match self.answer(stream, message, cap).await {
                Ok(answer) => return Ok(answer),
                Err(Failed::Unanswered) => {}
                Err(Failed::Fault(fault)) => return Err(fault),
            }
        }
        let stream = dial(self.address, self.tls.as_deref(), limits.time)
            .await
            .map_err(|_| FetchFault::Connect)?;
        self.answer(stream, message, cap)
            .await
            .map_err(|failed| match failed {
                Failed::Unanswered => FetchFault::Closed,
                Failed::Fault(fault) => fault,
            })
    }

    async fn answer(
        &mut self,
        mut stream: EngineStream,
        message: &[u8],
        cap: usize,
    ) -> Result<(Option<EngineStream>, u16, Body), Failed> {
        // An engine may answer and close before it has read everything; its answer still counts.
        if stream.write_all(message).await.is_ok() {
            let _ = stream.flush().await;
        }
        // What is left of an answer that was given up.
        give_back(std::mem::take(&mut self.received));
        let head = self.head(&mut stream).await?;
        let body = match head.body {
            BodyLength::Empty => Body::default(),
            BodyLength::Sized(length) => self.sized(&mut stream, head.size, length, cap).await?,
            BodyLength::Chunked => self.chunked(&mut stream, head.size, cap).await?,
            BodyLength::UntilClose => self.rest(&mut stream, head.size, cap).await?,
        };
        // A connection without an answer owns no buffer.
        give_back(std::mem::take(&mut self.received));
        Ok((head.keep_alive.then_some(stream), head.status, body))
    }

    async fn head(&mut self, stream: &mut EngineStream) -> Result<ResponseHead, Failed> {
        loop {
            if !self.read(stream).await.unwrap_or(false) {
                return Err(if self.received.is_empty() {
                    Failed::Unanswered
                } else {
                    FetchFault::Closed.into()
                });
            }
            match ResponseHead::parse(&self.received, false) {
                Ok(Some(head)) => return Ok(head),
                Ok(None) => {}
                Err(_) => return Err(FetchFault::Malformed.into()),
            }
        }
    }

    /// Takes in more; `false` = the other side has closed. While nothing has arrived no buffer is held.
    async fn read(&mut self, stream: &mut EngineStream) -> Result<bool, FetchFault> {
        let received = &mut self.received;
        let read = poll_fn(|cx| {
            if received.capacity() == 0 {
                *received = take_buffer();
            }
            if received.capacity() - received.len() < BUFFER {
                received.reserve(received.len().max(BUFFER));
            }
            let polled = pin!(stream.read_buf(received)).poll(cx);
            if polled.is_pending() && received.is_empty() {
                give_back(std::mem::take(received));
            }
            polled
        });
        let size = read.await.map_err(|_| FetchFault::Closed)?;
        Ok(size > 0)
    }

    /// What was received, from `start` on.
    fn body(&mut self, start: usize) -> Body {
        Body {
            buffer: std::mem::take(&mut self.received),
            start,
        }
    }

    async fn sized(
        &mut self,
        stream: &mut EngineStream,
        start: usize,
        length: u64,
        cap: usize,
    ) -> Result<Body, FetchFault> {
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= cap)
            .ok_or(FetchFault::TooLong)?;
        let end = start + length;
        self.received
            .reserve(end.saturating_sub(self.received.len()));
        while self.received.len() < end {
            if !self.read(stream).await? {
                return Err(FetchFault::Closed);
            }
        }
        if self.received.len() > end {
            // Bytes nobody asked for: what follows on this connection could not be told apart.
            return Err(FetchFault::Malformed);
        }
        Ok(self.body(start))
    }

    async fn chunked(
        &mut self,
        stream: &mut EngineStream,
        start: usize,
        cap: usize,
    ) -> Result<Body, FetchFault> {
        let mut walker = ChunkWalker::new();
        let mut body = Body {
            buffer: take_buffer(),
            start: 0,
        };
        let mut at = start;
        loop {
            let taken = walker
                .walk(&self.received[at..], |payload| {
                    body.buffer.extend_from_slice(payload);
                })
                .map_err(|_| FetchFault::Malformed)?;
            if body.len() > cap {
                return Err(FetchFault::TooLong);
            }
            if walker.is_done() {
                if at + taken < self.received.len() {
                    // Bytes nobody asked for, as above.
                    return Err(FetchFault::Malformed);
                }
                return Ok(body);
            }
            self.received.clear();
            at = 0;
            if !self.read(stream).await? {
                return Err(FetchFault::Closed);
            }
        }
    }

    async fn rest(
        &mut self,
        stream: &mut EngineStream,
        start: usize,
        cap: usize,
    ) -> Result<Body, FetchFault> {
        while self.read(stream).await? {
            if self.received.len() - start > cap {
                return Err(FetchFault::TooLong);
            }
        }
        Ok(self.body(start))
    }
}

#[cfg(test)]
mod tests;
