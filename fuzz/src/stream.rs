//! Streamed answers: events, usage figures and withheld lines, whatever pieces the bytes come in.

use kthena_router_observability::UsageTap;
use kthena_wire::sse::{Decoder, Event, SseError, encode};

use crate::split::{instructions, pieces};

#[allow(
    dead_code,
    reason = "the router uses all of the module, this crate only its filter"
)]
#[path = "../../crates/router/proxy/src/relay/lines.rs"]
mod lines;

use lines::LineFilter;

/// Bytes an event may have here; small, so that the limit is met.
const LIMIT: usize = 4096;

/// Reads any stream in one piece and in many: the result must be the same.
pub fn stream(data: &[u8]) {
    let ([pattern], text) = instructions(data);
    let cut = pieces(text, pattern);
    let (whole, in_pieces) = (events([text]), events(cut.iter().copied()));
    assert_eq!(whole.0, in_pieces.0, "events");
    assert_eq!(whole.1, in_pieces.1, "outcome");
    assert_eq!(usage([text]), usage(cut.iter().copied()), "usage");
    assert_eq!(filtered([text]), filtered(cut), "lines");
    encoded_is_decoded(text);
}

fn events<'t>(pieces: impl IntoIterator<Item = &'t [u8]>) -> (Vec<Event>, Result<(), SseError>) {
    let mut decoder = Decoder::new(LIMIT);
    let mut events = Vec::new();
    let mut outcome = Ok(());
    for piece in pieces {
        outcome = decoder.push(piece, &mut events);
    }
    (events, outcome)
}

fn usage<'t>(
    pieces: impl IntoIterator<Item = &'t [u8]>,
) -> Option<kthena_router_observability::Usage> {
    let mut tap = UsageTap::default();
    for piece in pieces {
        tap.feed(piece);
    }
    tap.usage()
}

fn filtered<'t>(pieces: impl IntoIterator<Item = &'t [u8]>) -> Vec<u8> {
    let mut filter = LineFilter::default();
    let mut out = Vec::new();
    for piece in pieces {
        filter.feed(piece, &mut out);
    }
    filter.finish(&mut out);
    out
}

/// A payload that is text comes back as it was; a carriage return is a line end to the decoder.
fn encoded_is_decoded(payload: &[u8]) {
    let Ok(text) = std::str::from_utf8(payload) else {
        return;
    };
    if text.contains('\r') || text.len() > LIMIT / 2 {
        return;
    }
    let mut out = bytes::BytesMut::new();
    encode(&mut out, payload);
    let (events, outcome) = events([&out[..]]);
    assert_eq!(outcome, Ok(()));
    let data: Vec<&str> = events.iter().map(|event| event.data.as_str()).collect();
    assert_eq!(data, [text], "an event that was written is read");
}
