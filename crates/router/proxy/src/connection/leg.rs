//! One engine's part in a request: what it is counted by, and who hears how it ended.

use std::sync::Arc;
use std::time::Instant;

use kthena_router_health::{Change, Failure, Outcome, Ticket};
use kthena_router_observability::Usage;
use kthena_router_observability::metrics::{Cell, Phase, Raised};
use kthena_router_pipeline::{UpstreamFault, health_of};
use kthena_router_scheduler::{self as scheduler, Candidate, Dispatch, Endpoint, InFlight, Role};

use super::dispatch::Errand;
use crate::shared::Shared;
use crate::upstream::Answer;

/// An attempt with one engine. While it lives the engine counts as busy with the request; however it ends, policies
/// and health hear of it once.
pub(super) struct Leg {
    shared: Arc<Shared>,
    guard: InFlight,
    /// Recorders of the profile, until they were told the end.
    dispatch: Option<Dispatch>,
    /// Until health was told.
    ticket: Option<Ticket>,
    /// What health may hear a second time, if the answer breaks off.
    answered: Option<Ticket>,
    _counted: Raised,
}

/// Measures one half of an attempt that a pair shares. It counts as failed unless it is said to have succeeded.
pub(super) struct PhaseClock {
    cell: Arc<Cell>,
    phase: Phase,
    began: Instant,
    went_well: bool,
}

impl PhaseClock {
    pub(super) fn start(cell: &Arc<Cell>, phase: Phase) -> Self {
        Self {
            cell: Arc::clone(cell),
            phase,
            began: Instant::now(),
            went_well: false,
        }
    }

    pub(super) fn succeed(mut self) {
        self.went_well = true;
    }
}

impl Drop for PhaseClock {
    fn drop(&mut self) {
        self.cell
            .finish_phase(self.phase, self.went_well, self.began.elapsed());
    }
}

impl Leg {
    /// The request goes to `candidate` now.
    pub(super) fn begin(errand: &Errand<'_>, candidate: &Candidate, role: Role) -> Self {
        let shared = Arc::clone(&errand.worker.shared);
        let endpoint = &candidate.endpoint;
        let now = Instant::now();
        let since_start = now.saturating_duration_since(shared.started);
        let dispatch = errand
            .job
            .with_facts(errand.received.body(), role, since_start, |facts| {
                errand.profile.dispatch(facts, endpoint)
            });
        let ticket = health_of(endpoint).and_then(|health| shared.health.begin(health, now));
        Self {
            shared,
            guard: endpoint.begin(),
            dispatch: Some(dispatch),
            ticket,
            answered: None,
            _counted: errand.cell.upstream(),
        }
    }

    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        self.guard.endpoint()
    }

    /// Name of the pod.
    pub(super) fn pod(&self) -> &Arc<str> {
        &self.endpoint().pod().name
    }

    /// No answer came.
    pub(super) fn failed(mut self, fault: UpstreamFault) {
        self.count(fault);
        if let Some(dispatch) = self.dispatch.take() {
            dispatch.fail();
        }
        let outcome = match fault {
            UpstreamFault::Connect | UpstreamFault::Handshake | UpstreamFault::Untrusted => {
                Outcome::Failed(Failure::Connect)
            }
            UpstreamFault::Closed | UpstreamFault::Malformed => Outcome::Failed(Failure::Closed),
            UpstreamFault::Timeout | UpstreamFault::Silent => Outcome::Failed(Failure::Timeout),
            UpstreamFault::NoDescriptor | UpstreamFault::BadPrefill => Outcome::Abandoned,
        };
        self.report(outcome);
    }

    /// The head of an answer came.
    pub(super) fn answered(&mut self, answer: &Answer) {
        let outcome = match answer.head.status {
            429 => Outcome::Busy,
            502..=504 => Outcome::Failed(Failure::Unavailable),
            500..=599 => Outcome::Failed(Failure::Internal),
            _ => Outcome::Answered {
                connect: answer.connect,
            },
        };
        if !answer.is_success()
            && let Some(dispatch) = self.dispatch.take()
        {
            dispatch.fail();
        }
        self.answered = self.ticket;
        self.report(outcome);
    }

    /// The first byte of the answer's body came.
    pub(super) fn first_byte(&mut self) {
        let at = self.shared.started.elapsed();
        if let Some(dispatch) = &mut self.dispatch {
            dispatch.first_token(at);
        }
    }

    /// The answer was relayed whole.
    pub(super) fn complete(mut self, usage: Option<Usage>) {
        if let Some(dispatch) = self.dispatch.take() {
            dispatch.complete(scheduler::Outcome {
                at: self.shared.started.elapsed(),
                prompt_tokens: usage.map(|usage| usage.prompt),
                output_tokens: usage.map(|usage| usage.completion),
                ..scheduler::Outcome::default()
            });
        }
    }

    /// The answer broke off.
    pub(super) fn broke(mut self, fault: UpstreamFault) {
        let failure = match fault {
            UpstreamFault::Silent => Failure::Timeout,
            _ => Failure::Broken,
        };
        self.count(fault);
        if let Some(dispatch) = self.dispatch.take() {
            dispatch.fail();
        }
        self.ticket = self.answered;
        self.report(Outcome::Failed(failure));
    }

    fn count(&self, fault: UpstreamFault) {
        if fault == UpstreamFault::Silent {
            self.shared.metrics.count_silence();
            let pod = self.endpoint().pod();
            tracing::warn!(namespace = %pod.namespace, pod = %pod.name, "an engine said nothing for too long");
        }
    }

    fn report(&mut self, outcome: Outcome) {
        let (Some(ticket), Some(health)) = (self.ticket.take(), health_of(self.guard.endpoint()))
        else {
            return;
        };
        let policy = &self.shared.health;
        let pod = self.guard.endpoint().pod();
        match policy.report(health, ticket, outcome, Instant::now()) {
            None => {}
            Some(Change::Ejected { period, cause }) => {
                tracing::warn!(namespace = %pod.namespace, pod = %pod.name, ?period, ?cause, "an endpoint is ejected");
                self.shared.metrics.count_ejection();
            }
            Some(Change::Returning) => {
                tracing::info!(namespace = %pod.namespace, pod = %pod.name, "an endpoint takes requests again");
            }
        }
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        // A probe that nobody waits for must not keep the next one waiting.
        self.report(Outcome::Abandoned);
    }
}
