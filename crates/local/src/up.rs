//! `kthena local up`: a small cluster in one program.
//!
//! Order of things: manifests are read and checked before anything runs; the API server comes first and goes last,
//! so that whatever the others say on their way out is kept.

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use kthena_apiserver_rest::{ApiServer, ApiServerConfig, ServerError};
use kthena_controllers_driver::DriverConfig;
use kthena_node::{Node, NodeConfig, NodeError, OnShutdown};
use kthena_process::{TaskError, Tasks};
use kthena_router_proxy::{
    LocalTokenizer, ProxyError, Router, RouterConfig, SchedulingConfig, ScrapeConfig,
};
use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::apply::{ApplyError, apply};
use crate::ask::{Answer, AskError, Question, ask};
use crate::layout::{Layout, LayoutError, Lock, Running};
use crate::logs::NodeLogs;
use crate::manifest::{Manifest, ManifestFault, load};
use crate::router_config::{self, RouterConfigError};
use crate::show::{Look, Watched};

/// Longest that a pod may take to end when the program is stopped.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// Longest that requests may take to end when the program is stopped.
const DRAIN: Duration = Duration::from_secs(10);

/// Times the router may say that it knows no pod, after pods are ready.
const ROUTE_LOOKS: u32 = 50;
/// Time between them.
const ROUTE_PERIOD: Duration = Duration::from_millis(100);

/// What to bring up, and how.
#[derive(Debug, Clone)]
pub struct UpConfig {
    /// Where everything is kept.
    pub layout: Layout,
    /// Files and folders to apply; none = what is there already.
    pub manifests: Vec<PathBuf>,
    /// Port of the router on 127.0.0.1; 0 = any that is free.
    pub port: u16,
    /// How requests are placed; `None` = as the router's ConfigMap says, if there is one.
    pub scheduling: Option<SchedulingConfig>,
    /// Models whose prompts the router tokenizes itself.
    pub tokenizers: Vec<LocalTokenizer>,
    /// The node that runs the pods; its state folder is taken from the layout.
    pub node: NodeConfig,
    /// How progress is shown.
    pub look: Look,
    /// A question to put to the first model, once it is up.
    pub question: Option<String>,
    /// End after the answer.
    pub once: bool,
}

/// Why nothing is up, or why it went down.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// The manifests cannot be read.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Manifests(Vec<ManifestFault>),
    /// The manifests are refused.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The state folder cannot be used.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The API server cannot run.
    #[error("the API server: {0}")]
    Server(#[from] ServerError),
    /// A port cannot be had.
    #[error("port {port} of 127.0.0.1: {source}; --port picks another")]
    Port {
        /// Which one.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// The router cannot run.
    #[error("the router: {0}")]
    Router(#[source] ProxyError),
    /// The router has no configuration.
    #[error("the router: {0}")]
    RouterConfig(#[from] RouterConfigError),
    /// The node cannot run pods.
    #[error("the node: {0}")]
    Node(#[from] NodeError),
    /// A part failed while running.
    #[error(transparent)]
    Part(#[from] TaskError),
    /// The question got no answer.
    #[error("no answer: {0}")]
    Ask(#[from] AskError),
    /// There is no model to ask.
    #[error("no ModelRoute names a model that could be asked")]
    NoModel,
    /// The cluster cannot be watched.
    #[error("the API server: {0}")]
    Client(#[source] Box<kube::Error>),
    /// Progress cannot be shown.
    #[error("output: {0}")]
    Output(#[from] io::Error),
}

impl From<kube::Error> for UpError {
    fn from(error: kube::Error) -> Self {
        Self::Client(Box::new(error))
    }
}

/// Brings everything up and keeps it up until `shutdown`, or until the question is answered if that is all.
///
/// # Errors
///
/// If something is wrong with the manifests, the state folder or a port, or a part fails.
pub async fn up(
    config: UpConfig,
    shutdown: CancellationToken,
    out: &mut (impl Write + Send),
) -> Result<(), UpError> {
    let manifests = load(&config.manifests).map_err(UpError::Manifests)?;
    let faults = router_config::faults(&manifests);
    if !faults.is_empty() {
        return Err(UpError::Manifests(faults));
    }
    let lock = config.layout.lock()?;
    let server = open_server(&config.layout).await?;
    let client = server.client();
    let binding = bind_router(&config, &manifests, &client);
    let outcome = match Box::pin(binding).await {
        Ok(router) => {
            let reserved = Reserved { lock, router };
            let running = run(&config, &manifests, &server, reserved, &shutdown, out);
            Box::pin(running).await
        }
        Err(error) => Err(error),
    };
    server.shutdown().await;
    outcome
}

/// What a program must have to itself before it can start.
struct Reserved {
    lock: Lock,
    router: Router,
}

async fn run(
    config: &UpConfig,
    manifests: &[Manifest],
    server: &ApiServer,
    reserved: Reserved,
    shutdown: &CancellationToken,
    out: &mut (impl Write + Send),
) -> Result<(), UpError> {
    let client = server.client();
    for applied in apply(&client, manifests).await? {
        writeln!(out, "{} applied", applied.object)?;
    }
    let Reserved { mut lock, router } = reserved;
    let mut running = Running::new(std::process::id());
    let closing = CancellationToken::new();
    let _close_api = closing.clone().drop_guard();
    running.api = Some(serve_api(config, server, closing)?);
    running.router = Some(format!("http://{}", router.address()));
    running.debug = router
        .debug_address()
        .map(|address| format!("http://{address}"));
    lock.publish(&running)?;

    let mut parts = Tasks::new(shutdown.child_token());
    start_parts(&mut parts, config, server, router).await?;
    let stop = parts.shutdown();
    let shown = show(config, &client, &mut lock, running, &stop, out).await;
    stop.cancel();
    if !config.once && shown.is_ok() {
        writeln!(out, "stopping")?;
    }
    let joined = parts.join().await;
    shown?;
    Ok(joined?)
}

/// Shows progress, asks the question, then stays until `stop`.
async fn show(
    config: &UpConfig,
    client: &Client,
    lock: &mut Lock,
    mut running: Running,
    stop: &CancellationToken,
    out: &mut (impl Write + Send),
) -> Result<(), UpError> {
    let router = running.router.clone().unwrap_or_default();
    let mut watched = Watched::start(client);
    if !watched.until_settled(config.look, stop, out).await? {
        return Ok(());
    }
    if let Some(text) = &config.question {
        let model = watched.first_model().ok_or(UpError::NoModel)?;
        let question = Question {
            router: router.clone(),
            model,
            text: text.clone(),
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            answer = put(&question, out) => answer?,
        }
        if config.once {
            return Ok(());
        }
    }
    writeln!(
        out,
        "\nserving on {router}, stop with Ctrl-C or `kthena local down`"
    )?;
    writeln!(
        out,
        "kubectl --kubeconfig {} get modelservings",
        config.layout.kubeconfig().display()
    )?;
    out.flush()?;
    // Last: whoever started this in the background stops listening here.
    running.ready = true;
    lock.publish(&running)?;
    watched.until_stopped(config.look, stop, out).await
}

/// Puts a question and shows what came of it.
async fn put(question: &Question, out: &mut (impl Write + Send)) -> Result<(), UpError> {
    writeln!(out, "\nYou: {}", question.text)?;
    write!(out, "{}: ", question.model)?;
    let Answer {
        completion_tokens,
        explanation,
    } = ask_when_routed(question, out).await?;
    let explanation = explanation.unwrap_or_else(|| "the router gave no account".to_owned());
    writeln!(out, "({completion_tokens} tokens; {explanation})")?;
    Ok(())
}

/// Asks, and asks again while the router has not yet heard of pods that are ready.
async fn ask_when_routed(
    question: &Question,
    out: &mut (impl Write + Send),
) -> Result<Answer, AskError> {
    let mut refusals = 0;
    loop {
        match ask(question, out).await {
            Err(AskError::Refused {
                status: 404 | 503, ..
            }) if refusals < ROUTE_LOOKS => refusals += 1,
            outcome => return outcome,
        }
        tokio::time::sleep(ROUTE_PERIOD).await;
    }
}

async fn bind_router(
    config: &UpConfig,
    manifests: &[Manifest],
    client: &Client,
) -> Result<Router, UpError> {
    let port = config.port;
    let scheduling = match &config.scheduling {
        Some(scheduling) => scheduling.clone(),
        None => router_config::scheduling(&config.layout, manifests, client).await?,
    };
    let config = RouterConfig {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        debug_listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        metrics_listen: None,
        scrape: Some(ScrapeConfig::default()),
        kv: Some(router_config::kv(&config.tokenizers)),
        scheduling,
        expose_metrics: true,
        explain: true,
        access_log: None,
        drain_timeout: DRAIN,
        lame_duck: Duration::ZERO,
        ..RouterConfig::default()
    };
    Router::bind(config).await.map_err(|error| match error {
        ProxyError::Bind { source, .. } => UpError::Port { port, source },
        error => UpError::Router(error),
    })
}

async fn open_server(layout: &Layout) -> Result<ApiServer, UpError> {
    let token = layout.token()?;
    Ok(ApiServer::open(ApiServerConfig::new(layout.api_state(), token)).await?)
}

/// Opens the API to kubectl, writes the kubeconfig, and answers where it is.
fn serve_api(
    config: &UpConfig,
    server: &ApiServer,
    closing: CancellationToken,
) -> Result<String, UpError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    Layout::write_private(&config.layout.kubeconfig(), &server.kubeconfig(address))?;
    let server = server.clone();
    tokio::spawn(async move {
        if let Err(error) = server.serve(listener, closing).await {
            tracing::error!(%error, "the API is closed to kubectl");
        }
    });
    Ok(format!("https://{address}"))
}

async fn start_parts(
    parts: &mut Tasks,
    config: &UpConfig,
    server: &ApiServer,
    router: Router,
) -> Result<(), UpError> {
    let client = server.client();
    let node = Node::start(
        client.clone(),
        NodeConfig {
            state_dir: config.layout.node_state(),
            claim_unassigned: true,
            on_shutdown: OnShutdown::StopPods { within: STOP_GRACE },
            ..config.node.clone()
        },
    )
    .await?;
    server.set_pod_logs(NodeLogs::shared(node.logs()));
    let stop = parts.shutdown();
    parts.spawn("node", node.run(stop.clone()));
    let deployments = kthena_apiserver_builtin::run(client.clone(), stop.clone());
    parts.spawn("deployments", async move {
        deployments.await;
        Ok::<_, Infallible>(())
    });
    parts.spawn(
        "controllers",
        kthena_controllers_driver::run(client.clone(), DriverConfig::default(), stop.clone()),
    );
    if config.scheduling.is_none() {
        let following = router_config::follow(config.layout.clone(), client.clone(), stop.clone());
        parts.spawn("router configuration", async move {
            following.await;
            Ok::<_, Infallible>(())
        });
    }
    parts.spawn("router", router.run(client, stop));
    Ok(())
}
