//! Everything that is known of a request once it has ended.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

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
    /// Where the time went.
    pub phases: Phases,
}

/// Where the time of a request went. Waiting in a queue and placing are in none of the phases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Phases {
    /// From the first byte to the end.
    pub total: Duration,
    /// Until the prompt was measured.
    pub request: Duration,
    /// While engines were spoken to.
    pub upstream: Duration,
    /// From the end of the answer to the end of the request.
    pub response: Duration,
}

/// The moments at which a request passed its stations, as far as it came.
#[derive(Debug, Clone, Copy)]
pub struct Marks {
    /// It began.
    pub started: Instant,
    /// Its body had been read and its prompt measured.
    pub measured: Option<Instant>,
    /// Engines were chosen.
    pub dispatched: Option<Instant>,
    /// Its answer was complete, or it was known that there is none.
    pub answered: Option<Instant>,
    /// It ended.
    pub ended: Instant,
}

impl Marks {
    /// The time between the stations. Of a request that was not dispatched, everything behind the last station it
    /// passed counts as that station's phase.
    pub fn phases(&self) -> Phases {
        let Self { started, ended, .. } = *self;
        let total = ended - started;
        let mut phases = Phases {
            total,
            request: self.measured.map_or(total, |measured| measured - started),
            ..Phases::default()
        };
        if let Some(dispatched) = self.dispatched {
            let answered = self.answered.unwrap_or(ended);
            phases.upstream = answered - dispatched;
            phases.response = ended - answered;
        } else if let Some(measured) = self.measured {
            phases.upstream = ended - measured;
        }
        phases
    }
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
            phases: Phases::default(),
        }
    }

    /// Tokens the engine generated.
    pub fn output_tokens(&self) -> u64 {
        self.usage.map_or(0, |usage| usage.completion)
    }
}

#[cfg(test)]
mod tests;
