//! A request that one engine does all of: candidates are tried until one gives an answer that is the client's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use kthena_router_filters::queue::Permit;
use kthena_router_observability::metrics::Cell;
use kthena_router_pipeline::{AttemptPlan, Edits, Job, RouteError, Slot, UpstreamFault, Verdict};
use kthena_router_scheduler::{Candidate, Profile, Role};

use super::Connection;
use super::client::Gone;
use super::exchange::Exchange;
use super::leg::{Leg, PhaseClock};
use super::pair::Prefilling;
use super::received::Received;
use super::session::Settling;
use crate::shared::Shared;
use crate::tls::EngineTls;
use crate::transport::Transport;
use crate::upstream::{Answer, Outgoing, Upstream, ask};
use crate::watchdog::Watchdog;
use crate::worker::Worker;

/// A request that is to be sent to engines.
pub(super) struct Errand<'r> {
    pub(super) received: &'r Received,
    pub(super) job: Job,
    /// What the request was placed by.
    pub(super) profile: Arc<Profile>,
    pub(super) cell: Arc<Cell>,
    pub(super) worker: Arc<Worker>,
    /// How the engines prove who they are; `None` = they speak without TLS.
    pub(super) tls: Option<Arc<EngineTls>>,
    /// Of the client's connection.
    pub(super) watchdog: Arc<Watchdog>,
    pub(super) request_id: String,
}

/// An engine's answer that is the client's.
pub(super) struct Granted {
    pub(super) answer: Answer,
    pub(super) leg: Leg,
    /// Usage figures were asked for on the router's account.
    pub(super) hide_usage: bool,
    pub(super) ending: Ending,
}

/// Who hears that a granted answer went well. Dropped, it says that it did not.
#[derive(Default)]
pub(super) struct Ending {
    /// The decode half of a pair is timed to its end.
    pub(super) clock: Option<PhaseClock>,
    /// The prefill half that has not ended yet.
    pub(super) prefilling: Option<Prefilling>,
    /// The session stays on the pod.
    pub(super) settling: Option<Settling>,
    /// Given back to the queue in any case.
    pub(super) permit: Option<Permit>,
}

impl Ending {
    pub(super) fn went_well(self, shared: &Shared) {
        if let Some(clock) = self.clock {
            clock.succeed();
        }
        if let Some(prefilling) = self.prefilling {
            prefilling.release();
        }
        if let Some(settling) = self.settling {
            settling.settle(shared);
        }
        if let Some(permit) = self.permit {
            permit.complete();
        }
    }
}

impl Granted {
    pub(super) fn whole(answer: Answer, leg: Leg, hide_usage: bool) -> Self {
        Self {
            answer,
            leg,
            hide_usage,
            ending: Ending::default(),
        }
    }
}

impl Errand<'_> {
    /// Sends `outgoing` to `candidate` and waits for the head of the answer.
    pub(super) async fn ask(
        &self,
        candidate: &Candidate,
        outgoing: &Outgoing<'_>,
    ) -> Result<Answer, UpstreamFault> {
        ask(self.upstream(), candidate.address, outgoing).await
    }

    fn upstream(&self) -> Upstream<'_> {
        Upstream {
            pool: &self.worker.pool,
            tls: self.tls.as_deref(),
            connect_limit: self.worker.shared.limits.connect,
            watchdog: &self.watchdog,
        }
    }

    pub(super) fn outgoing<'e>(&'e self, edits: &'e Edits) -> Outgoing<'e> {
        Outgoing::new(self.received, edits, &self.request_id)
    }
}

impl<S: Transport> Connection<S> {
    /// Tries candidates in order. `limit` is that of one attempt, to the head of its answer. An engine that takes the
    /// rest of the request's time has failed.
    pub(super) async fn dispatch(
        &mut self,
        exchange: &mut Exchange,
        errand: &Errand<'_>,
        mut attempts: AttemptPlan<Candidate>,
        limit: Option<Duration>,
    ) -> Result<Granted, RouteError> {
        let edits = errand.job.edits();
        let outgoing = errand.outgoing(&edits);
        while let Some(attempt) = attempts.begin(&mut self.rng) {
            let candidate = attempt.slot;
            let left = exchange
                .due()
                .map(|due| due.saturating_duration_since(Instant::now()));
            let limit = limit.into_iter().chain(left).min();
            exchange.record.attempts = attempts.made();
            exchange.record.pod = Some(Arc::clone(&candidate.endpoint.pod().name));
            let work = async {
                if !attempt.wait.is_zero() {
                    tokio::time::sleep(attempt.wait).await;
                }
                let mut leg = Leg::begin(errand, &candidate, Role::Whole);
                match within(limit, errand.ask(&candidate, &outgoing)).await {
                    Ok(answer) => {
                        leg.answered(&answer);
                        Ok(Granted::whole(answer, leg, edits.hides_usage()))
                    }
                    Err(fault) => {
                        leg.failed(fault);
                        Err(fault)
                    }
                }
            };
            match self.client.unless_gone(work).await {
                Err(Gone) => return Err(RouteError::ClientGone),
                Ok(Err(fault)) => {
                    tracing::debug!(address = %candidate.address, %fault, "an attempt failed");
                    exchange.note_failed_attempt(&fault);
                    if exchange.due().is_some_and(|due| due <= Instant::now()) {
                        return Err(RouteError::TimedOut);
                    }
                    attempts.note_fault(fault);
                }
                Ok(Ok(granted)) => match self.judge(exchange, &mut attempts, &granted) {
                    Verdict::Forward => return Ok(granted),
                    Verdict::TryNext => {}
                    Verdict::Replace => break,
                },
            }
        }
        Err(attempts.exhausted())
    }

    /// Whether an engine's answer is the client's.
    pub(super) fn judge<T: Slot>(
        &self,
        exchange: &mut Exchange,
        attempts: &mut AttemptPlan<T>,
        granted: &Granted,
    ) -> Verdict {
        exchange.record.upstream_status = granted.answer.head.status;
        exchange.record.pod = Some(Arc::clone(granted.leg.pod()));
        let status =
            StatusCode::from_u16(granted.answer.head.status).unwrap_or(StatusCode::BAD_GATEWAY);
        let verdict = attempts.judge(status, self.worker.shared.errors);
        if verdict != Verdict::Forward {
            exchange.note_failed_attempt(&format_args!("status {status}"));
        }
        verdict
    }
}

async fn within<T>(
    limit: Option<Duration>,
    work: impl Future<Output = Result<T, UpstreamFault>>,
) -> Result<T, UpstreamFault> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, work)
            .await
            .unwrap_or(Err(UpstreamFault::Timeout)),
        None => work.await,
    }
}
