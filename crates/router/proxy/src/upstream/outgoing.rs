//! A request as it goes to an engine.

use std::io::IoSlice;

use kthena_router_pipeline::Edits;
use smallvec::SmallVec;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::connection::Received;
use crate::http1::fields;

/// A body up to this size is copied behind the head and sent by one plain write.
const JOINED: usize = 32 << 10;

/// Head and body, ready to be sent any number of times.
pub(crate) struct Outgoing<'r> {
    head: Vec<u8>,
    /// Empty if the body stands behind the head.
    body: SmallVec<[&'r [u8]; 4]>,
    pub(crate) is_head_request: bool,
}

impl<'r> Outgoing<'r> {
    /// The client's request with hop-by-hop fields removed and the body changed by `edits`.
    pub(crate) fn new(received: &'r Received, edits: &'r Edits, request_id: &str) -> Self {
        let length = edits.length(received.body());
        let mut head = Vec::with_capacity(
            received.head_size() + 128 + if length <= JOINED { length } else { 0 },
        );
        write_head(received, length, request_id, &mut head);
        let mut body = SmallVec::new();
        for piece in edits.pieces(received.body()) {
            if length <= JOINED {
                head.extend_from_slice(piece);
            } else {
                body.push(piece);
            }
        }
        Self {
            head,
            body,
            is_head_request: received.method() == "HEAD",
        }
    }

    /// The same in one piece that borrows nothing.
    pub(crate) fn owned(received: &Received, edits: &Edits, request_id: &str) -> Outgoing<'static> {
        let length = edits.length(received.body());
        let mut head = Vec::with_capacity(received.head_size() + 128 + length);
        write_head(received, length, request_id, &mut head);
        for piece in edits.pieces(received.body()) {
            head.extend_from_slice(piece);
        }
        Outgoing {
            head,
            body: SmallVec::new(),
            is_head_request: received.method() == "HEAD",
        }
    }

    /// Sends everything.
    pub(crate) async fn send(&self, io: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        if self.body.is_empty() {
            io.write_all(&self.head).await?;
            return io.flush().await;
        }
        let mut slices: SmallVec<[IoSlice<'_>; 5]> = std::iter::once(&self.head[..])
            .chain(self.body.iter().copied())
            .map(IoSlice::new)
            .collect();
        let mut left = &mut slices[..];
        while !left.is_empty() {
            let sent = io.write_vectored(left).await?;
            if sent == 0 {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut left, sent);
        }
        // TLS may hold the last piece back; sockets do not.
        io.flush().await
    }
}

fn write_head(received: &Received, length: usize, request_id: &str, out: &mut Vec<u8>) {
    let mut line = |parts: &[&[u8]]| {
        for part in parts {
            out.extend_from_slice(part);
        }
        out.extend_from_slice(b"\r\n");
    };
    line(&[
        received.method().as_bytes(),
        b" ",
        received.target().as_bytes(),
        b" HTTP/1.1",
    ]);
    let listed: SmallVec<[&[u8]; 4]> = received
        .field_values("connection")
        .flat_map(fields::elements)
        .collect();
    let mut has_host = false;
    for (name, value) in received.fields() {
        if !fields::is_hop_by_hop(name, &listed) && !is_replaced(name) {
            has_host |= name.eq_ignore_ascii_case(b"host");
            line(&[name, b": ", value]);
        }
    }
    if !has_host {
        // HTTP/1.1 wants one, and an old client may have sent none.
        line(&[b"host: engine"]);
    }
    line(&[
        b"content-length: ",
        itoa::Buffer::new().format(length).as_bytes(),
    ]);
    // Usage figures could not be read out of a compressed answer.
    line(&[b"accept-encoding: identity"]);
    line(&[b"x-request-id: ", request_id.as_bytes()]);
    line(&[]);
}

/// Fields that the router writes itself, or that were meant for it.
fn is_replaced(name: &[u8]) -> bool {
    let replaced: &str = match name.len() {
        6 => "expect",
        12 => "x-request-id",
        14 => "content-length",
        15 => "accept-encoding",
        _ => return false,
    };
    name.eq_ignore_ascii_case(replaced.as_bytes())
}
