//! `kthena get`, `describe` and `rollout`: what a person asks about ModelServings and tells them.
//!
//! They speak to whatever API server the kubeconfig names: a cluster's, or that of local mode.
//!
//! # Where to go next
//!
//! `get`, `describe` and `rollout` talk; `view` makes texts of objects and `table` columns of texts, both pure.

mod describe;
mod get;
mod rollout;
mod table;
mod view;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::ValueEnum;
use k8s_openapi::Resource;
use kthena_api::model_serving::ModelServing;
use kthena_cluster::{ClientConfig, ObjectKey, Target};
use kube::Client;
use serde_json::Value;

pub(crate) use describe::{Args as DescribeArgs, run as describe};
pub(crate) use get::{Args as GetArgs, run as get};
pub(crate) use rollout::{Command as RolloutCommand, run as rollout};

/// Which server, and where on it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Connection {
    /// Kubeconfig file; without it, `KUBECONFIG` or `~/.kube/config`
    #[arg(long, global = true)]
    kubeconfig: Option<PathBuf>,
    /// Namespace; without it, that of the kubeconfig
    #[arg(short, long, global = true)]
    namespace: Option<String>,
}

/// The one kind that is served, under the names that kubectl takes and a short one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Groups of pods that run an engine
    #[value(name = "modelservings", aliases = ["modelserving", "ms"])]
    ModelServings,
}

/// How objects are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Whole objects
    Json,
    /// Whole objects
    Yaml,
    /// One `kind/name` per line
    Name,
    /// A table with more columns
    Wide,
}

/// A client and the namespace to look at.
struct Session {
    client: Client,
    namespace: String,
}

impl Connection {
    async fn open(&self) -> Result<Session> {
        let config = ClientConfig {
            kubeconfig: self.kubeconfig.clone(),
            ..ClientConfig::default()
        };
        let client = kthena_cluster::connect(&config).await.map_err(|error| {
            anyhow!("{error}, for local mode: export KUBECONFIG=\"$(kthena local kubeconfig)\"")
        })?;
        let namespace = self.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| client.default_namespace().to_owned());
        Ok(Session { client, namespace })
    }
}

impl Session {
    async fn read(&self, path: String) -> Result<Value> {
        let request = http::Request::get(path).body(Vec::new())?;
        self.client.request(request).await.map_err(plain)
    }

    /// One ModelServing, whole.
    async fn serving(&self, name: &str) -> Result<Value> {
        let key = ObjectKey::new(&*self.namespace, name);
        self.read(Target::of::<ModelServing>().object(&key)).await
    }

    /// All objects of a kind that a label selector matches, sorted by namespace and name.
    async fn list(&self, target: &Target, is_everywhere: bool, labels: &str) -> Result<Vec<Value>> {
        let namespace = (!is_everywhere).then_some(self.namespace.as_str());
        let path = target.collection(namespace);
        let selector = escaped(labels);
        let mut list = self
            .read(format!("{path}?labelSelector={selector}"))
            .await?;
        let mut items = match list["items"].take() {
            Value::Array(items) => items,
            _ => Vec::new(),
        };
        let key = |item: &Value| {
            let text = |name: &str| {
                item["metadata"][name]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            };
            (text("namespace"), text("name"))
        };
        items.sort_by_key(key);
        Ok(items)
    }
}

/// The API server's own words, where there are any, and what may help.
fn plain(error: kube::Error) -> anyhow::Error {
    match error {
        // A server that knows the kind names the object in its answer.
        kube::Error::Api(status) if status.code == 404 && status.details.is_none() => anyhow!(
            "the cluster does not serve ModelServings; \
             `kthena crds | kubectl apply --server-side -f -` installs the definitions"
        ),
        kube::Error::Api(status) if status.code == 404 => anyhow!(
            "{}; `kthena get modelservings -A` lists those that there are",
            status.message
        ),
        kube::Error::Api(status) if status.code == 401 => anyhow!(
            "{}: the API server does not take the credentials of the kubeconfig",
            status.message
        ),
        kube::Error::Api(status) if !status.message.is_empty() => anyhow!("{}", status.message),
        kube::Error::Service(cause) => anyhow!(
            "the API server cannot be reached: {}; --kubeconfig names another, `kthena local status` tells whether \
             local mode runs",
            last_cause(cause.as_ref())
        ),
        other => other.into(),
    }
}

/// What an error comes down to.
fn last_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |cause| cause.source());
    causes.last().map(ToString::to_string).unwrap_or_default()
}

/// Text as a value in a query.
fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).into(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// Runs a command that talks to the API server.
fn block_on<F: Future<Output = Result<ExitCode>>>(work: F) -> Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?
        .block_on(work)
}

/// Writes to standard output. Nobody listening any more is no error.
fn say(text: &str) -> Result<()> {
    tell(text).map(drop)
}

/// Writes to standard output. False if nobody listens any more.
fn tell(text: &str) -> Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The type line that objects inside a list lack.
fn typed(mut object: Value) -> Value {
    if let Some(members) = object.as_object_mut() {
        members.insert("apiVersion".to_owned(), ModelServing::API_VERSION.into());
        members.insert("kind".to_owned(), ModelServing::KIND.into());
        if let Some(metadata) = members.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
    }
    object
}
