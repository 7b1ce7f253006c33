//! What an engine runs with, and how it is read from an engine's own command line.
//!
//! The arguments of `vllm serve` and `sglang.launch_server` are taken as they are, so that a
//! container's command needs no change; what makes no difference here is a warning. `args` knows
//! the flags, `resolve` gives them meaning and defaults, [`crate::faults`] is what may go wrong.

mod args;
mod kv;
mod resolve;
mod values;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::batch::BatchConfig;
use crate::faults::Faults;
pub use kv::{HandoverConfig, KvEventsConfig, LoadFailure};

#[cfg(test)]
mod tests;

/// Whose names and shapes the engine answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
}

/// Which half of a request the engine is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Both.
    Aggregated,
    /// Prompts, whose blocks another engine fetches.
    Prefill,
    /// Answers, from blocks fetched elsewhere.
    Decode,
}

/// What the model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Text.
    Generate,
    /// Vectors.
    Embed,
}

/// An adapter the engine answers for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapter {
    /// The name requests use.
    pub name: Arc<str>,
    /// Where it was loaded from.
    pub path: String,
    /// The base model it names itself a child of; the served model unless set.
    pub base: Option<String>,
}

/// Everything an engine needs to run.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Names and shapes of answers.
    pub dialect: Dialect,
    /// The model as given, a repository or a path.
    pub model: String,
    /// Names requests may use for the base model, at least one. The first is the one answers carry.
    pub served_names: Vec<String>,
    /// Address to listen on.
    pub host: IpAddr,
    /// Port to listen on.
    pub port: u16,
    /// Keys of which requests must carry one; anyone may call when empty.
    pub api_keys: Vec<String>,
    /// Model, cache and batches.
    pub batch: BatchConfig,
    /// Share of GPU memory used, as the cache metric reports it.
    pub memory_utilization: f64,
    /// Which half of a request it is for.
    pub role: Role,
    /// Bytes per second at which blocks arrive from a prefill engine.
    pub transfer_bandwidth: f64,
    /// Text or vectors.
    pub task: Task,
    /// Whether adapters may be used.
    pub adapters_enabled: bool,
    /// Adapters at start.
    pub adapters: Vec<Adapter>,
    /// Whether usage says which prompt tokens were cached.
    pub prompt_token_details: bool,
    /// How changes of the cache are published, if they are.
    pub kv_events: Option<KvEventsConfig>,
    /// How two engines share the work on one request.
    pub handover: HandoverConfig,
    /// How many times faster than a real engine it runs.
    pub speed: f64,
    /// Time from start to ready.
    pub startup: Duration,
    /// Sets the answers of two engines apart.
    pub seed: u64,
    /// Answer with the last message or the prompt instead of prose.
    pub echo: bool,
    /// How long open requests may go on after the shutdown begins.
    pub drain: Duration,
    /// What goes wrong from the start.
    pub faults: Faults,
}

impl EngineConfig {
    /// Reads the arguments of an engine, with or without the words of the program in front
    /// (`vllm serve`, `python3 -m sglang.launch_server`, …).
    ///
    /// All faults are reported at once. Flags that are unknown or change nothing are warnings.
    pub fn from_engine_args(args: &[String]) -> Result<(Self, Vec<ArgsWarning>), EngineArgsError> {
        let mut faults = Vec::new();
        let mut warnings = Vec::new();
        let given = args::read(args, &mut faults, &mut warnings);
        let config = resolve::resolve(&given, &mut faults, &mut warnings);
        if faults.is_empty() {
            Ok((config, warnings))
        } else {
            Err(EngineArgsError { faults })
        }
    }

    /// The name answers carry.
    pub fn served_name(&self) -> &str {
        self.served_names.first().unwrap_or(&self.model)
    }
}

/// Something in the arguments that has no effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ArgsWarning(pub String);

/// Arguments an engine cannot start with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", faults.join("; "))]
pub struct EngineArgsError {
    /// One sentence per fault.
    pub faults: Vec<String>,
}
