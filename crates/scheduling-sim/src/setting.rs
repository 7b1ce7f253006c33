//! The engines and the router of a run, and where each number comes from.
//!
//! The published experiment (the article "Kthena Router `ScorePlugin` Architecture and Benchmark Analysis" of 9 September
//! 2025) names its model, block size, batch limits, replicas and load; those are taken as they stand. It does not name
//! its card, nor what the router of that month knew; the first is a choice, the second is in that router's source.

use std::time::Duration;

use kthena_engine_sim::batch::BatchConfig;
use kthena_engine_sim::kv_cache::CacheConfig;
use kthena_engine_sim::model::{GpuProfile, ModelProfile, StepModel};

/// When an engine tells of blocks that a step fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventsAt {
    /// As it plans the step: vLLM before 0.14.
    StepBegins,
    /// When the step is done: vLLM since.
    StepEnds,
}

/// What the router goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knowledge {
    /// What this router knows: its own requests as it sends them, prefixes from the moment they are sent.
    Today,
    /// What the router of the article knew: numbers of requests from the last scrape only, prefixes from the moment an
    /// answer is complete.
    Published,
}

/// The engines, and the routers before them.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetConfig {
    /// How many engines.
    pub engines: u32,
    /// The card of each.
    pub gpu: GpuProfile,
    /// What they serve.
    pub model: ModelProfile,
    /// Tokens of a cache block.
    pub block_size: u32,
    /// Share of the card's memory that an engine uses.
    pub memory_utilization: f64,
    /// Most tokens an engine computes in one step.
    pub max_batched_tokens: u32,
    /// Most requests in one step.
    pub max_sequences: u32,
    /// Longest prompt and answer together, tokens.
    pub max_model_len: u32,
    /// When engines tell of new blocks.
    pub events_at: EventsAt,
    /// How often a router measures the engines.
    pub scrape: Duration,
    /// Routers, each of which gets every so-manieth request and knows nothing of the others.
    pub routers: u32,
    /// What routers know. The policy `adaptive` did not exist then, so it always goes by today's knowledge.
    pub knowledge: Knowledge,
}

/// Adapters that an engine has active at a time: a usual `--max-loras`.
const ADAPTER_SLOTS: u32 = 8;
/// Time to bring an adapter into a slot: 0.1 GB of a rank-32 adapter over `PCIe`, and its bookkeeping.
const ADAPTER_LOAD: Duration = Duration::from_millis(150);

impl FleetConfig {
    /// The fleet of the published experiment, behind today's router. Nothing if the card is unknown.
    ///
    /// From the article's table: three replicas, blocks of 128 tokens, contexts of 32,768, batches of 65,536 tokens and
    /// 256 sequences, 0.9 of the memory. `DeepSeek-R1-Distill-Qwen-7B` has the shape of Qwen2.5-7B. The router asked
    /// its engines every second, as it does by default. An engine of that month told of blocks as it planned a step.
    pub fn published(gpu: &str, model: &str) -> Option<Self> {
        Some(Self {
            engines: 3,
            gpu: GpuProfile::by_name(gpu)?,
            model: ModelProfile::by_name(model),
            block_size: 128,
            memory_utilization: 0.9,
            max_batched_tokens: 65_536,
            max_sequences: 256,
            max_model_len: 32_768,
            events_at: EventsAt::StepBegins,
            scrape: Duration::from_secs(1),
            routers: 1,
            knowledge: Knowledge::Today,
        })
    }

    /// The same engines as vLLM runs them when nothing is said about batches.
    #[must_use]
    pub fn with_usual_batches(self) -> Self {
        Self {
            max_batched_tokens: 2048,
            events_at: EventsAt::StepEnds,
            ..self
        }
    }

    /// What one engine runs with.
    pub fn engine(&self, record_events: bool) -> BatchConfig {
        let model = StepModel {
            gpu: self.gpu,
            model: self.model,
            tensor_parallel: 1,
            pipeline_parallel: 1,
        };
        let batched = self.max_batched_tokens;
        let blocks = model.cache_blocks(self.memory_utilization, self.block_size, batched);
        BatchConfig {
            model,
            cache: CacheConfig {
                blocks: blocks as u32,
                block_size: self.block_size,
                prefix_caching: true,
                record_events,
            },
            max_sequences: self.max_sequences,
            max_batched_tokens: self.max_batched_tokens,
            max_model_len: self.max_model_len,
            adapter_slots: ADAPTER_SLOTS,
            adapter_load: ADAPTER_LOAD,
        }
    }
}
