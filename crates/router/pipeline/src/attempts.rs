//! Which candidate is tried next, and when to stop.

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use kthena_router_scheduler::{Candidate, InFlight};
use kthena_router_view::Attempts as RetryPolicy;
use smallvec::SmallVec;

use crate::error::{ErrorStyle, RouteError};

/// Why an attempt brought no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamFault {
    /// No connection could be made.
    #[error("the connection was refused or failed")]
    Connect,
    /// The connection broke before the head of an answer was complete.
    #[error("the connection was closed before an answer")]
    Closed,
    /// The time limit passed before the head of an answer was complete.
    #[error("no answer within the time limit")]
    Timeout,
    /// What was answered is no HTTP.
    #[error("the answer is not valid HTTP")]
    Malformed,
}

/// What to do with the result of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The answer is the client's.
    Forward,
    /// Another candidate may answer better.
    TryNext,
    /// It stands for all attempts having failed; the client is told so in the router's words.
    Replace,
}

/// The candidates of a request that were not tried yet, best first.
#[derive(Debug)]
pub struct AttemptPlan {
    candidates: SmallVec<[Candidate; 5]>,
    made: usize,
    limit: usize,
    interval: Duration,
    last_fault: Option<UpstreamFault>,
}

/// One candidate that is being tried. The endpoint counts the request while this lives.
#[derive(Debug)]
pub struct Attempt {
    /// Counts the request and names the endpoint.
    pub guard: InFlight,
    /// Where the engine listens.
    pub address: SocketAddr,
    /// How long to wait before dispatch.
    pub wait: Duration,
}

impl AttemptPlan {
    /// A plan over `candidates`, each of which is tried at most once.
    pub fn new(candidates: SmallVec<[Candidate; 5]>, policy: Option<RetryPolicy>) -> Self {
        let allowed = policy.map_or(usize::MAX, |policy| 1 + policy.retries as usize);
        let limit = allowed.min(candidates.len());
        let interval = policy.map_or(Duration::ZERO, |policy| policy.interval);
        Self {
            candidates,
            made: 0,
            limit,
            interval,
            last_fault: None,
        }
    }

    /// The next candidate, counted from now on.
    pub fn begin(&mut self) -> Option<Attempt> {
        if !self.has_more() {
            return None;
        }
        let candidate = &self.candidates[self.made];
        let wait = if self.made == 0 {
            Duration::ZERO
        } else {
            self.interval
        };
        self.made += 1;
        Some(Attempt {
            guard: candidate.endpoint.begin(),
            address: candidate.address,
            wait,
        })
    }

    /// All candidates, those that were tried included, best first.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// Attempts so far.
    pub fn made(&self) -> usize {
        self.made
    }

    fn has_more(&self) -> bool {
        self.made < self.limit
    }

    /// Judges the status of an answer whose head is complete while nothing has reached the client.
    pub fn judge(&self, status: StatusCode, style: ErrorStyle) -> Verdict {
        let elsewhere = matches!(status.as_u16(), 429 | 502 | 503 | 504);
        if elsewhere && self.has_more() {
            Verdict::TryNext
        } else if status.is_server_error() && style == ErrorStyle::Legacy {
            Verdict::Replace
        } else {
            Verdict::Forward
        }
    }

    /// Notes that the attempt brought no answer.
    pub fn note_fault(&mut self, fault: UpstreamFault) {
        self.last_fault = Some(fault);
    }

    /// What the client is told when no candidate is left.
    pub fn exhausted(&self) -> RouteError {
        RouteError::AllFailed {
            timed_out: self.last_fault == Some(UpstreamFault::Timeout),
        }
    }
}

#[cfg(test)]
mod tests;
