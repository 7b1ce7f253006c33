//! A request that was read completely.

use std::time::Duration;

use kthena_router_pipeline::RouteError;
use tokio::time::Instant;

use super::Connection;
use crate::http1::chunks::ChunkWalker;
use crate::http1::fields::Length;
use crate::http1::request::RequestHead;
use crate::transport::Transport;

/// Head and body of a request with the bytes they stand in.
#[derive(Debug)]
pub(crate) struct Received {
    head: RequestHead,
    bytes: Vec<u8>,
    /// The body if it came in chunks; otherwise it stands behind the head.
    unchunked: Option<Vec<u8>>,
}

impl Received {
    pub(crate) fn method(&self) -> &str {
        self.head.method(&self.bytes)
    }

    /// Path and query as received.
    pub(crate) fn target(&self) -> &str {
        self.head.target(&self.bytes)
    }

    pub(crate) fn path(&self) -> &str {
        self.head.path(&self.bytes)
    }

    pub(crate) fn head(&self) -> &RequestHead {
        &self.head
    }

    /// The bytes that the head's positions refer to.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn head_size(&self) -> usize {
        self.head.size
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.head.fields.iter(&self.bytes)
    }

    pub(crate) fn field_values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.head.fields.all(&self.bytes, name)
    }

    pub(crate) fn body(&self) -> &[u8] {
        self.unchunked
            .as_deref()
            .unwrap_or_else(|| &self.bytes[self.head.size..])
    }
}

/// Bytes a second that keep a body coming once the time without progress is used up. Whoever sends less holds a
/// connection for as little as a byte now and then.
const SLOWEST: u64 = 1 << 10;

/// The rest of a body on its way: it may pause, but not trickle.
struct Arrival {
    began: Instant,
    arrived: u64,
    /// Longest pause.
    idle: Duration,
}

impl Arrival {
    fn new(idle: Duration) -> Self {
        Self {
            began: Instant::now(),
            arrived: 0,
            idle,
        }
    }

    /// When the next bytes must be there.
    fn deadline(&self) -> Instant {
        let earned = Duration::from_secs(self.arrived / SLOWEST);
        let pause = Instant::now() + self.idle;
        pause.min(self.began + self.idle + earned)
    }
}

const BROKEN_OFF: RouteError = RouteError::BodyUnreadable("the connection was closed inside it");

impl<S: Transport> Connection<S> {
    /// Reads the body that belongs to `head`.
    pub(super) async fn receive(&mut self, head: RequestHead) -> Result<Received, RouteError> {
        let limit = self.worker.shared.limits.body;
        let length = match head.length {
            Length::Unsaid => 0,
            Length::Sized(length) => usize::try_from(length).unwrap_or(usize::MAX),
            Length::Chunked => return self.receive_chunks(head, limit).await,
        };
        if length > limit {
            return Err(RouteError::BodyTooLarge);
        }
        let end = head.size + length;
        if self.client.received().len() < end {
            self.invite(&head).await?;
        }
        let mut arrival = Arrival::new(self.worker.shared.limits.idle);
        while self.client.received().len() < end {
            self.read_on(&mut arrival).await?;
        }
        Ok(Received {
            bytes: self.client.take(end),
            unchunked: None,
            head,
        })
    }

    async fn receive_chunks(
        &mut self,
        head: RequestHead,
        limit: usize,
    ) -> Result<Received, RouteError> {
        let bytes = self.client.take(head.size);
        if self.client.received().is_empty() {
            self.invite(&head).await?;
        }
        let mut arrival = Arrival::new(self.worker.shared.limits.idle);
        let mut body = Vec::new();
        let mut walker = ChunkWalker::new();
        loop {
            let used = walker.walk(self.client.received(), |payload| {
                body.extend_from_slice(payload);
            });
            let used = used.map_err(|_| RouteError::BodyUnreadable("its chunks are malformed"))?;
            self.client.consume(used);
            if body.len() > limit {
                return Err(RouteError::BodyTooLarge);
            }
            if walker.is_done() {
                return Ok(Received {
                    bytes,
                    unchunked: Some(body),
                    head,
                });
            }
            self.read_on(&mut arrival).await?;
        }
    }

    async fn read_on(&mut self, arrival: &mut Arrival) -> Result<(), RouteError> {
        match tokio::time::timeout_at(arrival.deadline(), self.client.fill()).await {
            Ok(Ok(size @ 1..)) => {
                arrival.arrived += size as u64;
                Ok(())
            }
            Ok(Ok(0) | Err(_)) => Err(BROKEN_OFF),
            Err(_) => Err(RouteError::BodyTimedOut),
        }
    }

    /// Tells a client that asked first to send its body.
    async fn invite(&mut self, head: &RequestHead) -> Result<(), RouteError> {
        if !head.expects_continue {
            return Ok(());
        }
        let limit = self.worker.shared.limits.idle;
        self.client
            .send(b"HTTP/1.1 100 Continue\r\n\r\n", limit)
            .await
            .map_err(|_| BROKEN_OFF)
    }
}
