//! A real Kubernetes control plane on this machine: etcd and kube-apiserver, and what else a test asks for.
//!
//! [`ControlPlane::shared`] starts one per test binary and set of parts and gives it to every test;
//! [`ControlPlane::start`] starts one of its own. All of it runs on loopback, on ports that were free, in a
//! temporary folder, and is gone when the test program is gone.
//!
//! # Where to go next
//!
//! `binaries` finds the programs, `files` writes what they read, `family` starts and stops them.

mod binaries;
mod etcd;
mod family;
mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tokio::sync::Mutex;

use crate::eventually::{TimedOut, eventually_ok};
use crate::{objects, ports};
use binaries::{Binaries, Program};
use family::Family;

/// Nodes with this annotation are played by KWOK; all others are left alone.
pub const KWOK_ANNOTATION: &str = "kwok.x-k8s.io/node";
/// The value of [`KWOK_ANNOTATION`] that KWOK looks for.
pub const KWOK_ANNOTATION_VALUE: &str = "fake";

/// How long the API server may take to be ready on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// How often a start is tried again because a port was taken in the meantime.
const ATTEMPTS: usize = 3;

/// What can run beside etcd and kube-apiserver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Garbage collection, namespaces, Deployments, endpoint slices and all other built-in controllers.
    ControllerManager,
    /// Binds pods of the schedulers `default-scheduler` and `volcano`.
    Scheduler,
    /// Makes pods on nodes with [`KWOK_ANNOTATION`] ready without running anything.
    Kwok,
}

/// Why a control plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum ControlPlaneError {
    /// A program is neither installed nor built.
    #[error(
        "{program} is not in KUBEBUILDER_ASSETS, on PATH or in {}: run tests/control-plane/build.sh", .cache.display()
    )]
    MissingProgram {
        /// Name of the program.
        program: &'static str,
        /// Where the project's own build would be.
        cache: PathBuf,
    },
    /// A file or process operation failed.
    #[error("cannot {action}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program ended although it should serve.
    #[error("{program} ended early; its log ends with:\n{log}")]
    EndedEarly {
        /// Name of the program.
        program: &'static str,
        /// The end of what it wrote.
        log: String,
    },
    /// The API server did not become ready.
    #[error(transparent)]
    NotReady(#[from] TimedOut),
    /// The written kubeconfig was not accepted.
    #[error("cannot use the kubeconfig of the control plane")]
    Kubeconfig(#[from] Box<KubeconfigError>),
    /// No client could be built.
    #[error("cannot build a client for the control plane")]
    Client(#[from] Box<kube::Error>),
}

/// A running control plane; dropping it ends all of its processes and removes its folder.
#[derive(Debug)]
pub struct ControlPlane {
    family: Family,
    binaries: Binaries,
    api_server: Vec<String>,
    etcd: u16,
    kubeconfig: PathBuf,
    url: String,
    token: String,
}

/// Control planes that live as long as the test program, by the parts they run.
static SHARED: Mutex<BTreeMap<BTreeSet<Part>, &'static ControlPlane>> =
    Mutex::const_new(BTreeMap::new());

impl ControlPlane {
    /// The control plane with exactly `parts` that all tests of this program share; the first caller starts it.
    pub async fn shared(parts: &[Part]) -> Result<&'static Self, ControlPlaneError> {
        let parts: BTreeSet<Part> = parts.iter().copied().collect();
        let mut shared = SHARED.lock().await;
        if let Some(running) = shared.get(&parts) {
            return Ok(running);
        }
        let list: Vec<Part> = parts.iter().copied().collect();
        let started: &'static Self = Box::leak(Box::new(Self::start(&list).await?));
        shared.insert(parts, started);
        Ok(started)
    }

    /// Starts a control plane for the caller alone.
    pub async fn start(parts: &[Part]) -> Result<Self, ControlPlaneError> {
        let mut attempt = 1;
        loop {
            match Self::try_start(parts).await {
                Err(ControlPlaneError::EndedEarly { log, .. })
                    if log.contains("address already in use") && attempt < ATTEMPTS =>
                {
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn try_start(parts: &[Part]) -> Result<Self, ControlPlaneError> {
        let binaries = Binaries::find(parts)?;
        let io = |action| move |source| ControlPlaneError::Io { action, source };
        let [etcd, peer, api, kwok] = ports::free().map_err(io("find free ports"))?;
        let mut family = Family::new().map_err(io("make a folder for the control plane"))?;
        let folder = family.folder().to_path_buf();
        let files =
            files::write(&folder, api).map_err(io("write the files of the control plane"))?;

        family.spawn(&binaries, Program::Etcd, &etcd_flags(&folder, etcd, peer))?;
        let api_server = api_server_flags(&folder, &files, etcd, api);
        family.spawn(&binaries, Program::ApiServer, &api_server)?;
        let mut plane = Self {
            family,
            binaries,
            api_server,
            etcd,
            kubeconfig: files.kubeconfig,
            url: files.url,
            token: files.token,
        };
        plane.wait_until_ready().await?;
        if parts.contains(&Part::ControllerManager) {
            plane.family.spawn(
                &plane.binaries,
                Program::ControllerManager,
                &controller_flags(&folder, &plane.kubeconfig),
            )?;
        }
        if parts.contains(&Part::Scheduler) {
            plane.family.spawn(
                &plane.binaries,
                Program::Scheduler,
                &scheduler_flags(&files.scheduler),
            )?;
        }
        if parts.contains(&Part::Kwok) {
            plane.family.spawn(
                &plane.binaries,
                Program::Kwok,
                &kwok_flags(&plane.kubeconfig, kwok),
            )?;
        }
        Ok(plane)
    }

    /// Kills the API server and starts it again at the same address. Meanwhile etcd forgets all history, so that no
    /// watch can go on where it was: it is told that its version has expired.
    pub async fn restart_api_server(&mut self) -> Result<(), ControlPlaneError> {
        self.family.end(Program::ApiServer)?;
        etcd::forget_history(self.etcd)
            .await
            .map_err(|source| ControlPlaneError::Io {
                action: "compact etcd",
                source,
            })?;
        self.family
            .spawn(&self.binaries, Program::ApiServer, &self.api_server)?;
        self.wait_until_ready().await
    }

    /// A client with full rights. It belongs to the runtime of the caller, so each test takes its own.
    pub async fn client(&self) -> Result<Client, ControlPlaneError> {
        Ok(Client::try_from(self.client_config().await?).map_err(Box::new)?)
    }

    /// What [`Self::client`] is built from, for tests that set up a client themselves.
    pub async fn client_config(&self) -> Result<Config, ControlPlaneError> {
        let raw = Kubeconfig::read_from(&self.kubeconfig).map_err(Box::new)?;
        let options = KubeConfigOptions::default();
        Ok(Config::from_custom_kubeconfig(raw, &options)
            .await
            .map_err(Box::new)?)
    }

    /// Path of a kubeconfig with full rights, for programs under test.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Address of the API server, such as `https://127.0.0.1:34567`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The bearer token with full rights.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Adds `count` nodes that KWOK plays, called `kwok-0` and up; those that exist already stay.
    pub async fn add_kwok_nodes(&self, count: usize) -> Result<(), ControlPlaneError> {
        let client = self.client().await?;
        for ordinal in 0..count {
            let body = objects::kwok_node(&format!("kwok-{ordinal}")).to_string();
            let request = kube::core::Request::new("/api/v1/nodes")
                .create(&kube::api::PostParams::default(), body.into());
            let request = request.map_err(|error| Box::new(kube::Error::BuildRequest(error)))?;
            match client.request_text(request).await {
                Err(kube::Error::Api(status)) if status.is_already_exists() => {}
                outcome => drop(outcome.map_err(Box::new)?),
            }
        }
        Ok(())
    }

    async fn wait_until_ready(&mut self) -> Result<(), ControlPlaneError> {
        let end = tokio::time::Instant::now() + READY_WITHIN;
        loop {
            let left = end.saturating_duration_since(tokio::time::Instant::now());
            let step = left.min(Duration::from_millis(500));
            let ready = eventually_ok("kube-apiserver is ready", step, || self.ask_ready()).await;
            self.family.check()?;
            match ready {
                Ok(()) => return Ok(()),
                Err(late) if left.is_zero() => return Err(late.into()),
                Err(_) => {}
            }
        }
    }

    async fn ask_ready(&self) -> Result<(), String> {
        // The certificate, and with it the client, only works once the server has written it.
        let client = self.client().await.map_err(|error| format!("{error:?}"))?;
        let ask = async |path: &str| {
            let request = http::Request::get(path)
                .body(Vec::new())
                .map_err(|error| error.to_string())?;
            client
                .request_text(request)
                .await
                .map_err(|error| error.to_string())
        };
        ask("/readyz").await?;
        // Some controllers need the namespace at once; the server makes it after it is ready.
        ask("/api/v1/namespaces/default").await.map(drop)
    }
}

/// A command that runs kubectl, still without arguments.
pub fn kubectl() -> Result<Command, ControlPlaneError> {
    let found = Binaries::find_all(vec![Program::Kubectl])?;
    found
        .command(Program::Kubectl)
        .ok_or_else(|| ControlPlaneError::Io {
            action: "start a program that was not looked for",
            source: io::ErrorKind::NotFound.into(),
        })
}

fn etcd_flags(folder: &Path, client: u16, peer: u16) -> Vec<String> {
    vec![
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls=http://127.0.0.1:{client}"),
        format!("--advertise-client-urls=http://127.0.0.1:{client}"),
        format!("--listen-peer-urls=http://127.0.0.1:{peer}"),
        "--unsafe-no-fsync".to_owned(),
        "--log-level=error".to_owned(),
    ]
}

fn api_server_flags(folder: &Path, files: &files::Files, etcd: u16, port: u16) -> Vec<String> {
    // The server signs its own certificate and uses that key for service accounts as well.
    let key = folder.join("certificates").join("apiserver.key");
    vec![
        format!("--etcd-servers=http://127.0.0.1:{etcd}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        format!("--cert-dir={}", folder.join("certificates").display()),
        format!("--token-auth-file={}", files.tokens.display()),
        format!("--service-account-key-file={}", key.display()),
        format!("--service-account-signing-key-file={}", key.display()),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        "--authorization-mode=RBAC".to_owned(),
        "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        "--allow-privileged=true".to_owned(),
    ]
}

fn controller_flags(folder: &Path, kubeconfig: &Path) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        format!(
            "--service-account-private-key-file={}",
            folder.join("certificates").join("apiserver.key").display()
        ),
        "--secure-port=0".to_owned(),
        "--leader-elect=false".to_owned(),
        "--concurrent-gc-syncs=4".to_owned(),
        // It puts a config map into every namespace, where tests look at what is theirs.
        "--controllers=*,-root-ca-certificate-publisher-controller".to_owned(),
    ]
}

fn scheduler_flags(config: &Path) -> Vec<String> {
    vec![
        format!("--config={}", config.display()),
        "--secure-port=0".to_owned(),
    ]
}

fn kwok_flags(kubeconfig: &Path, port: u16) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        format!(
            "--manage-nodes-with-annotation-selector={KWOK_ANNOTATION}={KWOK_ANNOTATION_VALUE}"
        ),
        format!("--server-address=127.0.0.1:{port}"),
        "--node-lease-duration-seconds=0".to_owned(),
    ]
}
