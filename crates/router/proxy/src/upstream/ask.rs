//! One attempt: from a connection to the head of an answer.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kthena_router_pipeline::UpstreamFault;
use tokio::net::TcpStream;

use super::outgoing::Outgoing;
use super::pool::Pool;
use crate::http1::response::ResponseHead;
use crate::scratch;

/// The head of an answer, and what was received behind it.
pub(crate) struct Answer {
    pub(crate) stream: TcpStream,
    pub(crate) address: SocketAddr,
    /// How long the connection took, if it was made for this request.
    pub(crate) connect: Option<Duration>,
    pub(crate) head: ResponseHead,
    /// Everything received so far; the head refers to it.
    pub(crate) buffer: Vec<u8>,
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.head.status)
    }
}

enum Failed {
    /// Before any byte of an answer.
    Unanswered,
    Fault(UpstreamFault),
}

/// Sends `request` to `address` and waits for the head of the answer.
pub(crate) async fn ask(
    pool: &Pool,
    address: SocketAddr,
    request: &Outgoing<'_>,
    connect_limit: Duration,
) -> Result<Answer, UpstreamFault> {
    if let Some(stream) = pool.take(address) {
        match exchange(stream, address, None, request).await {
            Ok(answer) => return Ok(answer),
            // The engine closed the waiting connection just then; that says nothing about the engine.
            Err(Failed::Unanswered) => {}
            Err(Failed::Fault(fault)) => return Err(fault),
        }
    }
    let began = Instant::now();
    let stream = dial(address, connect_limit).await?;
    exchange(stream, address, Some(began.elapsed()), request)
        .await
        .map_err(|failed| match failed {
            Failed::Unanswered => UpstreamFault::Closed,
            Failed::Fault(fault) => fault,
        })
}

async fn dial(address: SocketAddr, limit: Duration) -> Result<TcpStream, UpstreamFault> {
    let connected = tokio::time::timeout(limit, TcpStream::connect(address)).await;
    let stream = connected
        .map_err(|_| UpstreamFault::Connect)?
        .map_err(|error| {
            if crate::descriptors::is_exhausted(&error) {
                UpstreamFault::NoDescriptor
            } else {
                UpstreamFault::Connect
            }
        })?;
    // Without it small requests wait for acknowledgements; a socket that refuses works all the same.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

async fn exchange(
    mut stream: TcpStream,
    address: SocketAddr,
    connect: Option<Duration>,
    request: &Outgoing<'_>,
) -> Result<Answer, Failed> {
    // An engine may refuse a large body and close while it is being sent; its answer still counts.
    let _ = request.send(&mut stream).await;
    let mut buffer = Vec::new();
    loop {
        let read = poll_fn(|cx| {
            scratch::poll_read(&mut stream, cx, |_, bytes| {
                buffer.extend_from_slice(bytes);
                bytes.len()
            })
        });
        match read.await {
            Ok(1..) => {}
            _ if buffer.is_empty() => return Err(Failed::Unanswered),
            _ => return Err(Failed::Fault(UpstreamFault::Closed)),
        }
        match ResponseHead::parse(&buffer, request.is_head_request) {
            Ok(Some(head)) => {
                return Ok(Answer {
                    stream,
                    address,
                    connect,
                    head,
                    buffer,
                });
            }
            Ok(None) => {}
            Err(_) => return Err(Failed::Fault(UpstreamFault::Malformed)),
        }
    }
}
