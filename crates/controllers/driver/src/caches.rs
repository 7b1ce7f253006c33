//! What the watches reported, by the `ModelServing` it belongs to.
//!
//! # Invariants
//!
//! - Taking in a change costs no more than the objects of one `ModelServing`.
//! - A change that the planner cannot see wakes nobody.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kthena_api::labels;
use kthena_api::model_serving::ModelServing;
use kthena_cluster::watch::Named;
use kthena_cluster::{Change, ObjectKey};
use kthena_controllers_model_serving::{
    Blueprint, GangSupport, PodGroupView, PodView, ServiceView, ServingView, SnapshotView,
};

use crate::observe::{Observed, Part};

/// A `ModelServing` and the canonical form of its roles.
#[derive(Debug, Clone)]
struct Serving {
    object: Arc<ModelServing>,
    blueprint: Arc<Blueprint>,
}

/// Objects of one kind, by the `ModelServing` they name and by their own name.
#[derive(Debug)]
pub(crate) struct Parts<V> {
    by_serving: HashMap<ObjectKey, HashMap<String, Arc<V>>>,
    serving_of: HashMap<ObjectKey, ObjectKey>,
}

/// All objects.
#[derive(Debug, Default)]
pub(crate) struct Caches {
    servings: HashMap<ObjectKey, Serving>,
    pub(crate) pods: Parts<PodView>,
    pub(crate) services: Parts<ServiceView>,
    pub(crate) snapshots: Parts<SnapshotView>,
    pub(crate) gangs: Gangs,
}

/// What is known of Volcano's `PodGroup`s.
#[derive(Debug, Default)]
pub(crate) struct Gangs {
    pub(crate) pod_groups: Parts<PodGroupView>,
    /// What the definition of the kind says; `None` if there is no such kind.
    support: Option<GangSupport>,
    /// All that exist have been reported.
    is_synced: bool,
}

impl Gangs {
    /// What the planner may rely on.
    fn usable(&self) -> Option<GangSupport> {
        self.support.filter(|_| self.is_synced)
    }

    /// Takes in what the definition of the kind says. True if the planner must look at everything again.
    pub(crate) fn defined(&mut self, support: Option<GangSupport>) -> bool {
        let before = self.usable();
        self.support = support;
        if support.is_none() {
            self.pod_groups = Parts::default();
            self.is_synced = false;
        }
        before != self.usable()
    }

    /// Notes whether all `PodGroup`s are known. True if the planner must look at everything again.
    pub(crate) fn synced(&mut self, is_synced: bool) -> bool {
        let before = self.usable();
        self.is_synced = is_synced;
        before != self.usable()
    }
}

impl<V> Default for Parts<V> {
    fn default() -> Self {
        Self {
            by_serving: HashMap::new(),
            serving_of: HashMap::new(),
        }
    }
}

impl<V: PartialEq> Parts<V> {
    /// Takes a change in and names the `ModelServing`s that must be looked at: at most the old and the new one.
    pub(crate) fn apply<P: Part<View = V>>(&mut self, change: &Change<P>) -> Vec<ObjectKey> {
        match change {
            Change::Applied(object) => self.store(object.observed()),
            Change::Deleted(object) => self.remove(&object.key()).into_iter().collect(),
            Change::Undecodable { key, fault } => {
                tracing::warn!(%key, fault, "object cannot be read and is ignored");
                Vec::new()
            }
            Change::Synced | Change::Absent => Vec::new(),
        }
    }

    fn store(&mut self, object: &Observed<V>) -> Vec<ObjectKey> {
        let mut touched = Vec::new();
        if self
            .serving_of
            .get(&object.key)
            .is_some_and(|old| *old != object.serving)
        {
            touched.extend(self.remove(&object.key));
        }
        self.serving_of
            .insert(object.key.clone(), object.serving.clone());
        let siblings = self.by_serving.entry(object.serving.clone()).or_default();
        let old = siblings.insert(object.key.name.clone(), Arc::clone(&object.view));
        if old.is_none_or(|old| *old != *object.view) {
            touched.push(object.serving.clone());
        }
        touched
    }

    fn remove(&mut self, key: &ObjectKey) -> Option<ObjectKey> {
        let serving = self.serving_of.remove(key)?;
        if let Some(siblings) = self.by_serving.get_mut(&serving) {
            siblings.remove(&key.name);
            if siblings.is_empty() {
                self.by_serving.remove(&serving);
            }
        }
        Some(serving)
    }

    fn of(&self, serving: &ObjectKey) -> Vec<Arc<V>> {
        self.by_serving
            .get(serving)
            .map(|parts| parts.values().cloned().collect())
            .unwrap_or_default()
    }
}

impl Caches {
    /// Takes a change of a `ModelServing` in and names it if the planner must look at it.
    ///
    /// A change of nothing but the status is our own work.
    pub(crate) fn apply_serving(&mut self, change: &Change<ModelServing>) -> Option<ObjectKey> {
        match change {
            Change::Applied(object) => {
                let key = object.key();
                let old = self.servings.get(&key);
                let same =
                    old.is_some_and(|old| is_same_work(&old.object.metadata, &object.metadata));
                let blueprint = match old {
                    Some(old) if old.object.spec.template.roles == object.spec.template.roles => {
                        Arc::clone(&old.blueprint)
                    }
                    _ => Arc::new(Blueprint::of(&object.spec.template.roles)),
                };
                self.servings.insert(
                    key.clone(),
                    Serving {
                        object: Arc::clone(object),
                        blueprint,
                    },
                );
                (!same).then_some(key)
            }
            Change::Deleted(object) => {
                let key = object.key();
                self.servings.remove(&key);
                Some(key)
            }
            Change::Undecodable { key, fault } => {
                tracing::error!(%key, fault, "ModelServing cannot be read; its last good form stays in force");
                None
            }
            Change::Synced | Change::Absent => None,
        }
    }

    /// Everything the planner may look at; `None` if there is no such `ModelServing`.
    pub(crate) fn view(&self, key: &ObjectKey) -> Option<ServingView> {
        let serving = self.servings.get(key)?;
        let mut view = ServingView {
            serving: Arc::clone(&serving.object),
            blueprint: Arc::clone(&serving.blueprint),
            pods: self.pods.of(key),
            services: self.services.of(key),
            snapshots: self.snapshots.of(key),
            pod_groups: self.gangs.pod_groups.of(key),
            gang: self.gangs.usable(),
        };
        // The same objects make the same plan, whatever order they came in.
        view.pods
            .sort_unstable_by(|one, other| one.name.cmp(&other.name));
        view.services
            .sort_unstable_by(|one, other| one.name.cmp(&other.name));
        view.pod_groups
            .sort_unstable_by(|one, other| one.name.cmp(&other.name));
        view.snapshots
            .sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Some(view)
    }

    /// The `ModelServing` itself.
    pub(crate) fn serving(&self, key: &ObjectKey) -> Option<Arc<ModelServing>> {
        let serving = self.servings.get(key)?;
        Some(Arc::clone(&serving.object))
    }

    /// Keys of all `ModelServing`s.
    pub(crate) fn servings(&self) -> Vec<ObjectKey> {
        let mut keys: Vec<_> = self.servings.keys().cloned().collect();
        keys.sort_unstable();
        keys
    }
}

/// Whether two versions of an object ask for the same.
fn is_same_work(old: &ObjectMeta, new: &ObjectMeta) -> bool {
    let queue = |metadata: &ObjectMeta| {
        metadata
            .annotations
            .as_ref()
            .and_then(|annotations| annotations.get(labels::QUEUE_NAME))
            .cloned()
    };
    old.uid == new.uid
        && old.generation == new.generation
        && old.deletion_timestamp.is_some() == new.deletion_timestamp.is_some()
        && queue(old) == queue(new)
}

#[cfg(test)]
mod tests;
