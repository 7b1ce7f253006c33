//! From a request's facts to where it goes: route, server, pods or pairs of pods.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use kthena_api::model_route::SessionSticky;
use kthena_router_connectors::Connector;
use kthena_router_health::HealthPolicy;
use kthena_router_observability::{BackendKind, Destination, SchedulingCell};
use kthena_router_routing::{HeaderSource, RouteFacts, Target};
use kthena_router_scheduler::{Candidate, Profile};
use kthena_router_view::{ServerView, Snapshot};

use crate::attempts::{AttemptPlan, Pair};
use crate::body::BodyFacts;
use crate::error::RouteError;
use crate::job::{Job, Prior};
use crate::path::ApiPath;
use crate::placing::Placing;

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
    /// What is asked.
    pub job: Job,
    /// Who may answer.
    pub way: Way,
    /// The server all of them belong to.
    pub server: Arc<ServerView>,
}

/// Who may answer a request, in order of preference.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is the usual one, and a box would cost each request an allocation"
)]
pub enum Way {
    /// One pod does all of it.
    Whole(AttemptPlan<Candidate>),
    /// A prefill pod and a decode pod share it.
    Pair(Connector, Box<AttemptPlan<Pair>>),
}

/// What a placement is made with.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// The policies.
    pub profile: &'a Profile,
    /// Who is trusted.
    pub health: &'a HealthPolicy,
    /// The time.
    pub now: Instant,
    /// The same on the clock that policies use.
    pub since_start: Duration,
    /// Where the time and the finds of policies are counted; `None` = nowhere.
    pub plugins: Option<&'a SchedulingCell>,
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
    /// How the route tells sessions apart, if they stay on their pods.
    pub sticky: Option<&'s SessionSticky>,
    /// The model name is an adapter.
    adapter: bool,
    kind: MatchedKind,
    prior: Prior,
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
        sticky: selection.route.sticky(),
        adapter: selection.adapter,
        kind,
        prior: Prior::default(),
    })
}

impl Matched<'_> {
    /// The server it chose, if there is one.
    pub fn server<'v>(&self, snapshot: &'v Snapshot) -> Option<&'v Arc<ServerView>> {
        match self.kind {
            MatchedKind::Server => snapshot.server(&self.backend),
            MatchedKind::Provider => None,
        }
    }

    /// `namespace/name` of the model server it chose; `None` if it chose something else.
    pub fn server_key(&self) -> Option<&Arc<str>> {
        matches!(self.kind, MatchedKind::Server).then_some(&self.backend)
    }

    /// Whether the client's model is an adapter.
    pub fn is_adapter(&self) -> bool {
        self.adapter
    }

    /// The same, placed with what was found out about the prompt.
    #[must_use]
    pub fn knowing(self, prior: Prior) -> Self {
        Self { prior, ..self }
    }

    /// Chooses pods or pairs of pods.
    pub fn plan(
        self,
        request: &Request<'_>,
        facts: BodyFacts,
        snapshot: &Snapshot,
        placing: &mut Placing<'_>,
    ) -> Result<Plan, RouteError> {
        if matches!(self.kind, MatchedKind::Provider) {
            return Err(RouteError::NoProvider(self.backend.to_string()));
        }
        let server = snapshot
            .server(&self.backend)
            .ok_or_else(|| RouteError::NoServer(self.backend.to_string()))?;
        let own_name = server.model.as_ref().filter(|_| !self.adapter);
        let upstream_model = match own_name {
            Some(model) => Arc::clone(model),
            None => snapshot
                .routes
                .known(&facts.model)
                .cloned()
                .unwrap_or_else(|| facts.model.as_str().into()),
        };
        let mut job = Job::new(facts, request.api, own_name.cloned(), self.adapter);
        job.prior = self.prior;
        let way = placing.way(&job, server)?;
        let destination = Destination {
            route: self.route,
            kind: BackendKind::ModelServer,
            backend: self.backend,
            upstream_model,
        };
        Ok(Plan {
            destination,
            job,
            way,
            server: Arc::clone(server),
        })
    }
}
