//! What scheduling plugins cost and find, and what they hold, as families of the Prometheus text format.
//!
//! One cell holds everything about one model; a request looks its cell up once.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use crate::metrics::UNKNOWN_MODEL;
use crate::text::{escaped, head, histogram, sample};

/// Upper bounds of a plugin's time, seconds.
const PLUGIN_BOUNDS: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5];
/// Upper bounds of the matched share of a prompt. Misses and whole matches have a bucket of their own.
const RATIO_BOUNDS: &[f64] = &[0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0];

/// Upper bounds of the time it took to find out what engines hold, seconds.
const LEARN_BOUNDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];

const PLUGIN_DURATION: &str = "scheduler_plugin_duration_seconds";
const PREFIX_RATIO: &str = "prefix_cache_match_ratio";
const KV_RATIO: &str = "kvcache_aware_match_ratio";
const KV_READ: &str = "kvcache_aware_redis_duration_seconds";
const KV_TOKENIZE: &str = "kvcache_aware_tokenize_duration_seconds";
const KV_ERRORS: &str = "kvcache_aware_errors_total";
const UNSUPPORTED: &str = "tokenizer_unsupported_engine_total";
const PREFIX_ENTRIES: &str = "prefix_cache_entries";
const PREFIX_BYTES: &str = "prefix_cache_bytes";
const PREFIX_EVICTIONS: &str = "prefix_cache_evictions_total";
const ESTIMATE_ERROR: &str = "adaptive_estimate_error_seconds_total";
const ESTIMATE_OUTCOME: &str = "adaptive_first_token_seconds_total";
const ESTIMATES: &str = "adaptive_estimates_total";

/// Time and finds of plugins, by model.
#[derive(Debug, Default)]
pub struct SchedulingMetrics {
    cells: RwLock<HashMap<Arc<str>, Arc<SchedulingCell>>>,
}

/// Time and finds of plugins for one model.
#[derive(Debug)]
pub struct SchedulingCell {
    /// By name and kind of the plugin. There are few.
    plugins: Mutex<BTreeMap<(&'static str, &'static str), Buckets>>,
    prefix: Mutex<Buckets>,
    kv: Mutex<Buckets>,
    kv_tokenized: Mutex<Buckets>,
    kv_read: Mutex<Buckets>,
    /// By [`KvStage`].
    kv_errors: [AtomicU64; 2],
    /// Prompts that no engine could tokenize, by what their server calls the engines. There are few.
    unsupported: Mutex<BTreeMap<&'static str, u64>>,
}

/// A part of finding out what engines hold of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvStage {
    /// The prompt becomes tokens.
    Tokenize,
    /// Redis is asked who holds them.
    Redis,
}

/// What plugins hold and did since the start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SchedulingFigures {
    /// Pairs of a pod and a block in all prefix indexes.
    pub prefix_entries: u64,
    /// Bytes of all prefix indexes.
    pub prefix_bytes: u64,
    /// Entries dropped for want of room, by the client's name of the model.
    pub prefix_evictions: BTreeMap<String, u64>,
    /// Estimates of the time to the first token that were compared with what came: sum of the absolute errors in
    /// seconds, sum of what came in seconds, how many. `None` = nobody estimates.
    pub estimates: Option<(f64, f64, u64)>,
}

/// A histogram.
#[derive(Debug)]
struct Buckets {
    bounds: &'static [f64],
    /// One more than bounds.
    counts: Vec<u64>,
    sum: f64,
}

impl Buckets {
    fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len() + 1],
            sum: 0.0,
        }
    }

    fn add(&mut self, value: f64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.counts[at] += 1;
        self.sum += value;
    }

    fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }

    fn write(&self, out: &mut String, name: &str, labels: &str) {
        histogram(out, name, labels, self.bounds, (&self.counts, self.sum));
    }
}

impl Default for SchedulingCell {
    fn default() -> Self {
        Self {
            plugins: Mutex::default(),
            prefix: Mutex::new(Buckets::new(RATIO_BOUNDS)),
            kv: Mutex::new(Buckets::new(RATIO_BOUNDS)),
            kv_tokenized: Mutex::new(Buckets::new(LEARN_BOUNDS)),
            kv_read: Mutex::new(Buckets::new(LEARN_BOUNDS)),
            kv_errors: Default::default(),
            unsupported: Mutex::default(),
        }
    }
}

impl SchedulingCell {
    /// A plugin ran for so long; `kind` is `filter` or `score`.
    pub fn plugin_ran(&self, plugin: &'static str, kind: &'static str, elapsed: Duration) {
        lock(&self.plugins)
            .entry((plugin, kind))
            .or_insert_with(|| Buckets::new(PLUGIN_BOUNDS))
            .add(elapsed.as_secs_f64());
    }

    /// `prefix-cache` found this share of a prompt, 0 to 1.
    pub fn prefix_matched(&self, share: f64) {
        lock(&self.prefix).add(share);
    }

    /// `kvcache-aware` found this share of a prompt, 0 to 1.
    pub fn kv_matched(&self, share: f64) {
        lock(&self.kv).add(share);
    }

    /// A part of finding out what engines hold went well and took so long.
    pub fn kv_took(&self, stage: KvStage, elapsed: Duration) {
        let buckets = match stage {
            KvStage::Tokenize => &self.kv_tokenized,
            KvStage::Redis => &self.kv_read,
        };
        lock(buckets).add(elapsed.as_secs_f64());
    }

    /// A part of finding out what engines hold failed; the request went on without it.
    pub fn kv_failed(&self, stage: KvStage) {
        self.kv_errors[stage as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// No engine could tokenize a prompt, since those that their server calls `engine` have nothing to do it with.
    pub fn tokenizer_unsupported(&self, engine: &'static str) {
        *lock(&self.unsupported).entry(engine).or_default() += 1;
    }
}

impl SchedulingMetrics {
    /// What is counted about `model`, which must be a label that metrics may have.
    pub fn cell(&self, model: &Arc<str>) -> Arc<SchedulingCell> {
        let cells = self.cells.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = cells.get(model) {
            return Arc::clone(cell);
        }
        drop(cells);
        let mut cells = self.cells.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(cells.entry(Arc::clone(model)).or_default())
    }

    /// Appends the families to `out`.
    pub fn write(&self, out: &mut String) {
        let cells: BTreeMap<Arc<str>, Arc<SchedulingCell>> = {
            let cells = self.cells.read().unwrap_or_else(PoisonError::into_inner);
            let all = cells.iter();
            all.map(|(model, cell)| (Arc::clone(model), Arc::clone(cell)))
                .collect()
        };
        head(
            out,
            PLUGIN_DURATION,
            "histogram",
            "Time scheduling plugins took.",
        );
        for (model, cell) in &cells {
            for ((plugin, kind), buckets) in &*lock(&cell.plugins) {
                let model = escaped(model);
                let labels = format!("model=\"{model}\",plugin=\"{plugin}\",type=\"{kind}\"");
                buckets.write(out, PLUGIN_DURATION, &labels);
            }
        }
        let each = |out: &mut String, name, help, which: fn(&SchedulingCell) -> &Mutex<Buckets>| {
            head(out, name, "histogram", help);
            for (model, cell) in &cells {
                let buckets = lock(which(cell));
                if !buckets.is_empty() {
                    buckets.write(out, name, &format!("model=\"{}\"", escaped(model)));
                }
            }
        };
        each(
            out,
            PREFIX_RATIO,
            "Share of a prompt that the best candidate was sent before.",
            |cell| &cell.prefix,
        );
        each(
            out,
            KV_RATIO,
            "Share of a prompt that the best candidate has cached.",
            |cell| &cell.kv,
        );
        each(
            out,
            KV_TOKENIZE,
            "Time to find out a prompt's tokens.",
            |cell| &cell.kv_tokenized,
        );
        each(
            out,
            KV_READ,
            "Time to read from Redis who has a prompt cached.",
            |cell| &cell.kv_read,
        );
        write_errors(out, &cells);
        write_unsupported(out, &cells);
    }

    /// Drops the series of models that no route names any more and no request uses.
    pub fn retain_models(&self, known: impl Fn(&str) -> bool) {
        let mut cells = self.cells.write().unwrap_or_else(PoisonError::into_inner);
        cells.retain(|model, cell| {
            &**model == UNKNOWN_MODEL || known(model) || Arc::strong_count(cell) > 1
        });
    }
}

fn write_errors(out: &mut String, cells: &BTreeMap<Arc<str>, Arc<SchedulingCell>>) {
    head(
        out,
        KV_ERRORS,
        "counter",
        "Requests for which it was not found out who has them cached.",
    );
    for (model, cell) in cells {
        for (stage, name) in [(KvStage::Tokenize, "tokenize"), (KvStage::Redis, "redis")] {
            let count = cell.kv_errors[stage as usize].load(Ordering::Relaxed);
            if count > 0 {
                let labels = format!("model=\"{}\",stage=\"{name}\"", escaped(model));
                sample(out, KV_ERRORS, &labels, &count);
            }
        }
    }
}

fn write_unsupported(out: &mut String, cells: &BTreeMap<Arc<str>, Arc<SchedulingCell>>) {
    head(
        out,
        UNSUPPORTED,
        "counter",
        "Prompts that were not tokenized since none of the engines does that.",
    );
    for (model, cell) in cells {
        for (engine, count) in &*lock(&cell.unsupported) {
            let labels = format!("model=\"{}\",engine=\"{engine}\"", escaped(model));
            sample(out, UNSUPPORTED, &labels, count);
        }
    }
}

impl SchedulingFigures {
    /// Appends the families to `out`.
    pub fn write(&self, out: &mut String) {
        let plain = |out: &mut String,
                     name: &str,
                     kind: &str,
                     help: &str,
                     value: &dyn std::fmt::Display| {
            head(out, name, kind, help);
            let _ = writeln!(out, "kthena_router_{name} {value}");
        };
        plain(
            out,
            PREFIX_ENTRIES,
            "gauge",
            "Blocks of prompts remembered, over all pods.",
            &self.prefix_entries,
        );
        plain(
            out,
            PREFIX_BYTES,
            "gauge",
            "Bytes the remembered blocks may take.",
            &self.prefix_bytes,
        );
        head(
            out,
            PREFIX_EVICTIONS,
            "counter",
            "Blocks forgotten for want of room.",
        );
        for (model, count) in &self.prefix_evictions {
            let model = escaped(model);
            let _ = writeln!(
                out,
                "kthena_router_{PREFIX_EVICTIONS}{{model=\"{model}\"}} {count}"
            );
        }
        let Some((error, outcome, count)) = &self.estimates else {
            return;
        };
        plain(
            out,
            ESTIMATE_ERROR,
            "counter",
            "Seconds by which estimated first tokens were off.",
            error,
        );
        plain(
            out,
            ESTIMATE_OUTCOME,
            "counter",
            "Seconds to the first tokens that were estimated.",
            outcome,
        );
        plain(
            out,
            ESTIMATES,
            "counter",
            "First tokens that were estimated.",
            count,
        );
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
