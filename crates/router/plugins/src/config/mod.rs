//! The scheduler's part of the router's configuration file: text in, settings out.
//!
//! The file is walked by hand, not decoded into types, so that all faults are found at once, each with its path. What
//! earlier releases accepted and ignored is a notice; what would send requests nowhere is a fault.

mod args;
mod node;
mod plugins;

use crate::adaptive::AdaptiveConfig;
use crate::kvcache_aware::KvcacheAwareConfig;
use crate::least_latency::LeastLatencyConfig;
use crate::least_request::LeastRequestConfig;
use crate::prefix_cache::PrefixCacheConfig;
use crate::{
    adaptive, gpu_usage, kvcache_aware, least_latency, least_request, lora_affinity, prefix_cache,
    random,
};
use node::{Findings, Node};

/// How requests are placed: which plugins take part, with which weights and settings.
#[derive(Debug, Clone, PartialEq)]
pub struct SchedulerConfig {
    /// Filters in order.
    pub filters: Vec<FilterName>,
    /// Scorers with their weights.
    pub scorers: Vec<(ScorerName, i64)>,
    /// Settings of plugins, whether or not they take part.
    pub args: PluginArgs,
}

/// A filter that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterName {
    /// Engines with a short queue.
    LeastRequest,
    /// Engines that have loaded the adapter.
    LoraAffinity,
}

/// A scorer that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScorerName {
    /// Little work.
    LeastRequest,
    /// Quick lately.
    LeastLatency,
    /// Room in the KV cache.
    GpuUsage,
    /// Prompts sent there before.
    PrefixCache,
    /// Prompts cached there.
    KvcacheAware,
    /// Chance.
    Random,
    /// The least time to the first token, as expected.
    Adaptive,
}

/// Settings of all plugins that have any.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PluginArgs {
    /// Of the filter `least-request`.
    pub least_request: LeastRequestConfig,
    /// Of `least-latency`.
    pub least_latency: LeastLatencyConfig,
    /// Of `prefix-cache`.
    pub prefix_cache: PrefixCacheConfig,
    /// Of `kvcache-aware`.
    pub kvcache_aware: KvcacheAwareConfig,
    /// Of `adaptive`.
    pub adaptive: AdaptiveConfig,
}

/// Something to say about one place of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The place, as in `scheduler.plugins.Score.enabled[0].weight`.
    pub path: String,
    /// What is to be said.
    pub message: String,
}

/// Settings that were read, and what was ignored on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadConfig {
    /// The settings.
    pub config: SchedulerConfig,
    /// What has no effect.
    pub notices: Vec<Notice>,
}

/// Why a file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It is not YAML.
    #[error("not valid YAML: {0}")]
    Malformed(String),
    /// It is YAML, but these places are wrong.
    #[error("{}", lines(.0))]
    Faults(Vec<Notice>),
}

impl Default for SchedulerConfig {
    /// What is used when nothing is configured.
    fn default() -> Self {
        Self {
            filters: vec![FilterName::LeastRequest],
            scorers: vec![
                (ScorerName::LeastRequest, 1),
                (ScorerName::LeastLatency, 1),
                (ScorerName::PrefixCache, 1),
            ],
            args: PluginArgs::default(),
        }
    }
}

impl SchedulerConfig {
    /// Reads the router's configuration file. Without a part for the scheduler the default is used.
    pub fn read(text: &str) -> Result<ReadConfig, ConfigError> {
        let value: serde_yaml_ng::Value = serde_yaml_ng::from_str(text)
            .map_err(|error| ConfigError::Malformed(error.to_string()))?;
        let mut found = Findings::default();
        let config = read_file(&Node::root(&value), &mut found);
        if found.faults.is_empty() {
            Ok(ReadConfig {
                config,
                notices: found.notices,
            })
        } else {
            Err(ConfigError::Faults(found.faults))
        }
    }

    /// Whether this scorer takes part.
    pub fn scores_by(&self, name: ScorerName) -> bool {
        self.scorers.iter().any(|(scorer, _)| *scorer == name)
    }

    /// Whether counts of requests in flight that routers share are looked at.
    pub fn needs_shared_counts(&self) -> bool {
        self.filters.contains(&FilterName::LeastRequest) || self.scores_by(ScorerName::LeastRequest)
    }
}

impl FilterName {
    /// All filters.
    pub const ALL: [Self; 2] = [Self::LeastRequest, Self::LoraAffinity];

    /// The name users write.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LeastRequest => least_request::NAME,
            Self::LoraAffinity => lora_affinity::NAME,
        }
    }
}

impl ScorerName {
    /// All scorers.
    pub const ALL: [Self; 7] = [
        Self::LeastRequest,
        Self::LeastLatency,
        Self::GpuUsage,
        Self::PrefixCache,
        Self::KvcacheAware,
        Self::Random,
        Self::Adaptive,
    ];

    /// The name users write.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LeastRequest => least_request::NAME,
            Self::LeastLatency => least_latency::NAME,
            Self::GpuUsage => gpu_usage::NAME,
            Self::PrefixCache => prefix_cache::NAME,
            Self::KvcacheAware => kvcache_aware::NAME,
            Self::Random => random::NAME,
            Self::Adaptive => adaptive::NAME,
        }
    }
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

fn lines(faults: &[Notice]) -> String {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

fn read_file(file: &Node<'_>, found: &mut Findings) -> SchedulerConfig {
    let Some(members) = file.members(found) else {
        found.notice(file, "nothing is configured; the default is used");
        return SchedulerConfig::default();
    };
    let mut scheduler = None;
    for (key, value) in members {
        match key.as_str() {
            "scheduler" => scheduler = Some(value),
            // Read by those who check tokens.
            "auth" => {}
            _ => found.unknown(&value),
        }
    }
    let Some(scheduler) = scheduler else {
        found.notice(file, "has no `scheduler`; the default is used");
        return SchedulerConfig::default();
    };
    let mut config = SchedulerConfig {
        filters: Vec::new(),
        scorers: Vec::new(),
        args: PluginArgs::default(),
    };
    let mut plugins = None;
    for (key, value) in scheduler.members(found).unwrap_or_default() {
        match key.as_str() {
            "pluginConfig" => config.args = args::read(&value, found),
            "plugins" => plugins = Some(value),
            _ => found.unknown(&value),
        }
    }
    let plugins = plugins.unwrap_or_else(|| scheduler.absent("plugins"));
    plugins::read(&plugins, &mut config, found);
    config
}

#[cfg(test)]
mod tests;
