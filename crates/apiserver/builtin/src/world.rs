//! What the watches have reported, and which keys an event concerns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kthena_cluster::{Change, ObjectKey, Store};
use tokio::time::Instant;

use crate::endpoint_slice::SERVICE_NAME;
use crate::pods;

/// How long the watch may take to show a pod that was made. Longer means that it came and went unseen.
const SEEN_WITHIN: Duration = Duration::from_secs(30);

/// An object that may need work.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    Deployment(ObjectKey),
    ReplicaSet(ObjectKey),
    Service(ObjectKey),
}

/// A change of any watched kind.
pub(crate) enum Event {
    Deployment(Change<Deployment>),
    ReplicaSet(Change<ReplicaSet>),
    Pod(Change<Pod>),
    Service(Change<Service>),
    Slice(Change<EndpointSlice>),
}

/// All watched objects.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) deployments: Store<Deployment>,
    pub(crate) sets: Store<ReplicaSet>,
    pub(crate) pods: Store<Pod>,
    pub(crate) services: Store<Service>,
    pub(crate) slices: Store<EndpointSlice>,
    /// Pods that were made but not yet seen, by the set that made them.
    unseen: BTreeMap<ObjectKey, BTreeMap<String, Instant>>,
}

impl World {
    /// Takes an event in and lists the keys that need work because of it.
    pub(crate) fn apply(&mut self, event: &Event) -> BTreeSet<Key> {
        let mut keys = BTreeSet::new();
        match event {
            Event::Deployment(change) => {
                keys.extend(self.deployments.apply(change).map(Key::Deployment));
            }
            Event::Service(change) => keys.extend(self.services.apply(change).map(Key::Service)),
            Event::ReplicaSet(change) => {
                keys.extend(self.sets.apply(change).map(Key::ReplicaSet));
                if let Some(set) = object(change) {
                    keys.extend(owner(&set.metadata, "Deployment").map(Key::Deployment));
                }
            }
            Event::Pod(change) => self.apply_pod(change, &mut keys),
            Event::Slice(change) => {
                self.slices.apply(change);
                keys.extend(
                    object(change)
                        .and_then(|slice| service_of(slice))
                        .map(Key::Service),
                );
            }
        }
        keys
    }

    /// Whether every kind has been listed once.
    pub(crate) fn is_synced(&self) -> bool {
        self.deployments.is_synced()
            && self.sets.is_synced()
            && self.pods.is_synced()
            && self.services.is_synced()
            && self.slices.is_synced()
    }

    /// Pods of one namespace.
    pub(crate) fn pods_in(&self, namespace: &str) -> Vec<Arc<Pod>> {
        let all = self
            .pods
            .iter()
            .filter(|(key, _)| key.namespace == namespace);
        all.map(|(_, pod)| Arc::clone(pod)).collect()
    }

    /// A pod was made for `set`; until the watch shows it, the set's view is known to lag.
    pub(crate) fn expect(&mut self, set: &ObjectKey, pod: &str, now: Instant) {
        let key = ObjectKey::new(&set.namespace, pod);
        if self.pods.get(&key).is_none() {
            self.unseen
                .entry(set.clone())
                .or_default()
                .insert(pod.to_owned(), now);
        }
    }

    /// Whether pods made for `set` are still unseen.
    pub(crate) fn is_behind(&mut self, set: &ObjectKey, now: Instant) -> bool {
        let Some(pods) = self.unseen.get_mut(set) else {
            return false;
        };
        pods.retain(|_, made| now.duration_since(*made) < SEEN_WITHIN);
        let behind = !pods.is_empty();
        if !behind {
            self.unseen.remove(set);
        }
        behind
    }

    fn apply_pod(&mut self, change: &Change<Pod>, keys: &mut BTreeSet<Key>) {
        let before = object(change).and_then(|pod| {
            let key = key_of(&pod.metadata);
            self.pods.get(&key).cloned()
        });
        self.pods.apply(change);
        let Some(pod) = object(change) else { return };
        for pod in before.iter().chain([pod]) {
            self.concerns(pod, keys);
        }
    }

    /// The owners of a pod and the Services and sets that may pick it.
    fn concerns(&mut self, pod: &Pod, keys: &mut BTreeSet<Key>) {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        if let Some(set) = owner(&pod.metadata, "ReplicaSet") {
            if let Some(unseen) = self.unseen.get_mut(&set) {
                unseen.remove(pod.metadata.name.as_deref().unwrap_or_default());
            }
            let owner = self
                .sets
                .get(&set)
                .and_then(|set| owner(&set.metadata, "Deployment"));
            keys.extend(owner.map(Key::Deployment));
            keys.insert(Key::ReplicaSet(set));
        } else if pods::controller(&pod.metadata).is_none() {
            let sets = self
                .sets
                .iter()
                .filter(|(key, _)| key.namespace == namespace);
            keys.extend(sets.map(|(key, _)| Key::ReplicaSet(key.clone())));
        }
        let services = self
            .services
            .iter()
            .filter(|(key, _)| key.namespace == namespace);
        keys.extend(services.map(|(key, _)| Key::Service(key.clone())));
    }
}

fn object<K>(change: &Change<K>) -> Option<&Arc<K>> {
    match change {
        Change::Applied(object) | Change::Deleted(object) => Some(object),
        Change::Synced | Change::Absent | Change::Undecodable { .. } => None,
    }
}

fn key_of(metadata: &ObjectMeta) -> ObjectKey {
    ObjectKey::new(
        metadata.namespace.clone().unwrap_or_default(),
        metadata.name.clone().unwrap_or_default(),
    )
}

/// The managing owner, if it is of that kind.
fn owner(metadata: &ObjectMeta, kind: &str) -> Option<ObjectKey> {
    let owner = pods::controller(metadata).filter(|owner| owner.kind == kind)?;
    Some(ObjectKey::new(
        metadata.namespace.clone().unwrap_or_default(),
        owner.name.clone(),
    ))
}

/// The Service that a slice names.
pub(crate) fn service_of(slice: &EndpointSlice) -> Option<ObjectKey> {
    let name = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
    Some(ObjectKey::new(
        slice.metadata.namespace.clone().unwrap_or_default(),
        name.clone(),
    ))
}
