//! Which program this is: by subcommand, or by the name it was called under.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{bench, controller_manager, crds, engine, explain, local, router, runtime, verbs};

/// Serves large language models on Kubernetes, or on this machine with no cluster.
#[derive(Debug, Parser)]
#[command(name = "kthena", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  kthena local up -f examples/quickstart    run the models of a folder on this machine
  kthena local status                       what runs, and how busy it is
  kthena explain --model qwen --prompt hi   where the router would send this, and why
  kthena crds | kubectl apply --server-side -f -";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run models on this machine, with no cluster.
    #[command(subcommand)]
    Local(local::Command),
    /// Stand in front of the engines and route requests to them.
    #[command(after_help = "\
Where the cluster is, is read from KUBECONFIG, ~/.kube/config or the pod's service account.

Examples:
  kthena router
  KUBECONFIG=\"$(kthena local kubeconfig)\" kthena router --port 8081 --metrics-port 9091 --debug-port 15001
  kthena router --tls-cert tls.crt --tls-key tls.key --port 8443
  kthena router --config-file router.yaml --tokenizer qwen=/models/Qwen3-8B
  kthena router --enable-gateway-api -v 3")]
    Router(Box<router::Args>),
    /// Tell where the router would send a request, and why.
    Explain(explain::Args),
    /// List ModelServings.
    Get(verbs::GetArgs),
    /// Tell everything about one ModelServing.
    Describe(verbs::DescribeArgs),
    /// Watch, hold, resume or take back a rollout.
    #[command(subcommand)]
    Rollout(verbs::RolloutCommand),
    /// Run the controllers on a Kubernetes cluster.
    ControllerManager(Box<controller_manager::Args>),
    /// Run a simulated engine that speaks like vLLM or SGLang.
    Engine(engine::Args),
    /// Compare policies and layouts on simulated engines.
    #[command(subcommand)]
    Bench(Box<bench::Command>),
    /// Stand beside an engine in its pod: cache events, metrics, adapters.
    Runtime(runtime::Args),
    /// Print the custom resource definitions.
    #[command(after_help = "\
Examples:
  kthena crds > crds.yaml
  kthena crds | kubectl apply --server-side -f -")]
    Crds,
    /// A process that the node agent starts.
    #[command(hide = true)]
    NodeShim {
        /// What it is to do
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// Parses, runs, and says what went wrong.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse_from(with_subcommand(std::env::args_os().collect()));
    let outcome = match cli.command {
        Command::Local(command) => local::run(command),
        Command::Router(args) => router::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Get(args) => verbs::get(&args),
        Command::Describe(args) => verbs::describe(&args),
        Command::Rollout(command) => verbs::rollout(&command),
        Command::ControllerManager(args) => controller_manager::run(*args),
        Command::Engine(args) => engine::run(&args),
        Command::Runtime(args) => runtime::run(&args),
        Command::Bench(command) => bench::run(&command),
        Command::Crds => crds::run(),
        Command::NodeShim { arguments } => Ok(kthena_node::supervisor::main(arguments)),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            // Nobody is left to tell if standard error is closed.
            let _ = writeln!(std::io::stderr(), "error: {}", told_once(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes on one line. Many libraries repeat their cause in their own message: that is left out.
fn told_once(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |told, cause| {
        let cause = cause.to_string();
        match told.as_str() {
            "" => cause,
            _ if told.contains(&cause) => told,
            _ => format!("{told}: {cause}"),
        }
    })
}

/// Under the name of one of the old programs, behaves as that program.
fn with_subcommand(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let name = arguments.first().map(Path::new).and_then(Path::file_name);
    let subcommand = match name.and_then(|name| name.to_str()) {
        Some("kthena-router") => "router",
        Some("kthena-controller-manager") => "controller-manager",
        _ => return arguments,
    };
    arguments.insert(1, subcommand.into());
    arguments
}

#[cfg(test)]
mod tests {
    use super::{told_once, with_subcommand};

    #[test]
    fn a_cause_that_the_message_repeats_is_told_once() {
        let error = anyhow::anyhow!("no such file")
            .context("cannot read a.yaml: no such file")
            .context("nothing to start");

        assert_eq!(
            told_once(&error),
            "nothing to start: cannot read a.yaml: no such file"
        );
    }

    fn arguments(words: &[&str]) -> Vec<std::ffi::OsString> {
        words.iter().map(Into::into).collect()
    }

    #[test]
    fn a_link_named_like_an_old_program_is_that_program() {
        let cases = [
            (
                &["/bin/kthena-router", "--port=1"][..],
                &["/bin/kthena-router", "router", "--port=1"][..],
            ),
            (
                &["kthena-controller-manager"],
                &["kthena-controller-manager", "controller-manager"],
            ),
            (&["kubectl-kthena", "get"], &["kubectl-kthena", "get"]),
            (&["kthena", "local"], &["kthena", "local"]),
        ];
        for (given, expected) in cases {
            assert_eq!(with_subcommand(arguments(given)), arguments(expected));
        }
    }
}
