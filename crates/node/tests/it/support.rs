//! A node in this process, on a namespace and a state folder of its own.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Event, Pod};
use kthena_apiserver_rest::{ApiServer, ApiServerConfig};
use kthena_node::plan::backoff::BackoffRules;
use kthena_node::{LogOptions, LogReader, Node, NodeConfig, OnShutdown, reap};
use kthena_testkit::{ControlPlane, eventually, objects};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The program that the shim, the supervisor and test servers are made of.
pub(crate) fn program() -> String {
    env!("CARGO_BIN_EXE_node-fixture").to_owned()
}

/// A state folder whose processes die with the test, pass or fail.
pub(crate) struct StateDir(tempfile::TempDir);

impl StateDir {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        reap(self.path());
    }
}

/// A namespace, a node of its own, and the agent that plays it.
pub(crate) struct Fixture {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) node: String,
    pub(crate) config: NodeConfig,
    running: Option<(JoinHandle<()>, CancellationToken)>,
    pub(crate) state: StateDir,
    /// The server in this process and its folder, when it is not the real one.
    _server: Option<(ApiServer, tempfile::TempDir)>,
}

/// Which API server a test runs against.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Server {
    /// kube-apiserver.
    Real,
    /// Our own, in this process.
    InProcess,
}

impl Server {
    async fn client(self) -> (Client, Option<(ApiServer, tempfile::TempDir)>) {
        match self {
            Self::Real => (
                ControlPlane::shared(&[])
                    .await
                    .unwrap()
                    .client()
                    .await
                    .unwrap(),
                None,
            ),
            Self::InProcess => {
                let folder = tempfile::tempdir().unwrap();
                let server = ApiServer::open(ApiServerConfig::new(folder.path(), "token"))
                    .await
                    .unwrap();
                (server.client(), Some((server, folder)))
            }
        }
    }
}

/// A fixture with the usual settings and quick restarts.
pub(crate) async fn fixture() -> Fixture {
    fixture_with(|_| {}).await
}

pub(crate) async fn fixture_with(adjust: impl FnOnce(&mut NodeConfig)) -> Fixture {
    fixture_on(Server::Real, adjust).await
}

pub(crate) async fn fixture_on(server: Server, adjust: impl FnOnce(&mut NodeConfig)) -> Fixture {
    let mut fixture = fixture_of(server).await;
    adjust(&mut fixture.config);
    fixture.start().await;
    fixture
}

pub(crate) async fn fixture_without_agent() -> Fixture {
    fixture_of(Server::Real).await
}

async fn fixture_of(server: Server) -> Fixture {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let (client, server) = server.client().await;
    let namespace = format!("node-{number}");
    let node = format!("agent-{number}");
    let api: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
    api.create(
        &PostParams::default(),
        &read(objects::namespace(&namespace)),
    )
    .await
    .unwrap();
    let state = StateDir::new();
    let mut config = NodeConfig::new(&node, state.path(), program());
    let path = std::env::var("PATH").unwrap();
    config.base_env = [
        ("PATH".to_owned(), path),
        ("HOME".to_owned(), "/tmp".to_owned()),
    ]
    .into();
    config.backoff = BackoffRules {
        base: SignedDuration::from_millis(200),
        ..BackoffRules::default()
    };
    config.on_shutdown = OnShutdown::StopPods {
        within: Duration::from_secs(5),
    };
    config.capacity.cpu_milli = 4000;
    Fixture {
        client,
        namespace,
        node,
        config,
        running: None,
        state,
        _server: server,
    }
}

impl Fixture {
    pub(crate) async fn start(&mut self) {
        let shutdown = CancellationToken::new();
        let node = Node::start(self.client.clone(), self.config.clone())
            .await
            .unwrap();
        let stop = shutdown.clone();
        let task = tokio::spawn(async move { node.run(stop).await.unwrap() });
        self.running = Some((task, shutdown));
    }

    pub(crate) async fn stop(&mut self) {
        if let Some((task, shutdown)) = self.running.take() {
            shutdown.cancel();
            task.await.unwrap();
        }
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates an object of any namespaced kind.
    pub(crate) async fn create<K>(&self, object: Value) -> K
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + serde::Serialize
            + std::fmt::Debug,
        K::DynamicType: Default,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.namespace);
        api.create(&PostParams::default(), &read(object))
            .await
            .unwrap()
    }

    /// Creates a pod bound to this node.
    pub(crate) async fn pod(&self, name: &str, mut spec: Value) -> Pod {
        spec["nodeName"] = json!(self.node);
        self.create(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "labels": { "app": name } },
            "spec": spec,
        }))
        .await
    }

    /// Creates a pod of one container called `main` that runs a shell script.
    pub(crate) async fn script(&self, name: &str, script: &str) -> Pod {
        self.pod(name, json!({ "containers": [shell("main", script)] }))
            .await
    }

    pub(crate) async fn get(&self, name: &str) -> Option<Pod> {
        self.pods().get_opt(name).await.unwrap()
    }

    /// Waits until the pod is as wanted.
    pub(crate) async fn wait(&self, name: &str, what: &str, wanted: impl Fn(&Pod) -> bool) -> Pod {
        let found = eventually(what, PATIENCE, || async {
            self.get(name).await.filter(|pod| wanted(pod))
        })
        .await;
        match found {
            Ok(pod) => pod,
            Err(error) => {
                let pod = self.get(name).await.map(|pod| pod.status);
                panic!(
                    "{error}; the pod: {}",
                    serde_json::to_string_pretty(&pod).unwrap()
                );
            }
        }
    }

    pub(crate) async fn ready(&self, name: &str) -> Pod {
        self.wait(name, "the pod is ready", |pod| condition(pod, "Ready"))
            .await
    }

    /// Waits until the pod is ready, or is not there any more.
    pub(crate) async fn wait_or_gone(&self, name: &str) {
        eventually("the pod is ready or gone", PATIENCE, || async {
            let pod = self.get(name).await;
            pod.is_none_or(|pod| condition(&pod, "Ready")).then_some(())
        })
        .await
        .unwrap();
    }

    pub(crate) async fn gone(&self, name: &str) {
        eventually("the pod is gone", PATIENCE, || async {
            self.get(name).await.is_none().then_some(())
        })
        .await
        .unwrap();
    }

    pub(crate) async fn delete(&self, name: &str, grace: u32) {
        self.pods()
            .delete(name, &DeleteParams::default().grace_period(grace))
            .await
            .unwrap();
    }

    /// Waits for an event about a pod.
    pub(crate) async fn event(&self, pod: &str, reason: &str, part: &str) -> String {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let what = format!("event {reason} of {pod} with {part:?}");
        eventually(&what, PATIENCE, || async {
            let all = events.list(&ListParams::default()).await.ok()?;
            let mut about = all
                .items
                .into_iter()
                .filter(|event| event.involved_object.name.as_deref() == Some(pod));
            about.find_map(|event| {
                let message = event.message.unwrap_or_default();
                (event.reason.as_deref() == Some(reason) && message.contains(part))
                    .then_some(message)
            })
        })
        .await
        .unwrap()
    }

    /// The whole log of a container.
    pub(crate) async fn log(&self, pod: &str, container: &str) -> String {
        read_log(
            self.state.path(),
            &self.namespace,
            pod,
            Some(container),
            LogOptions::default(),
        )
        .await
        .unwrap()
    }

    /// Waits until the log of container `main` has a line that contains `part`.
    pub(crate) async fn logged(&self, pod: &str, part: &str) -> String {
        let what = format!("log of {pod} with {part:?}");
        let state = self.state.path();
        let found = eventually(&what, PATIENCE, || async {
            let log = read_log(
                state,
                &self.namespace,
                pod,
                Some("main"),
                LogOptions::default(),
            )
            .await
            .ok()?;
            log.contains(part).then_some(log)
        })
        .await;
        match found {
            Ok(log) => log,
            Err(error) => {
                let pod = self.get(pod).await.map(|pod| pod.status);
                panic!(
                    "{error}; the pod: {}",
                    serde_json::to_string_pretty(&pod).unwrap()
                );
            }
        }
    }
}

pub(crate) async fn read_log(
    state: &Path,
    namespace: &str,
    pod: &str,
    container: Option<&str>,
    options: LogOptions,
) -> anyhow::Result<String> {
    use futures::TryStreamExt;
    let stream = LogReader::new(state).read(namespace, pod, container, options)?;
    let chunks: Vec<bytes::Bytes> = stream.try_collect().await?;
    String::from_utf8(chunks.concat()).context("log")
}

/// A container that runs a shell script.
pub(crate) fn shell(name: &str, script: &str) -> Value {
    json!({ "name": name, "image": "busybox", "command": ["sh", "-c", script] })
}

pub(crate) fn read<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

pub(crate) fn condition(pod: &Pod, kind: &str) -> bool {
    let conditions = pod
        .status
        .iter()
        .filter_map(|status| status.conditions.as_ref())
        .flatten();
    conditions
        .into_iter()
        .any(|condition| condition.type_ == kind && condition.status == "True")
}

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default()
}

pub(crate) fn container<'p>(pod: &'p Pod, name: &str) -> Option<&'p ContainerStatus> {
    let status = pod.status.as_ref()?;
    let mut all = status
        .init_container_statuses
        .iter()
        .chain(&status.container_statuses)
        .flatten();
    all.find(|status| status.name == name)
}

/// How a container that runs again, or is about to, ended the last time.
pub(crate) fn last_end<'p>(pod: &'p Pod, name: &str) -> &'p ContainerStateTerminated {
    let last = container(pod, name).and_then(|status| status.last_state.as_ref());
    last.and_then(|state| state.terminated.as_ref()).unwrap()
}

pub(crate) fn restarts(pod: &Pod, name: &str) -> i32 {
    container(pod, name).map_or(0, |status| status.restart_count)
}

pub(crate) fn waiting<'p>(pod: &'p Pod, name: &str) -> Option<&'p str> {
    container(pod, name)?
        .state
        .as_ref()?
        .waiting
        .as_ref()?
        .reason
        .as_deref()
}

/// A file in the state folder that test containers and tests talk through.
pub(crate) fn meeting_point(fixture: &Fixture, name: &str) -> PathBuf {
    fixture.state.path().join(name)
}
