//! What the parts of one agent share: settings, connections, and who holds which address and device.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use kthena_cluster::ObjectKey;
use kthena_cluster::events::{Recorder, Severity, Subject};
use kube::Client;
use tokio::sync::Notify;

use crate::config::NodeConfig;
use crate::machine::address::AddressPool;
use crate::machine::devices::DevicePool;
use crate::machine::request::Amount;
use crate::plan::status::Place;
use crate::runtime::Runtime;

/// Who holds what; the lock is never held across an await.
#[derive(Debug)]
pub(crate) struct Holdings {
    pub(crate) addresses: AddressPool,
    pub(crate) devices: DevicePool,
    /// Addresses of the pods on this node, by namespace and name.
    pub(crate) peers: BTreeMap<ObjectKey, Ipv4Addr>,
    /// What each pod on this node asks, by uid.
    pub(crate) used: BTreeMap<String, Amount>,
}

/// One agent.
pub(crate) struct Shared {
    pub(crate) config: NodeConfig,
    pub(crate) client: Client,
    pub(crate) recorder: Recorder,
    pub(crate) runtime: Arc<Runtime>,
    /// Told whenever a pod comes, goes or frees what it held.
    pub(crate) changed: Notify,
    holdings: Mutex<Holdings>,
}

impl Shared {
    pub(crate) fn new(
        config: NodeConfig,
        client: Client,
        recorder: Recorder,
        runtime: Arc<Runtime>,
    ) -> Self {
        let gpus = u32::try_from(config.capacity.gpus).unwrap_or(0);
        let holdings = Holdings {
            addresses: AddressPool::new(config.addresses),
            devices: DevicePool::new(gpus),
            peers: BTreeMap::new(),
            used: BTreeMap::new(),
        };
        Self {
            config,
            client,
            recorder,
            runtime,
            changed: Notify::new(),
            holdings: Mutex::new(holdings),
        }
    }

    pub(crate) fn holdings(&self) -> MutexGuard<'_, Holdings> {
        self.holdings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives back what a pod held.
    pub(crate) fn release(&self, key: &ObjectKey, uid: &str, address: IpAddr) {
        let mut holdings = self.holdings();
        holdings.addresses.release(uid);
        holdings.devices.release(uid);
        holdings.used.remove(uid);
        if holdings
            .peers
            .get(key)
            .is_some_and(|peer| IpAddr::V4(*peer) == address)
        {
            holdings.peers.remove(key);
        }
        drop(holdings);
        self.changed.notify_waiters();
    }

    pub(crate) fn tell(&self, pod: &Pod, severity: Severity, reason: &str, message: &str) {
        self.recorder
            .publish(&subject(pod), severity, reason, message);
    }
}

/// Namespace and name of a pod.
pub(crate) fn key(pod: &Pod) -> ObjectKey {
    let meta = &pod.metadata;
    ObjectKey::new(
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}

/// Uid of a pod.
pub(crate) fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// Where a pod of that address is.
pub(crate) fn place(shared: &Shared, address: Ipv4Addr) -> Place {
    Place {
        pod_ip: address.into(),
        host_ip: shared.config.host_ip,
        // Whoever takes pods past every scheduler leaves none to another node.
        is_alone: shared.config.claim_unassigned,
    }
}

fn subject(pod: &Pod) -> Subject {
    Subject {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        key: key(pod),
        uid: uid(pod).to_owned(),
    }
}
