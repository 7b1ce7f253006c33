//! What happens to the bytes of an answer's body on their way to the client.
//!
//! [`BodyRelay`] is fed the bytes as they come off the engine's connection and says which of them may be passed on
//! untouched; only what must change is copied. It holds no socket.
//!
//! # Invariants
//!
//! - Payload bytes keep their order and are neither lost nor doubled; only a withheld usage event is missing.
//! - The end of the body reaches the client only if the engine ended it properly.
//! - At most one incomplete line is held back, and only where usage events are withheld.

mod lines;
mod marker;

use std::ops::Range;

use kthena_router_observability::usage::{Usage, UsageTap, may_report};

use crate::http1::chunks::{ChunkWalker, LAST_CHUNK, push_chunk};
use crate::http1::response::BodyLength;
use lines::LineFilter;
use marker::EndMarker;

/// How the client finds the end of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// As the engine sends it: same length, or same chunks.
    AsIs,
    /// In chunks of our own.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

/// The engine's body is not framed as its head said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BrokenBody;

/// One answer's body in passing.
#[derive(Debug)]
pub(crate) struct BodyRelay {
    source: Source,
    delivery: Delivery,
    hide: Option<LineFilter>,
    tap: UsageTap,
    marker: EndMarker,
    excess: bool,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    Sized(u64),
    Chunked(ChunkWalker),
    UntilClose,
    Ended,
}

impl BodyRelay {
    /// A relay from an engine's body to a client. `hide_usage`: withhold events that only report usage.
    pub(crate) fn new(body: BodyLength, old_client: bool, hide_usage: bool) -> Self {
        let (source, as_is) = match body {
            BodyLength::Empty => (Source::Ended, true),
            BodyLength::Sized(length) => (Source::Sized(length), !hide_usage),
            BodyLength::Chunked => (
                Source::Chunked(ChunkWalker::new()),
                !old_client && !hide_usage,
            ),
            BodyLength::UntilClose => (Source::UntilClose, false),
        };
        let delivery = match (as_is, old_client) {
            (true, _) => Delivery::AsIs,
            (false, false) => Delivery::Chunked,
            (false, true) => Delivery::UntilClose,
        };
        let hide = (hide_usage && body != BodyLength::Empty).then(LineFilter::default);
        Self {
            source,
            delivery,
            hide,
            tap: UsageTap::default(),
            marker: EndMarker::default(),
            excess: false,
        }
    }

    pub(crate) fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// The whole body was taken in.
    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.source, Source::Ended)
    }

    /// The mark that ends a stream was among what was taken in.
    pub(crate) fn saw_end_marker(&self) -> bool {
        self.marker.was_seen()
    }

    /// The engine sent bytes behind the end of the body, so its connection is of no further use.
    pub(crate) fn has_excess(&self) -> bool {
        self.excess
    }

    pub(crate) fn usage(&self) -> Option<Usage> {
        self.tap.usage()
    }

    /// Takes in bytes off the engine's connection. What the returned range covers of `input` is to be sent as it is;
    /// otherwise `out` has grown by what is to be sent. Bytes behind the end of the body are not looked at.
    pub(crate) fn advance(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Range<usize>, BrokenBody> {
        match self.source {
            Source::Ended => {
                self.excess |= !input.is_empty();
                Ok(0..0)
            }
            Source::Sized(left) => {
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                self.excess |= taken < input.len();
                let rest = left - taken as u64;
                self.source = if rest == 0 {
                    Source::Ended
                } else {
                    Source::Sized(rest)
                };
                Ok(self.payload(&input[..taken], out))
            }
            Source::UntilClose => Ok(self.payload(input, out)),
            Source::Chunked(walker) => self.chunks(walker, input, out),
        }
    }

    /// The engine closed its connection. Ends a body that is delimited by that; any other is cut short.
    pub(crate) fn close(&mut self, out: &mut Vec<u8>) -> Result<(), BrokenBody> {
        match self.source {
            Source::Ended => Ok(()),
            Source::UntilClose => {
                self.source = Source::Ended;
                self.finish(out);
                Ok(())
            }
            Source::Sized(_) | Source::Chunked(_) => Err(BrokenBody),
        }
    }

    /// A stretch of payload that was not framed in chunks.
    fn payload(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Range<usize> {
        self.observe(payload);
        if self.delivery == Delivery::AsIs {
            return 0..payload.len();
        }
        self.deliver(payload, out);
        if self.is_ended() {
            self.finish(out);
        }
        0..0
    }

    fn chunks(
        &mut self,
        walker: ChunkWalker,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Range<usize>, BrokenBody> {
        let mut next = walker;
        let size;
        if self.delivery == Delivery::AsIs {
            size = next
                .walk(input, |payload| self.observe(payload))
                .map_err(|_| BrokenBody)?;
            self.walked_to(next);
            self.excess |= size < input.len();
            return Ok(0..size);
        }
        if self.delivery == Delivery::Chunked && self.may_pass(walker) {
            let mut clean = true;
            let mut marker = self.marker;
            let passed = next
                .walk(input, |payload| {
                    clean &= payload.ends_with(b"\n") && !may_report(payload);
                    marker.feed(payload);
                })
                .map_err(|_| BrokenBody)?;
            if clean && (next.is_between_chunks() || next.is_done()) {
                self.marker = marker;
                self.excess |= passed < input.len();
                self.walked_to(next);
                return Ok(0..passed);
            }
            next = walker;
        }
        size = next
            .walk(input, |payload| {
                self.observe(payload);
                self.deliver(payload, out);
            })
            .map_err(|_| BrokenBody)?;
        self.excess |= size < input.len();
        self.walked_to(next);
        if self.is_ended() {
            self.finish(out);
        }
        Ok(0..0)
    }

    /// Whether chunks that hold whole lines and no report may pass as they are.
    fn may_pass(&self, walker: ChunkWalker) -> bool {
        walker.is_between_chunks() && self.hide.as_ref().is_none_or(LineFilter::is_idle)
    }

    fn walked_to(&mut self, walker: ChunkWalker) {
        self.source = if walker.is_done() {
            Source::Ended
        } else {
            Source::Chunked(walker)
        };
    }

    fn observe(&mut self, payload: &[u8]) {
        self.tap.feed(payload);
        self.marker.feed(payload);
    }

    fn deliver(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        let delivery = self.delivery;
        match &mut self.hide {
            None => push(delivery, payload, out),
            Some(filter) => {
                let mut kept = Vec::new();
                filter.feed(payload, &mut kept);
                push(delivery, &kept, out);
            }
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(filter) = &mut self.hide {
            let mut kept = Vec::new();
            filter.finish(&mut kept);
            push(self.delivery, &kept, out);
        }
        if self.delivery == Delivery::Chunked {
            out.extend_from_slice(LAST_CHUNK);
        }
    }
}

fn push(delivery: Delivery, payload: &[u8], out: &mut Vec<u8>) {
    if delivery == Delivery::Chunked {
        push_chunk(payload, out);
    } else {
        out.extend_from_slice(payload);
    }
}

#[cfg(test)]
mod tests;
