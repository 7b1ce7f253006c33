//! A request that a prefill pod and a decode pod share.
//!
//! # Invariants
//!
//! - Nothing reaches the client before both halves may still be given up, so a pair is repeated whole or not at all.
//! - A half that is no longer wanted loses its connection at once, which is how its engine learns of it.
//! - The prefill pod counts as busy until its half has ended, the decode pod from the moment its half is sent.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use kthena_router_connectors::{Connector, Meeting, Order, TransferParams};
use kthena_router_observability::metrics::Phase;
use kthena_router_pipeline::{AttemptPlan, Pair, RouteError, UpstreamFault, Verdict};
use kthena_router_scheduler::Role;
use tokio::task::JoinHandle;

use super::Connection;
use super::client::Gone;
use super::dispatch::{Errand, Granted};
use super::exchange::Exchange;
use super::leg::{Leg, PhaseClock};
use crate::transport::Transport;
use crate::upstream::{Answer, Keep, Outgoing, Pool, Upstream, ask, collect, first_byte};

/// Longest prefill answer that is kept while its parameters are read.
const LONGEST_ANSWER: usize = 64 << 20;
/// How long a prefill half may take longer than the decode half that used its result.
const LINGER: Duration = Duration::from_secs(5);

/// What became of an attempt without an answer of the decode half.
enum Lost {
    /// The prefill half answered with something else than success.
    Refused(Box<Granted>),
    /// One half brought no answer.
    Fault { pod: Arc<str>, fault: UpstreamFault },
}

/// A prefill half on its way.
type Prefill = Pin<Box<dyn Future<Output = Result<(), Lost>> + Send>>;

/// A prefill half that goes on while the decode half is relayed. Dropping this gives it up.
pub(super) struct Prefilling(Option<JoinHandle<Result<(), Lost>>>);

impl Prefilling {
    fn go_on(prefill: Prefill) -> Self {
        Self(Some(tokio::spawn(prefill)))
    }

    /// The decode half ended well, so the prefill half has little left to do.
    pub(super) fn release(mut self) {
        let Some(mut task) = self.0.take() else {
            return;
        };
        tokio::spawn(async move {
            match tokio::time::timeout(LINGER, &mut task).await {
                Ok(Ok(Err(lost))) => {
                    let why = lost.to_string();
                    tracing::warn!(
                        why,
                        "a prefill half failed although its request was answered"
                    );
                }
                Ok(_) => {}
                Err(_) => task.abort(),
            }
        });
    }
}

impl Drop for Prefilling {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(granted) => write!(f, "status {}", granted.answer.head.status),
            Self::Fault { fault, .. } => fault.fmt(f),
        }
    }
}

impl<S: Transport> Connection<S> {
    /// Tries pairs in order.
    pub(super) async fn dispatch_pair(
        &mut self,
        exchange: &mut Exchange,
        errand: &Errand<'_>,
        connector: Connector,
        mut attempts: AttemptPlan<Pair>,
    ) -> Result<Granted, RouteError> {
        while let Some(attempt) = attempts.begin(&mut self.rng) {
            let pair = attempt.slot;
            exchange.record.attempts = attempts.made();
            exchange.record.pod = Some(Arc::clone(&pair.decode.endpoint.pod().name));
            let meeting = Meeting::new(self.rng.u64(..), pair.prefill.address.ip());
            let work = async {
                if !attempt.wait.is_zero() {
                    tokio::time::sleep(attempt.wait).await;
                }
                match connector.order() {
                    Order::PrefillFirst => errand.in_turn(connector, &pair, &meeting).await,
                    Order::Together => errand.together(connector, &pair, &meeting).await,
                }
            };
            let granted = match self.client.unless_gone(work).await {
                Err(Gone) => return Err(RouteError::ClientGone),
                Ok(Ok(granted)) => granted,
                Ok(Err(Lost::Refused(granted))) => *granted,
                Ok(Err(Lost::Fault { pod, fault })) => {
                    tracing::debug!(%pod, %fault, "an attempt failed");
                    exchange.record.pod = Some(pod);
                    exchange.note_failed_attempt(&fault);
                    attempts.note_fault(fault);
                    continue;
                }
            };
            match self.judge(exchange, &mut attempts, &granted) {
                Verdict::Forward => return Ok(granted),
                Verdict::TryNext => {}
                Verdict::Replace => break,
            }
        }
        Err(attempts.exhausted())
    }
}

impl Errand<'_> {
    /// Prefill, and once that has succeeded decode.
    async fn in_turn(
        &self,
        connector: Connector,
        pair: &Pair,
        meeting: &Meeting,
    ) -> Result<Granted, Lost> {
        let edits = self
            .job
            .prefill_edits(self.received.body(), connector, meeting);
        let outgoing = self.outgoing(&edits);
        let keep = if connector.hands_over_params() {
            Keep::UpTo(LONGEST_ANSWER)
        } else {
            Keep::Nothing
        };
        let body = self.prefill(pair, &outgoing, keep).await?;
        let params = if connector.hands_over_params() {
            Some(self.params(pair, &body)?)
        } else {
            None
        };
        drop(body);
        self.decode(connector, pair, meeting, params).await
    }

    /// The prefill half to its end; returns what is kept of its answer.
    async fn prefill(
        &self,
        pair: &Pair,
        outgoing: &Outgoing<'_>,
        keep: Keep,
    ) -> Result<Vec<u8>, Lost> {
        let leg = Leg::begin(self, &pair.prefill, Role::Prefill);
        let clock = PhaseClock::start(&self.cell, Phase::Prefill);
        let asking = self.ask(&pair.prefill, outgoing);
        prefill(leg, clock, asking, keep, &self.worker.pool).await
    }

    /// What the decode half needs of the prefill half's answer.
    fn params(&self, pair: &Pair, answer: &[u8]) -> Result<TransferParams, Lost> {
        let pod = &pair.prefill.endpoint.pod().name;
        let params = TransferParams::read(answer).map_err(|_| Lost::Fault {
            pod: Arc::clone(pod),
            fault: UpstreamFault::BadPrefill,
        })?;
        if params.is_missing() {
            let request_id = &self.request_id;
            tracing::warn!(%pod, request_id, "a prefill answer has no kv_transfer_params");
        }
        Ok(params)
    }

    async fn decode(
        &self,
        connector: Connector,
        pair: &Pair,
        meeting: &Meeting,
        params: Option<TransferParams>,
    ) -> Result<Granted, Lost> {
        let edits = self
            .job
            .decode_edits(self.received.body(), connector, meeting, params);
        let outgoing = self.outgoing(&edits);
        let mut leg = Leg::begin(self, &pair.decode, Role::Decode);
        let clock = PhaseClock::start(&self.cell, Phase::Decode);
        match self.ask(&pair.decode, &outgoing).await {
            Ok(answer) => {
                leg.answered(&answer);
                let mut granted = Granted::whole(answer, leg, edits.hides_usage());
                granted.ending.clock = Some(clock);
                Ok(granted)
            }
            Err(fault) => {
                leg.failed(fault);
                Err(Lost::decode(pair, fault))
            }
        }
    }

    /// Both halves at once. Once a byte of the decode half's body is there, the prefill half can no longer fail the
    /// attempt.
    async fn together(
        &self,
        connector: Connector,
        pair: &Pair,
        meeting: &Meeting,
    ) -> Result<Granted, Lost> {
        let mut prefill = self.prefill_beside(connector, pair, meeting);
        let decode = async {
            let mut granted = self.decode(connector, pair, meeting, None).await?;
            if granted.answer.is_success()
                && let Err(fault) = first_byte(&mut granted.answer).await
            {
                granted.leg.broke(fault);
                return Err(Lost::decode(pair, fault));
            }
            Ok(granted)
        };
        tokio::pin!(decode);
        tokio::select! {
            // In this order, so that the prefill half is sent first.
            biased;
            prefilled = &mut prefill => {
                if let Err(lost) = prefilled {
                    if lost.is_silence() {
                        // Who waits for whom is not known; the other one is given up for the same.
                        let _ = decode.now_or_never();
                    }
                    return Err(lost);
                }
                decode.await
            }
            decoded = &mut decode => {
                let mut granted = decoded?;
                if granted.answer.is_success() {
                    granted.ending.prefilling = Some(Prefilling::go_on(prefill));
                }
                Ok(granted)
            }
        }
    }

    /// The prefill half as work that borrows nothing, so that it may outlast what was received.
    fn prefill_beside(&self, connector: Connector, pair: &Pair, meeting: &Meeting) -> Prefill {
        let edits = self
            .job
            .prefill_edits(self.received.body(), connector, meeting);
        let outgoing = Outgoing::owned(self.received, &edits, &self.request_id);
        let leg = Leg::begin(self, &pair.prefill, Role::Prefill);
        let clock = PhaseClock::start(&self.cell, Phase::Prefill);
        let (worker, watchdog) = (Arc::clone(&self.worker), Arc::clone(&self.watchdog));
        let (tls, address) = (self.tls.clone(), pair.prefill.address);
        Box::pin(async move {
            let upstream = Upstream {
                pool: &worker.pool,
                tls: tls.as_deref(),
                connect_limit: worker.shared.limits.connect,
                watchdog: &watchdog,
            };
            let asking = ask(upstream, address, &outgoing);
            prefill(leg, clock, asking, Keep::Nothing, &worker.pool)
                .await
                .map(drop)
        })
    }
}

impl Lost {
    fn is_silence(&self) -> bool {
        matches!(
            self,
            Self::Fault {
                fault: UpstreamFault::Silent,
                ..
            }
        )
    }

    fn decode(pair: &Pair, fault: UpstreamFault) -> Self {
        Self::Fault {
            pod: Arc::clone(&pair.decode.endpoint.pod().name),
            fault,
        }
    }
}

/// Waits for a prefill answer and reads it to its end.
async fn prefill(
    mut leg: Leg,
    clock: PhaseClock,
    asking: impl Future<Output = Result<Answer, UpstreamFault>>,
    keep: Keep,
    pool: &Pool,
) -> Result<Vec<u8>, Lost> {
    let pod = Arc::clone(leg.pod());
    let answer = match asking.await {
        Ok(answer) => answer,
        Err(fault) => {
            leg.failed(fault);
            return Err(Lost::Fault { pod, fault });
        }
    };
    leg.answered(&answer);
    if !answer.is_success() {
        let granted = Granted::whole(answer, leg, false);
        return Err(Lost::Refused(Box::new(granted)));
    }
    match collect(answer, pool, keep).await {
        Ok(body) => {
            clock.succeed();
            leg.complete(None);
            Ok(body)
        }
        Err(fault) => {
            leg.broke(fault);
            Err(Lost::Fault { pod, fault })
        }
    }
}
