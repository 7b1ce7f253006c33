//! What the parts of a router count themselves, as families of the Prometheus text format: queues, sessions, visits of
//! engines, the index of their caches.
//!
//! Unlike request metrics these are read off the parts when somebody asks, so nothing is counted twice.

mod tokenizers;

use std::fmt::Display;
use std::time::Duration;

use crate::text::{escaped, head, histogram, sample};

pub use tokenizers::{KindFigures, TokenizerFigures};

/// The user of all series of fair queues; names of users never appear.
const ALL_USERS: &str = "user_id=\"_all\"";

/// Everything that the parts of a router count.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RouterFigures {
    /// Queues of requests; `None` = requests do not queue.
    pub queues: Option<QueueFigures>,
    /// Bindings of sessions to pods.
    pub sessions: SessionFigures,
    /// Visits of engines; `None` = they are not visited.
    pub visits: Option<VisitFigures>,
    /// The index of the engines' caches; `None` = there is none.
    pub index: Option<IndexFigures>,
    /// The router's own tokenizers, one per model.
    pub tokenizers: Vec<TokenizerFigures>,
}

/// All queues of requests.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueFigures {
    /// What orders requests.
    pub order: QueueOrder,
    /// Upper bounds of the histograms of waits, seconds, ascending.
    pub wait_bounds: &'static [f64],
    /// Each queue, in the order it is to be written.
    pub queues: Vec<OneQueue>,
}

/// What orders the requests of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueOrder {
    /// What users consumed; `permits` says whether requests in flight are bounded, not their rate.
    Fairness {
        /// Whether requests in flight are bounded.
        permits: bool,
    },
    /// Sessions that were served a moment ago.
    SessionBoost,
}

/// One model's queue. Gauges are of now, the rest grows as long as the queue exists.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OneQueue {
    /// A name that some route knows.
    pub model: String,
    /// Requests that wait.
    pub waiting: u64,
    /// Requests that were admitted and have not ended.
    pub in_flight: u64,
    /// Requests that were admitted.
    pub admitted: u64,
    /// Requests that left or ran out of time before that.
    pub cancelled: u64,
    /// Requests refused because too many waited.
    pub refused: u64,
    /// Changes of one priority that put somebody else first.
    pub refreshed: u64,
    /// Recalculations of all priorities that changed one.
    pub rebuilt: u64,
    /// Waits of each bucket by itself, one more than bounds.
    pub waits: Vec<u64>,
    /// All waits together.
    pub waited: Duration,
}

/// Visits of engines, which ask for their state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VisitFigures {
    /// Visits that ended, well or not.
    pub ended: u64,
    /// Those of them that brought nothing.
    pub failed: u64,
    /// Engines whose last known state is too old to go by.
    pub outdated: u64,
}

/// Bindings of sessions to pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionFigures {
    /// Sessions that are bound.
    pub entries: u64,
    /// Estimate of their memory.
    pub bytes: u64,
    /// Forgotten before their time because of a limit.
    pub evicted: u64,
    /// Forgotten because their time was up.
    pub expired: u64,
    /// Bound to another pod than before.
    pub moved: u64,
}

/// The index of what engines have cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexFigures {
    /// The router keeps it itself.
    Memory(MemoryIndex),
    /// Sidecars keep it in Redis.
    Redis {
        /// Redis answers.
        up: bool,
        /// Fields of pods that are gone, which this router removed.
        swept: u64,
    },
}

/// An index that the router keeps, and the events it is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryIndex {
    /// Bytes of all tables.
    pub bytes: u64,
    /// Blocks held, once for each engine.
    pub blocks: u64,
    /// Engines, each rank by itself.
    pub engines: u64,
    /// Blocks not taken in for want of room.
    pub refused: u64,
    /// Blocks not taken in because the block before them is not known.
    pub orphans: u64,
    /// How often an engine's blocks were forgotten.
    pub resets: u64,
    /// Batches of events applied.
    pub batches: u64,
    /// Batches and events that could not be read.
    pub faulty: u64,
    /// Times that messages were missing.
    pub gaps: u64,
    /// Connections made to engines.
    pub connects: u64,
}

impl RouterFigures {
    /// Appends the families to `out`.
    pub fn write(&self, out: &mut String) {
        if let Some(queues) = &self.queues {
            queues.write(out);
        }
        self.sessions.write(out);
        if let Some(visits) = &self.visits {
            visits.write(out);
        }
        match &self.index {
            Some(IndexFigures::Memory(index)) => index.write(out),
            Some(IndexFigures::Redis { up, swept }) => {
                let help = "Whether the shared index of cached blocks answers.";
                gauge(out, "kv_index_redis_up", help, &u8::from(*up));
                let help = "Entries of pods that are gone, removed from the shared index.";
                counter(out, "kv_index_swept_total", help, swept);
            }
            None => {}
        }
        tokenizers::write(&self.tokenizers, out);
    }
}

impl VisitFigures {
    fn write(&self, out: &mut String) {
        let help = "Visits of engines for their state, failed ones included.";
        counter(out, "engine_scrapes_total", help, &self.ended);
        let help = "Visits of engines that brought nothing.";
        counter(out, "engine_scrape_failures_total", help, &self.failed);
        let help = "Engines whose last known state is too old to go by.";
        gauge(out, "engine_samples_outdated", help, &self.outdated);
    }
}

/// A family of a queue's: its name behind the prefix, kind, help and value.
type Family = (
    &'static str,
    &'static str,
    &'static str,
    fn(&OneQueue) -> u64,
);

/// Families that both kinds of queues have.
const COMMON: [Family; 3] = [
    ("size", "gauge", "Requests that wait.", |queue| {
        queue.waiting
    }),
    (
        "cancelled_total",
        "counter",
        "Requests that left or ran out of time while they waited.",
        |queue| queue.cancelled,
    ),
    (
        "dequeue_total",
        "counter",
        "Requests that were admitted.",
        |queue| queue.admitted,
    ),
];
const IN_FLIGHT: Family = (
    "inflight",
    "gauge",
    "Requests that were admitted and have not ended.",
    |queue| queue.in_flight,
);
const REORDERED: [Family; 2] = [
    (
        "priority_refresh_total",
        "counter",
        "Changes of a priority that put somebody else first.",
        |queue| queue.refreshed,
    ),
    (
        "heap_rebuild_total",
        "counter",
        "Recalculations of all priorities that changed one.",
        |queue| queue.rebuilt,
    ),
];

impl QueueFigures {
    fn write(&self, out: &mut String) {
        let (prefix, by_user, more): (_, _, Vec<Family>) = match self.order {
            QueueOrder::Fairness { permits } => {
                let in_flight = permits.then_some(IN_FLIGHT);
                let more = in_flight.into_iter().chain(REORDERED).collect();
                ("fairness_queue", true, more)
            }
            QueueOrder::SessionBoost => ("session_boost_queue", false, vec![IN_FLIGHT]),
        };
        let families = COMMON.into_iter().map(|family| (family, by_user));
        for ((name, kind, help, value), by_user) in
            families.chain(more.into_iter().map(|family| (family, false)))
        {
            let name = format!("{prefix}_{name}");
            self.family(out, (&name, kind, help), by_user, value);
        }
        let name = format!("{prefix}_duration_seconds");
        let help = "How long requests waited, those that left included.";
        head(out, &name, "histogram", help);
        for queue in &self.queues {
            let labels = labels(queue, by_user);
            let waits = (&queue.waits[..], queue.waited.as_secs_f64());
            histogram(out, &name, &labels, self.wait_bounds, waits);
        }
        let help = "Requests refused because too many waited for the model.";
        let refused = ("queue_refused_total", "counter", help);
        self.family(out, refused, false, |queue| queue.refused);
    }

    fn family(
        &self,
        out: &mut String,
        (name, kind, help): (&str, &str, &str),
        by_user: bool,
        value: fn(&OneQueue) -> u64,
    ) {
        head(out, name, kind, help);
        for queue in &self.queues {
            sample(out, name, &labels(queue, by_user), &value(queue));
        }
    }
}

impl SessionFigures {
    fn write(&self, out: &mut String) {
        let help = "Sessions that are bound to a pod.";
        gauge(out, "sticky_sessions", help, &self.entries);
        let help = "Bytes that bindings of sessions may take.";
        gauge(out, "sticky_bytes", help, &self.bytes);
        let help = "Sessions forgotten for want of room.";
        counter(out, "sticky_evictions_total", help, &self.evicted);
        let help = "Sessions whose time was up.";
        counter(out, "sticky_expirations_total", help, &self.expired);
        let help = "Sessions that were bound to another pod than before.";
        counter(out, "sticky_moves_total", help, &self.moved);
    }
}

impl MemoryIndex {
    fn write(&self, out: &mut String) {
        let gauges = [
            ("bytes", "Bytes of the index of cached blocks.", self.bytes),
            ("blocks", "Cached blocks, once per engine.", self.blocks),
            (
                "engines",
                "Engines whose events are followed.",
                self.engines,
            ),
        ];
        for (name, help, value) in gauges {
            gauge(out, &format!("kv_index_{name}"), help, &value);
        }
        let counters = [
            (
                "kv_index_refused_blocks_total",
                "Blocks not taken in for want of room.",
                self.refused,
            ),
            (
                "kv_index_orphaned_blocks_total",
                "Blocks not taken in because the block before them is not known.",
                self.orphans,
            ),
            (
                "kv_index_resets_total",
                "How often all blocks of an engine were forgotten.",
                self.resets,
            ),
            (
                "kv_event_batches_total",
                "Batches of cache events applied.",
                self.batches,
            ),
            (
                "kv_event_faults_total",
                "Batches and events about caches that could not be read.",
                self.faulty,
            ),
            (
                "kv_event_gaps_total",
                "Times that messages about caches were missed.",
                self.gaps,
            ),
            (
                "kv_event_connects_total",
                "Connections made for cache events.",
                self.connects,
            ),
        ];
        for (name, help, value) in counters {
            counter(out, name, help, &value);
        }
    }
}

fn labels(queue: &OneQueue, by_user: bool) -> String {
    let model = format!("model=\"{}\"", escaped(&queue.model));
    if by_user {
        format!("{model},{ALL_USERS}")
    } else {
        model
    }
}

fn gauge(out: &mut String, name: &str, help: &str, value: &dyn Display) {
    head(out, name, "gauge", help);
    sample(out, name, "", value);
}

fn counter(out: &mut String, name: &str, help: &str, value: &dyn Display) {
    head(out, name, "counter", help);
    sample(out, name, "", value);
}

#[cfg(test)]
mod tests;
