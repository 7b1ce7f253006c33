//! The command line as flags and values: which names exist, how many values each takes.

use std::collections::BTreeMap;

use super::{ArgsWarning, Dialect};

/// What a flag is about; both engines' spellings lead to the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Flag {
    Model,
    ServedName,
    Host,
    Port,
    ApiKey,
    TensorParallel,
    DataParallel,
    PipelineParallel,
    MaxModelLen,
    MaxSequences,
    MaxBatchedTokens,
    BlockSize,
    Blocks,
    MemoryUtilization,
    EnableLora,
    MaxLoras,
    LoraModules,
    PrefixCaching,
    PromptTokenDetails,
    KvTransfer,
    KvEvents,
    EventLayout,
    TransferBandwidth,
    Keep,
    Meet,
    BootstrapPort,
    Disaggregation,
    Task,
    Dtype,
    Quantization,
    Gpu,
    Profile,
    DialectName,
    Speed,
    Startup,
    Seed,
    Echo,
    AdapterLoad,
    Drain,
    Faults,
    /// Takes a value and changes nothing here; known, so that it is not reported.
    Ignored,
}

/// How a flag is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Nothing; its presence means this.
    Switch(bool),
    One,
    /// All that follows up to the next flag.
    Many,
}

/// What was given: values by flag, a switch as `true` or `false`.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) values: BTreeMap<Flag, Vec<String>>,
    /// The dialect that the program's words or a flag's spelling tell.
    pub(super) dialect: Option<Dialect>,
}

impl Given {
    /// The last value of a flag; a later one overrides an earlier one.
    pub(super) fn last(&self, flag: Flag) -> Option<&str> {
        self.all(flag).last().map(String::as_str)
    }

    pub(super) fn all(&self, flag: Flag) -> &[String] {
        self.values.get(&flag).map_or(&[], Vec::as_slice)
    }

    pub(super) fn switch(&self, flag: Flag) -> Option<bool> {
        self.last(flag).map(|value| value == "true")
    }
}

#[rustfmt::skip]
const FLAGS: &[(&str, Flag, Takes)] = &[
    ("model", Flag::Model, Takes::One),
    ("model-path", Flag::Model, Takes::One),
    ("served-model-name", Flag::ServedName, Takes::Many),
    ("host", Flag::Host, Takes::One),
    ("port", Flag::Port, Takes::One),
    ("api-key", Flag::ApiKey, Takes::Many),
    ("tensor-parallel-size", Flag::TensorParallel, Takes::One),
    ("tp-size", Flag::TensorParallel, Takes::One),
    ("tp", Flag::TensorParallel, Takes::One),
    ("data-parallel-size", Flag::DataParallel, Takes::One),
    ("dp-size", Flag::DataParallel, Takes::One),
    ("dp", Flag::DataParallel, Takes::One),
    ("pipeline-parallel-size", Flag::PipelineParallel, Takes::One),
    ("pp-size", Flag::PipelineParallel, Takes::One),
    ("pp", Flag::PipelineParallel, Takes::One),
    ("max-model-len", Flag::MaxModelLen, Takes::One),
    ("context-length", Flag::MaxModelLen, Takes::One),
    ("max-num-seqs", Flag::MaxSequences, Takes::One),
    ("max-running-requests", Flag::MaxSequences, Takes::One),
    ("max-num-batched-tokens", Flag::MaxBatchedTokens, Takes::One),
    ("chunked-prefill-size", Flag::MaxBatchedTokens, Takes::One),
    ("block-size", Flag::BlockSize, Takes::One),
    ("page-size", Flag::BlockSize, Takes::One),
    ("num-gpu-blocks-override", Flag::Blocks, Takes::One),
    ("gpu-memory-utilization", Flag::MemoryUtilization, Takes::One),
    ("mem-fraction-static", Flag::MemoryUtilization, Takes::One),
    ("enable-lora", Flag::EnableLora, Takes::Switch(true)),
    ("no-enable-lora", Flag::EnableLora, Takes::Switch(false)),
    ("max-loras", Flag::MaxLoras, Takes::One),
    ("max-loras-per-batch", Flag::MaxLoras, Takes::One),
    ("lora-modules", Flag::LoraModules, Takes::Many),
    ("lora-paths", Flag::LoraModules, Takes::Many),
    ("enable-prefix-caching", Flag::PrefixCaching, Takes::Switch(true)),
    ("no-enable-prefix-caching", Flag::PrefixCaching, Takes::Switch(false)),
    ("disable-radix-cache", Flag::PrefixCaching, Takes::Switch(false)),
    ("enable-prompt-tokens-details", Flag::PromptTokenDetails, Takes::Switch(true)),
    ("no-enable-prompt-tokens-details", Flag::PromptTokenDetails, Takes::Switch(false)),
    ("enable-cache-report", Flag::PromptTokenDetails, Takes::Switch(true)),
    ("kv-transfer-config", Flag::KvTransfer, Takes::One),
    ("kv-events-config", Flag::KvEvents, Takes::One),
    ("sim-event-layout", Flag::EventLayout, Takes::One),
    ("sim-transfer-bandwidth", Flag::TransferBandwidth, Takes::One),
    ("sim-keep-blocks", Flag::Keep, Takes::One),
    ("sim-meet", Flag::Meet, Takes::One),
    ("disaggregation-bootstrap-port", Flag::BootstrapPort, Takes::One),
    ("disaggregation-mode", Flag::Disaggregation, Takes::One),
    ("task", Flag::Task, Takes::One),
    ("runner", Flag::Task, Takes::One),
    ("is-embedding", Flag::Task, Takes::Switch(true)),
    ("dtype", Flag::Dtype, Takes::One),
    ("quantization", Flag::Quantization, Takes::One),
    ("sim-gpu", Flag::Gpu, Takes::One),
    ("sim-model", Flag::Profile, Takes::One),
    ("dialect", Flag::DialectName, Takes::One),
    ("sim-speed", Flag::Speed, Takes::One),
    ("sim-startup", Flag::Startup, Takes::One),
    ("sim-seed", Flag::Seed, Takes::One),
    ("sim-echo", Flag::Echo, Takes::Switch(true)),
    ("sim-adapter-load", Flag::AdapterLoad, Takes::One),
    ("sim-drain", Flag::Drain, Takes::One),
    ("sim-faults", Flag::Faults, Takes::One),
    ("seed", Flag::Ignored, Takes::One),
    ("load-format", Flag::Ignored, Takes::One),
    ("download-dir", Flag::Ignored, Takes::One),
    ("tokenizer", Flag::Ignored, Takes::One),
    ("tokenizer-mode", Flag::Ignored, Takes::One),
    ("chat-template", Flag::Ignored, Takes::One),
    ("max-lora-rank", Flag::Ignored, Takes::One),
    ("max-cpu-loras", Flag::Ignored, Takes::One),
    ("max-prefill-tokens", Flag::Ignored, Takes::One),
    ("disaggregation-transfer-backend", Flag::Ignored, Takes::One),
    ("swap-space", Flag::Ignored, Takes::One),
    ("uvicorn-log-level", Flag::Ignored, Takes::One),
    ("log-level", Flag::Ignored, Takes::One),
    ("distributed-executor-backend", Flag::Ignored, Takes::One),
    ("enforce-eager", Flag::Ignored, Takes::Switch(true)),
    ("trust-remote-code", Flag::Ignored, Takes::Switch(true)),
    ("enable-chunked-prefill", Flag::Ignored, Takes::Switch(true)),
    ("no-enable-chunked-prefill", Flag::Ignored, Takes::Switch(false)),
    ("disable-log-requests", Flag::Ignored, Takes::Switch(true)),
    ("no-enable-log-requests", Flag::Ignored, Takes::Switch(true)),
    ("disable-log-stats", Flag::Ignored, Takes::Switch(true)),
    ("disable-uvicorn-access-log", Flag::Ignored, Takes::Switch(true)),
    ("enable-auto-tool-choice", Flag::Ignored, Takes::Switch(true)),
    ("enable-metrics", Flag::Ignored, Takes::Switch(true)),
    ("tool-call-parser", Flag::Ignored, Takes::One),
    ("reasoning-parser", Flag::Ignored, Takes::One),
];

/// Words of a command line that only say which program it is.
const PROGRAM_WORDS: &[&str] = &[
    "vllm",
    "sglang",
    "serve",
    "python",
    "python3",
    "-m",
    "launch_server",
    "sglang.launch_server",
    "vllm.entrypoints.openai.api_server",
];

/// Reads a command line. Later values of a flag stand after earlier ones.
pub(super) fn read(
    args: &[String],
    faults: &mut Vec<String>,
    warnings: &mut Vec<ArgsWarning>,
) -> Given {
    let mut given = Given::default();
    let mut rest = skip_program(args, &mut given);
    while let Some((arg, after)) = rest.split_first() {
        rest = after;
        let Some(name) = flag_name(arg) else {
            positional(arg, &mut given, warnings);
            continue;
        };
        let (name, inline) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (name, None),
        };
        let name = name.replace('_', "-");
        let known = FLAGS.iter().find(|(known, _, _)| *known == name);
        let takes = known.map_or(Takes::Many, |(_, _, takes)| *takes);
        let (values, after) = values(takes, inline, rest, known.is_none());
        rest = after;
        match known {
            None => warnings.push(ArgsWarning(format!("unknown flag --{name} is ignored"))),
            Some(_) if values.is_empty() => faults.push(format!("--{name} needs a value")),
            Some((spelling, flag, _)) => {
                if matches!(*spelling, "model-path" | "mem-fraction-static") {
                    given.dialect.get_or_insert(Dialect::Sglang);
                }
                given.values.entry(*flag).or_default().extend(values);
            }
        }
    }
    given
}

fn skip_program<'a>(args: &'a [String], given: &mut Given) -> &'a [String] {
    let mut rest = args;
    while let Some((word, after)) = rest.split_first() {
        let name = word.rsplit('/').next().unwrap_or(word);
        if !PROGRAM_WORDS.contains(&name) {
            break;
        }
        if name.contains("sglang") {
            given.dialect = Some(Dialect::Sglang);
        } else if name.contains("vllm") {
            given.dialect = Some(Dialect::Vllm);
        }
        rest = after;
    }
    rest
}

/// The name in `--name` or `-name`; `-1` is a value.
fn flag_name(arg: &str) -> Option<&str> {
    let name = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-'))?;
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        .then_some(name)
}

/// `vllm serve MODEL`.
fn positional(arg: &str, given: &mut Given, warnings: &mut Vec<ArgsWarning>) {
    let model = given.values.entry(Flag::Model).or_default();
    if model.is_empty() {
        model.push(arg.to_owned());
    } else {
        warnings.push(ArgsWarning(format!(
            "unexpected argument {arg:?} is ignored"
        )));
    }
}

/// The values of a flag, and what follows them.
fn values(
    takes: Takes,
    inline: Option<String>,
    rest: &[String],
    unknown: bool,
) -> (Vec<String>, &[String]) {
    if let Takes::Switch(meaning) = takes {
        // `--flag=false` and `--flag false` turn round what the flag says.
        let following = rest.first().filter(|_| inline.is_none());
        let following = following.and_then(|value| boolean(value));
        let inline = inline.map(|value| boolean(&value).unwrap_or(false));
        let on = following.or(inline).unwrap_or(true);
        let after = usize::from(following.is_some());
        return (vec![(on == meaning).to_string()], &rest[after..]);
    }
    if let Some(value) = inline {
        return (vec![value], rest);
    }
    let following = rest.iter().take_while(|arg| flag_name(arg).is_none());
    let most = if takes == Takes::Many && !unknown {
        usize::MAX
    } else {
        1
    };
    let count = following.take(most).count();
    (rest[..count].to_vec(), &rest[count..])
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}
