//! HTTP/1.1 messages: heads of requests and answers, chunked bodies.

use crate::split::{instructions, pieces};

#[allow(
    dead_code,
    unreachable_pub,
    reason = "the router uses all of the module, this crate only its parsers"
)]
#[path = "../../crates/router/proxy/src/http1/mod.rs"]
mod http1;

use http1::chunks::ChunkWalker;
use http1::request::RequestHead;
use http1::response::ResponseHead;

/// Bytes a head may have here.
const LIMIT: usize = 8192;

/// Reads any bytes as a head and as a chunked body, whole and in pieces.
pub fn messages(data: &[u8]) {
    let ([pattern], text) = instructions(data);
    match pattern % 3 {
        0 => request(text),
        1 => answer(text, pattern & 4 != 0),
        _ => chunks(text, pattern),
    }
}

/// A head that was read is read the same when more bytes follow, and nothing shorter is a whole head.
fn request(text: &[u8]) {
    let Ok(Some(head)) = RequestHead::parse(text, LIMIT) else {
        return;
    };
    assert!(head.size <= text.len(), "a head is part of what was read");
    let _ = (head.method(text), head.target(text), head.has_body());
    let alone = RequestHead::parse(&text[..head.size], LIMIT);
    let alone = alone.ok().flatten().expect("the head alone is a head");
    assert_eq!((alone.size, alone.keep_alive), (head.size, head.keep_alive));
    assert_eq!(alone.path(text), head.path(text));
}

fn answer(text: &[u8], to_head_request: bool) {
    let Ok(Some(head)) = ResponseHead::parse(text, to_head_request) else {
        return;
    };
    assert!(head.size <= text.len(), "a head is part of what was read");
    let alone = ResponseHead::parse(&text[..head.size], to_head_request);
    let alone = alone.ok().flatten().expect("the head alone is a head");
    assert_eq!((alone.size, alone.status), (head.size, head.status));
}

fn chunks(text: &[u8], pattern: u8) {
    let whole = walk([text]);
    let cut = walk(pieces(text, pattern));
    assert_eq!(whole.payload, cut.payload, "payload");
    assert_eq!((whole.broken, whole.done), (cut.broken, cut.done), "end");
    assert_eq!(whole.taken, cut.taken, "bytes of the body");
}

/// What a walk over a chunked body gave.
#[derive(Default)]
struct Walked {
    payload: Vec<u8>,
    taken: usize,
    broken: bool,
    done: bool,
}

fn walk<'t>(pieces: impl IntoIterator<Item = &'t [u8]>) -> Walked {
    let mut walker = ChunkWalker::new();
    let mut sum = Walked::default();
    for piece in pieces {
        let payload = &mut sum.payload;
        let Ok(taken) = walker.walk(piece, |stretch| payload.extend_from_slice(stretch)) else {
            // Where the framing breaks, nothing that came with it counts.
            sum.broken = true;
            sum.taken = 0;
            sum.payload.clear();
            return sum;
        };
        sum.taken += taken;
        if walker.is_done() {
            sum.done = true;
            return sum;
        }
        assert_eq!(taken, piece.len(), "an open body takes all there is");
    }
    sum
}
