//! From settings to a running scheduler.

use std::sync::Arc;

use kthena_router_scheduler::{Filter, Profile, Recorder, Scorer};

use crate::adaptive::Adaptive;
use crate::config::{FilterName, SchedulerConfig, ScorerName};
use crate::gpu_usage::GpuUsage;
use crate::kvcache_aware::KvcacheAware;
use crate::least_latency::LeastLatency;
use crate::least_request::{LeastRequest, ShortQueue};
use crate::lora_affinity::LoraAffinity;
use crate::prefix_cache::PrefixCache;
use crate::random::Random;

/// A scheduler and the settings it was made of. Replaced as a whole when settings change.
#[derive(Debug)]
pub struct Scheduling {
    /// Places requests.
    pub profile: Arc<Profile>,
    /// The settings.
    pub config: SchedulerConfig,
    memory: Memory,
}

/// Plugins that remember. They outlive a change of settings that does not concern them.
#[derive(Debug, Clone, Default)]
struct Memory {
    prefix_cache: Option<Arc<PrefixCache>>,
    adaptive: Option<Arc<Adaptive>>,
}

impl Scheduling {
    /// A scheduler that remembers nothing yet. `seed` makes its tables unpredictable.
    pub fn new(config: SchedulerConfig, seed: u64) -> Self {
        Self::build(config, seed, &Memory::default())
    }

    /// A scheduler for changed settings, which keeps what plugins remember whose own settings are the same.
    #[must_use]
    pub fn changed(&self, config: SchedulerConfig, seed: u64) -> Self {
        let (old, new) = (&self.config.args, &config.args);
        let mut memory = self.memory.clone();
        if old.prefix_cache != new.prefix_cache {
            memory.prefix_cache = None;
        }
        if old.adaptive != new.adaptive {
            memory.adaptive = None;
        }
        Self::build(config, seed, &memory)
    }

    fn build(config: SchedulerConfig, seed: u64, known: &Memory) -> Self {
        let args = config.args;
        let mut memory = Memory::default();
        let mut recorders: Vec<Arc<dyn Recorder>> = Vec::new();
        let mut scorers: Vec<(Arc<dyn Scorer>, i64)> = Vec::new();
        for (name, weight) in &config.scorers {
            let scorer: Arc<dyn Scorer> = match name {
                ScorerName::LeastRequest => Arc::new(LeastRequest),
                ScorerName::LeastLatency => Arc::new(LeastLatency::new(args.least_latency)),
                ScorerName::GpuUsage => Arc::new(GpuUsage),
                ScorerName::KvcacheAware => Arc::new(KvcacheAware::new(args.kvcache_aware)),
                ScorerName::Random => Arc::new(Random),
                ScorerName::PrefixCache => {
                    let fresh = || Arc::new(PrefixCache::new(args.prefix_cache, seed));
                    let plugin = known.prefix_cache.clone().unwrap_or_else(fresh);
                    memory.prefix_cache = Some(Arc::clone(&plugin));
                    recorders.push(Arc::clone(&plugin) as Arc<dyn Recorder>);
                    plugin
                }
                ScorerName::Adaptive => {
                    let fresh = || Arc::new(Adaptive::new(args.adaptive, seed));
                    let plugin = known.adaptive.clone().unwrap_or_else(fresh);
                    memory.adaptive = Some(Arc::clone(&plugin));
                    recorders.push(Arc::clone(&plugin) as Arc<dyn Recorder>);
                    plugin
                }
            };
            scorers.push((scorer, *weight));
        }
        let filters = config.filters.iter().map(|name| match name {
            FilterName::LeastRequest => {
                Arc::new(ShortQueue::new(args.least_request)) as Arc<dyn Filter>
            }
            FilterName::LoraAffinity => Arc::new(LoraAffinity),
        });
        Self {
            profile: Arc::new(Profile::new(filters.collect(), scorers, recorders)),
            memory,
            config,
        }
    }
}

#[cfg(test)]
mod tests;
