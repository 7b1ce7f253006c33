//! Runs by the wall clock: engines as processes, the real router, real requests over loopback.
//!
//! Each engine has an address of its own, 127.0.0.1 and up, as pods have; ports are the same everywhere. All that was
//! started ends with the run, whether it ends well or is interrupted.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kthena_router_proxy::{
    EventSource, KvConfig, KvSource, PodFacts, Router, RouterConfig, SchedulerConfig,
    SchedulingConfig, ScrapeConfig, TokensConfig, View,
};
use kthena_scheduling_sim::run::{Report, adapter_name};
use kthena_scheduling_sim::setting::FleetConfig;
use kthena_scheduling_sim::workload::Workload;
use reqwest::Client;
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::load;
use super::progress::Progress;
use super::scheduling::{Plan, Task};

/// How long engines may take to listen, and the router to know them.
const PATIENCE: Duration = Duration::from_mins(1);
/// Topic of the engines' events.
const TOPIC: &str = "kv-events";
/// Bytes of the index of engines' caches.
const INDEX: usize = 256 << 20;

/// All runs, one after the other.
pub(super) fn run(plan: &Plan) -> Result<Vec<Report>> {
    let runtime = tokio::runtime::Runtime::new().context("runtime")?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        kthena_process::cancel_on_signals(stop.clone()).context("signals")?;
        let progress = Arc::new(Progress::new(plan.tasks.len()));
        let mut reports = Vec::new();
        for task in &plan.tasks {
            let workload = &plan.workloads[task.workload];
            reports.push(one(task, workload, &progress, &stop).await?);
        }
        progress.finish();
        Ok(reports)
    })
}

async fn one(
    task: &Task,
    workload: &Workload,
    progress: &Arc<Progress>,
    stop: &CancellationToken,
) -> Result<Report> {
    let engines = Engines::start(&task.fleet, workload).await?;
    let scheduler = SchedulerConfig {
        filters: workload.filters.clone(),
        ..task.policy.config.clone()
    };
    let kv = task.policy.reads_caches();
    let router = Behind::start(&task.fleet, workload, scheduler, kv, &engines).await?;
    let figures = load::run(router.address, workload, task.seed, progress, stop).await?;
    router.stop().await;
    drop(engines);
    Ok(Report {
        row: figures.row(&workload.name, &task.policy.name, task.seed),
        waits: Vec::new(),
    })
}

/// Engines that end when this drops.
struct Engines {
    port: u16,
    events: u16,
    _children: Vec<Child>,
}

impl Engines {
    async fn start(fleet: &FleetConfig, workload: &Workload) -> Result<Self> {
        let (port, events) = (free_port()?, free_port()?);
        let program = std::env::current_exe().context("own path")?;
        let mut children = Vec::new();
        for number in 0..fleet.engines {
            let child = Command::new(&program)
                .arg("engine")
                .args(arguments(fleet, workload, address(number), port, events))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .context("an engine could not be started")?;
            children.push(child);
        }
        let client = Client::builder().no_proxy().build().context("client")?;
        for (number, child) in children.iter_mut().enumerate() {
            let host = address(u32::try_from(number)?);
            let url = format!("http://{}/health", SocketAddr::from((host, port)));
            until_healthy(&client, &url, child).await?;
        }
        Ok(Self {
            port,
            events,
            _children: children,
        })
    }
}

async fn until_healthy(client: &Client, url: &str, child: &mut Child) -> Result<()> {
    let begun = Instant::now();
    loop {
        let answer = client.get(url).send().await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
        if let Some(status) = child.try_wait()? {
            bail!("an engine ended with {status}");
        }
        if begun.elapsed() > PATIENCE {
            bail!("no engine answers at {url}");
        }
        sleep(Duration::from_millis(50)).await;
    }
}

fn arguments(
    fleet: &FleetConfig,
    workload: &Workload,
    host: Ipv4Addr,
    port: u16,
    events: u16,
) -> Vec<String> {
    let flag = |name: &str, value: String| [format!("--{name}"), value];
    let kv = json!({
        "enable_kv_cache_events": true, "publisher": "zmq", "topic": TOPIC, "endpoint": format!("tcp://*:{events}"),
    });
    let mut all = vec![fleet.model.name.to_owned()];
    let flags = [
        flag("served-model-name", "model".to_owned()),
        flag("host", host.to_string()),
        flag("port", port.to_string()),
        flag("sim-gpu", fleet.gpu.name.to_owned()),
        flag("sim-model", fleet.model.name.to_owned()),
        flag("block-size", fleet.block_size.to_string()),
        flag("max-model-len", fleet.max_model_len.to_string()),
        flag("max-num-seqs", fleet.max_sequences.to_string()),
        flag(
            "max-num-batched-tokens",
            fleet.max_batched_tokens.to_string(),
        ),
        flag(
            "gpu-memory-utilization",
            fleet.memory_utilization.to_string(),
        ),
        flag("max-loras", fleet.engine(false).adapter_slots.to_string()),
        flag("kv-events-config", kv.to_string()),
    ];
    all.extend(flags.into_iter().flatten());
    if workload.adapters > 0 {
        all.extend(["--enable-lora".to_owned(), "--lora-modules".to_owned()]);
        let modules = (0..workload.adapters).map(adapter_name);
        all.extend(modules.map(|name| format!("{name}=/adapters/{name}")));
    }
    all
}

/// The router, until it is stopped.
struct Behind {
    address: SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

impl Behind {
    async fn start(
        fleet: &FleetConfig,
        workload: &Workload,
        scheduler: SchedulerConfig,
        kv: bool,
        engines: &Engines,
    ) -> Result<Self> {
        let source = KvSource::Events(EventSource {
            port: engines.events,
            ranks: 1,
            topic: TOPIC.to_owned(),
            replay_port: None,
            budget: INDEX,
        });
        let tokens = TokensConfig::default();
        let bound = Router::bind(RouterConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            metrics_listen: None,
            scrape: Some(ScrapeConfig::every(fleet.scrape)),
            scheduling: SchedulingConfig {
                config: scheduler,
                file: None,
            },
            kv: kv.then_some(KvConfig { source, tokens }),
            access_log: None,
            lame_duck: Duration::ZERO,
            drain_timeout: Duration::from_secs(5),
            ..RouterConfig::default()
        })
        .await?;
        let mut view = view(fleet, workload, engines.port)?;
        bound.publisher().publish(view.snapshot());
        let address = bound.address();
        let shutdown = CancellationToken::new();
        let until = shutdown.clone();
        let serving = tokio::spawn(async move {
            if let Err(error) = bound.serve(until).await {
                tracing::error!(%error, "the router ended");
            }
        });
        let behind = Self {
            address,
            shutdown,
            serving,
        };
        behind.until_ready().await?;
        Ok(behind)
    }

    async fn until_ready(&self) -> Result<()> {
        let client = Client::builder().no_proxy().build().context("client")?;
        let begun = Instant::now();
        let url = format!("http://{}/readyz", self.address);
        while begun.elapsed() < PATIENCE {
            let answer = client.get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
        bail!("the router does not get ready")
    }

    async fn stop(self) {
        self.shutdown.cancel();
        // It says itself why it ended.
        let _ = self.serving.await;
    }
}

/// What the router would learn from an API server.
fn view(fleet: &FleetConfig, workload: &Workload, port: u16) -> Result<View> {
    let mut view = View::default();
    let server = json!({
        "metadata": {"namespace": "default", "name": "server"},
        "spec": {
            "inferenceEngine": "vLLM",
            "workloadSelector": {"matchLabels": {"app": "model"}},
            "workloadPort": {"port": port},
        },
    });
    view.apply_server(Arc::new(serde_json::from_value(server)?));
    let adapters: Vec<String> = (0..workload.adapters).map(adapter_name).collect();
    let route = json!({
        "metadata": {"namespace": "default", "name": "route"},
        "spec": {
            "modelName": "model",
            "loraAdapters": adapters,
            "rules": [{"targetModels": [{"modelServerName": "server"}]}],
        },
    });
    view.apply_route(&serde_json::from_value(route)?);
    for number in 0..fleet.engines {
        view.apply_pod(PodFacts {
            namespace: "default".to_owned(),
            name: format!("engine-{number}"),
            uid: format!("uid-{number}"),
            labels: [("app".to_owned(), "model".to_owned())].into(),
            ready: true,
            address: Some(IpAddr::V4(address(number))),
            started_unix: None,
        });
    }
    Ok(view)
}

/// 127.0.0.1 and up.
fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + number)
}

/// A port that nobody listened on a moment ago.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a free port")?;
    Ok(listener.local_addr()?.port())
}
