//! Connections to engines that wait for another request.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::{Duration, Instant};

use futures::task::noop_waker_ref;
use tokio::net::TcpStream;

/// Waiting connections kept per engine and worker.
const KEPT: usize = 256;
/// A connection that waited longer is closed.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// The waiting connections of one worker.
#[derive(Debug, Default)]
pub(crate) struct Pool(Mutex<HashMap<SocketAddr, Vec<Waiting>>>);

#[derive(Debug)]
struct Waiting {
    stream: TcpStream,
    since: Instant,
}

impl Waiting {
    /// An engine that closes or speaks unasked makes the connection readable; reading tells no more than that.
    fn is_alive(&self) -> bool {
        self.stream
            .poll_read_ready(&mut Context::from_waker(noop_waker_ref()))
            .is_pending()
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Vec<Waiting>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection to `address` that waited the shortest, as engines close those that waited long.
    pub(crate) fn take(&self, address: SocketAddr) -> Option<TcpStream> {
        let mut all = self.lock();
        let waiting = all.get_mut(&address)?;
        while let Some(candidate) = waiting.pop() {
            if candidate.is_alive() {
                return Some(candidate.stream);
            }
        }
        None
    }

    /// Keeps a connection whose last answer was read to its end.
    pub(crate) fn put(&self, address: SocketAddr, stream: TcpStream) {
        let mut all = self.lock();
        let waiting = all.entry(address).or_default();
        if waiting.len() < KEPT {
            waiting.push(Waiting {
                stream,
                since: Instant::now(),
            });
        }
    }

    /// Closes connections that waited too long or that their engines closed.
    pub(crate) fn prune(&self) {
        self.lock().retain(|_, waiting| {
            waiting.retain(|candidate| {
                candidate.since.elapsed() < LONGEST_WAIT && candidate.is_alive()
            });
            !waiting.is_empty()
        });
    }
}
