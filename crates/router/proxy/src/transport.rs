//! What a client's side must be for a request to be served on it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// Carries requests and answers as bytes of HTTP/1.1, whatever they look like on the wire.
///
/// - Input ends when the client is gone.
/// - What is dropped before an answer is complete reaches the client as a broken answer.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin {
    /// The version of HTTP on the wire as the access log names it; `None` = what the request line says.
    const PROTOCOL: Option<&'static str> = None;
}

impl Transport for TcpStream {}

impl Transport for TlsStream<TcpStream> {}

/// A transport that was read from, with what was read put back.
pub(crate) struct Rewound<S> {
    received: Vec<u8>,
    inner: S,
}

impl<S> Rewound<S> {
    pub(crate) fn new(received: Vec<u8>, inner: S) -> Self {
        Self { received, inner }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.received.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buffer);
        }
        let size = buffer.remaining().min(self.received.len());
        let rest = self.received.split_off(size);
        buffer.put_slice(&std::mem::replace(&mut self.received, rest));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
