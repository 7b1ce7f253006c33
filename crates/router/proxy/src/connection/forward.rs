//! Passes an engine's answer on.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use kthena_router_pipeline::UpstreamFault;
use smallvec::SmallVec;

use super::client::Client;
use super::dispatch::Granted;
use super::exchange::Exchange;
use super::inference::EXPLAIN;
use super::leg::Leg;
use super::reply::{push_connection, push_field, push_status};
use super::{Connection, Next};
use crate::http1::fields;
use crate::http1::response::{BodyLength, ResponseHead};
use crate::relay::{BodyRelay, Delivery};
use crate::scratch;
use crate::silence::is_silence;
use crate::transport::Transport;
use crate::upstream::EngineStream;

/// What forwarding needs to know of the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientSide {
    /// Speaks HTTP/1.0.
    pub(super) old: bool,
    pub(super) keep_alive: bool,
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Complete,
    /// The engine broke off or sent nonsense.
    Broken,
    /// The engine says nothing any more.
    Silent,
    ClientGone,
}

/// An answer on its way.
struct Forwarding<'c, S> {
    client: &'c mut Client<S>,
    engine: EngineStream,
    relay: BodyRelay,
    leg: Leg,
    /// No byte of the body came yet.
    waits_for_first: bool,
    /// What the client has not taken yet.
    unsent: Vec<u8>,
    sent: usize,
    /// The mark that ends a stream has left for the client.
    marker_sent: bool,
    /// Why no more comes of the body, if it did not end.
    broken: Option<End>,
    /// The client does not take what is sent.
    stalled: bool,
    stall_limit: Duration,
}

impl<S: Transport> Connection<S> {
    /// Sends `granted` to the client and closes the account of the request.
    pub(super) async fn forward(
        &mut self,
        mut exchange: Exchange,
        granted: Granted,
        client: ClientSide,
    ) -> Next {
        let Granted {
            answer,
            mut leg,
            hide_usage,
            ending,
        } = granted;
        let is_success = answer.is_success();
        let (address, head) = (answer.address, answer.head);
        let hide = hide_usage && is_success && !is_json(&head, &answer.buffer);
        let mut relay = BodyRelay::new(head.body, client.old, hide);
        let keep_alive = client.keep_alive
            && relay.delivery() != Delivery::UntilClose
            && !self.worker.shared.is_draining();
        let reusable = head.keep_alive;
        exchange.record.status = head.status;

        let mut unsent = Vec::with_capacity(answer.buffer.len() + 128);
        write_head(&head, &answer.buffer, &relay, &mut exchange, &mut unsent);
        push_connection(keep_alive, client.old, &mut unsent);
        unsent.extend_from_slice(b"\r\n");
        let first = &answer.buffer[head.size..];
        let waits_for_first = first.is_empty();
        if !waits_for_first {
            leg.first_byte();
        }
        let broken = match relay.advance(first, &mut unsent) {
            Ok(verbatim) => {
                unsent.extend_from_slice(&first[verbatim]);
                None
            }
            Err(_) => Some(End::Broken),
        };
        drop(head);
        drop(answer.buffer);

        let mut forwarding = Forwarding {
            client: &mut self.client,
            engine: answer.stream,
            relay,
            leg,
            waits_for_first,
            unsent,
            sent: 0,
            marker_sent: false,
            broken,
            stalled: false,
            stall_limit: self.worker.shared.limits.idle,
        };
        let end = poll_fn(|cx| forwarding.poll(cx)).await;
        // Nothing that matters was lost behind the mark that ends a stream.
        let is_whole = end == End::Complete || forwarding.marker_sent;
        let Forwarding {
            engine, relay, leg, ..
        } = forwarding;
        exchange.note_answer(relay.usage());
        if is_whole {
            leg.complete(relay.usage());
        } else {
            note_break(&mut exchange, leg, end);
        }
        if is_whole && is_success {
            ending.went_well(&self.worker.shared);
        }
        if end == End::Complete && reusable && !relay.has_excess() {
            self.worker.pool.put(address, engine);
        }
        match end {
            End::Complete if keep_alive => Next::KeepAlive,
            End::Complete => Next::Close,
            End::Broken | End::Silent | End::ClientGone => Next::Abort,
        }
    }
}

/// Tells everybody that the answer did not reach the client whole.
fn note_break(exchange: &mut Exchange, leg: Leg, end: End) {
    match end {
        End::Broken => {
            leg.broke(UpstreamFault::Closed);
            exchange.note_break("response_forwarding", "the engine broke off its answer");
        }
        End::Silent => {
            leg.broke(UpstreamFault::Silent);
            exchange.note_break("response_forwarding", "the engine fell silent");
        }
        End::Complete | End::ClientGone => {
            drop(leg);
            exchange.note_break("client_closed", "the client closed the connection");
        }
    }
}

impl<S: Transport> Forwarding<'_, S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            if ready!(self.poll_flush(cx)).is_err() {
                return Poll::Ready(End::ClientGone);
            }
            self.marker_sent |= self.relay.saw_end_marker();
            if let Some(end) = self.broken {
                return Poll::Ready(end);
            }
            if self.relay.is_ended() {
                return Poll::Ready(End::Complete);
            }
            let (client, relay, unsent) = (&mut *self.client, &mut self.relay, &mut self.unsent);
            let (leg, waits_for_first) = (&mut self.leg, &mut self.waits_for_first);
            let step = scratch::poll_read(&mut self.engine, cx, |cx, bytes| {
                if std::mem::take(waits_for_first) {
                    leg.first_byte();
                }
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
                Poll::Ready(Ok(Err(end))) => self.broken = Some(end),
                Poll::Ready(Err(error)) if is_silence(&error) => self.broken = Some(End::Silent),
                Poll::Ready(Err(_)) => self.broken = Some(End::Broken),
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
                Poll::Pending => return self.stall(cx),
            }
        }
        match self.client.poll_flush(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Poll::Ready(Err(End::ClientGone)),
            Poll::Pending => return self.stall(cx),
        }
        if std::mem::take(&mut self.stalled) || !self.unsent.is_empty() {
            self.unsent = Vec::new();
            self.sent = 0;
            let watchdog = self.client.watchdog();
            watchdog.disarm();
            self.engine.attend(watchdog);
        }
        Poll::Ready(Ok(()))
    }

    /// The client does not take what is sent.
    fn stall(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        if !std::mem::replace(&mut self.stalled, true) {
            self.client.watchdog().arm(self.stall_limit);
            // An engine that is not read may well say nothing.
            self.engine.release();
        }
        self.client.poll_gone(cx).map(|_| Err(End::ClientGone))
    }
}

/// Sends `bytes` straight from the read buffer; what the client does not take at once is kept in `unsent`.
fn pass<S: Transport>(
    client: &mut Client<S>,
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

/// Status and fields of the engine's answer, without those that concern its connection to the router, and what the
/// router has to say.
fn write_head(
    head: &ResponseHead,
    buffer: &[u8],
    relay: &BodyRelay,
    exchange: &mut Exchange,
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
        push_field(b"x-request-id", exchange.record.request_id.as_bytes(), out);
    }
    if let Some(explanation) = exchange.explanation.take() {
        let told = exchange.told(&explanation, exchange.record.pod.as_deref());
        push_field(EXPLAIN.as_bytes(), told.as_bytes(), out);
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
