//! Heads between HTTP/2 and HTTP/1.1.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, COOKIE, EXPECT, HOST};
use http::{HeaderName, HeaderValue, Request, Response};

use crate::http1::fields;
use crate::http1::response::ResponseHead;

/// How the body of a request is delimited once it is written in HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// By the client's own content length, or there is no body.
    Plain,
    Chunked,
}

/// The head of `request` in HTTP/1.1. `ended`: no body follows.
pub(super) fn request<B>(request: &Request<B>, ended: bool) -> (Bytes, Framing) {
    let mut out = Vec::with_capacity(512);
    let uri = request.uri();
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    push(
        &mut out,
        &[
            request.method().as_str().as_bytes(),
            b" ",
            target.as_bytes(),
            b" HTTP/1.1",
        ],
    );
    let headers = request.headers();
    if headers.get(HOST).is_none() {
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        push(&mut out, &[b"host: ", authority.as_bytes()]);
    }
    let mut cookies = Vec::new();
    for (name, value) in headers {
        if name == COOKIE {
            // One field in HTTP/1.1, however many the client made of it.
            if !cookies.is_empty() {
                cookies.extend_from_slice(b"; ");
            }
            cookies.extend_from_slice(value.as_bytes());
        } else if name != EXPECT && !fields::is_hop_by_hop(name.as_str().as_bytes(), &[]) {
            push(
                &mut out,
                &[name.as_str().as_bytes(), b": ", value.as_bytes()],
            );
        }
    }
    if !cookies.is_empty() {
        push(&mut out, &[b"cookie: ", &cookies]);
    }
    let framing = if ended || headers.contains_key(CONTENT_LENGTH) {
        Framing::Plain
    } else {
        push(&mut out, &[b"transfer-encoding: chunked"]);
        Framing::Chunked
    };
    push(&mut out, &[]);
    (out.into(), framing)
}

/// The head of an answer in HTTP/2.
pub(super) fn response(head: &ResponseHead, buffer: &[u8]) -> Option<Response<()>> {
    let mut response = Response::builder().status(head.status).body(()).ok()?;
    for (name, value) in head.fields.iter(buffer) {
        if fields::is_hop_by_hop(name, &[]) {
            continue;
        }
        let name = HeaderName::from_bytes(name);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            response.headers_mut().append(name, value);
        }
    }
    Some(response)
}

fn push(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
