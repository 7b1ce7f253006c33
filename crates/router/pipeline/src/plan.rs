//! From a request's facts to where it goes: route, server, candidates, body edits.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use kthena_router_observability::{BackendKind, Destination};
use kthena_router_routing::{HeaderSource, RouteFacts, Target};
use kthena_router_scheduler::{Profile, RequestFacts};
use kthena_router_view::{Members, ServerView, Snapshot};

use crate::attempts::AttemptPlan;
use crate::body::BodyFacts;
use crate::edits::Edits;
use crate::error::RouteError;
use crate::path::ApiPath;

/// What is known of a request before its body.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The API its path belongs to.
    pub api: ApiPath,
    /// Percent-decoded path without query.
    pub path: &'a [u8],
    /// Its headers.
    pub headers: &'a dyn HeaderSource,
}

/// The way of a request, before it is dispatched.
#[derive(Debug)]
pub struct Plan {
    /// What was matched.
    pub destination: Destination,
    /// What changes in the body.
    pub edits: Edits,
    /// Whom to try in which order.
    pub attempts: AttemptPlan,
    /// How many pods there were to choose from.
    pub considered: usize,
    /// Limit from dial to response headers, per attempt.
    pub timeout: Option<Duration>,
}

/// Which rule of its route a request met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatchedRule<'s> {
    /// Position within the route, from 0.
    pub position: usize,
    /// The user's name for it: any text.
    pub name: Option<&'s str>,
}

/// A route and the server it chose; the part of a decision that logs name even if the rest fails.
#[derive(Debug, Clone)]
pub struct Matched<'s> {
    /// `namespace/name` of the route.
    pub route: Arc<str>,
    /// `namespace/name` of the target.
    pub backend: Arc<str>,
    /// The rule that drew the target.
    pub rule: MatchedRule<'s>,
    /// The model name is an adapter.
    adapter: bool,
    kind: MatchedKind,
}

#[derive(Debug, Clone, Copy)]
enum MatchedKind {
    Server,
    Provider,
}

/// Finds the route of a request and draws its target.
pub fn select<'s>(
    request: &Request<'_>,
    model: &str,
    snapshot: &'s Snapshot,
    rng: &mut Rng,
) -> Result<Matched<'s>, RouteError> {
    let facts = RouteFacts {
        model,
        path: request.path,
        headers: request.headers,
    };
    let selection = snapshot
        .routes
        .select(&facts, rng.u64(..))
        .ok_or(RouteError::NoRoute)?;
    let (backend, kind) = match selection.target {
        Target::Server(key) => (key, MatchedKind::Server),
        Target::Provider(key) => (key, MatchedKind::Provider),
        Target::Malformed => return Err(RouteError::NoRoute),
    };
    let route = Arc::clone(selection.route.key());
    Ok(Matched {
        route,
        backend: Arc::clone(backend),
        rule: MatchedRule {
            position: selection.rule,
            name: selection.route.rules()[selection.rule].name(),
        },
        adapter: selection.adapter,
        kind,
    })
}

impl Matched<'_> {
    /// Chooses pods and body edits.
    pub fn plan(
        self,
        request: &Request<'_>,
        body: &BodyFacts,
        snapshot: &Snapshot,
        profile: &Profile,
        rng: &mut Rng,
    ) -> Result<Plan, RouteError> {
        if matches!(self.kind, MatchedKind::Provider) {
            return Err(RouteError::NoProvider(self.backend.to_string()));
        }
        let server = snapshot
            .server(&self.backend)
            .ok_or_else(|| RouteError::NoServer(self.backend.to_string()))?;
        let candidates = usable(server)?;
        let prompt_tokens = body.prompt.map_or(0, crate::prompt::PromptFacts::tokens);
        let facts = RequestFacts {
            model: &body.model,
            prompt_tokens,
        };
        let placement = profile.place(&facts, candidates, rng);
        let chosen = placement
            .iter()
            .map(|position| candidates[*position as usize].clone())
            .collect();

        let rewritten = server.model.as_ref().filter(|_| !self.adapter);
        let edits = Edits::for_engine(body, request.api, rewritten.map(AsRef::as_ref));
        let upstream_model = match rewritten {
            Some(model) => Arc::clone(model),
            None => snapshot
                .routes
                .known(&body.model)
                .cloned()
                .unwrap_or_else(|| body.model.as_str().into()),
        };
        let destination = Destination {
            route: self.route,
            kind: BackendKind::ModelServer,
            backend: self.backend,
            upstream_model,
        };
        let attempts = AttemptPlan::new(chosen, server.attempts);
        Ok(Plan {
            destination,
            edits,
            attempts,
            considered: candidates.len(),
            timeout: server.timeout,
        })
    }
}

fn usable(server: &ServerView) -> Result<&[kthena_router_scheduler::Candidate], RouteError> {
    let candidates = server.candidates();
    if !candidates.is_empty() {
        return Ok(candidates);
    }
    match server.members {
        Members::Disaggregated { .. } if server.size() > 0 => Err(RouteError::NoDecodePod),
        _ => Err(RouteError::NoPods(server.key.to_string())),
    }
}
