//! Connections to engines that wait for another request.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::stream::EngineStream;

/// Waiting connections kept per engine and worker.
const KEPT: usize = 256;
/// A connection that waited longer is closed.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Where connections lead, and whether in TLS: a server may change from one to the other while its pods stay.
type Key = (SocketAddr, bool);

/// The waiting connections of one worker.
#[derive(Debug, Default)]
pub(crate) struct Pool(Mutex<HashMap<Key, Vec<Waiting>>>);

#[derive(Debug)]
struct Waiting {
    stream: EngineStream,
    since: Instant,
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Vec<Waiting>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection to `address` that waited the shortest, as engines close those that waited long.
    pub(crate) fn take(&self, address: SocketAddr, secure: bool) -> Option<EngineStream> {
        let mut all = self.lock();
        let waiting = all.get_mut(&(address, secure))?;
        while let Some(mut candidate) = waiting.pop() {
            if candidate.stream.is_alive() {
                return Some(candidate.stream);
            }
        }
        None
    }

    /// Keeps a connection whose last answer was read to its end.
    pub(crate) fn put(&self, address: SocketAddr, mut stream: EngineStream) {
        stream.release();
        let mut all = self.lock();
        let waiting = all.entry((address, stream.is_secure())).or_default();
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
            waiting.retain_mut(|candidate| {
                candidate.since.elapsed() < LONGEST_WAIT && candidate.stream.is_alive()
            });
            !waiting.is_empty()
        });
    }
}
