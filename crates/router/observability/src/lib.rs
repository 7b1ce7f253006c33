//! Records what happened to requests: access log, metrics, token usage.
//!
//! A request ends with one [`Record`]; log line and metrics are both made from it.
//!
//! # Invariants
//!
//! - Nothing here blocks a request: counters are atomics, log lines go into a bounded buffer that one thread empties,
//!   and what does not fit is counted and dropped.
//! - Label values are bounded: names of routes and servers, statuses, listed paths; never what a client made up.
//! - Gauges are guards; they fall when dropped.
//!
//! # Where to go next
//!
//! [`access_log`] for the two line forms, [`metrics`] for the families of requests, [`scheduling`]
//! for those of plugins, [`figures`] for those of all other parts, [`usage`] for reading token counts in passing.

pub mod access_log;
pub mod figures;
pub mod labels;
pub mod log_sink;
pub mod metrics;
mod process_stats;
pub mod record;
pub mod scheduling;
mod text;
pub mod usage;

pub use access_log::{LogFormat, write_line};
pub use figures::RouterFigures;
pub use labels::{BackendKind, Destination};
pub use log_sink::{LogOutput, LogSink};
pub use metrics::Metrics;
pub use record::{LogError, Marks, Phases, Record};
pub use scheduling::{KvStage, SchedulingCell, SchedulingFigures, SchedulingMetrics};
pub use usage::{Usage, UsageTap};
