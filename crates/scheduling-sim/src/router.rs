//! One router: the production scheduler, and what it knows of the engines.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use kthena_engine_sim::kv_cache::KvEvent as Changed;
use kthena_kv_events::events::{self, Batch, KvEvent, Removed, Stored};
use kthena_kv_events::index::{CacheIndex, DEFAULT_BUDGET, Owner};
use kthena_router_plugins::Scheduling;
use kthena_router_plugins::config::ScorerName;
use kthena_router_scheduler::{
    Candidate, Dispatch, Endpoint, InFlight, KvIndex, ModelSet, Notes, Outcome, PodIdentity,
    RequestFacts, Role, Sample,
};

use crate::policy::Policy;
use crate::setting::{FleetConfig, Knowledge};
use crate::tokens::AsText;

/// A request as a router sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) prompt: &'a [u32],
    pub(crate) adapter: Option<&'a str>,
    pub(crate) session: u32,
    pub(crate) role: Role,
    pub(crate) now: Duration,
}

pub(crate) struct Router {
    scheduling: Scheduling,
    candidates: Vec<Candidate>,
    index: Arc<CacheIndex>,
    /// Who follows the engines' caches; empty if nobody looks at them.
    owners: Vec<Owner>,
    knowledge: Knowledge,
    /// Requests of each engine as of the last scrape, where nothing else is known.
    seen: Vec<Vec<InFlight>>,
}

/// What a router keeps about a request on its way.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    dispatch: Option<Dispatch>,
    _counted: Option<InFlight>,
}

impl Router {
    /// A router that knows nothing yet.
    pub(crate) fn new(fleet: &FleetConfig, policy: &Policy, models: &ModelSet, seed: u64) -> Self {
        let cache = fleet.engine(false).cache;
        let index = Arc::new(CacheIndex::new(DEFAULT_BUDGET, seed));
        let candidate = |number: u32| {
            let pod = PodIdentity {
                namespace: "default".into(),
                name: format!("engine-{number}").into(),
                uid: format!("{number}").into(),
            };
            let endpoint = Arc::new(Endpoint::new(pod));
            endpoint.set_cache_tokens(u64::from(cache.blocks) * u64::from(cache.block_size));
            endpoint.set_models(models.clone());
            Candidate {
                endpoint,
                address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8000)),
            }
        };
        let candidates: Vec<Candidate> = (0..fleet.engines).map(candidate).collect();
        let owners = candidates.iter().filter(|_| policy.reads_caches());
        let owners = owners
            .filter_map(|known| index.join(u64::from(known.endpoint.id().get())))
            .collect();
        let knowledge = if policy.config.scores_by(ScorerName::Adaptive) {
            Knowledge::Today
        } else {
            fleet.knowledge
        };
        Self {
            scheduling: Scheduling::new(policy.config.clone(), seed),
            seen: candidates.iter().map(|_| Vec::new()).collect(),
            candidates,
            index,
            owners,
            knowledge,
        }
    }

    /// The best engine among those numbered `among`.
    pub(crate) fn place(&self, ask: &Ask<'_>, among: Range<u32>, rng: &mut Rng) -> Option<u32> {
        let candidates = &self.candidates[among.start as usize..among.end as usize];
        let place = |request: &RequestFacts<'_>| {
            let placement = self.scheduling.profile.place(request, candidates, rng);
            Some(among.start + placement.ok()?.first()?.position)
        };
        self.with_facts(ask, place)
    }

    /// The request goes to `engine`.
    pub(crate) fn sent(&self, ask: &Ask<'_>, engine: u32) -> Sent {
        if self.knowledge == Knowledge::Published {
            return Sent::default();
        }
        Sent {
            dispatch: Some(self.dispatch(ask, engine)),
            _counted: Some(self.candidates[engine as usize].endpoint.begin()),
        }
    }

    /// The answer is complete.
    pub(crate) fn answered(&self, sent: Sent, ask: &Ask<'_>, engine: u32, outcome: Outcome) {
        // Plugins of that time heard of a request only now.
        let dispatch = sent.dispatch;
        let dispatch = dispatch.unwrap_or_else(|| self.dispatch(ask, engine));
        dispatch.complete(outcome);
    }

    fn dispatch(&self, ask: &Ask<'_>, engine: u32) -> Dispatch {
        let endpoint = &self.candidates[engine as usize].endpoint;
        self.with_facts(ask, |request| {
            self.scheduling.profile.dispatch(request, endpoint)
        })
    }

    /// An engine was measured.
    pub(crate) fn measured(&mut self, engine: u32, sample: Sample) {
        let endpoint = &self.candidates[engine as usize].endpoint;
        endpoint.set_sample(sample);
        if self.knowledge == Knowledge::Published {
            // The least-request plugin of that time scored running + 100 * waiting as scraped. Today's scores requests
            // on their way + 100 * those that do not run: with the scraped sum as what is on its way, that is the same
            // but for one part in a hundred.
            let total = sample.running + sample.waiting;
            let seen = (0..total).map(|_| endpoint.begin());
            self.seen[engine as usize] = seen.collect();
        }
    }

    /// An engine's cache has changed.
    pub(crate) fn told(&mut self, engine: u32, changes: &[Changed]) {
        if let Some(owner) = self.owners.get_mut(engine as usize) {
            owner.apply(&told(changes));
        }
    }

    /// What a router does now and then.
    pub(crate) fn sweep(&self) {
        self.scheduling.profile.sweep();
    }

    fn with_facts<R>(&self, ask: &Ask<'_>, use_it: impl FnOnce(&RequestFacts<'_>) -> R) -> R {
        let notes = Notes::default();
        let text = AsText(ask.prompt);
        let name = ask.session.to_string();
        let model = ask.adapter.unwrap_or("model");
        let knows = !self.owners.is_empty();
        use_it(&RequestFacts {
            served_model: model,
            adapter: ask.adapter.is_some(),
            prompt: &text,
            prompt_tokens: ask.prompt.len() as u64,
            tokens: knows.then_some(ask.prompt),
            kv: knows.then_some(&*self.index as &dyn KvIndex),
            session: Some(&name),
            role: ask.role,
            now: ask.now,
            ..RequestFacts::new(model, &notes)
        })
    }
}

impl Sent {
    /// The first token is here.
    pub(crate) fn first_token(&mut self, now: Duration) {
        if let Some(dispatch) = &mut self.dispatch {
            dispatch.first_token(now);
        }
    }

    /// The engine refused.
    pub(crate) fn fail(self) {
        if let Some(dispatch) = self.dispatch {
            dispatch.fail();
        }
    }
}

/// An engine's own account of its cache, as the index takes it.
fn told(changes: &[Changed]) -> Batch {
    let event = |change: &Changed| match change {
        Changed::BlockStored {
            hashes,
            parent,
            tokens,
            block_size,
            adapter,
        } => KvEvent::Stored(Stored {
            hashes: hashes.iter().map(|hash| hash.0.into()).collect(),
            parent: parent.map(|hash| hash.0.into()),
            tokens: tokens.clone(),
            block_size: *block_size,
            adapter: adapter.as_ref().map(|name| events::Adapter {
                id: Some(1),
                name: Some(Arc::clone(name)),
            }),
            ..Stored::default()
        }),
        Changed::BlockRemoved { hashes } => KvEvent::Removed(Removed {
            hashes: hashes.iter().map(|hash| hash.0.into()).collect(),
            ..Removed::default()
        }),
        Changed::AllBlocksCleared => KvEvent::Cleared,
    };
    Batch {
        events: changes.iter().map(event).collect(),
        ..Batch::default()
    }
}
