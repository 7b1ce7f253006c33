//! Counters of requests, and their text form.
//!
//! One cell holds everything about one model, path and destination; the families are folded out of the cells when
//! somebody reads them. A request looks its cell up once.

mod exposition;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use crate::labels::Destination;
use crate::record::Record;

/// Upper bounds of the duration histogram in seconds; one more bucket is unbounded.
pub(crate) const BOUNDS: [f64; 13] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
/// Label of models that no route names.
pub const UNKNOWN_MODEL: &str = "unknown";
/// `error_type` of a request that went well.
pub const SUCCESS: &str = "successful_request";

/// All request metrics of a router.
#[derive(Debug, Default)]
pub struct Metrics {
    active: Arc<AtomicI64>,
    models: RwLock<HashMap<Arc<str>, Arc<AtomicI64>>>,
    cells: RwLock<HashMap<CellKey, Arc<Cell>>>,
    log_dropped: AtomicU64,
    ejections: AtomicU64,
    silences: AtomicU64,
    /// Unset in a router that serves no admission.
    webhook: OnceLock<AtomicBool>,
}

/// What one cell is about. `None` = the request was never bound.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CellKey {
    pub(crate) model: Arc<str>,
    pub(crate) path: &'static str,
    pub(crate) destination: Option<Destination>,
}

/// Counts of one model, path and destination.
#[derive(Debug, Default)]
pub struct Cell {
    pub(crate) input_tokens: AtomicU64,
    pub(crate) output_tokens: AtomicU64,
    pub(crate) upstream: AtomicI64,
    /// By [`TokenLimit`].
    pub(crate) limited: [AtomicU64; 2],
    pub(crate) ends: RwLock<Vec<Arc<End>>>,
    /// By [`Phase`], then by whether it went well. Most cells never have any.
    pub(crate) phases: OnceLock<Box<[[Histogram; 2]; 2]>>,
}

/// A half of a request that two pods share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The prompt's KV cache is computed.
    Prefill,
    /// The answer is generated.
    Decode,
}

/// A limit on tokens that a request ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenLimit {
    /// On tokens of prompts.
    Input,
    /// On tokens of answers.
    Output,
}

/// Durations.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    pub(crate) buckets: [AtomicU64; BOUNDS.len() + 1],
    pub(crate) nanos: AtomicU64,
}

impl Histogram {
    fn add(&self, elapsed: Duration) {
        let seconds = elapsed.as_secs_f64();
        let bucket = BOUNDS
            .iter()
            .position(|bound| seconds <= *bound)
            .unwrap_or(BOUNDS.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

/// Requests of a cell that ended alike.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) status: u16,
    pub(crate) error_type: &'static str,
    pub(crate) durations: Histogram,
}

/// Raises a gauge while it lives.
#[derive(Debug)]
#[must_use = "the gauge falls when this drops"]
pub struct Raised(Gauge);

#[derive(Debug)]
enum Gauge {
    Plain(Arc<AtomicI64>),
    Upstream(Arc<Cell>),
}

impl Raised {
    fn new(gauge: Gauge) -> Self {
        gauge.value().fetch_add(1, Ordering::Relaxed);
        Self(gauge)
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.0.value().fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gauge {
    fn value(&self) -> &AtomicI64 {
        match self {
            Self::Plain(value) => value,
            Self::Upstream(cell) => &cell.upstream,
        }
    }
}

impl Metrics {
    /// Counts a request inside the router until dropped.
    pub fn enter(&self) -> Raised {
        Raised::new(Gauge::Plain(Arc::clone(&self.active)))
    }

    /// Requests inside the router.
    pub fn active(&self) -> i64 {
        self.active.load(Ordering::Relaxed)
    }

    /// Counts a request of `model` until dropped. `model` is a name some route knows, or [`UNKNOWN_MODEL`].
    pub fn downstream(&self, model: &str) -> Raised {
        if let Some(gauge) = read(&self.models).get(model) {
            return Raised::new(Gauge::Plain(Arc::clone(gauge)));
        }
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        Raised::new(Gauge::Plain(Arc::clone(
            models.entry(model.into()).or_default(),
        )))
    }

    /// The cell of a model, path and destination.
    pub fn cell(
        &self,
        model: &Arc<str>,
        path: &'static str,
        destination: Option<&Destination>,
    ) -> Arc<Cell> {
        let key = CellKey {
            model: Arc::clone(model),
            path,
            destination: destination.cloned(),
        };
        if let Some(cell) = read(&self.cells).get(&key) {
            return Arc::clone(cell);
        }
        let mut cells = self.cells.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(cells.entry(key).or_default())
    }

    /// An endpoint was ejected for failing.
    pub fn count_ejection(&self) {
        self.ejections.fetch_add(1, Ordering::Relaxed);
    }

    /// An engine that was waited for said nothing for longer than any may.
    pub fn count_silence(&self) {
        self.silences.fetch_add(1, Ordering::Relaxed);
    }

    /// Sets whether the admission webhook beside the router answers. Until the first call there is no such series.
    pub fn set_webhook_up(&self, is_up: bool) {
        let gauge = self.webhook.get_or_init(AtomicBool::default);
        gauge.store(is_up, Ordering::Relaxed);
    }

    /// Sets how many access-log lines were lost so far.
    pub fn set_log_dropped(&self, lines: u64) {
        self.log_dropped.store(lines, Ordering::Relaxed);
    }

    /// Drops the series of models that no route names any more and no request uses.
    pub fn retain_models(&self, known: impl Fn(&str) -> bool) {
        let keep = |model: &str| model == UNKNOWN_MODEL || known(model);
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        models.retain(|model, gauge| keep(model) || Arc::strong_count(gauge) > 1);
        let mut cells = self.cells.write().unwrap_or_else(PoisonError::into_inner);
        cells.retain(|key, cell| {
            keep(&key.model) || models.contains_key(&key.model) || Arc::strong_count(cell) > 1
        });
    }

    /// All families in the Prometheus text format 0.0.4.
    pub fn render(&self) -> String {
        exposition::render(self)
    }
}

impl Cell {
    /// Counts an attempt until dropped.
    pub fn upstream(self: &Arc<Self>) -> Raised {
        Raised::new(Gauge::Upstream(Arc::clone(self)))
    }

    /// Counts a finished request. `elapsed` runs from the moment the body was read.
    pub fn finish(&self, record: &Record, error_type: Option<&'static str>, elapsed: Duration) {
        let failed = if record.status >= 400 {
            "request_failed"
        } else {
            SUCCESS
        };
        let end = self.end(record.status, error_type.unwrap_or(failed));
        end.durations.add(elapsed);
        self.input_tokens
            .fetch_add(record.input_tokens, Ordering::Relaxed);
        self.output_tokens
            .fetch_add(record.output_tokens(), Ordering::Relaxed);
    }

    /// Counts a request that was refused for a limit.
    pub fn refuse(&self, limit: TokenLimit) {
        self.limited[limit as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one half of an attempt that a pair of pods shared.
    pub fn finish_phase(&self, phase: Phase, went_well: bool, elapsed: Duration) {
        let phases = self.phases.get_or_init(Box::default);
        phases[phase as usize][usize::from(went_well)].add(elapsed);
    }

    fn end(&self, status: u16, error_type: &'static str) -> Arc<End> {
        let alike = |end: &&Arc<End>| end.status == status && end.error_type == error_type;
        if let Some(end) = read(&self.ends).iter().find(alike) {
            return Arc::clone(end);
        }
        let mut ends = self.ends.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(end) = ends.iter().find(alike) {
            return Arc::clone(end);
        }
        let end = Arc::new(End {
            status,
            error_type,
            durations: Histogram::default(),
        });
        ends.push(Arc::clone(&end));
        end
    }
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
