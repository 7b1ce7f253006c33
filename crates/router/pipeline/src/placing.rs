//! Who of a server's pods may serve a request, best first.

use std::sync::Arc;

use fastrand::Rng;
use kthena_router_connectors::Connector;
use kthena_router_filters::sticky::{Binding, Preference};
use kthena_router_health::{Admission, EndpointHealth};
use kthena_router_scheduler::placement::KEPT;
use kthena_router_scheduler::{
    Candidate, Candidates, Endpoint, KvQuery, Pick, PlaceError, Placement, RequestFacts, Role,
    Trace,
};
use kthena_router_view::{Members, Roles, ServerView};
use smallvec::SmallVec;

use crate::attempts::{AttemptPlan, Pair};
use crate::error::RouteError;
use crate::explanation::Explanation;
use crate::job::Job;
use crate::plan::{Means, Way};
use crate::stopwatch::{self, Stopwatch};

/// What a request is placed with.
pub struct Placing<'a> {
    /// The request's body.
    pub body: &'a [u8],
    /// Policies, health, the time.
    pub means: &'a Means<'a>,
    /// Is told why, if somebody asked.
    pub explanation: Option<&'a mut Explanation>,
    /// What the request's session is bound to.
    pub bound: Option<&'a Binding>,
    /// Settles ties.
    pub rng: &'a mut Rng,
}

/// How an endpoint fared. Lives beside its counters.
pub fn health_of(endpoint: &Endpoint) -> Option<&EndpointHealth> {
    endpoint.beside(EndpointHealth::default)
}

impl Placing<'_> {
    pub(crate) fn way(&mut self, job: &Job, server: &Arc<ServerView>) -> Result<Way, RouteError> {
        let is_empty = server.pods().next().is_none();
        if is_empty {
            return Err(RouteError::NoPods(server.key.to_string()));
        }
        match &server.members {
            Members::Aggregated(all) => {
                self.forget_unless(&server.key);
                let placed = self.place_session(job, all, Role::Whole, |_| None)?;
                let chosen = placed.iter().map(|pick| pick.candidate.clone()).collect();
                Ok(Way::Whole(AttemptPlan::new(chosen, Arc::clone(server))))
            }
            Members::Disaggregated(roles) => {
                let connector = Connector::of(server.connector, server.engine);
                if let Some(explanation) = &mut self.explanation {
                    explanation.note_connector(connector.name());
                }
                self.forget_unless(&server.key);
                let pairs = self.pairs(job, roles)?;
                let plan = AttemptPlan::new(pairs, Arc::clone(server));
                Ok(Way::Pair(connector, Box::new(plan)))
            }
        }
    }

    /// The best decode pods, each with the best prefill pod of its own group.
    fn pairs(&mut self, job: &Job, roles: &Roles) -> Result<SmallVec<[Pair; 5]>, RouteError> {
        if roles.decode().is_empty() {
            return Err(RouteError::NoDecodePod);
        }
        if roles.paired().is_empty() {
            return Err(RouteError::NoPair);
        }
        let mut pairs = SmallVec::new();
        let group_of = |at| roles.group_of(at).map(|group| group.name.as_str());
        for pick in self.place_session(job, roles.paired(), Role::Decode, group_of)? {
            let partners = roles.partners(pick.position as usize);
            let Some(prefill) = self.partner(job, partners) else {
                continue;
            };
            if let Some(explanation) = &mut self.explanation {
                explanation.note_pair(&pick.candidate.endpoint.pod().name);
            }
            pairs.push(Pair {
                prefill,
                decode: pick.candidate.clone(),
            });
        }
        if pairs.is_empty() {
            return Err(RouteError::NoPair);
        }
        Ok(pairs)
    }

    fn partner(&mut self, job: &Job, partners: &[Candidate]) -> Option<Candidate> {
        let placed = self.place(job, partners, Role::Prefill).ok()?;
        Some(placed.first()?.candidate.clone())
    }

    /// A session that is bound to a pod of another server is not bound here.
    fn forget_unless(&mut self, server: &str) {
        self.bound = self.bound.filter(|bound| *bound.server == *server);
    }

    /// As [`Self::place`], with those in front that the request's session is bound to, if filters and health let them
    /// serve. The others are there for when they fail.
    fn place_session<'c, 'g>(
        &mut self,
        job: &Job,
        candidates: &'c [Candidate],
        role: Role,
        group_of: impl Fn(usize) -> Option<&'g str>,
    ) -> Result<Placement<'c>, PlaceError> {
        let named = candidates.iter().enumerate().map(|(at, candidate)| {
            let name: &str = &candidate.endpoint.pod().name;
            (name, group_of(at))
        });
        let preferred = match self.bound.map(|bound| bound.preference(named)) {
            Some(Preference::Pod(at)) => vec![at],
            Some(Preference::Group(all)) => all,
            Some(Preference::None) | None => return self.place(job, candidates, role),
        };
        let mut placed = self.place_preferred(job, candidates, &preferred, role);
        if let Some(explanation) = &mut self.explanation {
            explanation.note_bound(placed.iter().map(|pick| pick.candidate));
        }
        match self.place(job, candidates, role) {
            Ok(others) => {
                for pick in others {
                    let is_new = |other: &Pick<'_>| other.position != pick.position;
                    if placed.len() < KEPT && placed.iter().all(is_new) {
                        placed.push(pick);
                    }
                }
                Ok(placed)
            }
            Err(_) if !placed.is_empty() => Ok(placed),
            Err(error) => Err(error),
        }
    }

    /// The best of those at `preferred` that may serve.
    fn place_preferred<'c>(
        &mut self,
        job: &Job,
        candidates: &'c [Candidate],
        preferred: &[usize],
        role: Role,
    ) -> Placement<'c> {
        let Means { health, now, .. } = *self.means;
        let healths = candidates
            .iter()
            .filter_map(|candidate| health_of(&candidate.endpoint));
        let admission = health.admit(healths, now, self.rng);
        let may_serve: SmallVec<[usize; 8]> = preferred
            .iter()
            .copied()
            .filter(|at| admission.contains(*at))
            .collect();
        // What is told of it is what the placement of all candidates tells.
        let told = self.explanation.take();
        let chosen = Candidates::only(candidates, &may_serve);
        let placed = self.place_among(job, chosen, role).unwrap_or_default();
        self.explanation = told;
        placed
    }

    /// The best of `candidates` that health admits, with their positions among `candidates`.
    fn place<'c>(
        &mut self,
        job: &Job,
        candidates: &'c [Candidate],
        role: Role,
    ) -> Result<Placement<'c>, PlaceError> {
        let Means { health, now, .. } = *self.means;
        let healths = candidates
            .iter()
            .filter_map(|candidate| health_of(&candidate.endpoint));
        match health.admit(healths, now, self.rng) {
            Admission::All => self.place_among(job, Candidates::all(candidates), role),
            Admission::Only(admitted) => {
                self.explain_distrust(candidates, &admitted);
                self.place_among(job, Candidates::only(candidates, &admitted), role)
            }
        }
    }

    fn place_among<'c>(
        &mut self,
        job: &Job,
        candidates: Candidates<'c>,
        role: Role,
    ) -> Result<Placement<'c>, PlaceError> {
        let Means {
            profile,
            since_start,
            plugins,
            ..
        } = *self.means;
        let (explanation, rng) = (&mut self.explanation, &mut *self.rng);
        job.with_facts(self.body, role, since_start, |facts| {
            let mut stopwatch = plugins.map(Stopwatch::new);
            let Some(explanation) = explanation else {
                let placed = profile.place_watched(facts, candidates, rng, &mut stopwatch);
                stopwatch::count(plugins, facts.notes);
                return placed;
            };
            let mut watch = (stopwatch, Trace::default());
            let (all, considered) = (candidates.source(), candidates.len());
            let placed = profile.place_watched(facts, candidates, rng, &mut watch);
            stopwatch::count(plugins, facts.notes);
            let trace = watch.1;
            let picks = placed.as_deref().unwrap_or_default();
            let cached = cached_tokens(facts, all, picks);
            let seen = (all, considered);
            explanation.note_placement((role, since_start), seen, &trace, picks, &cached);
            placed
        })
    }

    fn explain_distrust(&mut self, candidates: &[Candidate], admitted: &[usize]) {
        let Some(explanation) = &mut self.explanation else {
            return;
        };
        for (at, candidate) in candidates.iter().enumerate() {
            if let (Err(_), Some(health)) =
                (admitted.binary_search(&at), health_of(&candidate.endpoint))
            {
                let standing = self.means.health.standing(health, self.means.now);
                explanation.note_untrusted(&candidate.endpoint.pod().name, standing);
            }
        }
    }
}

/// How many tokens of the prompt each of `picks` holds, for the person who asked; empty = nobody knows.
fn cached_tokens(
    facts: &RequestFacts<'_>,
    all: &[Candidate],
    picks: &[Pick<'_>],
) -> SmallVec<[u32; KEPT]> {
    let (Some(tokens), Some(index)) = (facts.tokens, facts.kv) else {
        return SmallVec::new();
    };
    let query = KvQuery {
        model: facts.served_model,
        adapter: facts.adapter,
        tokens,
        // Of no matter to an index that knows what its blocks are.
        block_tokens: 1,
        max_blocks: u32::MAX,
    };
    let positions: SmallVec<[usize; KEPT]> =
        picks.iter().map(|pick| pick.position as usize).collect();
    let mut lengths: SmallVec<[u32; KEPT]> = SmallVec::from_elem(0, positions.len());
    let chosen = Candidates::only(all, &positions);
    match index.lookup(&query, &chosen, &mut lengths) {
        Some(blocks) => {
            let tokens = lengths
                .iter()
                .map(|length| length.saturating_mul(blocks.tokens));
            tokens.collect()
        }
        None => SmallVec::new(),
    }
}

#[cfg(test)]
mod tests;
