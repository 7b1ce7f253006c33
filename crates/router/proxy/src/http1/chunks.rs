//! Walks over chunked framing without taking it apart.

/// Where a walk stands. Small and copyable, so that a walk can be tried and thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkWalker {
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first digit of a size.
    Start,
    Size(u64),
    /// Behind the size: extensions, up to the line feed.
    Extension(u64),
    Data(u64),
    DataCr,
    DataLf,
    /// At the start of a trailer line.
    Trailer,
    TrailerLine,
    /// After the carriage return of the blank line.
    EndLf,
    Done,
}

/// The framing is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadChunk;

/// A chunk larger than this is refused, as is one whose size does not fit.
const LARGEST: u64 = 1 << 40;

impl ChunkWalker {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Start,
        }
    }

    /// The whole body was walked over.
    pub(crate) fn is_done(self) -> bool {
        self.state == State::Done
    }

    /// The next byte begins a chunk.
    pub(crate) fn is_between_chunks(self) -> bool {
        self.state == State::Start
    }

    /// Walks over `input` up to its end or the end of the body, calling `payload` with each stretch of it. Returns
    /// how many bytes belong to the body.
    pub(crate) fn walk<'i>(
        &mut self,
        input: &'i [u8],
        mut payload: impl FnMut(&'i [u8]),
    ) -> Result<usize, BadChunk> {
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            if let State::Data(left) = self.state {
                let rest = &input[at..];
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                payload(&rest[..taken]);
                at += taken;
                let left = left - taken as u64;
                self.state = if left == 0 {
                    State::DataCr
                } else {
                    State::Data(left)
                };
                continue;
            }
            self.state = self.after(input[at])?;
            at += 1;
        }
        Ok(at)
    }

    /// The state after a byte of framing.
    fn after(self, byte: u8) -> Result<State, BadChunk> {
        let digit = char::from(byte).to_digit(16).map(u64::from);
        Ok(match (self.state, byte, digit) {
            (State::Start, _, Some(digit)) => State::Size(digit),
            (State::Size(size), _, Some(digit)) if size < LARGEST => State::Size(size * 16 + digit),
            (State::Size(0) | State::Extension(0) | State::TrailerLine, b'\n', _) => State::Trailer,
            (State::Size(size) | State::Extension(size), b'\n', _) => State::Data(size),
            (State::Size(size), b'\r' | b';' | b' ' | b'\t', None)
            | (State::Extension(size), ..) => State::Extension(size),
            (State::DataCr, b'\r', _) => State::DataLf,
            (State::DataCr | State::DataLf, b'\n', _) => State::Start,
            (State::Trailer, b'\r', _) => State::EndLf,
            (State::Trailer | State::EndLf, b'\n', _) => State::Done,
            (State::Trailer | State::TrailerLine, ..) => State::TrailerLine,
            _ => return Err(BadChunk),
        })
    }
}

/// Appends `payload` to `out` as one chunk; nothing if it is empty, which would end the body.
pub(crate) fn push_chunk(payload: &[u8], out: &mut Vec<u8>) {
    if payload.is_empty() {
        return;
    }
    push_hex(payload.len(), out);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// The chunk that ends a body.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

fn push_hex(number: usize, out: &mut Vec<u8>) {
    let digits = (usize::BITS - number.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(number >> (place * 4)) & 0xf]);
    }
}

#[cfg(test)]
mod tests;
