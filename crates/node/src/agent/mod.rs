//! The agent: watches the pods of its node and keeps a worker for each.
//!
//! # Invariants
//!
//! - A pod object has at most one worker, named by its uid; two pods of one name never share anything.
//! - A pod whose object is gone keeps its worker until its processes are gone.
//! - No pod is shown ready that a start found without its processes, from before [`Node::start`] returns.
//! - Records without a pod are cleaned up after the first complete list, never before.
//!
//! # Where to go next
//!
//! `worker` is the life of one pod, `prepare` and `launcher` its containers, `stale` what a start corrects,
//! `binder` a small scheduler.

mod adopt;
mod binder;
mod check;
mod hooks;
mod launcher;
mod lookup;
pub(crate) mod netns;
mod node_object;
mod ports;
mod prepare;
mod shared;
mod show;
mod stale;
#[cfg(test)]
mod tests;
mod tls;
mod volumes;
mod worker;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kthena_cluster::events::recorder;
use kthena_cluster::{Change, Scope, watch};
use kube::Client;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::config::{NodeConfig, OnShutdown};
use crate::error::NodeError;
use crate::logs::LogReader;
use crate::machine::address::AddressRange;
use crate::machine::request::of_pod;
use crate::runtime::{Incoming, Runtime};
use crate::state::{self, PodRecord};
use crate::supervisor::protocol::{Known, Request};
use crate::supervisor::{procfs, reap};
use shared::{Shared, key, uid};
use worker::{Farewell, Input, Worker, fresh_record};

/// Addresses of isolated pods when the configured ones are loopback addresses.
const ISOLATED: (std::net::Ipv4Addr, u8) = (std::net::Ipv4Addr::new(10, 89, 0, 0), 16);

/// Kept of the time for a shutdown, so that the last statuses are written within it.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A node that has been set up but does not run pods yet.
pub struct Node {
    shared: Arc<Shared>,
    incoming: mpsc::Receiver<Incoming>,
    records: BTreeMap<String, PodRecord>,
    known: Vec<Known>,
    identity: String,
    background: Vec<JoinHandle<()>>,
    _lock: File,
}

/// Runs a node until `shutdown`.
pub async fn run(
    client: Client,
    config: NodeConfig,
    shutdown: CancellationToken,
) -> Result<(), NodeError> {
    Node::start(client, config).await?.run(shutdown).await
}

impl Node {
    /// Takes hold of the state folder, finds or starts the supervisor, registers the Node object.
    ///
    /// When it returns, no pod of this node is shown ready whose processes do not live: what starts after it can
    /// trust what the server says.
    pub async fn start(client: Client, mut config: NodeConfig) -> Result<Self, NodeError> {
        if !procfs::is_there() {
            return Err(NodeError::NotLinux);
        }
        let folder = |source| NodeError::Folder {
            path: config.state_dir.clone(),
            source,
        };
        std::fs::create_dir_all(&config.state_dir).map_err(folder)?;
        config.state_dir = config.state_dir.canonicalize().map_err(folder)?;
        let lock = File::create(config.state_dir.join("agent.lock")).map_err(|source| {
            NodeError::Folder {
                path: config.state_dir.clone(),
                source,
            }
        })?;
        lock.try_lock().map_err(|_| NodeError::Locked {
            dir: config.state_dir.clone(),
        })?;
        if config.isolate {
            let (network, prefix) = ISOLATED;
            if config.addresses.is_loopback() {
                config.addresses = AddressRange::new(network, prefix).unwrap_or_default();
            }
            netns::bridge(config.addresses).await?;
        }
        let (runtime, incoming, listener) =
            Runtime::open(&config.state_dir, &config.shim_program, config.orphan_grace).await?;
        let dir = config.state_dir.clone();
        let left = tokio::task::spawn_blocking(move || reap::kill_commands(&dir)).await;
        tracing::debug!(?left, "killed commands of an earlier agent");
        let known = runtime
            .list()
            .await
            .map_err(|reason| NodeError::Supervisor {
                dir: config.state_dir.clone(),
                reason,
            })?;
        let identity = node_object::register(&client, &config).await?;
        let (events, writer) = recorder(client.clone(), "kthena-node", &config.name);
        let shared = Arc::new(Shared::new(config, client, events, runtime));
        let records = restore(&shared);
        stale::correct(&shared, &records, &known).await?;
        Ok(Self {
            shared,
            incoming,
            records,
            known,
            identity,
            background: vec![listener, tokio::spawn(writer.run())],
            _lock: lock,
        })
    }

    /// Reads the logs of this node's containers.
    pub fn logs(&self) -> LogReader {
        LogReader::new(&self.shared.config.state_dir)
    }

    /// Runs pods until `shutdown`; then stops them and shows that they are not ready, or leaves them, as configured.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), NodeError> {
        let Self {
            shared,
            mut incoming,
            records,
            known,
            identity,
            background,
            _lock,
        } = self;
        let helpers = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(node_object::heartbeat(
            Arc::clone(&shared),
            identity,
            helpers.clone(),
        ));
        if shared.config.claim_unassigned {
            let labels = node_object::labels(&shared.config);
            tasks.spawn(binder::run(Arc::clone(&shared), labels, helpers.clone()));
        }
        let mut agent = Agent {
            shared: Arc::clone(&shared),
            workers: BTreeMap::new(),
            finished: BTreeSet::new(),
            farewells: JoinSet::new(),
            records,
            known,
        };
        agent.serve(&mut incoming, &shutdown).await;
        helpers.cancel();
        while tasks.join_next().await.is_some() {}
        if matches!(shared.config.on_shutdown, OnShutdown::StopPods { .. }) {
            shared.runtime.shutdown().await;
        }
        background.iter().for_each(JoinHandle::abort);
        Ok(())
    }
}

/// Loads the records of an earlier agent and what they hold.
fn restore(shared: &Shared) -> BTreeMap<String, PodRecord> {
    let mut holdings = shared.holdings();
    if shared.config.isolate {
        holdings
            .addresses
            .keep("bridge", shared.config.addresses.first());
    }
    let mut records = BTreeMap::new();
    for record in state::records(&shared.config.state_dir) {
        holdings.addresses.keep(&record.uid, record.address);
        holdings.devices.keep(&record.uid, &record.devices);
        records.insert(record.uid.clone(), record);
    }
    records
}

struct Agent {
    shared: Arc<Shared>,
    workers: BTreeMap<String, mpsc::Sender<Input>>,
    /// Pods that have left this node though their objects are still there.
    finished: BTreeSet<String>,
    farewells: JoinSet<(String, Farewell)>,
    records: BTreeMap<String, PodRecord>,
    known: Vec<Known>,
}

impl Agent {
    async fn serve(
        &mut self,
        incoming: &mut mpsc::Receiver<Incoming>,
        shutdown: &CancellationToken,
    ) {
        let fields = format!("spec.nodeName={}", self.shared.config.name);
        let scope = Scope {
            fields: Some(fields),
            ..Scope::default()
        };
        let mut changes = std::pin::pin!(watch::<Pod>(self.shared.client.clone(), &scope));
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                change = changes.next() => match change {
                    Some(change) => self.change(change).await,
                    None => break,
                },
                Some(news) = incoming.recv() => self.deliver(news).await,
                Some(farewell) = self.farewells.join_next() => self.part(farewell),
            }
        }
        if let OnShutdown::StopPods { within } = self.shared.config.on_shutdown {
            self.stop_all(within, incoming).await;
        }
        self.farewells.shutdown().await;
    }

    async fn change(&mut self, change: Change<Pod>) {
        match change {
            Change::Applied(pod) => self.applied(pod).await,
            Change::Deleted(pod) => {
                self.finished.remove(uid(&pod));
                self.send(uid(&pod), Input::Gone).await;
            }
            Change::Synced => self.clean_up().await,
            Change::Absent => {}
            Change::Undecodable { key, fault } => {
                tracing::warn!(pod = %key, fault, "a pod of this node cannot be read");
            }
        }
    }

    async fn applied(&mut self, pod: Arc<Pod>) {
        let id = uid(&pod).to_owned();
        if self.workers.contains_key(&id) {
            return self.send(&id, Input::Pod(pod)).await;
        }
        if self.finished.contains(&id) {
            return;
        }
        let record = self.records.remove(&id);
        let over = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        let over = matches!(over, Some("Succeeded" | "Failed"));
        if record.is_none() && over && pod.metadata.deletion_timestamp.is_none() {
            return;
        }
        let Some(record) = record.or_else(|| self.accept(&pod)) else {
            return;
        };
        self.shared
            .holdings()
            .peers
            .insert(key(&pod), record.address);
        if !over {
            self.shared.holdings().used.insert(id.clone(), of_pod(&pod));
        }
        self.employ(pod, record);
    }

    /// Gives a new pod its address.
    fn accept(&self, pod: &Pod) -> Option<PodRecord> {
        // With the node's name and folder, so that two nodes of one machine do not choose alike.
        let config = &self.shared.config;
        let name = format!(
            "{}/{}/{}",
            config.state_dir.display(),
            config.name,
            key(pod)
        );
        let address = self.shared.holdings().addresses.assign(uid(pod), &name);
        if address.is_none() {
            tracing::error!(pod = name, "no address is left for a pod");
        }
        Some(fresh_record(pod, address?))
    }

    fn employ(&mut self, pod: Arc<Pod>, record: PodRecord) {
        let id = record.uid.clone();
        let prefix = format!("{id}.");
        let (mine, others) = std::mem::take(&mut self.known)
            .into_iter()
            .partition(|known| known.id.starts_with(&prefix));
        self.known = others;
        let (worker, inbox) = Worker::new(Arc::clone(&self.shared), pod, record);
        self.workers.insert(id.clone(), inbox);
        self.farewells
            .spawn(async move { (id, Box::pin(worker.run(mine)).await) });
    }

    /// Ends what belongs to pods that no longer exist.
    async fn clean_up(&mut self) {
        for (id, record) in std::mem::take(&mut self.records) {
            let pod = Pod {
                metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                    name: Some(record.name.clone()),
                    namespace: Some(record.namespace.clone()),
                    uid: Some(id.clone()),
                    ..Default::default()
                },
                ..Pod::default()
            };
            self.employ(Arc::new(orphan_spec(pod, &record)), record);
            self.send(&id, Input::Gone).await;
        }
        for known in std::mem::take(&mut self.known) {
            self.shared
                .runtime
                .tell(Request::Kill {
                    id: known.id.clone(),
                })
                .await;
            self.shared
                .runtime
                .tell(Request::Forget { id: known.id })
                .await;
        }
    }

    async fn deliver(&mut self, news: Incoming) {
        match news {
            Incoming::Ended(known) => {
                let owner = known.id.split('.').next().unwrap_or_default().to_owned();
                if self.workers.contains_key(&owner) {
                    self.send(&owner, Input::Ended(known)).await;
                } else if let Some(waiting) =
                    self.known.iter_mut().find(|waiting| waiting.id == known.id)
                {
                    *waiting = known;
                }
            }
            Incoming::Lost => {
                self.known.clear();
                let ids: Vec<String> = self.workers.keys().cloned().collect();
                for id in ids {
                    self.send(&id, Input::Lost).await;
                }
            }
        }
    }

    async fn send(&self, id: &str, input: Input) {
        if let Some(worker) = self.workers.get(id) {
            // A worker that has just ended is noticed by its farewell.
            drop(worker.send(input).await);
        }
    }

    fn part(&mut self, farewell: Result<(String, Farewell), tokio::task::JoinError>) {
        match farewell {
            Ok((id, Farewell::Finished)) => {
                self.workers.remove(&id);
                self.finished.insert(id);
            }
            Ok((id, Farewell::Stopped)) => {
                self.workers.remove(&id);
            }
            Err(error) => tracing::error!(%error, "a worker has failed"),
        }
    }

    async fn stop_all(&mut self, within: Duration, incoming: &mut mpsc::Receiver<Incoming>) {
        let now = Timestamp::now();
        let after = |delay: Duration| {
            let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX);
            now.checked_add(delay).unwrap_or(Timestamp::MAX)
        };
        let kill_at = after(within.saturating_sub(LAST_WORDS.min(within / 4)));
        let leave_at = after(within);
        let ids: Vec<String> = self.workers.keys().cloned().collect();
        for id in ids {
            self.send(&id, Input::Stop { kill_at, leave_at }).await;
        }
        while !self.workers.is_empty() {
            tokio::select! {
                Some(news) = incoming.recv() => self.deliver(news).await,
                farewell = self.farewells.join_next() => match farewell {
                    Some(farewell) => self.part(farewell),
                    None => return,
                },
            }
        }
    }
}

/// A pod of which only the record is left: its containers are known by name, which is enough to stop them.
fn orphan_spec(mut pod: Pod, record: &PodRecord) -> Pod {
    use k8s_openapi::api::core::v1::{Container, PodSpec};
    let containers = record.memory.containers.keys();
    let containers = containers
        .map(|name| Container {
            name: name.clone(),
            ..Container::default()
        })
        .collect();
    let spec = PodSpec {
        containers,
        termination_grace_period_seconds: Some(0),
        ..PodSpec::default()
    };
    pod.spec = Some(spec);
    pod
}
