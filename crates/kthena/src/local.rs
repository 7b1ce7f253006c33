//! `kthena local`

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use kthena_local::control::{self, LogRequest};
use kthena_local::layout::Layout;
use kthena_local::show::Look;
use kthena_local::up::{UpConfig, up};
use kthena_node::NodeConfig;
use kthena_node::launch::command::EngineMode;
use kthena_router_proxy::LocalTokenizer;
use kthena_telemetry::Logs;
use tokio_util::sync::CancellationToken;

use crate::detach;
use crate::router::{config_file, local_tokenizer};

/// Run models on this machine, with no cluster.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  kthena local up -f examples/quickstart
  kthena local status
  kthena get modelservings --kubeconfig \"$(kthena local kubeconfig)\"
  kthena local down")]
pub(crate) enum Command {
    /// Bring up what manifests describe and serve it until Ctrl-C.
    Up(UpArgs),
    /// Change what runs to what manifests say.
    #[command(after_help = "\
Either all manifests are applied or none; all faults are told with file, line and field.

Examples:
  kthena local apply -f model.yaml
  kthena local apply -f examples/rolling-update/next
  sed s/v0.11.0/v0.12.0/ model.yaml | kthena local apply -f -")]
    Apply(ApplyArgs),
    /// Stop everything; objects and logs are kept.
    #[command(after_help = "\
Examples:
  kthena local down
  kthena local down && kthena local up -d    the same models again")]
    Down(Place),
    /// Show what runs and how busy it is.
    #[command(after_help = "\
Examples:
  kthena local status
  watch kthena local status")]
    Status(Place),
    /// Show the log of a pod.
    Logs(LogArgs),
    /// Remove everything that local mode keeps.
    #[command(after_help = "\
Examples:
  kthena local down && kthena local reset")]
    Reset(Place),
    /// Print the path of the kubeconfig, for kubectl.
    #[command(after_help = "\
Examples:
  kubectl --kubeconfig \"$(kthena local kubeconfig)\" get pods
  export KUBECONFIG=\"$(kthena local kubeconfig)\"")]
    Kubeconfig(Place),
}

#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Where everything is kept [default: kthena/local in the user's state folder]
    #[arg(long, env = "KTHENA_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kthena local up -f examples/quickstart
  kthena local up -f model.yaml -f routes/ --port 9000 --engine native
  kthena local up -d && kubectl --kubeconfig \"$(kthena local kubeconfig)\" get modelservings
  cat model.yaml | kthena local up -f -")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(crate) struct UpArgs {
    /// A file or folder of manifests, or - for standard input; may be repeated
    #[arg(short, long, value_name = "PATH")]
    filename: Vec<PathBuf>,
    /// Return once everything is up, and go on in the background
    #[arg(short, long, conflicts_with_all = ["ask", "once"])]
    detach: bool,
    /// Port of the router on 127.0.0.1; 0 = any that is free
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// The router's configuration file, as `kthena router` takes it; without it, what the ConfigMap
    /// kthena-router-config says
    #[arg(long, value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Tokenize the prompts of MODEL in the router with the tokenizer in FOLDER; may be repeated
    #[arg(long = "tokenizer", value_name = "MODEL=FOLDER", value_parser = local_tokenizer)]
    tokenizers: Vec<LocalTokenizer>,
    /// How engines are run
    #[arg(long, value_enum, default_value_t = Engine::Auto)]
    engine: Engine,
    /// GPUs of this machine; more than there are, or on a machine without any, are simulated
    #[arg(long, value_name = "COUNT")]
    gpus: Option<u32>,
    /// Give every pod a network namespace of its own (needs root)
    #[arg(long)]
    isolate: bool,
    /// Put this question to the first model once it is up, and show the answer
    #[arg(long, value_name = "TEXT")]
    ask: Option<String>,
    /// Stop after the answer
    #[arg(long, requires = "ask")]
    once: bool,
    /// Print a line per change instead of a live view, as when the output is no terminal
    #[arg(long)]
    lines: bool,
    /// What `--detach` adds to its own command line
    #[arg(long, hide = true)]
    background: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// A file or folder of manifests, or - for standard input; may be repeated
    #[arg(short, long, value_name = "PATH", required = true)]
    filename: Vec<PathBuf>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Engine {
    /// The program a container names if it is on PATH, else the simulated engine
    Auto,
    /// Only programs that are on PATH
    Native,
    /// The simulated engine in place of every inference engine
    Simulated,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kthena local logs qwen-0-server-0-0
  kthena local logs default/qwen-0-server-0-0 --follow --tail 20")]
pub(crate) struct LogArgs {
    /// The pod: NAME or NAMESPACE/NAME
    pod: String,
    /// Go on as the log grows
    #[arg(short, long)]
    follow: bool,
    /// The container, if the pod has several
    #[arg(short, long)]
    container: Option<String>,
    /// The log before the last restart
    #[arg(short, long)]
    previous: bool,
    /// Only so many lines from the end
    #[arg(long, value_name = "LINES")]
    tail: Option<i64>,
    #[command(flatten)]
    place: Place,
}

/// GPUs that a machine without any pretends to have, so that manifests for GPU machines come up.
const SIMULATED_GPUS: u32 = 8;

pub(crate) fn run(command: Command) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("runtime")?;
    runtime.block_on(async {
        match command {
            Command::Up(args) => start(args).await?,
            Command::Apply(args) => {
                let layout = args.place.layout()?;
                control::apply(&layout, &args.filename, &mut std::io::stdout()).await?;
            }
            Command::Down(place) => {
                let pid = control::down(&place.layout()?).await?;
                writeln!(std::io::stdout(), "stopped (process {pid})")?;
            }
            Command::Status(place) => {
                control::status(&place.layout()?, columns(), &mut std::io::stdout()).await?;
            }
            Command::Logs(args) => logs(&args).await?,
            Command::Reset(place) => control::reset(&place.layout()?)?,
            Command::Kubeconfig(place) => {
                let path = place.layout()?.kubeconfig();
                if !path.exists() {
                    bail!(
                        "there is no kubeconfig yet; `kthena local up` writes {}",
                        path.display()
                    );
                }
                writeln!(std::io::stdout(), "{}", path.display())?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn start(args: UpArgs) -> Result<()> {
    let layout = args.place.layout()?;
    match (args.detach, args.background) {
        (true, false) => return detach::up(&layout),
        (_, true) => detach::leave_terminal()?,
        (false, false) => {}
    }
    Logs {
        filter: std::env::var("RUST_LOG")
            .ok()
            .or_else(|| Some("error".into())),
        ..Logs::default()
    }
    .start()?;
    let shutdown = CancellationToken::new();
    kthena_process::cancel_on_signals(shutdown.clone()).context("signals")?;
    let config = args.resolve(layout)?;
    Ok(up(config, shutdown, &mut std::io::stdout()).await?)
}

async fn logs(args: &LogArgs) -> Result<()> {
    let request = LogRequest {
        pod: args.pod.clone(),
        container: args.container.clone(),
        follow: args.follow,
        previous: args.previous,
        tail: args.tail,
    };
    Ok(control::logs(&args.place.layout()?, &request, &mut std::io::stdout()).await?)
}

impl UpArgs {
    fn resolve(self, layout: Layout) -> Result<UpConfig> {
        let program = std::env::current_exe().context("path of this program")?;
        let mut node = NodeConfig::new("local", layout.node_state(), program.display().to_string());
        node.engine = match self.engine {
            Engine::Auto => EngineMode::Auto,
            Engine::Native => EngineMode::Native,
            Engine::Simulated => EngineMode::Simulated,
        };
        node.isolate = self.isolate;
        node.base_env = std::env::vars()
            .filter(|(name, _)| INHERITED.contains(&name.as_str()))
            .collect();
        if let Some(gpus) = self
            .gpus
            .or_else(|| (node.capacity.gpus == 0).then_some(SIMULATED_GPUS))
        {
            node.capacity.gpus = i64::from(gpus);
        }
        let live = std::io::stdout().is_terminal() && !self.lines && !self.background;
        Ok(UpConfig {
            layout,
            manifests: self.filename,
            port: self.port,
            scheduling: self
                .config_file
                .map(|path| config_file::load(Some(&std::path::absolute(path)?)))
                .transpose()?,
            tokenizers: self.tokenizers,
            node,
            look: if live { Look::Live } else { Look::Lines },
            question: self.ask,
            once: self.once,
        })
    }
}

/// Variables that a container gets from this program's environment, as an image would bring them.
const INHERITED: [&str; 16] = [
    "PATH",
    "HOME",
    "LANG",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "VIRTUAL_ENV",
    "CUDA_HOME",
    "HF_HOME",
    "HF_TOKEN",
    "HF_ENDPOINT",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

impl Place {
    pub(crate) fn layout(&self) -> Result<Layout> {
        if let Some(folder) = &self.state_dir {
            return Ok(Layout::new(std::path::absolute(folder)?));
        }
        let state = match std::env::var_os("XDG_STATE_HOME") {
            Some(folder) if !folder.is_empty() => PathBuf::from(folder),
            _ => {
                let home =
                    std::env::var_os("HOME").context("neither HOME nor --state-dir is set")?;
                PathBuf::from(home).join(".local/state")
            }
        };
        Ok(Layout::new(state.join("kthena/local")))
    }
}

/// Columns of the terminal; `None` if the output is none.
fn columns() -> Option<usize> {
    let terminal = std::io::stdout().is_terminal();
    terminal.then(|| crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns)))
}
