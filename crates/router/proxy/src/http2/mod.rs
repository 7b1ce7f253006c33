//! Clients that speak HTTP/2: each stream is served as a connection of its own that carries one request.
//!
//! # Invariants
//!
//! - A request's pipeline does not know of HTTP/2: a [`Stream`] looks to it like a connection in HTTP/1.1.
//! - A stream that is dropped before its answer is complete is reset, so the client sees a broken answer.
//! - A stream and its connection have a watchdog each; a stream that stalls does not end its siblings.
//!
//! # Where to go next
//!
//! `stream` for one request in both directions, `head` for what heads become.

mod head;
mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::{self, Service};
use crate::watchdog::Watchdog;
use crate::worker::Worker;
use stream::Stream;

/// What a client sends first.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Requests at once on one connection.
const STREAMS: u32 = 256;
/// Bytes of a body that may be under way unread, per stream and per connection.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of an answer held back per stream while the client does not take them.
const SEND_BUFFER: usize = 64 << 10;
/// How long a connection without streams stays once the router is about to stop.
const LINGER: Duration = Duration::from_secs(5);

/// The open streams of one connection, whose watchdog runs while there are none.
struct Streams {
    open: AtomicUsize,
    watchdog: Arc<Watchdog>,
    idle: Duration,
}

/// Counts a stream until it ends.
struct OpenStream(Arc<Streams>);

impl OpenStream {
    fn begin(streams: &Arc<Streams>) -> Self {
        streams.open.fetch_add(1, Ordering::Relaxed);
        streams.watchdog.disarm();
        // A connection that has carried a request ends by telling its client, not by being cut between two.
        streams.watchdog.set_between_requests(false);
        Self(Arc::clone(streams))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.watchdog.arm(self.0.idle);
        }
    }
}

/// Serves a connection to its end.
pub(crate) async fn serve<T>(io: T, service: Service, worker: Arc<Worker>, watchdog: Arc<Watchdog>)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let limits = &worker.shared.limits;
    watchdog.arm(limits.head_time);
    let header_list = u32::try_from(limits.head).unwrap_or(u32::MAX);
    let handshake = Builder::new()
        .max_concurrent_streams(STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(header_list)
        .max_send_buffer_size(SEND_BUFFER)
        .handshake(io);
    let Ok(mut connection) = handshake.await else {
        return;
    };
    watchdog.arm(limits.idle);
    watchdog.set_between_requests(true);
    let streams = Arc::new(Streams {
        open: AtomicUsize::new(0),
        idle: limits.idle,
        watchdog,
    });
    run(&mut connection, service, &worker, &streams).await;
}

async fn run<T>(
    connection: &mut Connection<T, Bytes>,
    service: Service,
    worker: &Arc<Worker>,
    streams: &Arc<Streams>,
) where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let shared = &worker.shared;
    // A connection that begins while the router drains is told to leave with its first request.
    let late = shared.is_draining() || matches!(service, Service::Refusal(_));
    let mut leaving = late;
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            () = shared.drain_begun(), if !leaving => {
                leaving = true;
                connection.graceful_shutdown();
                if streams.open.load(Ordering::Relaxed) == 0 {
                    streams.watchdog.arm(LINGER);
                }
                continue;
            }
        };
        let Some(Ok((request, respond))) = accepted else {
            return;
        };
        let open = OpenStream::begin(streams);
        if late {
            connection.graceful_shutdown();
        }
        let stream = Stream::new(request, respond);
        worker.spawn(|own, worker| {
            own.set_between_requests(false);
            async move {
                let _open = open;
                connection::serve_one(stream, service, worker, own).await;
            }
        });
    }
}
