//! The way a request would take, told without sending it.

use std::collections::BTreeMap;
use std::time::Instant;

use fastrand::Rng;
use kthena_router_pipeline::{
    self as pipeline, ApiPath, BodyFacts, Explanation, Means, Placing, Request, RouteError,
};
use kthena_router_routing::HeaderSource;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::connection::Reply;
use crate::http1::request::decoded;
use crate::shared::Shared;

const CHAT: &str = "/v1/chat/completions";

/// A request as the operator describes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question<'a> {
    /// Path and query; chat completions unless said.
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// The body an engine would get; kept as it is, so that positions and numbers are those of a real request.
    #[serde(borrow)]
    body: &'a RawValue,
}

struct Headers<'a>(&'a BTreeMap<String, String>);

impl HeaderSource for Headers<'_> {
    fn first(&self, name: &str) -> Option<&[u8]> {
        let mut all = self.0.iter();
        all.find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_bytes())
    }
}

pub(super) fn answer(shared: &Shared, body: &[u8], rng: &mut Rng) -> Reply {
    match serde_json::from_slice::<Question<'_>>(body) {
        Ok(question) => Reply::json(200, decide(shared, &question, rng).to_string()),
        Err(fault) => {
            let message = format!("not a question to explain: {fault}");
            Reply::json(400, json!({ "error": message }).to_string())
        }
    }
}

/// The decision as a tree: what is known up to the stage that refused the request, if one did.
fn decide(shared: &Shared, question: &Question<'_>, rng: &mut Rng) -> Value {
    let mut told = json!({});
    if let Err(error) = stages(shared, question, rng, &mut told) {
        let outcome = error.outcome();
        told["error"] = json!({
            "status": outcome.status.as_u16(),
            "code": outcome.code,
            "message": error.to_string(),
        });
        if matches!(error, RouteError::NoRoute) {
            tell_routes(shared, &mut told);
        }
    }
    told
}

/// Adds which routes of the model did not match, or, if it has none, which models have routes.
fn tell_routes(shared: &Shared, told: &mut Value) {
    let routes = &shared.snapshot.load().routes;
    let (_, own) = routes.routes(told["model"].as_str().unwrap_or_default());
    let unmatched: Vec<&str> = own.map(|route| &**route.key()).collect();
    if unmatched.is_empty() {
        told["models"] = json!(routes.models());
    } else {
        told["unmatched"] = json!(unmatched);
    }
}

fn stages(
    shared: &Shared,
    question: &Question<'_>,
    rng: &mut Rng,
    told: &mut Value,
) -> Result<(), RouteError> {
    if !shared.is_synced() {
        return Err(RouteError::NotReady);
    }
    let snapshot = shared.snapshot.load();
    let facts = BodyFacts::read(question.body.get().as_bytes())?;
    told["model"] = json!(facts.model);
    told["stream"] = json!(facts.stream);
    let prompt = facts.require_prompt()?;
    told["promptTokens"] = json!(prompt.tokens());
    let target = question.path.as_deref().unwrap_or(CHAT);
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let headers = Headers(&question.headers);
    let request = Request {
        api: ApiPath::of(path),
        path: &decoded(path),
        headers: &headers,
    };
    let matched = pipeline::select(&request, &facts.model, &snapshot, rng)?;
    let mut explanation = Explanation::new(&matched);
    let now = Instant::now();
    let mut placing = Placing {
        body: question.body.get().as_bytes(),
        means: &Means {
            profile: &shared.schedulers.current(),
            health: &shared.health,
            now,
            since_start: now.saturating_duration_since(shared.started),
            plugins: None,
        },
        explanation: Some(&mut explanation),
        bound: None,
        rng,
    };
    let plan = matched.plan(&request, facts, &snapshot, &mut placing);
    // Who was left out, and why, matters most if nobody remains.
    tell_placement(&explanation, told);
    let plan = plan?;
    told["upstreamModel"] = json!(plan.destination.upstream_model);
    told["timeoutSeconds"] = json!(plan.server.timeout.map(|limit| limit.as_secs_f64()));
    Ok(())
}

/// Adds what placement knows; the best candidate is the one that would be asked first.
fn tell_placement(explanation: &Explanation, told: &mut Value) {
    let undecided = explanation.value(None);
    let best = undecided["candidates"][0]["pod"].as_str();
    let Value::Object(decided) = explanation.value(best) else {
        return;
    };
    for (key, value) in decided {
        // Nothing was tried.
        if key != "failed" {
            told[key] = value;
        }
    }
}
