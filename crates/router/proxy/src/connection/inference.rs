//! One inference request, from its head to its end.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use kthena_router_filters::rate::TokenKind;
use kthena_router_pipeline::{
    self as pipeline, BodyFacts, Explanation, Means, Placing, Plan, PromptFacts, Request,
    RouteError, Way,
};
use kthena_router_scheduler::Profile;
use serde_json::{Value, json};

use super::dispatch::{Errand, Granted};
use super::exchange::{Exchange, Form};
use super::forward::ClientSide;
use super::received::Received;
use super::reply::Reply;
use super::session::Session;
use super::{Connection, Next};
use crate::http1::request::{HeadersOf, RequestHead, decoded};
use crate::kv::Asking;
use crate::transport::Transport;

/// A longer `x-request-id` of a client is replaced.
const LONGEST_ID: usize = 256;

/// Header of a request that asks where it goes and why, and of the answer that tells.
pub(super) const EXPLAIN: &str = "x-kthena-explain";

impl<S: Transport> Connection<S> {
    pub(super) async fn inference(&mut self, head: RequestHead) -> Next {
        let buffer = self.client.received();
        let request_id = request_id(&head, buffer, &mut self.rng);
        let protocol = S::PROTOCOL.unwrap_or(head.protocol());
        let mut exchange =
            Exchange::begin(&self.worker.shared, &head, buffer, protocol, request_id);
        let (keep_alive, old) = (head.keep_alive, head.old);
        if let Some(error) = self.refusal() {
            return self.fail(&mut exchange, &error, false, old).await;
        }
        if let Some(answer) = self.about_models(&head) {
            return self.tell(&mut exchange, &head, answer).await;
        }
        let received = match self.receive(head).await {
            Ok(received) => received,
            // What is left of the body would be taken for the next request.
            Err(error) => return self.fail(&mut exchange, &error, false, old).await,
        };
        match self.answer_in_time(&mut exchange, &received).await {
            Ok(granted) => {
                // A stream may last long; the request's bytes are not needed for it.
                drop(received);
                let client = ClientSide { old, keep_alive };
                self.forward(exchange, granted, client).await
            }
            Err(error) => self.fail(&mut exchange, &error, keep_alive, old).await,
        }
    }

    /// The same within the time that the whole request has.
    async fn answer_in_time(
        &mut self,
        exchange: &mut Exchange,
        received: &Received,
    ) -> Result<Granted, RouteError> {
        let Some(due) = exchange.due() else {
            return self.answer(exchange, received).await;
        };
        let answering = Box::pin(self.answer(exchange, received));
        tokio::time::timeout_at(due.into(), answering)
            .await
            .unwrap_or(Err(RouteError::TimedOut))
    }

    /// An engine's answer to a request that was received.
    async fn answer(
        &mut self,
        exchange: &mut Exchange,
        received: &Received,
    ) -> Result<Granted, RouteError> {
        let facts = self.read(exchange, received)?;
        self.admit(exchange, &facts)?;
        let permit = self.turn(received, &facts).await?;
        let profile = self.worker.shared.schedulers.current();
        let (plan, session) = self.plan(exchange, received, facts, &profile).await?;
        let cell = exchange.note_destination(plan.destination);
        let errand = Errand {
            received,
            job: plan.job,
            profile,
            cell,
            worker: Arc::clone(&self.worker),
            tls: self.worker.shared.tls_to(&plan.server).cloned(),
            watchdog: Arc::clone(self.client.watchdog()),
            request_id: exchange.record.request_id.clone(),
        };
        let mut granted = match plan.way {
            Way::Whole(attempts) => {
                let limit = plan.server.timeout;
                self.dispatch(exchange, &errand, attempts, limit).await?
            }
            // A long prefill is no fault, and published manifests of pairs carry limits that would cut it.
            Way::Pair(connector, attempts) => {
                let pairing = self.dispatch_pair(exchange, &errand, connector, *attempts);
                Box::pin(pairing).await?
            }
        };
        granted.ending.permit = permit;
        granted.ending.settling = session
            .filter(|_| granted.answer.is_success())
            .map(|session| session.answered(&plan.server, granted.leg.pod()));
        Ok(granted)
    }

    /// What the body says, as far as the request needs it.
    fn read(
        &mut self,
        exchange: &mut Exchange,
        received: &Received,
    ) -> Result<BodyFacts, RouteError> {
        let shared = &self.worker.shared;
        if !shared.is_synced() {
            return Err(RouteError::NotReady);
        }
        let facts = BodyFacts::read(received.body())?;
        exchange.note_body(&facts, &shared.snapshot.load());
        facts.require_prompt()?;
        Ok(facts)
    }

    /// Takes the prompt's tokens out of what the model may have.
    fn admit(&self, exchange: &mut Exchange, facts: &BodyFacts) -> Result<(), RouteError> {
        let Some(limiter) = self.worker.shared.rates.limiter(&facts.model) else {
            return Ok(());
        };
        let tokens = facts.prompt.map_or(0, PromptFacts::tokens);
        limiter.admit(tokens, Instant::now()).map_err(|exceeded| {
            let seconds = |wait: Duration| u32::try_from(wait.as_millis().div_ceil(1000)).ok();
            let retry_after = exceeded
                .wait
                .and_then(seconds)
                .map(|seconds| seconds.max(1));
            match exceeded.kind {
                TokenKind::Input => RouteError::InputLimited { retry_after },
                TokenKind::Output => RouteError::OutputLimited { retry_after },
            }
        })?;
        exchange.note_limiter(limiter);
        Ok(())
    }

    async fn plan(
        &mut self,
        exchange: &mut Exchange,
        received: &Received,
        facts: BodyFacts,
        profile: &Profile,
    ) -> Result<(Plan, Option<Session>), RouteError> {
        let shared = &self.worker.shared;
        if let Some(sharing) = &shared.sharing {
            sharing.demand.note();
        }
        let snapshot = shared.snapshot.load_full();
        let path = decoded(received.path());
        let headers = HeadersOf {
            fields: &received.head().fields,
            buffer: received.bytes(),
        };
        let api = exchange.api;
        let request = || Request {
            api,
            path: &path,
            headers: &headers,
        };
        let mut matched = pipeline::select(&request(), &facts.model, &snapshot, &mut self.rng)?;
        exchange.record.route = Some(Arc::clone(&matched.route));
        exchange.record.server = matched.server_key().cloned();
        if shared.explain {
            exchange.form = received.field_values(EXPLAIN).next().and_then(Form::of);
            exchange.explanation = exchange.form.map(|_| Box::new(Explanation::new(&matched)));
        }
        let plugins = shared.plugins.cell(exchange.model_label());
        if let Some(kv) = &shared.kv
            && let Some(plugin) = shared.schedulers.cached()
            && let Some(asking) =
                Asking::of(&matched, received.body(), &facts, &snapshot, &mut self.rng)
        {
            // Whatever is not found out is done without.
            let learned = Box::pin(kv.learn(asking, &plugin)).await;
            learned.count(&plugins);
            matched = matched.knowing(learned.prior);
        }
        let now = Instant::now();
        let means = Means {
            profile,
            health: &shared.health,
            now,
            since_start: now.saturating_duration_since(shared.started),
            plugins: Some(&plugins),
        };
        let session = Session::of(shared, &matched, received, &facts, now);
        let mut placing = Placing {
            body: received.body(),
            means: &means,
            explanation: exchange.explanation.as_deref_mut(),
            bound: session.as_ref().and_then(Session::bound),
            rng: &mut self.rng,
        };
        let plan = matched.plan(&request(), facts, &snapshot, &mut placing)?;
        Ok((plan, session))
    }

    /// What the router answers to a question about its models, or about one of them.
    fn about_models(&self, head: &RequestHead) -> Option<Result<Value, RouteError>> {
        let buffer = self.client.received();
        let one = head.path(buffer).strip_prefix("/v1/models")?;
        if head.method(buffer) != "GET" || !self.worker.shared.is_synced() {
            return None;
        }
        let snapshot = self.worker.shared.snapshot.load();
        if one.is_empty() {
            let all: Vec<Value> = snapshot.routes.models().into_iter().map(model).collect();
            return Some(Ok(json!({"object": "list", "data": all})));
        }
        let name = decoded(one.strip_prefix('/')?);
        let name = str::from_utf8(&name).unwrap_or_default();
        let known = snapshot.routes.known(name);
        (!head.has_body()).then(|| known.map(|id| model(id)).ok_or(RouteError::NoRoute))
    }

    /// Answers what the router knows by itself.
    async fn tell(
        &mut self,
        exchange: &mut Exchange,
        head: &RequestHead,
        answer: Result<Value, RouteError>,
    ) -> Next {
        let keep_alive = head.keep_alive && !head.has_body();
        let next = match answer {
            Ok(body) => {
                let reply = Reply::json(200, body.to_string())
                    .with("x-request-id", exchange.record.request_id.clone());
                exchange.record.status = reply.status();
                exchange.note_answer(None);
                self.send(&reply, keep_alive, head.old).await
            }
            Err(error) => self.fail(exchange, &error, keep_alive, head.old).await,
        };
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
            reply = reply.with(EXPLAIN, exchange.told(explanation, None));
        }
        exchange.note_error(error, reply.status());
        if *error == RouteError::ClientGone {
            return Next::Abort;
        }
        self.send(&reply, keep_alive, old).await
    }
}

/// A model as OpenAI's API tells of it.
fn model(id: &str) -> Value {
    json!({"id": id, "object": "model", "created": 0, "owned_by": "kthena"})
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
