//! Engines and what a router knows of them.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kthena_engine_sim::batch::{BatchConfig, Engine, Finished, Step, StepOutcome};
use kthena_engine_sim::kv_cache::KvEvent as Changed;
use kthena_kv_events::events::{self, Batch, KvEvent, Removed, Stored};
use kthena_kv_events::index::{CacheIndex, DEFAULT_BUDGET, Owner};
use kthena_router_scheduler::{Candidate, Endpoint, ModelSet, PodIdentity, Sample};

/// An engine, its endpoint, and the step it is in.
pub(crate) struct Node {
    pub(crate) engine: Engine,
    pub(crate) candidate: Candidate,
    /// Follows the engine's cache, if anybody looks at that.
    owner: Option<Owner>,
    step: Option<Box<StepOutcome>>,
    recent: Recent,
}

/// Latencies since the engine was last measured, as its histograms would show them.
#[derive(Debug, Default)]
struct Recent {
    first_tokens: Mean,
    later_tokens: Mean,
    /// The last means that were not empty.
    shown: (f64, f64),
}

#[derive(Debug, Default)]
struct Mean {
    sum: f64,
    count: u32,
}

impl Mean {
    fn add(&mut self, seconds: f64) {
        self.sum += seconds;
        self.count += 1;
    }

    fn take(&mut self) -> Option<f64> {
        let taken = std::mem::take(self);
        (taken.count > 0).then(|| taken.sum / f64::from(taken.count))
    }
}

/// Engines of one make.
pub(crate) fn nodes(
    count: u32,
    config: &BatchConfig,
    models: &ModelSet,
    seed: u64,
) -> (Vec<Node>, Arc<CacheIndex>) {
    let index = Arc::new(CacheIndex::new(DEFAULT_BUDGET, seed));
    let node = |number: u32| {
        let pod = PodIdentity {
            namespace: "default".into(),
            name: format!("engine-{number}").into(),
            uid: format!("{number}").into(),
        };
        let endpoint = Arc::new(Endpoint::new(pod));
        let cache = config.cache;
        endpoint.set_cache_tokens(u64::from(cache.blocks) * u64::from(cache.block_size));
        endpoint.set_models(models.clone());
        let owner = config.cache.record_events.then(|| {
            let pod = u64::from(endpoint.id().get());
            index.join(pod)
        });
        Node {
            engine: Engine::new(config.clone()),
            candidate: Candidate {
                endpoint,
                address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8000)),
            },
            owner: owner.flatten(),
            step: None,
            recent: Recent::default(),
        }
    };
    ((0..count).map(node).collect(), index)
}

/// When a node has to be looked at again.
pub(crate) enum Next {
    /// A step ends.
    StepEnds(Duration),
    /// What it waits for is there.
    Ready(Duration),
    /// When it gets a request.
    Nothing,
}

impl Node {
    /// Begins a step if the engine is free.
    pub(crate) fn begin(&mut self, now: Duration) -> Next {
        if self.step.is_some() {
            return Next::Nothing;
        }
        match self.engine.step(now) {
            Step::Ran(outcome) => {
                let end = now + outcome.duration;
                self.step = Some(outcome);
                Next::StepEnds(end)
            }
            Step::Wait { until } => Next::Ready(until),
            Step::Idle => Next::Nothing,
        }
    }

    /// Ends the step; what it brought.
    pub(crate) fn end(&mut self) -> Option<StepOutcome> {
        let outcome = *self.step.take()?;
        if let Some(owner) = &mut self.owner {
            owner.apply(&told(&outcome.events));
        }
        for new in outcome.emitted.iter().filter(|new| new.first) {
            self.recent.first_tokens.add(new.after.as_secs_f64());
        }
        for done in &outcome.finished {
            if let Some(seconds) = per_token(done) {
                self.recent.later_tokens.add(seconds);
            }
        }
        Some(outcome)
    }

    /// What a scrape of the engine's metrics would tell the router.
    pub(crate) fn measure(&mut self, now: Duration) {
        let recent = &mut self.recent;
        if let Some(mean) = recent.first_tokens.take() {
            recent.shown.0 = mean;
        }
        if let Some(mean) = recent.later_tokens.take() {
            recent.shown.1 = mean;
        }
        let load = self.engine.load();
        self.candidate.endpoint.set_sample(Sample {
            running: load.running,
            waiting: load.waiting,
            kv_usage: load.cache_usage,
            ttft: recent.shown.0,
            tpot: recent.shown.1,
            taken_at: now,
        });
    }
}

/// Mean time between a request's tokens, seconds.
pub(crate) fn per_token(done: &Finished) -> Option<f64> {
    let gaps = done.output_tokens.checked_sub(1).filter(|gaps| *gaps > 0)?;
    Some(done.decode.as_secs_f64() / f64::from(gaps))
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

/// Requests by their numbers.
pub(crate) type ById<T> = HashMap<u64, T>;
