//! What is compared: the six configurations of the published benchmark, and our own policy.

use std::num::NonZeroU32;

use kthena_router_plugins::SchedulerConfig;
use kthena_router_plugins::config::{PluginArgs, ScorerName};

/// A configuration under its name in reports.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The scorers' names, joined with a plus.
    pub name: String,
    /// The configuration.
    pub config: SchedulerConfig,
}

impl Policy {
    /// Whether it goes by what engines have cached.
    pub fn reads_caches(&self) -> bool {
        let readers = [ScorerName::KvcacheAware, ScorerName::Adaptive];
        readers.iter().any(|name| self.config.scores_by(*name))
    }
}

const ALL: [&[ScorerName]; 7] = [
    &[ScorerName::LeastRequest, ScorerName::KvcacheAware],
    &[ScorerName::LeastRequest, ScorerName::PrefixCache],
    &[ScorerName::Random],
    &[ScorerName::LeastRequest],
    &[ScorerName::GpuUsage],
    &[ScorerName::LeastLatency],
    &[ScorerName::Adaptive],
];

/// All policies, for engines with blocks of `block_size` tokens.
pub fn all(block_size: u32) -> Vec<Policy> {
    ALL.iter()
        .map(|scorers| policy(scorers, block_size))
        .collect()
}

fn policy(scorers: &[ScorerName], block_size: u32) -> Policy {
    let names: Vec<&str> = scorers.iter().map(|scorer| scorer.as_str()).collect();
    let mut args = PluginArgs::default();
    args.kvcache_aware.block_tokens = NonZeroU32::new(block_size).unwrap_or(NonZeroU32::MIN);
    Policy {
        name: names.join("+"),
        config: SchedulerConfig {
            // A filter would refuse requests when all queues are long; here all of them wait.
            filters: Vec::new(),
            scorers: scorers.iter().map(|scorer| (*scorer, 1)).collect(),
            args,
        },
    }
}
