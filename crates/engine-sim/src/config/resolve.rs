//! Flags become a configuration: defaults as the engines have them, faults as sentences.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::time::Duration;

use super::args::{Flag, Given};
use super::kv::{self, HandoverConfig, KvEventsConfig, RawTransfer};
use super::{Adapter, ArgsWarning, Dialect, EngineConfig, Role, Task, values};
use kthena_kv_events::events::Layout;

use crate::batch::BatchConfig;
use crate::faults::Faults;
use crate::kv_cache::CacheConfig;
use crate::model::{GpuProfile, ModelProfile, StepModel};
use crate::text::answer::seed_of;

/// Served when no model is named, so that an engine starts without any argument.
const DEFAULT_MODEL: &str = "Qwen/Qwen2.5-7B-Instruct";
/// Bringing an adapter of a few hundred megabytes from disk into a slot.
const ADAPTER_LOAD: Duration = Duration::from_millis(150);
/// One 100 Gbit/s network card at nine tenths.
const TRANSFER_BANDWIDTH: f64 = 11.0e9;
const DRAIN: Duration = Duration::from_secs(2);

struct Reader<'a> {
    given: &'a Given,
    faults: &'a mut Vec<String>,
    warnings: &'a mut Vec<ArgsWarning>,
}

impl Reader<'_> {
    /// The value of a flag if it is there and `read` understands it; otherwise a fault is noted.
    fn value<T>(&mut self, flag: Flag, what: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.given.last(flag)?;
        let value = read(text);
        if value.is_none() {
            self.faults.push(format!("{what} cannot be {text:?}"));
        }
        value
    }

    fn parsed<T: FromStr>(&mut self, flag: Flag, what: &str) -> Option<T> {
        self.value(flag, what, |text| text.parse().ok())
    }

    fn count(&mut self, flag: Flag, what: &str) -> Option<u32> {
        self.value(flag, what, |text| {
            let count = values::count(text).filter(|&count| count > 0)?;
            u32::try_from(count).ok()
        })
    }

    fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(ArgsWarning(text.into()));
    }
}

pub(super) fn resolve(
    given: &Given,
    faults: &mut Vec<String>,
    warnings: &mut Vec<ArgsWarning>,
) -> EngineConfig {
    let mut reader = Reader {
        given,
        faults,
        warnings,
    };
    let dialect = dialect(&mut reader);
    let model = given.last(Flag::Model).unwrap_or(DEFAULT_MODEL).to_owned();
    let mut served_names = given.all(Flag::ServedName).to_vec();
    if served_names.is_empty() {
        served_names.push(model.clone());
    }
    let kv_transfer = transfer(&mut reader);
    let utilization = utilization(&mut reader, dialect);
    let adapters = adapters(&mut reader);
    let seed_text = reader.parsed(Flag::Seed, "--sim-seed").unwrap_or(0_u64);
    let kv_events = kv_events(&mut reader, dialect);
    let mut batch = batch(&mut reader, dialect, &model, utilization);
    batch.cache.record_events = kv_events.is_some();
    missing_features(&mut reader);
    EngineConfig {
        host: host(&mut reader, dialect),
        port: reader
            .parsed(Flag::Port, "--port")
            .unwrap_or(match dialect {
                Dialect::Vllm => 8000,
                Dialect::Sglang => 30_000,
            }),
        api_keys: given.all(Flag::ApiKey).to_vec(),
        role: role(&mut reader, &kv_transfer),
        transfer_bandwidth: bandwidth(&mut reader),
        task: task(&mut reader, &model),
        adapters_enabled: given
            .switch(Flag::EnableLora)
            .unwrap_or(!adapters.is_empty()),
        adapters,
        prompt_token_details: given.switch(Flag::PromptTokenDetails).unwrap_or(true),
        handover: handover(&mut reader, &kv_transfer),
        kv_events,
        speed: speed(&mut reader),
        startup: duration(&mut reader, Flag::Startup, "--sim-startup", Duration::ZERO),
        // Two engines with different seeds answer differently, with the same seed alike.
        seed: if seed_text == 0 {
            0
        } else {
            seed_of(&[seed_text as u32])
        },
        echo: given.switch(Flag::Echo).unwrap_or(false),
        drain: duration(&mut reader, Flag::Drain, "--sim-drain", DRAIN),
        faults: initial_faults(&mut reader),
        memory_utilization: utilization,
        dialect,
        model,
        served_names,
        batch,
    }
}

fn dialect(reader: &mut Reader<'_>) -> Dialect {
    let named = reader.value(Flag::DialectName, "--dialect", |text| {
        match text.to_ascii_lowercase().as_str() {
            "vllm" => Some(Dialect::Vllm),
            "sglang" => Some(Dialect::Sglang),
            _ => None,
        }
    });
    named.or(reader.given.dialect).unwrap_or(Dialect::Vllm)
}

fn host(reader: &mut Reader<'_>, dialect: Dialect) -> IpAddr {
    let read = |text: &str| match text {
        "localhost" => Some(IpAddr::from(Ipv4Addr::LOCALHOST)),
        _ => text.parse().ok(),
    };
    reader
        .value(Flag::Host, "--host", read)
        .unwrap_or(match dialect {
            Dialect::Vllm => Ipv4Addr::UNSPECIFIED.into(),
            Dialect::Sglang => Ipv4Addr::LOCALHOST.into(),
        })
}

fn utilization(reader: &mut Reader<'_>, dialect: Dialect) -> f64 {
    let read = |text: &str| {
        let share: f64 = text.parse().ok()?;
        (share > 0.0 && share <= 1.0).then_some(share)
    };
    let what = "the share of GPU memory (over 0, at most 1)";
    reader
        .value(Flag::MemoryUtilization, what, read)
        .unwrap_or(match dialect {
            Dialect::Vllm => 0.92,
            Dialect::Sglang => 0.88,
        })
}

fn speed(reader: &mut Reader<'_>) -> f64 {
    let read = |text: &str| text.parse().ok().filter(|speed: &f64| *speed > 0.0);
    reader
        .value(Flag::Speed, "--sim-speed (more than 0)", read)
        .unwrap_or(1.0)
}

fn duration(reader: &mut Reader<'_>, flag: Flag, what: &str, default: Duration) -> Duration {
    reader
        .value(flag, what, values::duration)
        .unwrap_or(default)
}

fn initial_faults(reader: &mut Reader<'_>) -> Faults {
    reader
        .value(Flag::Faults, "--sim-faults", |text| {
            serde_json::from_str(text).ok()
        })
        .unwrap_or_default()
}

fn task(reader: &mut Reader<'_>, model: &str) -> Task {
    match reader.given.last(Flag::Task) {
        Some("embed" | "embedding" | "pooling" | "true") => return Task::Embed,
        Some(_) => return Task::Generate,
        None => {}
    }
    let name = model.to_ascii_lowercase();
    let embeds = ["embed", "bge-", "/e5-", "gte-"];
    if embeds.iter().any(|word| name.contains(word)) {
        Task::Embed
    } else {
        Task::Generate
    }
}

fn role(reader: &mut Reader<'_>, kv_transfer: &RawTransfer) -> Role {
    match reader.given.last(Flag::Disaggregation) {
        Some("prefill") => return Role::Prefill,
        Some("decode") => return Role::Decode,
        Some("null") | None => {}
        Some(other) => reader
            .faults
            .push(format!("--disaggregation-mode cannot be {other:?}")),
    }
    match kv_transfer.kv_role.as_deref() {
        Some("kv_producer") => Role::Prefill,
        Some("kv_consumer") => Role::Decode,
        _ => Role::Aggregated,
    }
}

fn transfer(reader: &mut Reader<'_>) -> RawTransfer {
    reader
        .value(Flag::KvTransfer, "--kv-transfer-config", |text| {
            serde_json::from_str(text).ok()
        })
        .unwrap_or_default()
}

fn handover(reader: &mut Reader<'_>, transfer: &RawTransfer) -> HandoverConfig {
    HandoverConfig {
        load_failure: transfer.kv_load_failure_policy,
        keep: duration(reader, Flag::Keep, "--sim-keep-blocks", kv::KEEP),
        bootstrap_port: reader
            .parsed(Flag::BootstrapPort, "--disaggregation-bootstrap-port")
            .unwrap_or(kv::BOOTSTRAP_PORT),
        meet: duration(reader, Flag::Meet, "--sim-meet", kv::MEET),
    }
}

/// Bytes per second; `11e9` as well.
fn bandwidth(reader: &mut Reader<'_>) -> f64 {
    let read = |text: &str| text.parse().ok().filter(|bytes: &f64| *bytes > 0.0);
    let what = "--sim-transfer-bandwidth (bytes per second, more than 0)";
    reader
        .value(Flag::TransferBandwidth, what, read)
        .unwrap_or(TRANSFER_BANDWIDTH)
}

fn kv_events(reader: &mut Reader<'_>, dialect: Dialect) -> Option<KvEventsConfig> {
    let read = |text: &str| match text {
        "arrays" => Some(Layout::Arrays),
        "maps" => Some(Layout::Maps),
        _ => None,
    };
    let layout = reader
        .value(Flag::EventLayout, "--sim-event-layout", read)
        .unwrap_or(match dialect {
            Dialect::Vllm => Layout::Maps,
            Dialect::Sglang => Layout::Arrays,
        });
    let text = reader.given.last(Flag::KvEvents)?;
    match kv::events(text, dialect, layout) {
        Ok(config) => config,
        Err(fault) => {
            reader.faults.push(fault);
            None
        }
    }
}

fn adapters(reader: &mut Reader<'_>) -> Vec<Adapter> {
    let mut adapters = Vec::new();
    for text in reader.given.all(Flag::LoraModules) {
        match adapter(text) {
            Some(adapter) => adapters.push(adapter),
            None => reader.faults.push(format!(
                "adapter {text:?} is neither NAME=PATH nor a JSON object with name and path"
            )),
        }
    }
    adapters
}

fn adapter(text: &str) -> Option<Adapter> {
    if text.starts_with('{') {
        let value: serde_json::Value = serde_json::from_str(text).ok()?;
        let member = |name: &str| value.get(name)?.as_str();
        let path = member("path").or_else(|| member("lora_path"))?.to_owned();
        let name = member("name").or_else(|| member("lora_name"))?.into();
        let base = member("base_model_name").map(str::to_owned);
        return Some(Adapter { name, path, base });
    }
    let (name, path) = text.split_once('=')?;
    let (name, path) = (name.into(), path.to_owned());
    Some(Adapter {
        name,
        path,
        base: None,
    })
}

fn missing_features(reader: &mut Reader<'_>) {
    let replicas = reader.count(Flag::DataParallel, "--data-parallel-size");
    if replicas.is_some_and(|replicas| replicas > 1) {
        reader.warn("--data-parallel-size is simulated as one engine without it");
    }
}

fn batch(reader: &mut Reader<'_>, dialect: Dialect, model: &str, utilization: f64) -> BatchConfig {
    let step_model = step_model(reader, model, utilization);
    // vLLM's own defaults: large batches on cards with 70 GiB and more, the A100 excepted.
    let large = step_model.gpu.memory_bytes >= 70 << 30 && step_model.gpu.name != "a100";
    let (sequences, tokens) = match (dialect, large) {
        (Dialect::Vllm, true) => (1024, 8192),
        (Dialect::Vllm, false) => (256, 2048),
        (Dialect::Sglang, _) => (256, 8192),
    };
    let block_size = reader
        .count(Flag::BlockSize, "the block size")
        .unwrap_or(match dialect {
            Dialect::Vllm => 16,
            Dialect::Sglang => 1,
        });
    let max_batched_tokens = reader
        .count(Flag::MaxBatchedTokens, "the number of tokens in a batch")
        .unwrap_or(tokens);
    let fitting = step_model.cache_blocks(utilization, block_size, max_batched_tokens);
    let blocks = reader.count(Flag::Blocks, "--num-gpu-blocks-override");
    let blocks = blocks.unwrap_or(u32::try_from(fitting).unwrap_or(u32::MAX));
    let room = blocks.saturating_mul(block_size);
    let wanted = match reader.given.last(Flag::MaxModelLen) {
        None | Some("auto" | "-1") => None,
        Some(_) => reader.count(Flag::MaxModelLen, "--max-model-len"),
    };
    if wanted.is_some_and(|wanted| wanted > room) {
        reader.warn(format!(
            "the cache has room for {room} tokens, so the context is limited to that"
        ));
    }
    BatchConfig {
        model: step_model,
        cache: CacheConfig {
            blocks,
            block_size,
            prefix_caching: reader.given.switch(Flag::PrefixCaching).unwrap_or(true),
            record_events: false,
        },
        max_sequences: reader
            .count(Flag::MaxSequences, "the number of sequences")
            .unwrap_or(sequences),
        max_batched_tokens,
        max_model_len: wanted.unwrap_or(step_model.model.max_context).min(room),
        adapter_slots: reader
            .count(Flag::MaxLoras, "the number of adapter slots")
            .unwrap_or(match dialect {
                Dialect::Vllm => 1,
                Dialect::Sglang => 8,
            }),
        adapter_load: duration(
            reader,
            Flag::AdapterLoad,
            "--sim-adapter-load",
            ADAPTER_LOAD,
        ),
    }
}

fn step_model(reader: &mut Reader<'_>, model: &str, utilization: f64) -> StepModel {
    let gpu = match reader.given.last(Flag::Gpu) {
        None => GpuProfile::default(),
        Some(name) => GpuProfile::by_name(name).unwrap_or_else(|| {
            let known: Vec<&str> = GpuProfile::names().collect();
            let known = known.join(", ");
            reader
                .faults
                .push(format!("--sim-gpu {name:?} is none of {known}"));
            GpuProfile::default()
        }),
    };
    let mut profile = ModelProfile::by_name(reader.given.last(Flag::Profile).unwrap_or(model));
    if let Some(precision) = reader.given.last(Flag::Quantization) {
        profile = profile.quantized(precision);
    }
    let tensor_parallel = reader
        .count(Flag::TensorParallel, "the tensor parallel size")
        .unwrap_or(1);
    let pipeline = reader.count(Flag::PipelineParallel, "the pipeline parallel size");
    let mut step_model = StepModel {
        gpu,
        model: profile,
        tensor_parallel,
        pipeline_parallel: pipeline.unwrap_or(1),
    };
    // A real engine would not start. A simulated one is for trying things out, so it takes more GPUs.
    while step_model.cache_blocks(utilization, 16, 2048) < 64 && step_model.tensor_parallel < 1024 {
        step_model.tensor_parallel *= 2;
    }
    if step_model.tensor_parallel != tensor_parallel {
        reader.warn(format!(
            "{} does not fit on {tensor_parallel} x {}; simulating {}",
            profile.name, gpu.name, step_model.tensor_parallel
        ));
    }
    step_model
}
