//! The engine's HTTP side: which path does what, who may call, what faults do to a request.
//!
//! `serve` accepts connections; a request passes readiness, key, faults and then its handler. The
//! handlers turn bodies into jobs for the batch loop (`generate`) and tokens into bodies
//! (`bodies`, `stream`).

mod bodies;
mod chat;
mod embeddings;
mod generate;
mod halves;
mod json;
mod models;
mod respond;
mod responses;
mod routes;
mod serve;
mod sglang;
mod stream;
mod tokenize;
mod validate;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;
pub use serve::{EngineError, run, serve};

use serde::Serialize;

use crate::config::Task;
use crate::core::{Handle, seconds_since_1970};
use crate::faults::Fate;
use crate::handover::Rooms;
use crate::text::Dice;

/// The version the vLLM dialect answers with; the one its answers were recorded from.
const VLLM_VERSION: &str = "0.32.0";
/// The version the SGLang dialect answers with.
const SGLANG_VERSION: &str = "0.5.5";
/// Names a request across systems; it becomes part of the answer's id.
const REQUEST_ID: &str = "x-request-id";

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) handle: Handle,
    /// Sets this engine apart in hand-overs.
    engine_id: u64,
    rooms: Rooms,
    sockets: Sockets,
    ids: AtomicU64,
}

/// Where an engine listens beside its HTTP port.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Sockets {
    /// Subscribers to events of the cache connect here.
    kv_events: Option<String>,
    /// They ask for missed ones here.
    kv_events_replay: Option<String>,
    /// The halves of requests meet here (SGLang).
    bootstrap_port: Option<u16>,
}

/// What a handler needs to know about a request beside its body.
#[derive(Debug)]
pub(crate) struct Call {
    /// The caller's name for the request.
    request_id: Option<String>,
    /// The address it came to.
    local: SocketAddr,
    fate: Fate,
}

impl Call {
    fn new(headers: &HeaderMap, local: SocketAddr, fate: Fate) -> Self {
        let id = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
        Self {
            request_id: id.map(str::to_owned),
            local,
            fate,
        }
    }
}

impl Server {
    fn new(handle: Handle, sockets: Sockets) -> Self {
        let seed = (seconds_since_1970() * 1e9) as u64 ^ u64::from(std::process::id()) << 40;
        Self {
            handle,
            rooms: Rooms::default(),
            sockets,
            engine_id: Dice::new(seed).roll(),
            ids: AtomicU64::new(seed),
        }
    }

    /// An id nobody else has.
    fn random_id(&self, prefix: &str) -> String {
        let seed = self.ids.fetch_add(1, Ordering::Relaxed);
        format!("{prefix}{:016x}", Dice::new(seed).roll())
    }

    /// The id of an answer: the caller's, if there is one.
    fn answer_id(&self, prefix: &str, call: &Call) -> String {
        match &call.request_id {
            Some(id) => format!("{prefix}{id}"),
            None => self.random_id(prefix),
        }
    }

    fn generates(&self) -> bool {
        self.handle.shared.config.task == Task::Generate
    }
}
