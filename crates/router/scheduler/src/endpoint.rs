//! A pod that takes requests, and what is counted about it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Which pod an endpoint is. Another UID under the same name is another pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodIdentity {
    /// Namespace of the pod.
    pub namespace: Arc<str>,
    /// Name of the pod.
    pub name: Arc<str>,
    /// UID of the pod.
    pub uid: Arc<str>,
}

/// What lives as long as a pod is ready: its identity and its counters.
#[derive(Debug)]
pub struct Endpoint {
    pod: PodIdentity,
    in_flight: AtomicU32,
}

/// An endpoint as one model server reaches it.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The pod and its counters, shared by all servers that select it.
    pub endpoint: Arc<Endpoint>,
    /// Where the engine listens.
    pub address: SocketAddr,
}

/// One request that an endpoint is working on. The count falls when this drops, on every path.
#[derive(Debug)]
#[must_use = "the request counts only while the guard lives"]
pub struct InFlight(Arc<Endpoint>);

impl Endpoint {
    /// An idle endpoint.
    pub fn new(pod: PodIdentity) -> Self {
        Self {
            pod,
            in_flight: AtomicU32::new(0),
        }
    }

    /// The pod.
    pub fn pod(&self) -> &PodIdentity {
        &self.pod
    }

    /// Requests this router has dispatched to the pod and not finished.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts a request until the guard drops.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }
}

impl InFlight {
    /// The endpoint that works on the request.
    pub fn endpoint(&self) -> &Endpoint {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
