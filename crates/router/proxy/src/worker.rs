//! Threads that serve connections. A connection stays on the thread it was given to.
//!
//! Each thread has its own event loop and its own pool of engine connections, so that serving a request wakes no
//! other thread. New connections go to the thread that has the fewest.

use std::collections::HashMap;
use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use crate::connection::{self, Service};
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
    connections: Mutex<HashMap<u64, (Arc<Watchdog>, AbortHandle)>>,
}

/// A running thread.
pub(crate) struct WorkerThread {
    queue: Option<UnboundedSender<(TcpStream, Service)>>,
    open: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

/// Counts a connection until it ends.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl WorkerThread {
    /// Starts thread number `index`. It ends once it was [closed](Self::close) and its connections have ended, or
    /// when `cut` is cancelled.
    pub(crate) fn start(
        index: usize,
        shared: Arc<Shared>,
        cut: CancellationToken,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (queue, arrivals) = unbounded_channel();
        let open = Arc::new(AtomicUsize::new(0));
        let worker = Arc::new(Worker {
            shared,
            pool: Pool::default(),
            open: Arc::clone(&open),
            connections: Mutex::default(),
        });
        let thread = std::thread::Builder::new()
            .name(format!("proxy-{index}"))
            .spawn(move || runtime.block_on(worker.run(arrivals, cut)))?;
        Ok(Self {
            queue: Some(queue),
            open,
            thread,
        })
    }

    /// Connections that are open or on their way.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Hands a connection over.
    pub(crate) fn serve(&self, stream: TcpStream, service: Service) {
        let Some(queue) = &self.queue else { return };
        self.open.fetch_add(1, Ordering::Relaxed);
        if queue.send((stream, service)).is_err() {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// No more connections will come.
    pub(crate) fn close(&mut self) {
        self.queue = None;
    }

    /// The thread has ended.
    pub(crate) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the thread, which must have been closed or cut.
    pub(crate) fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("a proxy thread panicked");
        }
    }
}

impl Worker {
    async fn run(
        self: Arc<Self>,
        mut arrivals: UnboundedReceiver<(TcpStream, Service)>,
        cut: CancellationToken,
    ) {
        let serving = async {
            self.accept(&mut arrivals).await;
            self.finish().await;
        };
        tokio::select! {
            () = cut.cancelled() => {}
            () = serving => {}
        }
    }

    async fn accept(self: &Arc<Self>, arrivals: &mut UnboundedReceiver<(TcpStream, Service)>) {
        let mut tick = tokio::time::interval(TICK);
        let mut number = 0;
        loop {
            tokio::select! {
                arrival = arrivals.recv() => {
                    let Some((stream, service)) = arrival else { return };
                    number += 1;
                    self.begin(number, stream, service);
                }
                _ = tick.tick() => {
                    self.pool.prune();
                    self.end_connections(Watchdog::has_expired);
                }
            }
        }
    }

    /// Ends connections that wait for a request, and waits for the others.
    async fn finish(&self) {
        while self.open.load(Ordering::Relaxed) > 0 {
            // A connection accepted a moment ago gets the chance to send its request.
            tokio::time::sleep(CLOSING_TICK).await;
            self.end_connections(|watchdog| {
                watchdog.is_between_requests() || watchdog.has_expired()
            });
        }
    }

    fn begin(self: &Arc<Self>, number: u64, stream: TcpStream, service: Service) {
        let open = Open(Arc::clone(&self.open));
        let registered = stream
            .set_nonblocking(true)
            .and_then(|()| tokio::net::TcpStream::from_std(stream));
        let Ok(stream) = registered else { return };
        let watchdog = Arc::new(Watchdog::new());
        let (own, worker) = (Arc::clone(&watchdog), Arc::clone(self));
        let task = tokio::spawn(async move {
            let _entry = Entry {
                worker: Arc::clone(&worker),
                number,
                _open: open,
            };
            connection::serve(stream, service, worker, own).await;
        });
        self.lock().insert(number, (watchdog, task.abort_handle()));
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

/// A connection's entry in the worker's list, removed when the connection ends.
struct Entry {
    worker: Arc<Worker>,
    number: u64,
    _open: Open,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.worker.lock().remove(&self.number);
    }
}
