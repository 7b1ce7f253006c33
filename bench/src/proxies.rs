//! The proxies that are measured side by side, each in front of the same three engines.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::process::{Process, await_listener, free_port};
use crate::{load, nginx, scenario};

/// Engines behind every proxy.
pub(crate) const ENGINES: u32 = 3;

/// Where `make bench` installs the Python packages of the peers.
const PEERS: &str = ".cache/bench-venv/bin";

/// Longest a proxy may take until it routes.
const PATIENCE: Duration = Duration::from_secs(90);

/// A proxy that can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    /// With `least_conn`: knows nothing of models.
    Nginx,
    /// Shepherd Model Gateway, with `cache_aware`.
    Smg,
    /// The router of the vLLM project, with `cache_aware`.
    VllmRouter,
}

/// A proxy that runs.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
}

/// What proxies stand in front of, and where they may write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stage<'s> {
    pub(crate) engine_port: u16,
    pub(crate) folder: &'s Path,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Ours, Self::Nginx, Self::Smg, Self::VllmRouter];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Nginx => "nginx",
            Self::Smg => "SMG",
            Self::VllmRouter => "vllm-router",
        }
    }

    /// Whether its program is there. Peers need a network to be installed, so a run without them is a run.
    pub(crate) fn is_installed(self) -> bool {
        self.program().is_none_or(|program| program.is_file())
    }

    fn program(self) -> Option<PathBuf> {
        let name = match self {
            Self::Ours | Self::Nginx => return None,
            Self::Smg => "smg",
            Self::VllmRouter => "vllm-router",
        };
        Some(Path::new(PEERS).join(name))
    }

    /// Starts it and waits until a request passes.
    pub(crate) async fn start(self, stage: Stage<'_>) -> anyhow::Result<Proxy> {
        let address = loopback(free_port()?);
        let process = match self {
            Self::Ours => return stage.router(ENGINES, 1),
            Self::Nginx => return stage.nginx(ENGINES).await,
            Self::Smg | Self::VllmRouter => stage.peer(self, address)?,
        };
        Proxy { address, process }.that_routes(self).await
    }
}

impl Stage<'_> {
    /// Our router with so many endpoints and routes.
    pub(crate) fn router(self, pods: u32, routes: u32) -> anyhow::Result<Proxy> {
        self.own(pods, routes, &[])
    }

    /// nginx with so many endpoints.
    pub(crate) async fn nginx(self, pods: u32) -> anyhow::Result<Proxy> {
        let address = loopback(free_port()?);
        let process = nginx::start(address, self.engine_port, pods, self.folder)?;
        Proxy { address, process }.that_routes(Kind::Nginx).await
    }

    /// Our router with so many endpoints, which it asks for their state.
    pub(crate) fn scraping_router(self, pods: u32) -> anyhow::Result<Proxy> {
        self.own(pods, 1, &["--scrape"])
    }

    /// Our router with so many endpoints, placing as a configuration file's text says.
    pub(crate) fn configured_router(self, pods: u32, text: &str) -> anyhow::Result<Proxy> {
        self.own(pods, 1, &["--configuration", text])
    }

    fn own(self, pods: u32, routes: u32, more: &[&str]) -> anyhow::Result<Proxy> {
        let address = loopback(free_port()?);
        let log = self.folder.join("access.log");
        let (pods, routes) = (pods.to_string(), routes.to_string());
        let (engines, listen) = (self.engine_port.to_string(), address.to_string());
        let mut arguments = vec![
            "proxy",
            "--listen",
            &listen,
            "--engine-port",
            &engines,
            "--pods",
            &pods,
            "--routes",
            &routes,
            "--log",
            log.to_str().unwrap_or_default(),
        ];
        arguments.extend(more);
        let process = Process::own(&arguments)?;
        await_listener(address)?;
        Ok(Proxy { address, process })
    }

    fn peer(self, kind: Kind, address: SocketAddr) -> anyhow::Result<Process> {
        let mut command = Command::new(kind.program().unwrap_or_default());
        if kind == Kind::Smg {
            command.arg("launch");
        }
        command
            .args(["--host", "127.0.0.1", "--port", &address.port().to_string()])
            .args(["--prometheus-port", &free_port()?.to_string()])
            .args(["--policy", "cache_aware", "--worker-urls"])
            .args(engines().map(|engine| format!("http://{engine}:{}", self.engine_port)))
            .stderr(std::process::Stdio::null());
        Process::start(&mut command, true)
    }
}

impl Proxy {
    async fn that_routes(self, kind: Kind) -> anyhow::Result<Self> {
        await_listener(self.address)?;
        self.await_route().await.context(kind.name())?;
        Ok(self)
    }

    /// Peers listen before they know of an engine.
    async fn await_route(&self) -> anyhow::Result<()> {
        let request = scenario::short().request;
        let patience = Instant::now() + PATIENCE;
        while let Err(error) = load::closed(self.address, &request, 1, 1).await {
            ensure!(Instant::now() < patience, "does not route: {error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}

fn engines() -> impl Iterator<Item = Ipv4Addr> {
    let first = u32::from(Ipv4Addr::LOCALHOST);
    (0..ENGINES).map(move |number| Ipv4Addr::from(first + number))
}

pub(crate) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
