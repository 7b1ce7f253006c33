//! Flags of `kthena router` as they are typed.

use std::num::{NonZeroU16, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args as ClapArgs, ValueEnum};
use kthena_api::duration::GoDuration;
use kthena_router_proxy::LocalTokenizer;

/// 64 MiB.
const DEFAULT_BODY: NonZeroUsize = NonZeroUsize::new(64 << 20).unwrap();
/// 64 KiB.
const DEFAULT_HEAD: NonZeroUsize = NonZeroUsize::new(64 << 10).unwrap();

/// 256 MiB.
const DEFAULT_INDEX: NonZeroUsize = NonZeroUsize::new(256 << 20).unwrap();

/// Where it is known from what engines hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum KvIndexSource {
    /// The engines' own events.
    Events,
    /// What sidecars wrote.
    Redis,
    /// Nowhere.
    Off,
}

/// The value of a flag in Go's syntax: `--x` alone or `--x=false`. The fields spell out `Option`, since clap reads
/// their types by name and takes an alias of `Option` for a required flag.
pub(super) type GoFlag = String;

/// Flags of the router.
#[derive(Debug, ClapArgs)]
#[command(args_override_self = true)]
pub(crate) struct Args {
    /// Port of the inference listener.
    #[arg(long, default_value_t = NonZeroU16::new(8080).unwrap_or(NonZeroU16::MIN))]
    pub(super) port: NonZeroU16,
    /// Certificate of the inference listener, PEM; needs --tls-key.
    #[arg(long, default_value = "")]
    pub(super) tls_cert: String,
    /// Key of the inference listener, PEM; needs --tls-cert.
    #[arg(long, default_value = "")]
    pub(super) tls_key: String,
    /// Certificates that engines with protocol https are trusted by, beside the system's authorities, PEM: an
    /// authority's, or an engine's own. Read again when the file changes.
    #[arg(long)]
    pub(super) engine_ca_cert: Option<PathBuf>,
    /// The name that certificates of engines are for; without this flag, the address of the pod.
    #[arg(long)]
    pub(super) engine_tls_server_name: Option<String>,
    /// Take any certificate of an engine: what is said is encrypted, but perhaps for somebody else.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) engine_insecure_skip_verify: Option<GoFlag>,
    /// How long an engine may say nothing while a request waits for it, for example 10m; 0 = for ever.
    #[arg(long, default_value = "10m", value_parser = duration)]
    pub(super) engine_idle_timeout: Duration,
    /// How long a request may take until its answer begins, queues and all attempts included, for example 2m;
    /// 0 = as long as it takes. What is not streamed begins when it is complete.
    #[arg(long, default_value = "0s", value_parser = duration)]
    pub(super) request_timeout: Duration,
    /// Serve the listeners of Gateways.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) enable_gateway_api: Option<GoFlag>,
    /// Serve HTTPRoutes to InferencePools; needs --enable-gateway-api.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) enable_gateway_api_inference_extension: Option<GoFlag>,
    /// Port of the metrics listener.
    #[arg(long, default_value_t = NonZeroU16::new(9090).unwrap_or(NonZeroU16::MIN))]
    pub(super) metrics_port: NonZeroU16,
    /// Serve /metrics on the inference listener too.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) expose_metrics_on_router_port: Option<GoFlag>,
    /// Port of the debug listener, on localhost.
    #[arg(long, default_value_t = NonZeroU16::new(15000).unwrap_or(NonZeroU16::MIN))]
    pub(super) debug_port: NonZeroU16,
    /// Run the admission server.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) enable_webhook: Option<GoFlag>,
    /// Port of the admission server.
    #[arg(long, default_value_t = NonZeroU16::new(8443).unwrap_or(NonZeroU16::MIN))]
    pub(super) webhook_port: NonZeroU16,
    /// Certificate of the admission server.
    #[arg(long, default_value = "/etc/tls/tls.crt")]
    pub(super) webhook_tls_cert_file: String,
    /// Key of the admission server.
    #[arg(long, default_value = "/etc/tls/tls.key")]
    pub(super) webhook_tls_private_key_file: String,
    /// Secret for generated certificates of the admission server.
    #[arg(long, default_value = "kthena-router-webhook-certs")]
    pub(super) cert_secret_name: String,
    /// Service of the admission server.
    #[arg(long, default_value = "kthena-router-webhook")]
    pub(super) webhook_service_name: String,
    /// Requests a second to the API server; 0 = 5.
    #[arg(long, default_value_t = 0.0)]
    pub(super) kube_api_qps: f64,
    /// Requests at once to the API server; 0 = 10.
    #[arg(long, default_value_t = 0)]
    pub(super) kube_api_burst: u32,
    /// The router's configuration file, YAML; without this flag /etc/config/routerConfiguration.yaml is read if it exists.
    #[arg(long, env = "ROUTER_CONFIG_FILE")]
    pub(super) config_file: Option<PathBuf>,
    /// Largest request body, in bytes; a larger one is answered with 413.
    #[arg(long, default_value_t = DEFAULT_BODY)]
    pub(super) max_request_bytes: NonZeroUsize,
    /// Largest request header, in bytes; a larger one is answered with 431.
    #[arg(long, default_value_t = DEFAULT_HEAD)]
    pub(super) max_header_bytes: NonZeroUsize,
    /// How long a request header may take to arrive, for example 10s.
    #[arg(long, default_value = "10s", value_parser = positive_duration)]
    pub(super) header_timeout: Duration,
    /// How long a connection may make no progress: between requests, within a body, while the client does not read.
    #[arg(long, default_value = "3m", value_parser = positive_duration)]
    pub(super) idle_timeout: Duration,
    /// Tell requests with the header `x-kthena-explain: 1` in an answer's header where they went and why.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) enable_explain_header: Option<GoFlag>,
    /// Where `kvcache-aware` and `adaptive` learn what engines hold in their caches: from the engines' own events, or
    /// from what sidecars wrote to Redis. Without this flag: redis if `REDIS_HOST` is set and `kvcache-aware` takes part
    /// at the start, else events. While neither takes part nobody is asked.
    #[arg(long, value_enum)]
    pub(super) kv_index: Option<KvIndexSource>,
    /// Port on which an engine publishes its cache events; further ranks use the ports after it.
    #[arg(long, default_value_t = NonZeroU16::new(5557).unwrap_or(NonZeroU16::MIN))]
    pub(super) kv_events_port: NonZeroU16,
    /// Port on which missed cache events can be asked for again, if engines have one.
    #[arg(long)]
    pub(super) kv_events_replay_port: Option<NonZeroU16>,
    /// Data-parallel ranks of an engine.
    #[arg(long, default_value_t = NonZeroU16::MIN)]
    pub(super) kv_events_ranks: NonZeroU16,
    /// Topic of vLLM's cache events; without it all topics are heard.
    #[arg(long, default_value = "")]
    pub(super) kv_events_topic: String,
    /// Bytes that the index of cache events may use.
    #[arg(long, default_value_t = DEFAULT_INDEX)]
    pub(super) kv_index_bytes: NonZeroUsize,
    /// Tokenize prompts of a model here instead of asking its engines: the name they know it by, and a folder with its
    /// tokenizer.json and `tokenizer_config.json` as Hugging Face lays them out, for example
    /// --tokenizer qwen=/models/Qwen3-8B; may be repeated. Without this flag: those in `KTHENA_TOKENIZERS`, separated by
    /// commas.
    #[arg(long = "tokenizer", value_name = "MODEL=FOLDER", value_parser = local_tokenizer)]
    pub(super) tokenizers: Vec<LocalTokenizer>,
    /// Answer errors as earlier releases did: their statuses, bodies of a bare JSON string.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) legacy_errors: Option<GoFlag>,
    #[command(flatten)]
    pub(super) klog: Klog,
}

/// Flags of the logging library of earlier releases. Only the verbosity has a meaning.
#[derive(Debug, Default, ClapArgs)]
pub(super) struct Klog {
    /// Verbosity of the log; 3 = debug, 5 = trace.
    #[arg(short = 'v', long = "v", default_value_t = 0, action = ArgAction::Set)]
    pub(super) verbosity: u8,
    #[arg(long = "vmodule", hide = true)]
    pub(super) modules: Option<String>,
    #[arg(long = "log_dir", hide = true)]
    pub(super) dir: Option<String>,
    #[arg(long = "log_file", hide = true)]
    pub(super) file: Option<String>,
    #[arg(long = "log_file_max_size", hide = true)]
    pub(super) file_max_size: Option<String>,
    #[arg(long = "log_backtrace_at", hide = true)]
    pub(super) backtrace_at: Option<String>,
    #[arg(long = "stderrthreshold", hide = true)]
    pub(super) stderr_threshold: Option<String>,
    #[arg(long = "alsologtostderrthreshold", hide = true)]
    pub(super) also_stderr_threshold: Option<String>,
    #[arg(long = "logtostderr", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) to_stderr: Option<GoFlag>,
    #[arg(long = "alsologtostderr", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) also_to_stderr: Option<GoFlag>,
    #[arg(long = "skip_headers", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) skip_headers: Option<GoFlag>,
    #[arg(long = "add_dir_header", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) add_dir_header: Option<GoFlag>,
    #[arg(long = "one_output", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) one_output: Option<GoFlag>,
    #[arg(long = "skip_log_headers", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) skip_log_headers: Option<GoFlag>,
    #[arg(
        long = "legacy_stderr_threshold_behavior",
        hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true"
    )]
    pub(super) legacy_threshold: Option<GoFlag>,
}

/// A duration in Go's syntax.
fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<GoDuration>().ok().and_then(GoDuration::to_std);
    parsed.ok_or_else(|| "expected a duration, for example 30s or 2m".to_owned())
}

/// A model and the folder of its tokenizer.
pub(crate) fn local_tokenizer(text: &str) -> Result<LocalTokenizer, String> {
    let (model, folder) = text.split_once('=').unwrap_or_default();
    if model.is_empty() || folder.is_empty() {
        return Err("expected a model and a folder, for example qwen=/models/Qwen3-8B".to_owned());
    }
    Ok(LocalTokenizer {
        model: model.to_owned(),
        folder: folder.into(),
    })
}

/// A duration in Go's syntax that is longer than nothing.
fn positive_duration(text: &str) -> Result<Duration, String> {
    duration(text)
        .ok()
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "expected a duration above zero, for example 30s or 2m".to_owned())
}
