//! The head of a client's request.

use std::borrow::Cow;

use kthena_router_routing::HeaderSource;

use super::fields::{self, Fields, Length, MAX_FIELDS, Span};

/// A parsed head. Positions refer to the buffer it was parsed from.
#[derive(Debug)]
pub(crate) struct RequestHead {
    method: Span,
    /// Path and query as received.
    target: Span,
    pub(crate) fields: Fields,
    /// Bytes of the head, the blank line included.
    pub(crate) size: usize,
    pub(crate) length: Length,
    /// `HTTP/1.0` rather than 1.1.
    pub(crate) old: bool,
    pub(crate) keep_alive: bool,
    pub(crate) expects_continue: bool,
}

/// Why a head cannot be served; the connection ends with the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadHead {
    Malformed,
    TooLarge,
    Ambiguous,
    /// Not one Host (RFC 9112, section 3.2): those who read it differently would disagree on whom it is for.
    Host,
    /// It did not arrive in time.
    TooSlow,
}

impl BadHead {
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Malformed | Self::Ambiguous | Self::Host => 400,
            Self::TooLarge => 431,
            Self::TooSlow => 408,
        }
    }
}

impl RequestHead {
    /// Parses the head at the start of `buffer`; `None` if it is not complete yet.
    pub(crate) fn parse(buffer: &[u8], limit: usize) -> Result<Option<Self>, BadHead> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut headers);
        let size = match request.parse(buffer) {
            Ok(httparse::Status::Complete(size)) if size <= limit => size,
            Ok(httparse::Status::Partial) if buffer.len() <= limit => return Ok(None),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(BadHead::TooLarge),
            Err(_) => return Err(BadHead::Malformed),
        };
        let (Some(method), Some(target), Some(version)) =
            (request.method, request.path, request.version)
        else {
            return Err(BadHead::Malformed);
        };
        let fields = Fields::of(buffer, request.headers);
        let length = fields::length(&fields, buffer).map_err(|_| BadHead::Ambiguous)?;
        let old = version == 0;
        if old && length == Length::Chunked {
            return Err(BadHead::Ambiguous);
        }
        let hosts = fields.all(buffer, "host").count();
        if hosts > 1 || (hosts == 0 && !old) {
            return Err(BadHead::Host);
        }
        let connection = |word: &str| {
            fields
                .all(buffer, "connection")
                .flat_map(fields::elements)
                .any(|element| element.eq_ignore_ascii_case(word.as_bytes()))
        };
        let keep_alive = !connection("close") && (!old || connection("keep-alive"));
        let expects = fields
            .first(buffer, "expect")
            .is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"));
        Ok(Some(Self {
            method: Span::of(buffer, method.as_bytes()),
            target: Span::of(buffer, origin_form(target).as_bytes()),
            size,
            length,
            old,
            keep_alive,
            expects_continue: expects && !old,
            fields,
        }))
    }

    pub(crate) fn method<'b>(&self, buffer: &'b [u8]) -> &'b str {
        // The parser lets only token characters through.
        std::str::from_utf8(self.method.bytes(buffer)).unwrap_or_default()
    }

    /// Path and query.
    pub(crate) fn target<'b>(&self, buffer: &'b [u8]) -> &'b str {
        std::str::from_utf8(self.target.bytes(buffer)).unwrap_or_default()
    }

    /// Path without query, as received.
    pub(crate) fn path<'b>(&self, buffer: &'b [u8]) -> &'b str {
        let target = self.target(buffer);
        target.split_once('?').map_or(target, |(path, _)| path)
    }

    /// The version as the access log names it.
    pub(crate) fn protocol(&self) -> &'static str {
        if self.old { "HTTP/1.0" } else { "HTTP/1.1" }
    }

    pub(crate) fn has_body(&self) -> bool {
        !matches!(self.length, Length::Unsaid | Length::Sized(0))
    }
}

/// Cuts scheme and authority off a target in absolute form.
fn origin_form(target: &str) -> &str {
    if target.starts_with('/') {
        return target;
    }
    target.split_once("://").map_or(target, |(_, rest)| {
        rest.find('/').map_or("/", |slash| &rest[slash..])
    })
}

/// Undoes percent-encoding; what is no valid escape stays.
pub(crate) fn decoded(path: &str) -> Cow<'_, [u8]> {
    if !path.contains('%') {
        return path.as_bytes().into();
    }
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        let digit = |at: usize| tail.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (first, digit(0), digit(1)) {
            out.push(u8::try_from(high * 16 + low).unwrap_or_default());
            rest = &tail[2..];
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    out.into()
}

/// A head with its buffer, for routing rules.
pub(crate) struct HeadersOf<'a> {
    pub(crate) fields: &'a Fields,
    pub(crate) buffer: &'a [u8],
}

impl HeaderSource for HeadersOf<'_> {
    fn first(&self, name: &str) -> Option<&[u8]> {
        // A Host header names the router, not the request.
        if name == "host" {
            return None;
        }
        let wanted = |(other, _): &(&[u8], &[u8])| other.eq_ignore_ascii_case(name.as_bytes());
        self.fields
            .iter(self.buffer)
            .find(wanted)
            .map(|(_, value)| value)
    }
}
