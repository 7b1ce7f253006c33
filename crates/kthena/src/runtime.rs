//! `kthena runtime`: stands beside an engine in its pod.
//!
//! Flags and environment are those of the runtime that came before. Without `--download-root`,
//! downloads go wherever the caller says, as they did then.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args as ClapArgs;
use kthena_kv_events::redis::RedisAddress;
use kthena_sidecar::{Engine, SidecarConfig, UnsupportedEngine};
use kthena_telemetry::Logs;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const EXAMPLES: &str = "\
Environment:
  REDIS_HOST, REDIS_PORT, REDIS_DB, REDIS_PASSWORD   where cache events go [redis-server, 6379, 0, none]
  VLLM_ZMQ_ENDPOINT, SGLANG_ZMQ_ENDPOINT             where the engine tells them; one per rank, by commas
                                                     [tcp://localhost:5557]
  VLLM_ZMQ_TOPIC_FILTER, SGLANG_ZMQ_TOPIC_FILTER     which of them [kv-events, all]
  REQUEST_TIMEOUT                                    seconds for a request to the engine [30]

Examples:
  kthena runtime --engine vllm --pod llama-0.serving --model llama
  kthena runtime -E sglang -B http://localhost:30000 -I llama-0.serving -N llama --download-root /models
  REDIS_HOST=redis kthena runtime -E vllm -I \"$POD_NAME.$NAMESPACE\" -N llama";

/// Stand beside an engine: tell what its cache holds, standardise its metrics, fetch adapters.
#[derive(Debug, Clone, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The engine: vllm or sglang
    #[arg(short = 'E', long)]
    engine: String,
    /// Address to listen on
    #[arg(short = 'H', long, default_value = "0.0.0.0")]
    host: IpAddr,
    /// Port to listen on
    #[arg(short = 'P', long, default_value_t = 9000)]
    port: u16,
    /// Where the engine answers
    #[arg(short = 'B', long, default_value = "http://localhost:8000")]
    engine_base_url: String,
    /// Path of the engine's metrics
    #[arg(short = 'M', long, default_value = "/metrics")]
    engine_metrics_path: String,
    /// This pod, as <name>.<namespace>
    #[arg(short = 'I', long)]
    pod: String,
    /// The served model
    #[arg(short = 'N', long)]
    model: String,
    /// Folder that downloads may go to; may be given several times
    #[arg(long, value_name = "FOLDER")]
    download_root: Vec<PathBuf>,
}

/// Runs until a signal.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    Logs::default().start()?;
    let config = resolve(args, |name| std::env::var(name).ok())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("runtime")?;
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        kthena_process::cancel_on_signals(shutdown.clone()).context("signals")?;
        let address = (args.host, args.port);
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("cannot listen on {address:?}"))?;
        kthena_sidecar::run(config, listener, shutdown).await?;
        Ok(ExitCode::SUCCESS)
    })
}

/// What flags and environment mean.
fn resolve(args: &Args, env: impl Fn(&str) -> Option<String>) -> Result<SidecarConfig> {
    let engine: Engine = args
        .engine
        .parse()
        .map_err(|error: UnsupportedEngine| error)?;
    let text = |name: &str, default: &str| env(name).unwrap_or_else(|| default.to_owned());
    let (endpoint, topic) = match engine {
        Engine::Vllm => (
            text("VLLM_ZMQ_ENDPOINT", DEFAULT_ENDPOINT),
            text("VLLM_ZMQ_TOPIC_FILTER", "kv-events"),
        ),
        Engine::Sglang => (
            text("SGLANG_ZMQ_ENDPOINT", DEFAULT_ENDPOINT),
            text("SGLANG_ZMQ_TOPIC_FILTER", ""),
        ),
    };
    let timeout: f64 = number(&env, "REQUEST_TIMEOUT")?.unwrap_or(30.0);
    Ok(SidecarConfig {
        engine,
        engine_url: args.engine_base_url.trim_end_matches('/').to_owned(),
        metrics_path: args.engine_metrics_path.clone(),
        pod: args.pod.clone(),
        model: args.model.clone(),
        request_timeout: Duration::try_from_secs_f64(timeout).context("REQUEST_TIMEOUT")?,
        // Engines with several ranks speak on a port for each.
        events: endpoint
            .split(',')
            .map(|one| one.trim().to_owned())
            .collect(),
        topic,
        redis: RedisAddress {
            host: text("REDIS_HOST", "redis-server"),
            port: number(&env, "REDIS_PORT")?.unwrap_or(6379),
            database: number(&env, "REDIS_DB")?.unwrap_or(0),
            password: env("REDIS_PASSWORD").filter(|password| !password.is_empty()),
        },
        download_roots: args.download_root.clone(),
    })
}

const DEFAULT_ENDPOINT: &str = "tcp://localhost:5557";

/// A number from the environment; unset and empty are the same.
fn number<T: std::str::FromStr>(
    env: &impl Fn(&str) -> Option<String>,
    name: &str,
) -> Result<Option<T>>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text = env(name).filter(|text| !text.is_empty());
    let read = |text: String| {
        let value = text.parse::<T>();
        value.with_context(|| format!("{name} cannot be {text:?}"))
    };
    text.map(read).transpose()
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use rstest::rstest;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn config(line: &str, env: &[(&str, &str)]) -> Result<SidecarConfig> {
        let args = Cli::try_parse_from(line.split(' '))?.args;
        resolve(&args, |name| {
            let found = env.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn has_the_defaults_of_the_runtime_before() {
        let config = config("runtime -E vLLM -I p.ns -N m", &[]).unwrap();
        assert_eq!(config.engine, Engine::Vllm);
        assert_eq!(config.engine_url, "http://localhost:8000");
        assert_eq!(config.events, ["tcp://localhost:5557"]);
        assert_eq!(config.topic, "kv-events");
        assert_eq!(config.request_timeout, Duration::from_secs(30));
        assert_eq!(format!("{:?}", config.redis), "redis-server:6379/0");
    }

    #[test]
    fn flags_and_environment_are_read() {
        let line = "runtime --engine sglang --pod p.ns --model m -B http://e:1/ -M /m -P 8100";
        let env = [
            ("SGLANG_ZMQ_ENDPOINT", "tcp://a:1, tcp://a:2"),
            ("REDIS_DB", "3"),
            ("REDIS_PASSWORD", ""),
            ("REQUEST_TIMEOUT", "2.5"),
        ];
        let config = config(line, &env).unwrap();
        assert_eq!(config.engine_url, "http://e:1");
        assert_eq!(config.events, ["tcp://a:1", "tcp://a:2"]);
        assert_eq!((config.topic.as_str(), config.redis.database), ("", 3));
        assert_eq!(config.redis.password, None);
        assert_eq!(config.request_timeout, Duration::from_millis(2500));
    }

    #[rstest]
    #[case::unknown_engine("runtime -E tgi -I p -N m", &[], "Supported engine: vllm, sglang")]
    #[case::port_no_number("runtime -E vllm -I p -N m", &[("REDIS_PORT", "x")], "REDIS_PORT")]
    #[case::no_pod("runtime -E vllm -N m", &[], "--pod")]
    fn says_what_is_wrong(
        #[case] line: &str,
        #[case] env: &[(&str, &str)],
        #[case] expected: &str,
    ) {
        let error = format!("{:#}", config(line, env).unwrap_err());
        assert!(error.contains(expected), "{error}");
    }
}
