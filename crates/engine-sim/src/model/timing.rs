//! From a batch to a duration, and from memory to blocks.

use std::time::Duration;

use super::{GpuProfile, ModelProfile};

/// Fixed cost of a step, seconds: scheduling, sampling, launches. Fitted on one A6000 and one A100
/// 40 GB at batch 1 with vLLM 0.23 (see the tests); older engines needed about twice as much.
const STEP_BASE: f64 = 0.4e-3;
/// Launch cost a layer adds, seconds; same fit.
const STEP_PER_LAYER: f64 = 0.05e-3;
/// Sampling, detokenising and block bookkeeping per sequence, seconds.
const STEP_PER_SEQUENCE: f64 = 15e-6;
/// Latency of one reduction between GPUs, seconds.
const REDUCE_LATENCY: f64 = 8e-6;
/// Share of the peak that attention over a prompt reaches.
const ATTENTION_EFFICIENCY: f64 = 0.45;
/// Memory an engine keeps for the sampler, graphs and the driver, bytes.
const RESERVED_BYTES: f64 = 1.7e9;

/// What one step has to work through.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StepLoad {
    /// Prompt tokens computed in this step, over all requests.
    pub prompt_tokens: u64,
    /// Sum over prompt tokens of the context each attends to.
    pub prompt_attention: f64,
    /// Sequences that generate one token each.
    pub decode_tokens: u64,
    /// Sum of the contexts those sequences attend to, tokens.
    pub decode_context: u64,
    /// Sequences in the batch.
    pub sequences: u64,
}

impl StepLoad {
    /// Adds a piece of a prompt: `count` tokens after `before` that are computed or cached already.
    pub fn add_prompt(&mut self, before: u64, count: u64) {
        self.prompt_tokens += count;
        let (before, new) = (before as f64, count as f64);
        self.prompt_attention += new * before + new * (new + 1.0) / 2.0;
        self.sequences += 1;
    }

    /// Adds a sequence that generates one token over `context` tokens.
    pub fn add_decode(&mut self, context: u64) {
        self.decode_tokens += 1;
        self.decode_context += context;
        self.sequences += 1;
    }
}

/// Times steps of one model on one kind of GPU.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepModel {
    /// The GPU.
    pub gpu: GpuProfile,
    /// The model.
    pub model: ModelProfile,
    /// GPUs every layer is split over.
    pub tensor_parallel: u32,
    /// Groups of such GPUs that hold some of the layers each. They add memory; a token still passes
    /// through all of them one after the other.
    pub pipeline_parallel: u32,
}

impl StepModel {
    /// How long a step over `load` takes.
    pub fn step(&self, load: &StepLoad) -> Duration {
        let seconds = self.matrices(load)
            + self.attention(load)
            + self.reductions(load)
            + STEP_BASE
            + STEP_PER_LAYER * f64::from(self.model.layers)
            + STEP_PER_SEQUENCE * load.sequences as f64;
        Duration::from_secs_f64(seconds)
    }

    /// Matrix products of all layers: weights read once, arithmetic per token.
    fn matrices(&self, load: &StepLoad) -> f64 {
        let gpus = f64::from(self.tensor_parallel);
        let tokens = (load.prompt_tokens + load.decode_tokens) as f64;
        let active = self.model.active_params - self.model.embedding_params;
        let compute =
            2.0 * active * tokens / (self.gpu.peak_flops * self.gpu.compute_efficiency * gpus);
        let memory = self.model.bytes_read(tokens) / (self.bandwidth() * gpus);
        compute.hypot(memory)
    }

    /// Attention: arithmetic for prompts, cache reads for generated tokens.
    fn attention(&self, load: &StepLoad) -> f64 {
        let gpus = f64::from(self.tensor_parallel);
        // Scores and their use: two products of `attention_width` a layer for each pair of tokens.
        let per_pair = 4.0 * f64::from(self.model.layers) * f64::from(self.model.attention_width);
        let flops = per_pair * load.prompt_attention;
        let compute = flops / (self.gpu.peak_flops * ATTENTION_EFFICIENCY * gpus);
        let bytes = self.model.kv_bytes_per_token() * load.decode_context as f64;
        compute + bytes / (self.bandwidth() * gpus)
    }

    /// Two sums over all GPUs a layer.
    fn reductions(&self, load: &StepLoad) -> f64 {
        if self.tensor_parallel <= 1 {
            return 0.0;
        }
        let gpus = f64::from(self.tensor_parallel);
        let tokens = (load.prompt_tokens + load.decode_tokens) as f64;
        let bytes = tokens * f64::from(self.model.hidden) * 2.0;
        let moved = 2.0 * bytes * (gpus - 1.0) / gpus;
        let each = moved / self.gpu.link_bandwidth + REDUCE_LATENCY;
        2.0 * f64::from(self.model.layers) * each
    }

    fn bandwidth(&self) -> f64 {
        self.gpu.memory_bandwidth * self.gpu.memory_efficiency
    }

    /// Bytes of cache all GPUs together have room for when the engine may use `utilization` of
    /// their memory and computes up to `batched` tokens a step; zero when the weights alone do not
    /// fit. An engine tries its largest step out before it makes the cache, so long steps cost cache.
    pub fn cache_bytes(&self, utilization: f64, batched: u32) -> u64 {
        let gpus = f64::from(self.tensor_parallel) * f64::from(self.pipeline_parallel);
        let usable = self.gpu.memory_bytes as f64 * utilization - RESERVED_BYTES;
        let step = self.model.activation_bytes_per_token() * f64::from(batched);
        // Every stage of a pipeline has a step of its own; within one it is split.
        let steps = step * f64::from(self.pipeline_parallel);
        let free = usable * gpus - self.model.weight_bytes() - steps;
        free.max(0.0) as u64
    }

    /// Cache blocks of `block_size` tokens that fit beside steps of up to `batched` tokens.
    pub fn cache_blocks(&self, utilization: f64, block_size: u32, batched: u32) -> u64 {
        let block = self.model.kv_bytes_per_token() * f64::from(block_size);
        (self.cache_bytes(utilization, batched) as f64 / block) as u64
    }

    /// Time to move the cached blocks of `tokens` tokens to another engine over a link of
    /// `bytes_per_second`.
    pub fn transfer(&self, tokens: u64, bytes_per_second: f64) -> Duration {
        let bytes = self.model.kv_bytes_per_token() * tokens as f64;
        Duration::from_secs_f64(bytes / bytes_per_second.max(1.0))
    }
}
