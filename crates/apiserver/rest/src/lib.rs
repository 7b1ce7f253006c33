//! The Kubernetes HTTP API of one machine, in this process.
//!
//! [`ApiServer`] keeps Kubernetes objects in an embedded database and serves them as the real API server does: to
//! [`kube::Client`]s in this process without a socket, and to kubectl over a loopback listener. It decides what a
//! request means, what a write may do, and who is told of it; how objects, versions, patches and selectors work is
//! `kthena-apiserver-objects`, how schemas do is `kthena-schema`.
//!
//! # Invariants
//!
//! - A write is acknowledged only after it is on disk; what is acknowledged survives `kill -9`.
//! - Reads are answered from memory and never show what is not on disk.
//! - Memory is bounded: bodies, queues, connections and the history for watches have limits.
//!
//! # Where to go next
//!
//! A request goes `listen` → `service` → `request_info` → `handlers` → `review` → `engine` → `database`. `catalog`
//! knows the resource types, `discovery` and `openapi` describe them, `background` collects garbage.

mod accept;
mod admission;
mod answer;
mod background;
mod catalog;
mod core_types;
mod database;
mod decode;
mod discovery;
mod engine;
mod error;
mod handlers;
mod kubeconfig;
mod listen;
mod logs;
mod openapi;
mod protobuf;
mod query;
mod request_info;
mod review;
mod seeds;
mod server;
mod service;
mod tls;
mod views;

pub use error::{DatabaseError, ServerError, TlsError};
pub use kthena_apiserver_objects::watch_log::LogLimits;
pub use logs::{LogError, LogOptions, LogStream, PodLogs};
pub use server::{ApiServer, ApiServerConfig};
