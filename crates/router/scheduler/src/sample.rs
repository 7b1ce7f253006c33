//! What an engine last said about itself.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::candidates::Reading;

/// One measurement of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sample {
    /// Requests in the engine's batch.
    pub running: u32,
    /// Requests in the engine's queue.
    pub waiting: u32,
    /// Share of the KV cache in use, nominally 0 to 1.
    pub kv_usage: f64,
    /// Time to first token, seconds; 0 = unmeasured.
    pub ttft: f64,
    /// Time per output token, seconds; 0 = unmeasured.
    pub tpot: f64,
    /// When it was taken, on the clock of [`RequestFacts::now`](crate::RequestFacts::now).
    pub taken_at: Duration,
}

/// Models and adapters an engine has loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelSet(Vec<Box<str>>);

/// The last [`Sample`], readable without a lock. Fields of two samples may mix in one reading: each is true of some
/// moment, which is all that policies need.
#[derive(Debug)]
pub(crate) struct SampleCell {
    running: AtomicU32,
    waiting: AtomicU32,
    kv_usage: AtomicU64,
    ttft: AtomicU64,
    tpot: AtomicU64,
    /// Nanoseconds, [`ABSENT`] before the first sample.
    taken_at: AtomicU64,
}

const ABSENT: u64 = u64::MAX;

impl ModelSet {
    /// A set of these names.
    pub fn new(names: impl IntoIterator<Item = impl Into<Box<str>>>) -> Self {
        let mut names: Vec<Box<str>> = names.into_iter().map(Into::into).collect();
        names.sort_unstable();
        names.dedup();
        Self(names)
    }

    /// Whether the engine has `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.0
            .binary_search_by(|own| own.as_ref().cmp(name))
            .is_ok()
    }

    /// The names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }
}

impl Default for SampleCell {
    fn default() -> Self {
        Self {
            running: AtomicU32::default(),
            waiting: AtomicU32::default(),
            kv_usage: AtomicU64::default(),
            ttft: AtomicU64::default(),
            tpot: AtomicU64::default(),
            taken_at: AtomicU64::new(ABSENT),
        }
    }
}

impl SampleCell {
    pub(crate) fn get(&self) -> Option<Sample> {
        let taken_at = self.taken_at.load(Ordering::Acquire);
        let real = |cell: &AtomicU64| f64::from_bits(cell.load(Ordering::Relaxed));
        (taken_at != ABSENT).then(|| Sample {
            running: self.running.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
            kv_usage: real(&self.kv_usage),
            ttft: real(&self.ttft),
            tpot: real(&self.tpot),
            taken_at: Duration::from_nanos(taken_at),
        })
    }

    /// The last sample beside what is counted here. Before the first one every figure is 0.
    #[inline]
    pub(crate) fn reading(&self, id: u32, on_flight: u32) -> Reading {
        let real = |cell: &AtomicU64| f64::from_bits(cell.load(Ordering::Relaxed));
        Reading {
            id,
            on_flight,
            running: self.running.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
            kv_usage: real(&self.kv_usage),
            ttft: real(&self.ttft),
            tpot: real(&self.tpot),
        }
    }

    pub(crate) fn empty_queue(&self) {
        self.waiting.store(0, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, sample: Sample) {
        self.running.store(sample.running, Ordering::Relaxed);
        self.waiting.store(sample.waiting, Ordering::Relaxed);
        let real = |cell: &AtomicU64, value: f64| cell.store(value.to_bits(), Ordering::Relaxed);
        real(&self.kv_usage, sample.kv_usage);
        real(&self.ttft, sample.ttft);
        real(&self.tpot, sample.tpot);
        let taken_at = u64::try_from(sample.taken_at.as_nanos()).unwrap_or(ABSENT);
        self.taken_at
            .store(taken_at.min(ABSENT - 1), Ordering::Release);
    }
}
