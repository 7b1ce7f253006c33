//! The two JSON flags about blocks: who is told what the cache holds, and who fetches it.

use std::time::Duration;

use kthena_kv_events::events::Layout;
use serde::Deserialize;

use super::Dialect;

/// How changes of the cache are published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvEventsConfig {
    /// Where subscribers connect to: `tcp://*:5557`. A star is the engine's own address.
    pub endpoint: String,
    /// Where they ask for messages they missed.
    pub replay_endpoint: Option<String>,
    /// First frame of each message.
    pub topic: String,
    /// Messages kept for those who ask again.
    pub buffer: usize,
    /// How events are written.
    pub layout: Layout,
}

/// What a decode engine does when the blocks it was promised are gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoadFailure {
    /// The request fails.
    #[default]
    Fail,
    /// It computes the prompt itself.
    Recompute,
}

/// How two engines share the work on one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandoverConfig {
    /// When promised blocks cannot be fetched.
    pub load_failure: LoadFailure,
    /// How long blocks are kept for an engine that does not come, in the engine's time.
    pub keep: Duration,
    /// Port at which a prefill engine of SGLang meets the other half; 0 lets the system choose.
    pub bootstrap_port: u16,
    /// How long one half waits for the other, in the engine's time.
    pub meet: Duration,
}

/// vLLM keeps blocks for eight minutes.
pub(super) const KEEP: Duration = Duration::from_mins(8);
/// SGLang waits five.
pub(super) const MEET: Duration = Duration::from_mins(5);
/// SGLang's own.
pub(super) const BOOTSTRAP_PORT: u16 = 8998;

/// `--kv-events-config` as both engines take it. The sizes of queues are read and change nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEvents {
    enable_kv_cache_events: Option<bool>,
    publisher: Option<String>,
    #[serde(default = "endpoint")]
    endpoint: String,
    replay_endpoint: Option<String>,
    #[serde(default)]
    topic: String,
    #[serde(default = "buffer")]
    buffer_steps: usize,
    #[serde(default, rename = "hwm")]
    _hwm: Option<u64>,
    #[serde(default, rename = "max_queue_size")]
    _max_queue_size: Option<u64>,
}

fn endpoint() -> String {
    "tcp://*:5557".to_owned()
}

fn buffer() -> usize {
    10_000
}

/// Reads the flag; nothing when it says not to publish.
pub(super) fn events(
    text: &str,
    dialect: Dialect,
    layout: Layout,
) -> Result<Option<KvEventsConfig>, String> {
    let raw: RawEvents = serde_json::from_str(text)
        .map_err(|error| format!("--kv-events-config cannot be {text:?}: {error}"))?;
    let enabled = match dialect {
        Dialect::Vllm => raw.enable_kv_cache_events.unwrap_or(false),
        Dialect::Sglang => true,
    };
    let publisher = match (raw.publisher.as_deref(), dialect) {
        (Some(publisher), _) => publisher,
        (None, Dialect::Vllm) => "zmq",
        (None, Dialect::Sglang) => "null",
    };
    match publisher {
        "zmq" if enabled => Ok(Some(KvEventsConfig {
            endpoint: raw.endpoint,
            replay_endpoint: raw.replay_endpoint,
            topic: raw.topic,
            buffer: raw.buffer_steps,
            layout,
        })),
        "zmq" | "null" => Ok(None),
        other => Err(format!(
            "--kv-events-config has the publisher {other:?}, which is neither zmq nor null"
        )),
    }
}

/// The part of `--kv-transfer-config` that matters here; connectors have many more settings.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RawTransfer {
    pub(super) kv_role: Option<String>,
    #[serde(default)]
    pub(super) kv_load_failure_policy: LoadFailure,
}
