//! One request over HTTP/2, as a connection in HTTP/1.1 that carries it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::head::{self, Framing};
use crate::http1::chunks::{ChunkWalker, LAST_CHUNK, push_chunk};
use crate::http1::response::{BodyLength, ResponseHead};
use crate::transport::Transport;

/// A request and the way of its answer.
pub(crate) struct Stream {
    inbound: Inbound,
    outbound: Outbound,
}

/// The request's side.
struct Inbound {
    body: RecvStream,
    framing: Framing,
    /// Bytes that were received and not yet read.
    ready: Bytes,
    ended: bool,
}

/// The answer's side.
struct Outbound {
    to_head_request: bool,
    state: State,
    /// Payload that the client has no room for yet.
    unsent: BytesMut,
}

enum State {
    /// The head is not complete.
    Head {
        respond: SendResponse<Bytes>,
        received: Vec<u8>,
    },
    Body {
        stream: SendStream<Bytes>,
        source: Source,
    },
    /// Everything was handed over, the end included.
    Ended(SendStream<Bytes>),
    /// The client was or will be told that the answer is broken.
    Broken,
}

/// How the end of the payload is found in what is written.
#[derive(Debug, Clone, Copy)]
enum Source {
    Sized(u64),
    Chunked(ChunkWalker),
    UntilShutdown,
    Ended,
}

impl Stream {
    pub(crate) fn new(request: Request<RecvStream>, respond: SendResponse<Bytes>) -> Self {
        let ended = request.body().is_end_stream();
        let (head, framing) = head::request(&request, ended);
        let to_head_request = request.method() == Method::HEAD;
        Self {
            inbound: Inbound {
                body: request.into_body(),
                framing,
                ready: head,
                ended,
            },
            outbound: Outbound {
                to_head_request,
                state: State::Head {
                    respond,
                    received: Vec::new(),
                },
                unsent: BytesMut::new(),
            },
        }
    }
}

impl Transport for Stream {
    const PROTOCOL: Option<&'static str> = Some("HTTP/2.0");
}

impl Inbound {
    /// Receives the next piece of the body; `Pending` once it has ended, unless the stream breaks.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(self.body.poll_data(cx)) {
            Some(Ok(data)) => {
                // What is read from here is bounded by the limit on bodies, so the client may send on.
                let _ = self.body.flow_control().release_capacity(data.len());
                self.ready = match self.framing {
                    Framing::Plain => data,
                    Framing::Chunked => {
                        let mut chunk = Vec::with_capacity(data.len() + 16);
                        push_chunk(&data, &mut chunk);
                        chunk.into()
                    }
                };
            }
            Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            None => {
                self.ended = true;
                if self.framing == Framing::Chunked {
                    self.ready = Bytes::from_static(LAST_CHUNK);
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Outbound {
    /// Ready once the client has reset the stream or its connection is gone.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.state {
            State::Head { respond, .. } => respond.poll_reset(cx).map(|_| ()),
            State::Body { stream, .. } | State::Ended(stream) => stream.poll_reset(cx).map(|_| ()),
            State::Broken => Poll::Ready(()),
        }
    }

    /// Takes in all of `bytes`, which `unsent` must have room for.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        let State::Head { received, .. } = &mut self.state else {
            return self.payload(bytes);
        };
        received.extend_from_slice(bytes);
        let written = std::mem::take(received);
        let head = ResponseHead::parse(&written, self.to_head_request)
            .map_err(|_| io::ErrorKind::InvalidData)?;
        let Some(head) = head else {
            *received = written;
            return Ok(());
        };
        self.answer(&head, &written)?;
        self.payload(&written[head.size..])
    }

    /// Sends the head of the answer.
    fn answer(&mut self, head: &ResponseHead, buffer: &[u8]) -> io::Result<()> {
        let response = head::response(head, buffer).ok_or(io::ErrorKind::InvalidData)?;
        let State::Head { mut respond, .. } = std::mem::replace(&mut self.state, State::Broken)
        else {
            return Ok(());
        };
        let source = match head.body {
            BodyLength::Empty => Source::Ended,
            BodyLength::Sized(length) => Source::Sized(length),
            BodyLength::Chunked => Source::Chunked(ChunkWalker::new()),
            BodyLength::UntilClose => Source::UntilShutdown,
        };
        let empty = matches!(source, Source::Ended);
        let stream = respond
            .send_response(response, empty)
            .map_err(io::Error::other)?;
        self.state = if empty {
            State::Ended(stream)
        } else {
            State::Body { stream, source }
        };
        Ok(())
    }

    fn payload(&mut self, bytes: &[u8]) -> io::Result<()> {
        let State::Body { source, .. } = &mut self.state else {
            return Ok(());
        };
        let unsent = &mut self.unsent;
        match source {
            Source::Sized(left) => {
                let size = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                unsent.extend_from_slice(&bytes[..size]);
                *left -= size as u64;
                if *left == 0 {
                    *source = Source::Ended;
                }
            }
            Source::Chunked(walker) => {
                walker
                    .walk(bytes, |payload| unsent.extend_from_slice(payload))
                    .map_err(|_| io::ErrorKind::InvalidData)?;
                if walker.is_done() {
                    *source = Source::Ended;
                }
            }
            Source::UntilShutdown => unsent.extend_from_slice(bytes),
            Source::Ended => {}
        }
        Ok(())
    }

    /// Hands over what waits, as far as the client has room for it.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let State::Body { stream, source } = &mut self.state else {
            return Poll::Ready(Ok(()));
        };
        let complete = matches!(source, Source::Ended);
        while !self.unsent.is_empty() {
            stream.reserve_capacity(self.unsent.len());
            while stream.capacity() == 0 {
                match ready!(stream.poll_capacity(cx)) {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                    None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                }
            }
            let size = stream.capacity().min(self.unsent.len());
            let piece = self.unsent.split_to(size).freeze();
            let last = complete && self.unsent.is_empty();
            stream.send_data(piece, last).map_err(io::Error::other)?;
            if last {
                return self.end();
            }
        }
        // A stream that waits owns no buffer.
        self.unsent = BytesMut::new();
        if complete {
            stream
                .send_data(Bytes::new(), true)
                .map_err(io::Error::other)?;
            return self.end();
        }
        Poll::Ready(Ok(()))
    }

    fn end(&mut self) -> Poll<io::Result<()>> {
        self.unsent = BytesMut::new();
        self.state = match std::mem::replace(&mut self.state, State::Broken) {
            State::Body { stream, .. } => State::Ended(stream),
            other => other,
        };
        Poll::Ready(Ok(()))
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        match &mut self.state {
            State::Head { respond, .. } => respond.send_reset(Reason::INTERNAL_ERROR),
            State::Body { stream, .. } => stream.send_reset(Reason::INTERNAL_ERROR),
            State::Ended(_) | State::Broken => {}
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Whoever waits for the client also waits for it to take what was written.
        if let Poll::Ready(Err(error)) = this.outbound.poll_drain(cx) {
            return Poll::Ready(Err(error));
        }
        loop {
            let inbound = &mut this.inbound;
            if !inbound.ready.is_empty() {
                let size = buffer.remaining().min(inbound.ready.len());
                buffer.put_slice(&inbound.ready.split_to(size));
                return Poll::Ready(Ok(()));
            }
            if inbound.ended {
                return this.outbound.poll_gone(cx).map(Ok);
            }
            ready!(inbound.poll_receive(cx))?;
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outbound = &mut self.get_mut().outbound;
        ready!(outbound.poll_drain(cx))?;
        outbound.take(bytes)?;
        match outbound.poll_drain(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(bytes.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().outbound.poll_drain(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outbound = &mut self.get_mut().outbound;
        if let State::Body { source, .. } = &mut outbound.state
            && matches!(source, Source::UntilShutdown)
        {
            *source = Source::Ended;
        }
        outbound.poll_drain(cx)
    }
}
