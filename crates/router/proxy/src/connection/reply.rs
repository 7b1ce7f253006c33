//! Answers the router gives itself.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::StatusCode;
use kthena_router_pipeline::{ErrorStyle, RouteError};

/// A complete answer.
#[derive(Debug)]
pub(crate) struct Reply {
    status: StatusCode,
    fields: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

const JSON: &str = "application/json; charset=utf-8";

impl Reply {
    fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self {
            status,
            fields: vec![("content-type", content_type.to_owned())],
            body: body.into(),
        }
    }

    pub(crate) fn text(status: u16, body: &str) -> Self {
        Self::new(status, "text/plain", body)
    }

    pub(crate) fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status, JSON, body)
    }

    /// What a client is told about an error.
    pub(crate) fn error(error: &RouteError, style: ErrorStyle) -> Self {
        let (status, body) = error.render(style);
        let mut reply = Self::json(status.as_u16(), body);
        if style == ErrorStyle::OpenAi
            && let Some(seconds) = error.outcome().retry_after
        {
            reply = reply.with("retry-after", seconds.to_string());
        }
        reply
    }

    pub(super) fn exposition(text: &str, gzip: bool) -> Self {
        const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
        if gzip {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            if encoder.write_all(text.as_bytes()).is_ok()
                && let Ok(packed) = encoder.finish()
            {
                return Self::new(200, TYPE, packed).with("content-encoding", "gzip".to_owned());
            }
        }
        Self::new(200, TYPE, text)
    }

    /// From `/v1` to `/v1/`, query kept.
    pub(super) fn redirect(target: &str, is_get: bool) -> Self {
        let location = target.replacen("/v1", "/v1/", 1);
        Self::text(if is_get { 301 } else { 307 }, "").with("location", location)
    }

    pub(crate) fn with(mut self, name: &'static str, value: String) -> Self {
        self.fields.push((name, value));
        self
    }

    pub(super) fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// The bytes to send. `old`: to an HTTP/1.0 client, which must be told that the connection stays open.
    pub(crate) fn encode(&self, keep_alive: bool, old: bool) -> Vec<u8> {
        let mut out = self.encode_head(keep_alive, old);
        out.extend_from_slice(&self.body);
        out
    }

    /// The same without the body, for who asked for the head alone.
    pub(super) fn encode_head(&self, keep_alive: bool, old: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + self.body.len());
        push_status(self.status.as_u16(), &mut out);
        for (name, value) in &self.fields {
            push_field(name.as_bytes(), value.as_bytes(), &mut out);
        }
        push_field(
            b"content-length",
            itoa::Buffer::new().format(self.body.len()).as_bytes(),
            &mut out,
        );
        push_connection(keep_alive, old, &mut out);
        out.extend_from_slice(b"\r\n");
        out
    }
}

/// Whether an `Accept-Encoding` value takes gzip.
pub(super) fn accepts_gzip(value: &[u8]) -> bool {
    crate::http1::fields::elements(value).any(|element| {
        let (coding, weight) = match element.iter().position(|byte| *byte == b';') {
            Some(at) => (element[..at].trim_ascii(), &element[at..]),
            None => (element, &b""[..]),
        };
        coding.eq_ignore_ascii_case(b"gzip") && !weight.ends_with(b"q=0")
    })
}

pub(super) fn push_status(status: u16, out: &mut Vec<u8>) {
    let reason = StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}

pub(super) fn push_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn push_connection(keep_alive: bool, old: bool, out: &mut Vec<u8>) {
    if !keep_alive {
        push_field(b"connection", b"close", out);
    } else if old {
        push_field(b"connection", b"keep-alive", out);
    }
}
