//! Everything that is known of a request once it has ended.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::labels::Destination;
use crate::usage::Usage;

/// One finished request.
#[derive(Debug, Clone)]
pub struct Record {
    /// When the request began, for the log.
    pub started: SystemTime,
    /// HTTP method.
    pub method: String,
    /// Path as received, without query.
    pub path: String,
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub protocol: &'static str,
    /// Status sent to the client.
    pub status: u16,
    /// What went wrong.
    pub error: Option<LogError>,
    /// Value of the body's `model`; empty = never read.
    pub model: String,
    /// `namespace/name` of the matched route.
    pub route: Option<Arc<str>>,
    /// `namespace/name` of the chosen model server.
    pub server: Option<Arc<str>>,
    /// Name of the pod that answered, or was tried last.
    pub pod: Option<Arc<str>>,
    /// Value of `x-request-id`.
    pub request_id: String,
    /// Set once candidates were chosen.
    pub destination: Option<Destination>,
    /// Last status an engine gave; 0 = none.
    pub upstream_status: u16,
    /// Attempts made.
    pub attempts: usize,
    /// Estimated tokens of the prompt.
    pub input_tokens: u64,
    /// Tokens the engine says it used.
    pub usage: Option<Usage>,
    /// From the first byte to the end.
    pub total: Duration,
    /// Until the prompt was measured.
    pub request_phase: Duration,
    /// While engines were spoken to.
    pub upstream_phase: Duration,
}

/// What the log says about a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogError {
    /// One of the documented types.
    pub kind: &'static str,
    /// For a person.
    pub message: String,
}

impl Record {
    /// A request of which only the start is known.
    pub fn new(started: SystemTime) -> Self {
        Self {
            started,
            method: String::new(),
            path: String::new(),
            protocol: "HTTP/1.1",
            status: 0,
            error: None,
            model: String::new(),
            route: None,
            server: None,
            pod: None,
            request_id: String::new(),
            destination: None,
            upstream_status: 0,
            attempts: 0,
            input_tokens: 0,
            usage: None,
            total: Duration::ZERO,
            request_phase: Duration::ZERO,
            upstream_phase: Duration::ZERO,
        }
    }

    /// Tokens the engine generated.
    pub fn output_tokens(&self) -> u64 {
        self.usage.map_or(0, |usage| usage.completion)
    }

    /// What is left of the total after the other two phases.
    pub fn response_phase(&self) -> Duration {
        self.total
            .saturating_sub(self.request_phase)
            .saturating_sub(self.upstream_phase)
    }
}
