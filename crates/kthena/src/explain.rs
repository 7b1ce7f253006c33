//! `kthena explain`: where the router would send a request, and why. Nothing is sent to an engine.

mod table;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args as ClapArgs, ValueEnum};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::local::Place;

/// How long the router may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The debug listener of a router on this machine, or of one that is forwarded here.
const DEFAULT_ROUTER: &str = "http://localhost:15000";

const EXAMPLES: &str = "\
The router decides as it would for a real request, on what it knows at this moment, and dispatches nothing.
It answers on its debug listener, which only its own machine reaches:
  kubectl port-forward --namespace NAMESPACE deploy/kthena-router 15000
Nothing has to be switched on for that. Of several routers one is asked, and it tells what it knows itself.

Examples:
  kthena explain --model llama --prompt 'Once upon a time'
  kthena explain -f body.json --path /v1/completions --header x-tier=gold
  kthena explain -f - -o json < body.json
  kthena explain --router http://localhost:15001 --model llama --prompt hi

The exit code is 0 if the request would be sent, 1 if it would be refused or the router cannot be asked.";

/// Flags of `kthena explain`.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Where the router's debug listener answers [default: that of local mode if it runs, else port 15000 here]
    #[arg(long, value_name = "URL")]
    router: Option<String>,
    #[command(flatten)]
    place: Place,
    /// The body of an OpenAI request, JSON; - reads it from standard input
    #[arg(short = 'f', long, conflicts_with_all = ["model", "prompt"], required_unless_present = "model")]
    file: Option<PathBuf>,
    /// A model, as routes name it
    #[arg(long, requires = "prompt")]
    model: Option<String>,
    /// What the user says to it
    #[arg(long, requires = "model")]
    prompt: Option<String>,
    /// The request's path
    #[arg(long, default_value = "/v1/chat/completions")]
    path: String,
    /// A header of the request; may be given several times
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// How the decision is shown
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Table,
    /// Everything, as the router told it
    Json,
}

/// `name=value`, or `name: value` as curl takes it.
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(['=', ':'])
        .ok_or_else(|| "expected NAME=VALUE".to_owned())?;
    let name = name.trim();
    if name.is_empty() {
        return Err("the name is missing".to_owned());
    }
    Ok((name.to_owned(), value.trim().to_owned()))
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let question = question(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("runtime")?;
    let router = args.router.clone().or_else(|| local_router(&args.place));
    let router = router.as_deref().unwrap_or(DEFAULT_ROUTER);
    let decision = runtime.block_on(ask(router, question))?;
    let text = match args.output {
        Output::Json => format!("{decision:#}\n"),
        Output::Table => table::render(&decision),
    };
    // A reader that has seen enough closes the pipe.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(if decision.get("error").is_some() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// What is posted. The body keeps its bytes: numbers and order are those of the request.
fn question(args: &Args) -> Result<String> {
    let body = match &args.file {
        Some(path) => read(path)?,
        None => json!({
            "model": args.model,
            "messages": [{"role": "user", "content": args.prompt}],
        })
        .to_string(),
    };
    let body: &RawValue = serde_json::from_str(&body).context("the body is no JSON")?;
    let headers: Value = args
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect();
    let path = Value::from(args.path.as_str());
    Ok(format!(
        r#"{{"path":{path},"headers":{headers},"body":{body}}}"#
    ))
}

fn read(path: &Path) -> Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The debug listener of local mode, if it runs.
fn local_router(place: &Place) -> Option<String> {
    place.layout().ok()?.running().ok()??.debug
}

async fn ask(router: &str, question: String) -> Result<Value> {
    let url = format!("{}/debug/explain", router.trim_end_matches('/'));
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        // The debug listener is never behind a proxy.
        .no_proxy()
        .build()
        .context("HTTP client")?;
    let answer = client
        .post(&url)
        .header("content-type", "application/json")
        .body(question)
        .send()
        .await
        .with_context(|| {
            format!(
                "the router's debug listener does not answer at {router}; if the router runs on a cluster, bring it \
                 here with `kubectl port-forward --namespace NAMESPACE deploy/kthena-router 15000`"
            )
        })?;
    let status = answer.status();
    let text = answer.text().await.context("the answer broke off")?;
    ensure!(
        status != reqwest::StatusCode::NOT_FOUND,
        "{url} does not exist: is this a debug listener?"
    );
    let decision: Value = serde_json::from_str(&text)
        .with_context(|| format!("status {status}, and the answer is no JSON"))?;
    if !status.is_success() {
        let said = decision["error"].as_str().unwrap_or("no reason given");
        bail!("the router answered {status}: {said}");
    }
    Ok(decision)
}

#[cfg(test)]
mod tests;
