//! The node agent: one Kubernetes node on this machine that runs pods as child processes.
//!
//! It works against any API server: it registers a Node, watches the pods bound to it (and, where it is the only
//! node, binds pods that nobody has taken), starts a process per container and tells the server what becomes of it.
//! Every pod has a loopback address of its own, so that all of them can listen on the same port.
//!
//! # Invariants
//!
//! - Processes belong to a supervisor that outlives the agent; none is left behind when both have gone ([`reap`]).
//! - What the node does about a pod is decided by [`plan::plan`], a function without a clock or a server.
//! - A status is written when something in it has changed and at no other time.
//!
//! # Where to go next
//!
//! [`Node`] is the whole; `plan` decides, `launch` turns containers into commands, `supervisor` owns processes,
//! `agent` connects the three to the API server, [`LogReader`] reads what containers have said.

mod agent;
mod config;
mod error;
pub mod launch;
mod logs;
pub mod machine;
pub mod plan;
mod runtime;
mod state;
pub mod supervisor;

pub use agent::{Node, run};
pub use config::{NodeConfig, OnShutdown};
pub use error::NodeError;
pub use logs::{LogError, LogOptions, LogReader};
pub use supervisor::reap::reap;
