//! Server-sent events: what a streamed answer is made of.
//!
//! Encoding writes straight into the caller's buffer. The [`Decoder`] takes bytes in any chunks.

use bytes::{BufMut, BytesMut};

mod decode;

pub use decode::{Decoder, Event, SseError};

#[cfg(test)]
mod tests;

/// The event that ends an OpenAI stream.
pub const DONE: &[u8] = b"data: [DONE]\n\n";

/// The payload of that event.
pub const DONE_PAYLOAD: &str = "[DONE]";

/// Appends an event with `payload`, which may have several lines.
pub fn encode(out: &mut BytesMut, payload: &[u8]) {
    let mut rest = payload;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        put_line(out, &rest[..end]);
        rest = &rest[end + 1..];
    }
    put_line(out, rest);
    out.put_u8(b'\n');
}

fn put_line(out: &mut BytesMut, line: &[u8]) {
    out.reserve(line.len() + 8);
    out.put_slice(b"data: ");
    out.put_slice(line);
    out.put_u8(b'\n');
}
