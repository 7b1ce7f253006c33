//! One attempt: from a connection to the head of an answer.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kthena_router_pipeline::UpstreamFault;

use super::dial::dial;
use super::outgoing::Outgoing;
use super::pool::Pool;
use super::stream::EngineStream;
use crate::http1::response::ResponseHead;
use crate::scratch;
use crate::silence::is_silence;
use crate::tls::EngineTls;
use crate::watchdog::Watchdog;

/// A request and the end of the waiting connection it was sent on may cross each other within this time. Whoever closes
/// later has seen the request, and may have died of it.
const CROSSING: Duration = Duration::from_secs(1);

/// What it takes to ask the engines of one server on behalf of one request.
#[derive(Clone, Copy)]
pub(crate) struct Upstream<'u> {
    pub(crate) pool: &'u Pool,
    /// How engines prove who they are; `None` = they speak without TLS.
    pub(crate) tls: Option<&'u EngineTls>,
    /// To open a connection, the TLS handshake included.
    pub(crate) connect_limit: Duration,
    /// Notices engines that fall silent.
    pub(crate) watchdog: &'u Arc<Watchdog>,
}

/// The head of an answer, and what was received behind it.
pub(crate) struct Answer {
    pub(crate) stream: EngineStream,
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

impl From<Failed> for UpstreamFault {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Unanswered => Self::Closed,
            Failed::Fault(fault) => fault,
        }
    }
}

/// Sends `request` to `address` and waits for the head of the answer.
pub(crate) async fn ask(
    upstream: Upstream<'_>,
    address: SocketAddr,
    request: &Outgoing<'_>,
) -> Result<Answer, UpstreamFault> {
    let Upstream { tls, watchdog, .. } = upstream;
    if let Some(mut stream) = upstream.pool.take(address, tls.is_some()) {
        stream.attend(watchdog);
        let sent = Instant::now();
        match exchange(stream, address, None, request).await {
            Ok(answer) => return Ok(answer),
            // The engine closed the waiting connection just then; that says nothing about the engine.
            Err(Failed::Unanswered) if sent.elapsed() < CROSSING => {}
            Err(failed) => return Err(failed.into()),
        }
    }
    let began = Instant::now();
    let mut stream = dial(address, tls, upstream.connect_limit).await?;
    stream.attend(watchdog);
    exchange(stream, address, Some(began.elapsed()), request)
        .await
        .map_err(UpstreamFault::from)
}

async fn exchange(
    mut stream: EngineStream,
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
            Err(error) if is_silence(&error) => {
                return Err(Failed::Fault(UpstreamFault::Silent));
            }
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
