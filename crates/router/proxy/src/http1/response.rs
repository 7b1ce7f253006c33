//! The head of an engine's answer.

use super::fields::{self, Fields, Length, MAX_FIELDS};

/// Longest head taken from an engine.
const LIMIT: usize = 256 << 10;

/// A parsed head. Positions refer to the buffer it was parsed from.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    pub(crate) fields: Fields,
    /// Bytes up to the end of the head, interim answers included.
    pub(crate) size: usize,
    pub(crate) body: BodyLength,
    /// Whether another request may follow on the connection.
    pub(crate) keep_alive: bool,
}

/// How the end of an answer's body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyLength {
    Empty,
    Sized(u64),
    Chunked,
    UntilClose,
}

/// What was received is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadAnswer;

impl ResponseHead {
    /// Parses the final head in `buffer`, skipping interim ones; `None` if it is not complete yet.
    pub(crate) fn parse(buffer: &[u8], to_head_request: bool) -> Result<Option<Self>, BadAnswer> {
        let mut start = 0;
        loop {
            let mut headers = [httparse::EMPTY_HEADER; MAX_FIELDS];
            let mut response = httparse::Response::new(&mut headers);
            let size = match response.parse(&buffer[start..]) {
                Ok(httparse::Status::Complete(size)) => size,
                Ok(httparse::Status::Partial) if buffer.len() <= LIMIT => return Ok(None),
                Ok(httparse::Status::Partial) | Err(_) => return Err(BadAnswer),
            };
            let (Some(status), Some(version)) = (response.code, response.version) else {
                return Err(BadAnswer);
            };
            start += size;
            match status {
                101 => return Err(BadAnswer),
                100..=199 => {}
                200..=999 => {
                    let fields = Fields::of(buffer, response.headers);
                    return Self::of(buffer, fields, status, version, start, to_head_request)
                        .map(Some);
                }
                _ => return Err(BadAnswer),
            }
        }
    }

    fn of(
        buffer: &[u8],
        fields: Fields,
        status: u16,
        version: u8,
        size: usize,
        to_head_request: bool,
    ) -> Result<Self, BadAnswer> {
        let length = fields::length(&fields, buffer).map_err(|_| BadAnswer)?;
        let body = match length {
            _ if to_head_request || status == 204 || status == 304 => BodyLength::Empty,
            Length::Sized(0) => BodyLength::Empty,
            Length::Sized(length) => BodyLength::Sized(length),
            Length::Chunked => BodyLength::Chunked,
            Length::Unsaid => BodyLength::UntilClose,
        };
        let says = |word: &[u8]| {
            fields
                .all(buffer, "connection")
                .flat_map(fields::elements)
                .any(|element| element.eq_ignore_ascii_case(word))
        };
        let keep_alive = body != BodyLength::UntilClose
            && !says(b"close")
            && (version > 0 || says(b"keep-alive"));
        Ok(Self {
            status,
            fields,
            size,
            body,
            keep_alive,
        })
    }
}
