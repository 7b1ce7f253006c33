//! One inference request, from its head to its end.

use std::fmt::Write;
use std::sync::Arc;

use fastrand::Rng;
use http::StatusCode;
use kthena_router_observability::metrics::Cell;
use kthena_router_pipeline::{
    self as pipeline, BodyFacts, Edits, Explanation, Plan, Request, RouteError, Verdict,
};
use kthena_router_scheduler::InFlight;

use super::client::Gone;
use super::exchange::Exchange;
use super::received::Received;
use super::reply::Reply;
use super::{Connection, Next};
use crate::http1::request::{HeadersOf, RequestHead, decoded};
use crate::upstream::{Answer, Outgoing, ask};

/// A longer `x-request-id` of a client is replaced.
const LONGEST_ID: usize = 256;

/// Header of a request that asks where it goes and why, and of the answer that tells.
pub(super) const EXPLAIN: &str = "x-kthena-explain";

/// An engine's answer that is the client's.
pub(super) struct Granted {
    pub(super) answer: Answer,
    pub(super) address: std::net::SocketAddr,
    pub(super) guard: InFlight,
}

impl Connection {
    pub(super) async fn inference(&mut self, head: RequestHead) -> Next {
        let buffer = self.client.received();
        let request_id = request_id(&head, buffer, &mut self.rng);
        let mut exchange = Exchange::begin(&self.worker.shared, &head, buffer, request_id);
        let (keep_alive, old) = (head.keep_alive, head.old);
        if head.path(buffer) == "/v1/models"
            && head.method(buffer) == "GET"
            && self.worker.shared.is_synced()
        {
            return self.list_models(&mut exchange, &head).await;
        }
        let received = match self.receive(head).await {
            Ok(received) => received,
            // What is left of the body would be taken for the next request.
            Err(error) => return self.fail(&mut exchange, &error, false, old).await,
        };
        let plan = match self.plan(&mut exchange, &received) {
            Ok(plan) => plan,
            Err(error) => return self.fail(&mut exchange, &error, keep_alive, old).await,
        };
        let hide = plan.edits.hides_usage();
        match self.dispatch(&mut exchange, plan, &received).await {
            Ok((granted, attempts)) => {
                // A stream may last long; the request's bytes are not needed for it.
                drop(received);
                let client = super::forward::ClientSide {
                    old,
                    keep_alive,
                    hide_usage: hide,
                };
                self.forward(exchange, granted, attempts, client).await
            }
            Err(error) => self.fail(&mut exchange, &error, keep_alive, old).await,
        }
    }

    fn plan(&mut self, exchange: &mut Exchange, received: &Received) -> Result<Plan, RouteError> {
        let shared = &self.worker.shared;
        if !shared.is_synced() {
            return Err(RouteError::NotReady);
        }
        let snapshot = shared.snapshot.load();
        let facts = BodyFacts::read(received.body())?;
        exchange.note_body(&facts, &snapshot);
        facts.require_prompt()?;
        let path = decoded(received.path());
        let headers = HeadersOf {
            fields: &received.head().fields,
            buffer: received.bytes(),
        };
        let request = Request {
            api: exchange.api,
            path: &path,
            headers: &headers,
        };
        let matched = pipeline::select(&request, &facts.model, &snapshot, &mut self.rng)?;
        exchange.record.route = Some(Arc::clone(&matched.route));
        exchange.record.server = Some(Arc::clone(&matched.backend));
        let rule = matched.rule;
        let plan = matched.plan(&request, &facts, &snapshot, &shared.profile, &mut self.rng)?;
        if shared.explain && received.field_values(EXPLAIN).next() == Some(b"1") {
            exchange.explanation = Some(Box::new(Explanation::new(rule, &plan)));
        }
        Ok(plan)
    }

    /// Tries candidates until one gives an answer that is the client's.
    async fn dispatch(
        &mut self,
        exchange: &mut Exchange,
        plan: Plan,
        received: &Received,
    ) -> Result<(Granted, Arc<Cell>), RouteError> {
        let Plan {
            destination,
            edits,
            mut attempts,
            timeout,
            ..
        } = plan;
        let cell = exchange.note_destination(destination);
        let outgoing = outgoing(received, &edits, exchange);
        let connect_limit = self.worker.shared.limits.connect;
        while let Some(attempt) = attempts.begin() {
            exchange.record.attempts = attempts.made();
            exchange.record.pod = Some(Arc::clone(&attempt.guard.endpoint().pod().name));
            let _counted = cell.upstream();
            let worker = Arc::clone(&self.worker);
            let work = async {
                if !attempt.wait.is_zero() {
                    tokio::time::sleep(attempt.wait).await;
                }
                let asked = ask(&worker.pool, attempt.address, &outgoing, connect_limit);
                match timeout {
                    Some(limit) => {
                        let timed_out = pipeline::UpstreamFault::Timeout;
                        tokio::time::timeout(limit, asked)
                            .await
                            .unwrap_or(Err(timed_out))
                    }
                    None => asked.await,
                }
            };
            match self.client.unless_gone(work).await {
                Err(Gone) => return Err(RouteError::ClientGone),
                Ok(Err(fault)) => {
                    tracing::debug!(address = %attempt.address, %fault, "an attempt failed");
                    attempts.note_fault(fault);
                    exchange.note_failed_attempt(&fault);
                }
                Ok(Ok(answer)) => {
                    exchange.record.upstream_status = answer.head.status;
                    let status =
                        StatusCode::from_u16(answer.head.status).unwrap_or(StatusCode::BAD_GATEWAY);
                    match attempts.judge(status, self.worker.shared.errors) {
                        Verdict::Forward => {
                            let granted = Granted {
                                answer,
                                address: attempt.address,
                                guard: attempt.guard,
                            };
                            return Ok((granted, cell));
                        }
                        Verdict::TryNext => {
                            exchange.note_failed_attempt(&format_args!("status {status}"));
                        }
                        Verdict::Replace => {
                            exchange.note_failed_attempt(&format_args!("status {status}"));
                            break;
                        }
                    }
                }
            }
        }
        Err(attempts.exhausted())
    }

    async fn list_models(&mut self, exchange: &mut Exchange, head: &RequestHead) -> Next {
        let snapshot = self.worker.shared.snapshot.load_full();
        let entries: Vec<_> = snapshot
            .routes
            .models()
            .into_iter()
            .map(|id| serde_json::json!({"id": id, "object": "model", "created": 0, "owned_by": "kthena"}))
            .collect();
        let body = serde_json::json!({"object": "list", "data": entries}).to_string();
        let reply = Reply::json(200, body).with("x-request-id", exchange.record.request_id.clone());
        exchange.record.status = reply.status();
        exchange.note_answer(None);
        let next = self
            .send(&reply, head.keep_alive && !head.has_body(), head.old)
            .await;
        self.client.consume(head.size);
        next
    }

    /// Ends the request with an error of the router's own.
    pub(super) async fn fail(
        &mut self,
        exchange: &mut Exchange,
        error: &RouteError,
        keep_alive: bool,
        old: bool,
    ) -> Next {
        let mut reply = Reply::error(error, self.worker.shared.errors)
            .with("x-request-id", exchange.record.request_id.clone());
        if let Some(explanation) = &exchange.explanation {
            reply = reply.with(EXPLAIN, explanation.line(None));
        }
        exchange.note_error(error, reply.status());
        if *error == RouteError::ClientGone {
            return Next::Abort;
        }
        self.send(&reply, keep_alive, old).await
    }
}

fn outgoing<'r>(received: &'r Received, edits: &'r Edits, exchange: &Exchange) -> Outgoing<'r> {
    Outgoing::new(received, edits, &exchange.record.request_id)
}

/// The client's id of the request, or a random UUID of version 4.
fn request_id(head: &RequestHead, buffer: &[u8], rng: &mut Rng) -> String {
    let given = head
        .fields
        .first(buffer, "x-request-id")
        .filter(|id| (1..=LONGEST_ID).contains(&id.len()));
    if let Some(given) = given.and_then(|id| std::str::from_utf8(id).ok()) {
        return given.to_owned();
    }
    let bits = (rng.u128(..) & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let mut id = String::with_capacity(36);
    let group = |from: u32, digits: u32| (bits >> from) & ((1 << (digits * 4)) - 1);
    // Writing to a String cannot fail.
    let _ = write!(
        id,
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        group(96, 8),
        group(80, 4),
        group(64, 4),
        group(48, 4),
        group(0, 12)
    );
    id
}
