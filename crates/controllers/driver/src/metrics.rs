//! What the controller counts of itself.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::EncodeLabelValue;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

const RECONCILES: &str = "kthena_controller_reconciles";
const RECONCILE_SECONDS: &str = "kthena_controller_reconcile_duration_seconds";
const QUEUE_DEPTH: &str = "kthena_controller_queue_depth";
const WRITES: &str = "kthena_controller_api_writes";

/// Counters of one controller; clones share them.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    reconciles: Family<ResultLabels, Counter>,
    seconds: Histogram,
    queue_depth: Gauge,
    writes: Family<WriteLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: ResultLabel,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    kind: WriteLabel,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(
    non_camel_case_types,
    reason = "the variant's name is the label's value"
)]
pub enum WriteLabel {
    /// A pod was created or deleted.
    pod,
    /// A service was created or deleted.
    service,
    /// A `ControllerRevision` was created, annotated or deleted.
    revision,
    /// A `PodGroup` was created, changed or deleted.
    pod_group,
    /// The status of a `ModelServing`.
    status,
    /// Anything for a `LeaderWorkerSet`.
    leader_worker_set,
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum ResultLabel {
    #[expect(
        non_camel_case_types,
        reason = "the variant's name is the label's value"
    )]
    success,
    #[expect(
        non_camel_case_types,
        reason = "the variant's name is the label's value"
    )]
    error,
}

impl Default for Metrics {
    fn default() -> Self {
        Self(Arc::new(Counters {
            reconciles: Family::default(),
            seconds: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            queue_depth: Gauge::default(),
            writes: Family::default(),
        }))
    }
}

impl Metrics {
    /// Adds the counters to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(RECONCILES, "Turns by result", self.0.reconciles.clone());
        registry.register(
            RECONCILE_SECONDS,
            "Duration of a turn",
            self.0.seconds.clone(),
        );
        registry.register(
            QUEUE_DEPTH,
            "ModelServings that wait for a worker",
            self.0.queue_depth.clone(),
        );
        registry.register(
            WRITES,
            "Writes to the API server by kind, events excepted",
            self.0.writes.clone(),
        );
    }

    pub(crate) fn turned(&self, result: ResultLabel, duration: Duration) {
        self.0
            .reconciles
            .get_or_create(&ResultLabels { result })
            .inc();
        self.0.seconds.observe(duration.as_secs_f64());
    }

    pub(crate) fn queue(&self, depth: usize) {
        self.0
            .queue_depth
            .set(i64::try_from(depth).unwrap_or(i64::MAX));
    }

    pub(crate) fn wrote(&self, kind: WriteLabel) {
        self.0.writes.get_or_create(&WriteLabels { kind }).inc();
    }

    /// Writes of a kind to the API server so far. Events are not counted.
    pub fn writes(&self, kind: WriteLabel) -> u64 {
        self.0.writes.get_or_create(&WriteLabels { kind }).get()
    }

    /// Turns so far, whatever came of them.
    pub fn turns(&self) -> u64 {
        [ResultLabel::success, ResultLabel::error]
            .into_iter()
            .map(|result| {
                self.0
                    .reconciles
                    .get_or_create(&ResultLabels { result })
                    .get()
            })
            .sum()
    }
}
