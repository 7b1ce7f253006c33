//! Every scheduling plugin, their settings, and how they become a scheduler.
//!
//! A plugin is a folder. [`config`] reads the scheduler's part of the configuration file, [`Scheduling`] makes a
//! [`Profile`](kthena_router_scheduler::Profile) of it.
//!
//! # Invariants
//!
//! - Marks are whole numbers from 0 to 100, truncated, whatever engines report.
//! - A plugin that knows nothing marks everyone alike; a request never fails because of one.
//! - What a plugin remembers is bounded, and is about endpoints that exist.
//!
//! # Where to go next
//!
//! The scheduler crate has the traits, the prefix crate the index behind `prefix-cache` and `adaptive`.

pub mod adaptive;
pub mod config;
pub mod gpu_usage;
pub mod kvcache_aware;
pub mod least_latency;
pub mod least_request;
pub mod lora_affinity;
mod positions;
pub mod prefix_cache;
pub mod random;
mod scheduling;

pub use config::{ConfigError, FilterName, Notice, ReadConfig, SchedulerConfig, ScorerName};
pub use scheduling::Scheduling;

#[cfg(test)]
mod fixtures;
