//! A connection to an engine, with or without TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::task::noop_waker_ref;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::silence::Attention;
use crate::watchdog::Watchdog;

/// A connection to an engine. While somebody waits for the engine, reading and writing fail with a time-out of the
/// router's own once it has been silent for too long.
#[derive(Debug)]
pub(crate) struct EngineStream {
    wire: Wire,
    attention: Option<Attention>,
}

#[derive(Debug)]
enum Wire {
    Plain(TcpStream),
    /// Boxed, so that a stream without TLS stays as small as it is.
    Secure(Box<TlsStream<TcpStream>>),
}

impl EngineStream {
    pub(super) fn plain(stream: TcpStream) -> Self {
        Self {
            wire: Wire::Plain(stream),
            attention: None,
        }
    }

    pub(super) fn secure(stream: TlsStream<TcpStream>) -> Self {
        Self {
            wire: Wire::Secure(Box::new(stream)),
            attention: None,
        }
    }

    pub(super) fn is_secure(&self) -> bool {
        matches!(self.wire, Wire::Secure(_))
    }

    /// The request that `watchdog` is of waits for this engine.
    pub(crate) fn attend(&mut self, watchdog: &Arc<Watchdog>) {
        self.attention
            .get_or_insert_with(|| Attention::begin(watchdog));
    }

    /// Nobody waits for the engine at the moment.
    pub(crate) fn release(&mut self) {
        self.attention = None;
    }

    /// Whether a connection that waits can be used: an engine that closes or speaks unasked makes it readable, and
    /// reading tells no more than that.
    pub(super) fn is_alive(&mut self) -> bool {
        let mut cx = Context::from_waker(noop_waker_ref());
        match &mut self.wire {
            Wire::Plain(stream) => stream.poll_read_ready(&mut cx).is_pending(),
            // Tickets and new keys may come unasked; they are taken in on the way.
            Wire::Secure(stream) => {
                let mut byte = [0];
                let mut buffer = ReadBuf::new(&mut byte);
                Pin::new(stream)
                    .poll_read(&mut cx, &mut buffer)
                    .is_pending()
            }
        }
    }

    fn check(&self) -> io::Result<()> {
        self.attention.as_ref().map_or(Ok(()), Attention::check)
    }

    fn heard(&self) {
        if let Some(attention) = &self.attention {
            attention.heard();
        }
    }

    fn written(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(result, Poll::Ready(Ok(1..))) {
            self.heard();
        }
        result
    }
}

impl AsyncRead for EngineStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check()?;
        let read = match &mut this.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Wire::Secure(stream) => Pin::new(stream).poll_read(cx, buffer),
        };
        ready!(read)?;
        this.heard();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for EngineStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check()?;
        let written = match &mut this.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Wire::Secure(stream) => Pin::new(stream).poll_write(cx, bytes),
        };
        this.written(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check()?;
        let written = match &mut this.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Wire::Secure(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        };
        this.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check()?;
        match &mut this.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Secure(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Secure(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
