//! Threads that serve connections. A connection stays on the thread it was given to.
//!
//! Each thread has its own event loop and its own pool of engine connections, so that serving a request wakes no
//! other thread. New connections go to the thread that has the fewest.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use tokio::time::{Instant, interval, interval_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::connection::{self, Refusal, Service};
use crate::http2;
use crate::shared::Shared;
use crate::upstream::Pool;
use crate::watchdog::Watchdog;

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often while the last connections are awaited.
const CLOSING_TICK: Duration = Duration::from_millis(25);

/// What the connections of one thread share.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pool: Pool,
    open: Arc<AtomicUsize>,
    last: AtomicU64,
    connections: Mutex<HashMap<u64, (Arc<Watchdog>, AbortHandle)>>,
}

/// A running thread.
pub(crate) struct WorkerThread {
    queue: UnboundedSender<Message>,
    open: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

/// A connection that was accepted.
pub(crate) struct Arrival {
    pub(crate) stream: TcpStream,
    pub(crate) service: Service,
    /// What the client expects to shake hands with.
    pub(crate) tls: Option<TlsAcceptor>,
}

enum Message {
    Serve(Arrival),
    /// Connections that wait for a request are ended from now on.
    Close,
}

/// Counts a connection or stream until it ends.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl WorkerThread {
    /// Starts thread number `index`. It ends when `cut` is cancelled, and its connections with it.
    pub(crate) fn start(
        index: usize,
        shared: Arc<Shared>,
        cut: CancellationToken,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (queue, messages) = unbounded_channel();
        let open = Arc::new(AtomicUsize::new(0));
        let worker = Arc::new(Worker {
            shared,
            pool: Pool::default(),
            open: Arc::clone(&open),
            last: AtomicU64::new(0),
            connections: Mutex::default(),
        });
        let thread = std::thread::Builder::new()
            .name(format!("proxy-{index}"))
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = cut.cancelled() => {}
                        () = worker.run(messages) => {}
                    }
                });
            })?;
        Ok(Self {
            queue,
            open,
            thread,
        })
    }

    /// Connections and streams that are open or on their way.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Hands a connection over.
    pub(crate) fn serve(&self, arrival: Arrival) {
        let counts = is_waited_for(arrival.service);
        if counts {
            self.open.fetch_add(1, Ordering::Relaxed);
        }
        if self.queue.send(Message::Serve(arrival)).is_err() && counts {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Connections that wait for a request are ended from now on.
    pub(crate) fn close(&self) {
        // A thread that has ended has no connections.
        let _ = self.queue.send(Message::Close);
    }

    /// Nothing is left that must be waited for.
    pub(crate) fn is_done(&self) -> bool {
        self.has_ended() || self.open() == 0
    }

    /// The thread serves nothing any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the thread, which must have been cut.
    pub(crate) fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("a proxy thread panicked");
        }
    }
}

/// Whether the end of a drain waits for connections of this kind.
fn is_waited_for(service: Service) -> bool {
    match service {
        Service::Inference | Service::Refusal(Refusal::Overloaded) => true,
        Service::Refusal(Refusal::Draining) | Service::Metrics | Service::Debug => false,
    }
}

impl Worker {
    async fn run(self: &Arc<Self>, mut messages: UnboundedReceiver<Message>) {
        let mut tick = interval(TICK);
        let mut closing = false;
        loop {
            tokio::select! {
                message = messages.recv() => match message {
                    Some(Message::Serve(arrival)) => self.begin(arrival),
                    Some(Message::Close) => {
                        closing = true;
                        // A connection accepted a moment ago gets the chance to send its request.
                        tick = interval_at(Instant::now() + CLOSING_TICK, CLOSING_TICK);
                    }
                    None => return,
                },
                _ = tick.tick() => {
                    self.pool.prune();
                    self.look_at_engines();
                    self.end_connections(|watchdog| {
                        watchdog.has_expired() || closing && watchdog.is_between_requests()
                    });
                }
            }
        }
    }

    fn begin(self: &Arc<Self>, arrival: Arrival) {
        let Arrival {
            stream,
            service,
            tls,
        } = arrival;
        let open = is_waited_for(service).then(|| Open(Arc::clone(&self.open)));
        let registered = stream
            .set_nonblocking(true)
            .and_then(|()| tokio::net::TcpStream::from_std(stream));
        let Ok(stream) = registered else { return };
        // Without it the pieces of a stream wait for acknowledgements; a socket that refuses works all the same.
        let _ = stream.set_nodelay(true);
        match tls {
            None => self.enter(open, |watchdog, worker| {
                connection::serve(stream, service, worker, watchdog)
            }),
            Some(acceptor) => self.enter(open, |watchdog, worker| {
                serve_tls(acceptor, stream, service, worker, watchdog)
            }),
        }
    }

    /// Runs what `work` makes until it ends or its watchdog expires.
    pub(crate) fn spawn<F>(self: &Arc<Self>, work: impl FnOnce(Arc<Watchdog>, Arc<Self>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.enter(Some(Open::begin(&self.open)), work);
    }

    fn enter<F>(
        self: &Arc<Self>,
        open: Option<Open>,
        work: impl FnOnce(Arc<Watchdog>, Arc<Self>) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let watchdog = Arc::new(Watchdog::new());
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let entry = Entry {
            worker: Arc::clone(self),
            number,
            _open: open,
        };
        let work = work(Arc::clone(&watchdog), Arc::clone(self));
        let own = Arc::clone(&watchdog);
        let task = tokio::spawn(async move {
            let _entry = entry;
            let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
            own.silence().wake_by(waker);
            work.await;
        });
        self.lock().insert(number, (watchdog, task.abort_handle()));
    }

    fn look_at_engines(&self) {
        let Some(limit) = self.shared.limits.engine_idle else {
            return;
        };
        for (watchdog, _) in self.lock().values() {
            watchdog.look_at_engines(limit);
        }
    }

    fn end_connections(&self, which: impl Fn(&Watchdog) -> bool) {
        for (watchdog, task) in self.lock().values() {
            if which(watchdog) {
                task.abort();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, (Arc<Watchdog>, AbortHandle)>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve_tls(
    acceptor: TlsAcceptor,
    stream: tokio::net::TcpStream,
    service: Service,
    worker: Arc<Worker>,
    watchdog: Arc<Watchdog>,
) {
    watchdog.arm(worker.shared.limits.head_time);
    let stream = match acceptor.accept(stream).await {
        Ok(stream) => stream,
        Err(error) => return tracing::debug!(%error, "a TLS handshake failed"),
    };
    watchdog.disarm();
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        http2::serve(stream, service, worker, watchdog).await;
    } else {
        connection::serve(stream, service, worker, watchdog).await;
    }
}

/// A connection's entry in the worker's list, removed when the connection ends.
struct Entry {
    worker: Arc<Worker>,
    number: u64,
    _open: Option<Open>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.worker.lock().remove(&self.number);
    }
}
