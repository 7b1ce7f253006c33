//! Which candidate is tried next, and when to stop.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use http::StatusCode;
use kthena_router_scheduler::Candidate;
use kthena_router_view::{ExtraAttempt, ServerView};
use smallvec::SmallVec;

use crate::error::{ErrorStyle, RouteError};

/// Why an attempt brought no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamFault {
    /// No connection could be made.
    #[error("the connection was refused or failed")]
    Connect,
    /// The process has no descriptor left, which says nothing about the engine.
    #[error("no descriptor is left for a connection")]
    NoDescriptor,
    /// The engine did not speak TLS as it should, so nothing was sent to it.
    #[error("the TLS handshake failed")]
    Handshake,
    /// The engine's certificate is not trusted, so nothing was sent to it.
    #[error("the engine's certificate is not trusted")]
    Untrusted,
    /// The connection broke before the head of an answer was complete.
    #[error("the connection was closed before an answer")]
    Closed,
    /// The time limit passed before the head of an answer was complete.
    #[error("no answer within the time limit")]
    Timeout,
    /// The engine said nothing for longer than any may.
    #[error("the engine fell silent")]
    Silent,
    /// What was answered is no HTTP.
    #[error("the answer is not valid HTTP")]
    Malformed,
    /// The prefill half answered with success, but not with what the decode half needs.
    #[error("the prefill answer is not a JSON object")]
    BadPrefill,
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

/// Whom one attempt is made with.
pub trait Slot: Clone {
    /// Some pod of it has left the table since it was chosen.
    fn is_leaving(&self) -> bool;
}

/// A prefill pod and the decode pod it works for.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Computes the prompt's KV cache.
    pub prefill: Candidate,
    /// Generates the answer.
    pub decode: Candidate,
}

/// The candidates of a request that were not tried yet, best first.
#[derive(Debug)]
pub struct AttemptPlan<S> {
    slots: SmallVec<[S; 5]>,
    /// Position of the next one.
    next: usize,
    made: usize,
    /// How many attempts there may be.
    limit: usize,
    server: Arc<ServerView>,
    /// The attempt before failed in a way that another one may follow.
    goes_on: bool,
    /// Charged to the server's budget for the current attempt.
    extra: Option<ExtraAttempt>,
    last_fault: Option<UpstreamFault>,
}

/// One candidate that is being tried.
#[derive(Debug)]
pub struct Attempt<S> {
    /// With whom.
    pub slot: S,
    /// How long to wait before dispatch.
    pub wait: Duration,
}

impl Slot for Candidate {
    fn is_leaving(&self) -> bool {
        self.endpoint.is_retired()
    }
}

impl Slot for Pair {
    fn is_leaving(&self) -> bool {
        self.prefill.is_leaving() || self.decode.is_leaving()
    }
}

impl<S: Slot> AttemptPlan<S> {
    /// A plan over `slots` of `server`, each of which is tried at most once.
    pub fn new(slots: SmallVec<[S; 5]>, server: Arc<ServerView>) -> Self {
        let allowed = server
            .attempts
            .map_or(usize::MAX, |policy| 1 + policy.retries as usize);
        Self {
            limit: allowed.min(slots.len()),
            slots,
            next: 0,
            made: 0,
            server,
            goes_on: true,
            extra: None,
            last_fault: None,
        }
    }

    /// The next candidate, if the last attempt's failure allows one.
    pub fn begin(&mut self, rng: &mut Rng) -> Option<Attempt<S>> {
        if !std::mem::take(&mut self.goes_on) || !self.has_more() {
            return None;
        }
        // A pod that is leaving is only tried if nobody else is left.
        let staying = |slot: &S| !slot.is_leaving();
        let rest = &self.slots[self.next..];
        let skipped = rest.iter().position(staying).unwrap_or(0);
        let slot = rest[skipped].clone();
        self.next += skipped + 1;
        let wait = if self.made == 0 {
            Duration::ZERO
        } else {
            self.interval(rng)
        };
        self.made += 1;
        Some(Attempt { slot, wait })
    }

    /// All candidates, those that were tried included, best first.
    pub fn slots(&self) -> &[S] {
        &self.slots
    }

    /// Attempts so far.
    pub fn made(&self) -> usize {
        self.made
    }

    /// Judges the status of an answer whose head is complete while nothing has reached the client.
    pub fn judge(&mut self, status: StatusCode, style: ErrorStyle) -> Verdict {
        let elsewhere = matches!(status.as_u16(), 429 | 502 | 503 | 504);
        if elsewhere && self.has_more() && self.charge() {
            self.goes_on = true;
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
        // A pod that nothing reached got no work, and one that just died must not take the requests it held with it.
        // But a request that kills one pod after the other must not do so for free.
        let free = match fault {
            UpstreamFault::Connect
            | UpstreamFault::NoDescriptor
            | UpstreamFault::Handshake
            | UpstreamFault::Untrusted => true,
            UpstreamFault::Closed => self.made == 1,
            UpstreamFault::Timeout | UpstreamFault::Malformed | UpstreamFault::BadPrefill => false,
            // What takes one engine so long takes the next one as long.
            UpstreamFault::Silent => return,
        };
        self.goes_on = self.has_more() && (free || self.charge());
    }

    /// The fault of the last attempt that brought no answer ran into the time limit.
    pub fn timed_out(&self) -> bool {
        matches!(
            self.last_fault,
            Some(UpstreamFault::Timeout | UpstreamFault::Silent)
        )
    }

    /// No attempt could be made for want of descriptors.
    pub fn is_starved(&self) -> bool {
        self.last_fault == Some(UpstreamFault::NoDescriptor)
    }

    fn has_more(&self) -> bool {
        self.made < self.limit && self.next < self.slots.len()
    }

    /// Takes an attempt out of the server's budget.
    fn charge(&mut self) -> bool {
        self.extra = None;
        self.extra = self.server.budget.begin(self.server.in_flight());
        self.extra.is_some()
    }

    /// The configured interval, give or take a half, so that those who failed together do not return together.
    fn interval(&self, rng: &mut Rng) -> Duration {
        let interval = self
            .server
            .attempts
            .map_or(Duration::ZERO, |policy| policy.interval);
        if interval.is_zero() {
            return interval;
        }
        interval.mul_f64(0.5 + rng.f64())
    }
}

impl AttemptPlan<Candidate> {
    /// What the client is told when no candidate is left.
    pub fn exhausted(&self) -> RouteError {
        if self.is_starved() {
            return RouteError::Overloaded;
        }
        RouteError::AllFailed {
            timed_out: self.timed_out(),
        }
    }
}

impl AttemptPlan<Pair> {
    /// What the client is told when no pair is left.
    pub fn exhausted(&self) -> RouteError {
        if self.is_starved() {
            return RouteError::Overloaded;
        }
        RouteError::PairsFailed {
            timed_out: self.timed_out(),
        }
    }
}

#[cfg(test)]
mod tests;
