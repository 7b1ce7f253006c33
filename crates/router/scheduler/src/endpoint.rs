//! A pod that takes requests, and what is counted about it.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};

use crate::candidates::Reading;
use crate::sample::{ModelSet, Sample, SampleCell};

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

/// A number that no other endpoint of this process has or had (there are 2³² of them). A pod that returns gets another
/// one, so what was remembered about its earlier life can never be taken for today's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(u32);

/// What lives as long as a pod is ready: its identity, its counters and what its engine last said.
#[derive(Debug)]
pub struct Endpoint {
    hot: Hot,
    pod: PodIdentity,
    /// In flight here when the sample was taken.
    sampled_with: AtomicU32,
    models: ArcSwap<ModelSet>,
    cache_tokens: AtomicU64,
    started_unix: AtomicI64,
    retired: AtomicBool,
    beside: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// What every decision looks at, in one line of the processor's cache.
#[derive(Debug)]
#[repr(align(64))]
struct Hot {
    id: EndpointId,
    in_flight: AtomicU32,
    elsewhere: AtomicU32,
    sample: SampleCell,
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

/// The next endpoint's number. Numbers are compared, never ordered by, so that a decision does not depend on them.
static NEXT: AtomicU32 = AtomicU32::new(1);

/// `started_unix` before anybody said when the containers started.
const NEVER: i64 = i64::MIN;

impl EndpointId {
    /// The number.
    #[inline]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl Endpoint {
    /// An idle endpoint that was never measured.
    pub fn new(pod: PodIdentity) -> Self {
        let hot = Hot {
            id: EndpointId(NEXT.fetch_add(1, Ordering::Relaxed)),
            in_flight: AtomicU32::new(0),
            elsewhere: AtomicU32::new(0),
            sample: SampleCell::default(),
        };
        Self {
            hot,
            pod,
            sampled_with: AtomicU32::new(0),
            models: ArcSwap::default(),
            cache_tokens: AtomicU64::new(0),
            started_unix: AtomicI64::new(NEVER),
            retired: AtomicBool::new(false),
            beside: OnceLock::new(),
        }
    }

    /// The pod.
    pub fn pod(&self) -> &PodIdentity {
        &self.pod
    }

    /// The number of this life of the pod.
    #[inline]
    pub fn id(&self) -> EndpointId {
        self.hot.id
    }

    /// Requests this router has dispatched to the pod and not finished.
    #[inline]
    pub fn in_flight(&self) -> u32 {
        self.hot.in_flight.load(Ordering::Relaxed)
    }

    /// Requests that any router has dispatched to the pod and not finished, as far as this one knows.
    #[inline]
    pub fn on_flight(&self) -> u32 {
        self.in_flight()
            .saturating_add(self.hot.elsewhere.load(Ordering::Relaxed))
    }

    /// Takes over how many requests the other routers have in flight.
    pub fn set_elsewhere(&self, requests: u32) {
        self.hot.elsewhere.store(requests, Ordering::Relaxed);
    }

    /// Counts a request until the guard drops.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.hot.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// What the engine last said about itself; `None` = never measured.
    pub fn sample(&self) -> Option<Sample> {
        self.hot.sample.get()
    }

    /// What a decision needs to know now.
    #[inline]
    pub(crate) fn reading(&self) -> Reading {
        self.hot.sample.reading(self.id().get(), self.on_flight())
    }

    /// Takes over a measurement. Only one task may measure an endpoint.
    pub fn set_sample(&self, sample: Sample) {
        self.sampled_with.store(self.in_flight(), Ordering::Relaxed);
        self.hot.sample.set(sample);
    }

    /// The last measurement is too old to tell of a queue: nothing waits, and no other router's requests are there, as
    /// far as anybody knows. Everything else stays. Only the task that measures the endpoint may call this.
    pub fn outdate_sample(&self) {
        self.sampled_with.store(u32::MAX, Ordering::Relaxed);
        self.hot.sample.empty_queue();
    }

    /// Requests of others that the engine had when it was last measured: those beyond what this router had in flight.
    pub fn measured_elsewhere(&self) -> u32 {
        let total = self
            .sample()
            .map_or(0, |sample| sample.running.saturating_add(sample.waiting));
        total.saturating_sub(self.sampled_with.load(Ordering::Relaxed))
    }

    /// Models and adapters the engine has loaded; empty until it was asked.
    pub fn models(&self) -> Guard<Arc<ModelSet>> {
        self.models.load()
    }

    /// Takes over the engine's list of models.
    pub fn set_models(&self, models: ModelSet) {
        self.models.store(Arc::new(models));
    }

    /// Tokens the engine's KV cache holds; `None` = unknown.
    pub fn cache_tokens(&self) -> Option<u64> {
        Some(self.cache_tokens.load(Ordering::Relaxed)).filter(|tokens| *tokens > 0)
    }

    /// Takes over the size of the engine's KV cache, in tokens.
    pub fn set_cache_tokens(&self, tokens: u64) {
        self.cache_tokens.store(tokens, Ordering::Relaxed);
    }

    /// When the newest running container started, in seconds since 1970; `None` = unknown.
    pub fn started_unix(&self) -> Option<i64> {
        Some(self.started_unix.load(Ordering::Relaxed)).filter(|started| *started != NEVER)
    }

    /// Takes over when the newest running container started.
    pub fn set_started_unix(&self, started: Option<i64>) {
        self.started_unix
            .store(started.unwrap_or(NEVER), Ordering::Relaxed);
    }

    /// The pod has left the table: nothing about it need be remembered any more. Does not turn back.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// Whether the pod has left the table. Requests that were dispatched before may still run.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// What another crate keeps about the pod for as long as it is ready, such as its health; made by the first who
    /// asks. There is one such value: `None` if it is of another type.
    pub fn beside<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Option<&T> {
        self.beside.get_or_init(|| Box::new(make())).downcast_ref()
    }
}

impl InFlight {
    /// The endpoint that works on the request.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.hot.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
