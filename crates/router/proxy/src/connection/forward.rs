//! Passes an engine's answer on.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use kthena_router_observability::metrics::{Cell, Raised};
use smallvec::SmallVec;
use tokio::net::TcpStream;

use super::client::Client;
use super::exchange::Exchange;
use super::inference::{EXPLAIN, Granted};
use super::reply::{push_connection, push_field, push_status};
use super::{Connection, Next};
use crate::http1::fields;
use crate::http1::response::{BodyLength, ResponseHead};
use crate::relay::{BodyRelay, Delivery};
use crate::scratch;

/// What forwarding needs to know of the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientSide {
    /// Speaks HTTP/1.0.
    pub(super) old: bool,
    pub(super) keep_alive: bool,
    /// Usage figures were asked for on the router's account.
    pub(super) hide_usage: bool,
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Complete,
    /// The engine broke off or sent nonsense.
    Broken,
    ClientGone,
}

/// An answer on its way.
struct Forwarding<'c> {
    client: &'c mut Client,
    engine: TcpStream,
    relay: BodyRelay,
    /// What the client has not taken yet.
    unsent: Vec<u8>,
    sent: usize,
    /// The engine closed its connection inside the body.
    broken: bool,
    stalled: bool,
    stall_limit: Duration,
}

impl Connection {
    /// Sends `granted` to the client and closes the account of the request.
    pub(super) async fn forward(
        &mut self,
        mut exchange: Exchange,
        granted: Granted,
        cell: Arc<Cell>,
        client: ClientSide,
    ) -> Next {
        let Granted {
            answer,
            address,
            guard,
        } = granted;
        let counted: Raised = cell.upstream();
        drop(cell);
        let head = answer.head;
        let hide = client.hide_usage
            && (200..300).contains(&head.status)
            && !is_json(&head, &answer.buffer);
        let mut relay = BodyRelay::new(head.body, client.old, hide);
        let keep_alive = client.keep_alive
            && relay.delivery() != Delivery::UntilClose
            && !self.worker.shared.is_draining();
        let reusable = head.keep_alive;
        exchange.record.status = head.status;

        let mut unsent = Vec::with_capacity(answer.buffer.len() + 128);
        write_head(
            &head,
            &answer.buffer,
            &relay,
            &exchange.record.request_id,
            &mut unsent,
        );
        if let Some(explanation) = exchange.explanation.take() {
            let line = explanation.line(exchange.record.pod.as_deref());
            push_field(EXPLAIN.as_bytes(), line.as_bytes(), &mut unsent);
        }
        push_connection(keep_alive, client.old, &mut unsent);
        unsent.extend_from_slice(b"\r\n");
        let first = &answer.buffer[head.size..];
        let broken = match relay.advance(first, &mut unsent) {
            Ok(verbatim) => {
                unsent.extend_from_slice(&first[verbatim]);
                false
            }
            Err(_) => true,
        };
        drop(head);
        drop(answer.buffer);

        let mut forwarding = Forwarding {
            client: &mut self.client,
            engine: answer.stream,
            relay,
            unsent,
            sent: 0,
            broken,
            stalled: false,
            stall_limit: self.worker.shared.limits.idle,
        };
        let end = poll_fn(|cx| forwarding.poll(cx)).await;
        let Forwarding { engine, relay, .. } = forwarding;
        drop((guard, counted));
        if end == End::Complete && reusable && !relay.has_excess() {
            self.worker.pool.put(address, engine);
        }
        conclude(&mut exchange, end, &relay);
        match end {
            End::Complete if keep_alive => Next::KeepAlive,
            End::Complete => Next::Close,
            End::Broken | End::ClientGone => Next::Abort,
        }
    }
}

fn conclude(exchange: &mut Exchange, end: End, relay: &BodyRelay) {
    exchange.note_answer(relay.usage());
    match end {
        // Nothing that matters was lost behind the mark that ends a stream.
        End::Complete => {}
        _ if relay.saw_end_marker() => {}
        End::Broken => {
            exchange.note_break("response_forwarding", "the engine broke off its answer");
        }
        End::ClientGone => exchange.note_break("client_closed", "the client closed the connection"),
    }
}

impl Forwarding<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            if ready!(self.poll_flush(cx)).is_err() {
                return Poll::Ready(End::ClientGone);
            }
            if self.broken {
                return Poll::Ready(End::Broken);
            }
            if self.relay.is_ended() {
                return Poll::Ready(End::Complete);
            }
            let (client, relay, unsent) = (&mut *self.client, &mut self.relay, &mut self.unsent);
            let step = scratch::poll_read(&mut self.engine, cx, |cx, bytes| {
                if bytes.is_empty() {
                    return relay.close(unsent).map_err(|_| End::Broken);
                }
                let verbatim = relay.advance(bytes, unsent).map_err(|_| End::Broken)?;
                pass(client, &bytes[verbatim], unsent, cx)
            });
            match step {
                Poll::Ready(Ok(Ok(()))) => {}
                Poll::Ready(Ok(Err(End::ClientGone))) => return Poll::Ready(End::ClientGone),
                // What came before the break still goes out.
                Poll::Ready(Ok(Err(_)) | Err(_)) => self.broken = true,
                Poll::Pending => return self.client.poll_gone(cx).map(|_| End::ClientGone),
            }
        }
    }

    /// Sends what waits. While the client does not take it the engine is not read, which is what slows it down.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        while self.sent < self.unsent.len() {
            match self.client.poll_write(cx, &self.unsent[self.sent..]) {
                Poll::Ready(Ok(count @ 1..)) => {
                    self.sent += count;
                    self.stalled = false;
                }
                Poll::Ready(_) => return Poll::Ready(Err(End::ClientGone)),
                Poll::Pending => {
                    if !std::mem::replace(&mut self.stalled, true) {
                        self.client.watchdog().arm(self.stall_limit);
                    }
                    return self.client.poll_gone(cx).map(|_| Err(End::ClientGone));
                }
            }
        }
        if !self.unsent.is_empty() {
            self.unsent = Vec::new();
            self.sent = 0;
            self.client.watchdog().disarm();
        }
        Poll::Ready(Ok(()))
    }
}

/// Sends `bytes` straight from the read buffer; what the client does not take at once is kept in `unsent`.
fn pass(
    client: &mut Client,
    bytes: &[u8],
    unsent: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Result<(), End> {
    if bytes.is_empty() {
        return Ok(());
    }
    let taken = match client.poll_write(cx, bytes) {
        Poll::Ready(Ok(count @ 1..)) => count,
        Poll::Ready(_) => return Err(End::ClientGone),
        Poll::Pending => 0,
    };
    unsent.extend_from_slice(&bytes[taken..]);
    Ok(())
}

fn is_json(head: &ResponseHead, buffer: &[u8]) -> bool {
    let content_type = head
        .fields
        .first(buffer, "content-type")
        .unwrap_or_default();
    content_type
        .get(..16)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"application/json"))
}

/// Status and fields of the engine's answer, without those that concern its connection to the router.
fn write_head(
    head: &ResponseHead,
    buffer: &[u8],
    relay: &BodyRelay,
    request_id: &str,
    out: &mut Vec<u8>,
) {
    push_status(head.status, out);
    let listed: SmallVec<[&[u8]; 4]> = head
        .fields
        .all(buffer, "connection")
        .flat_map(fields::elements)
        .collect();
    let mut has_id = false;
    for (name, value) in head.fields.iter(buffer) {
        let is_length = name.eq_ignore_ascii_case(b"content-length");
        if fields::is_hop_by_hop(name, &listed) || (is_length && head.body != BodyLength::Empty) {
            continue;
        }
        has_id |= name.eq_ignore_ascii_case(b"x-request-id");
        push_field(name, value, out);
    }
    if !has_id {
        push_field(b"x-request-id", request_id.as_bytes(), out);
    }
    match (relay.delivery(), head.body) {
        (Delivery::AsIs, BodyLength::Sized(length)) => {
            push_field(
                b"content-length",
                itoa::Buffer::new().format(length).as_bytes(),
                out,
            );
        }
        (Delivery::AsIs, BodyLength::Chunked) | (Delivery::Chunked, _) => {
            push_field(b"transfer-encoding", b"chunked", out);
        }
        _ => {}
    }
}
