//! The Node object of this machine and the Lease that says it is alive.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{
    Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use crate::config::NodeConfig;
use crate::error::NodeError;
use crate::machine::request::GPU;
use crate::supervisor::procfs;

/// Namespace of node leases.
const LEASES: &str = "kube-node-lease";
/// How many heartbeats may be missed before the lease has run out.
const MISSED: i32 = 4;

/// Labels of the Node object.
pub(crate) fn labels(config: &NodeConfig) -> BTreeMap<String, String> {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let mut labels = config.labels.clone();
    for (key, value) in [
        ("kubernetes.io/hostname", config.name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", arch),
        ("kthena.volcano.sh/node", "process"),
    ] {
        labels
            .entry(key.to_owned())
            .or_insert_with(|| value.to_owned());
    }
    labels
}

/// Creates the Node object, or brings it up to date, and returns its uid.
pub(crate) async fn register(client: &Client, config: &NodeConfig) -> Result<String, NodeError> {
    let failed = |source| NodeError::Register {
        name: config.name.clone(),
        source: Box::new(source),
    };
    let nodes: Api<Node> = Api::all(client.clone());
    let metadata = ObjectMeta {
        name: Some(config.name.clone()),
        labels: Some(labels(config)),
        ..ObjectMeta::default()
    };
    let node = Node {
        metadata,
        spec: None,
        status: Some(status(config, true)),
    };
    let uid = match nodes.create(&PostParams::default(), &node).await {
        Ok(made) => made.metadata.uid,
        Err(kube::Error::Api(answer)) if answer.code == 409 => {
            let patch = json!({ "metadata": { "labels": labels(config) } });
            let known = nodes
                .patch(&config.name, &PatchParams::default(), &Patch::Merge(patch))
                .await;
            known.map_err(failed)?.metadata.uid
        }
        Err(error) => return Err(failed(error)),
    };
    write_status(client, config, true).await.map_err(failed)?;
    Ok(uid.unwrap_or_default())
}

/// Renews the Lease and, now and then, the node's status until told to stop; then says that it is not ready.
pub(crate) async fn heartbeat(shared: Arc<Shared>, uid: String, shutdown: CancellationToken) {
    let mut beat = interval(shared.config.heartbeat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut written = Instant::now();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = beat.tick() => {}
        }
        if let Err(error) = renew(&shared, &uid).await {
            tracing::debug!(%error, "lease not renewed");
        }
        if written.elapsed() >= shared.config.status_interval {
            match write_status(&shared.client, &shared.config, true).await {
                Ok(()) => written = Instant::now(),
                Err(error) => tracing::debug!(%error, "node status not written"),
            }
        }
    }
    // The server may be on its way down as well.
    let last = write_status(&shared.client, &shared.config, false);
    drop(tokio::time::timeout(std::time::Duration::from_secs(1), last).await);
}

async fn renew(shared: &Shared, uid: &str) -> Result<(), kube::Error> {
    let config = &shared.config;
    let leases: Api<Lease> = Api::namespaced(shared.client.clone(), LEASES);
    let seconds = i32::try_from(config.heartbeat.as_secs())
        .unwrap_or(i32::MAX)
        .max(1);
    let now = MicroTime(Timestamp::now());
    let patch = json!({ "spec": { "renewTime": now, "holderIdentity": config.name } });
    match leases
        .patch(&config.name, &PatchParams::default(), &Patch::Merge(patch))
        .await
    {
        Err(kube::Error::Api(answer)) if answer.code == 404 => {}
        other => return other.map(drop),
    }
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: config.name.clone(),
        uid: uid.to_owned(),
        ..OwnerReference::default()
    };
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(config.name.clone()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(config.name.clone()),
            lease_duration_seconds: Some(seconds.saturating_mul(MISSED)),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }),
    };
    match leases.create(&PostParams::default(), &lease).await {
        // A server that has no such namespace has no use for the lease either.
        Err(kube::Error::Api(answer)) if answer.code == 404 => make_namespace(&shared.client).await,
        other => other.map(drop),
    }
}

async fn make_namespace(client: &Client) -> Result<(), kube::Error> {
    use k8s_openapi::api::core::v1::Namespace;
    let metadata = ObjectMeta {
        name: Some(LEASES.to_owned()),
        ..ObjectMeta::default()
    };
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces
        .create(
            &PostParams::default(),
            &Namespace {
                metadata,
                ..Namespace::default()
            },
        )
        .await
        .map(drop)
}

async fn write_status(
    client: &Client,
    config: &NodeConfig,
    ready: bool,
) -> Result<(), kube::Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    let patch = json!({ "status": status(config, ready) });
    nodes
        .patch_status(
            &config.name,
            &PatchParams::default(),
            &Patch::Strategic(patch),
        )
        .await
        .map(drop)
}

fn status(config: &NodeConfig, ready: bool) -> NodeStatus {
    let now = Time(Timestamp::now());
    let total = config.capacity;
    let mut capacity: BTreeMap<String, Quantity> = [
        ("cpu", format!("{}m", total.cpu_milli)),
        ("memory", total.memory.to_string()),
        ("pods", total.pods.to_string()),
    ]
    .into_iter()
    .map(|(name, amount)| (name.to_owned(), Quantity(amount)))
    .collect();
    if total.gpus > 0 {
        capacity.insert(GPU.to_owned(), Quantity(total.gpus.to_string()));
    }
    let condition = NodeCondition {
        type_: "Ready".to_owned(),
        status: if ready { "True" } else { "False" }.to_owned(),
        reason: Some(
            if ready {
                "KubeletReady"
            } else {
                "KubeletStopped"
            }
            .to_owned(),
        ),
        message: Some(
            if ready {
                "the node agent runs"
            } else {
                "the node agent has stopped"
            }
            .to_owned(),
        ),
        last_heartbeat_time: Some(now.clone()),
        last_transition_time: Some(now),
    };
    let address = |kind: &str, address: String| NodeAddress {
        type_: kind.to_owned(),
        address,
    };
    NodeStatus {
        addresses: Some(vec![
            address("InternalIP", config.host_ip.to_string()),
            address("Hostname", config.name.clone()),
        ]),
        allocatable: Some(capacity.clone()),
        capacity: Some(capacity),
        conditions: Some(vec![condition]),
        daemon_endpoints: Some(NodeDaemonEndpoints::default()),
        node_info: Some(NodeSystemInfo {
            architecture: labels(config)
                .get("kubernetes.io/arch")
                .cloned()
                .unwrap_or_default(),
            boot_id: procfs::boot_id(),
            container_runtime_version: format!("kthena-process://{}", env!("CARGO_PKG_VERSION")),
            kubelet_version: format!("kthena-{}", env!("CARGO_PKG_VERSION")),
            operating_system: "linux".to_owned(),
            os_image: "processes of this machine".to_owned(),
            ..NodeSystemInfo::default()
        }),
        ..NodeStatus::default()
    }
}
