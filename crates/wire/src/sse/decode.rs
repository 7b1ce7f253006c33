//! Incremental decoding of an event stream, after the WHATWG rules.

use std::mem;

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// The `event:` field; empty means `message`.
    pub name: String,
    /// All `data:` lines, joined by line breaks.
    pub data: String,
    /// The last `id:` seen so far in the stream.
    pub id: String,
}

/// Why a stream cannot be decoded further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// A line, or the lines of one event together, are longer than the decoder may hold.
    #[error("an event is longer than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
}

/// Splits a byte stream into events.
///
/// It holds at most one unfinished event. After an error it stays in error, because the position in
/// the stream is lost.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    line: Vec<u8>,
    pending: Event,
    has_data: bool,
    seam: Seam,
    failed: bool,
}

/// What lies just before the current line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seam {
    /// The start of the stream, where a byte order mark may stand.
    Start,
    /// A carriage return; a line feed right after it belongs to it.
    Return,
    /// Anything else.
    Line,
}

impl Decoder {
    /// A decoder that holds events of up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            pending: Event::default(),
            has_data: false,
            seam: Seam::Start,
            failed: false,
        }
    }

    /// Takes the next bytes and appends the events they complete to `events`.
    ///
    /// Events completed before an error are delivered. An event that the end of the stream cuts
    /// off is never delivered.
    pub fn push(&mut self, chunk: &[u8], events: &mut Vec<Event>) -> Result<(), SseError> {
        if self.failed {
            return self.too_long();
        }
        let mut rest = chunk;
        while !rest.is_empty() {
            if self.seam == Seam::Return {
                self.seam = Seam::Line;
                if rest[0] == b'\n' {
                    rest = &rest[1..];
                    continue;
                }
            }
            let end = memchr::memchr2(b'\n', b'\r', rest);
            let part = &rest[..end.unwrap_or(rest.len())];
            if self.line.len() + self.pending.data.len() + part.len() > self.limit {
                return self.too_long();
            }
            self.line.extend_from_slice(part);
            let Some(end) = end else { break };
            let seam = if rest[end] == b'\r' {
                Seam::Return
            } else {
                Seam::Line
            };
            rest = &rest[end + 1..];
            self.end_line(events);
            self.seam = seam;
        }
        Ok(())
    }

    fn too_long(&mut self) -> Result<(), SseError> {
        self.failed = true;
        Err(SseError::TooLong { limit: self.limit })
    }

    fn end_line(&mut self, events: &mut Vec<Event>) {
        let line = mem::take(&mut self.line);
        let mut text: &[u8] = &line;
        if self.seam == Seam::Start {
            text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
        }
        if text.is_empty() {
            self.end_event(events);
        } else {
            self.field(text);
        }
        // Keeps the buffer for the next line.
        self.line = line;
        self.line.clear();
    }

    fn end_event(&mut self, events: &mut Vec<Event>) {
        let id = self.pending.id.clone();
        let event = mem::replace(
            &mut self.pending,
            Event {
                id,
                ..Event::default()
            },
        );
        // An event without a data line is not an event; its name does not carry over either.
        if mem::take(&mut self.has_data) {
            events.push(event);
        }
    }

    fn field(&mut self, line: &[u8]) {
        let (name, value) = match memchr::memchr(b':', line) {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        let value = String::from_utf8_lossy(value.strip_prefix(b" ").unwrap_or(value));
        match name {
            b"data" => {
                if mem::replace(&mut self.has_data, true) {
                    self.pending.data.push('\n');
                }
                self.pending.data.push_str(&value);
            }
            b"event" => value.as_ref().clone_into(&mut self.pending.name),
            b"id" if !value.contains('\0') => value.as_ref().clone_into(&mut self.pending.id),
            // Comments (empty name), `retry` and unknown fields.
            _ => {}
        }
    }
}
