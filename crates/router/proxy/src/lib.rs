//! The router as a server: listeners, connections to clients and engines, the watch behind its view.
//!
//! A connection is served by one task on one thread from accept to close. Between the sockets lies the pipeline
//! crate, which decides everything that can be decided without them.
//!
//! # Invariants
//!
//! - An answer is passed on as it arrives; nothing is held back but an incomplete line of a stream whose usage event
//!   the client did not ask for.
//! - A connection that waits owns no buffer.
//! - A client that leaves takes its engine connection with it at once.
//! - An engine that falls silent costs its client the time limit, not for ever.
//! - After the first byte of an answer nothing is tried again; an answer that breaks off reaches the client broken.
//! - Each request ends in exactly one log line and one count, on every path.
//!
//! # Where to go next
//!
//! [`Router`] for the life of the whole; `connection` for a request, `relay` for an answer's body, `upstream` for
//! the engines' side.

mod admin;
mod background;
mod config;
mod configuration;
mod connection;
mod descriptors;
mod error;
mod fetch;
mod figures;
mod http1;
mod http2;
mod kv;
mod listener;
mod profile_reload;
mod queueing;
mod relay;
mod router;
mod scrape;
mod scratch;
mod shared;
mod sharing;
mod silence;
mod tls;
mod tokens;
mod transport;
mod upstream;
mod watch;
mod watchdog;
mod worker;

pub use config::{Limits, RouterConfig};
pub use configuration::{ConfigurationFaults, read_configuration};
pub use descriptors::raise_limit as raise_descriptor_limit;
pub use error::ProxyError;
pub use kthena_kv_events::redis::RedisAddress;
pub use kthena_router_filters::settings::QueueConfig;
pub use kthena_router_observability::{LogFormat as AccessLogFormat, LogOutput as AccessLogOutput};
pub use kthena_router_pipeline::ErrorStyle;
pub use kthena_router_plugins::SchedulerConfig;
pub use kthena_router_plugins::config::ScorerName;
pub use kthena_router_sharing::{RedisConfig, SharingConfig};
pub use kthena_router_view::{PodFacts, Snapshot, View};
pub use kv::{EventSource, KvConfig, KvSource};
pub use profile_reload::{SchedulingConfig, SchedulingFile};
pub use router::{Publisher, Router};
pub use scrape::ScrapeConfig;
pub use tls::{CertificateCheck, EngineTrust, TlsError, TlsFiles};
pub use tokens::{LocalTokenizer, TokenizerFolderError, TokensConfig};
