//! Plans one `ReplicaSet`: which pods to make, to delete, to adopt and to let go.
//!
//! # Invariants
//!
//! - The plan never makes and deletes at once.
//! - The same view always gives the same plan, so repeating it after a partial failure does no harm.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::identity::{joined, short_hash};
use crate::pods::{self, Availability};
use crate::selector;

/// Most pods made or deleted by one plan, so that a large set comes up in steps.
const BURST: usize = 500;
/// Annotation with which a user ranks pods for deletion; lower goes first.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// What the planner may look at.
#[derive(Debug, Clone)]
pub struct ReplicaSetView {
    /// The set.
    pub set: Arc<ReplicaSet>,
    /// All pods of its namespace.
    pub pods: Vec<Arc<Pod>>,
}

/// What must be done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReplicaSetPlan {
    /// Pods to make.
    pub create: Vec<Pod>,
    /// Pods to delete, by name and uid.
    pub delete: Vec<(String, String)>,
    /// Pods without an owner to take over, by name and uid.
    pub adopt: Vec<(String, String)>,
    /// Own pods whose labels no longer match, by name and uid.
    pub release: Vec<(String, String)>,
    /// The status to write, if it differs from the present one.
    pub status: Option<ReplicaSetStatus>,
    /// When the plan can change without any event.
    pub again_in: Option<Duration>,
}

/// Lists what must change for the set to match its spec.
pub fn plan(view: &ReplicaSetView, now: Timestamp) -> ReplicaSetPlan {
    let set = &view.set;
    let Some(spec) = &set.spec else {
        return ReplicaSetPlan::default();
    };
    let owned: Vec<&Pod> = view
        .pods
        .iter()
        .map(AsRef::as_ref)
        .filter(|pod| owns(set, pod))
        .collect();
    let (matching, strangers): (Vec<&Pod>, Vec<&Pod>) = owned
        .iter()
        .copied()
        .partition(|pod| selector::matches(&spec.selector, pod.metadata.labels.as_ref()));
    let active: Vec<&Pod> = matching
        .into_iter()
        .filter(|pod| pods::is_active(pod))
        .collect();

    let (status, again_in) = status(set, &active, now);
    let mut plan = ReplicaSetPlan {
        status: (set.status.as_ref().map(filled).as_ref() != Some(&filled(&status)))
            .then_some(status),
        again_in,
        ..ReplicaSetPlan::default()
    };
    if set.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    plan.release = strangers
        .into_iter()
        .filter(|pod| pods::is_active(pod))
        .map(name_and_uid)
        .collect();
    plan.adopt = orphans(view).map(name_and_uid).collect();
    let present = active.len() + plan.adopt.len();
    let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
    if present < wanted {
        plan.create = new_pods(view, (wanted - present).min(BURST));
    } else if plan.adopt.is_empty() {
        plan.delete = victims(active, (present - wanted).min(BURST));
    }
    plan
}

/// Whether `set` manages `pod`.
pub(crate) fn owns(set: &ReplicaSet, pod: &Pod) -> bool {
    pods::controller(&pod.metadata)
        .is_some_and(|owner| Some(&owner.uid) == set.metadata.uid.as_ref())
}

/// The owner reference that pods of `set` carry.
pub(crate) fn owner_reference(set: &ReplicaSet) -> OwnerReference {
    OwnerReference {
        api_version: "apps/v1".to_owned(),
        kind: "ReplicaSet".to_owned(),
        name: set.metadata.name.clone().unwrap_or_default(),
        uid: set.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

fn orphans(view: &ReplicaSetView) -> impl Iterator<Item = &Pod> {
    let spec = view.set.spec.as_ref();
    view.pods.iter().map(AsRef::as_ref).filter(move |pod| {
        pods::controller(&pod.metadata).is_none()
            && pods::is_active(pod)
            && spec
                .is_some_and(|spec| selector::matches(&spec.selector, pod.metadata.labels.as_ref()))
    })
}

fn name_and_uid(pod: &Pod) -> (String, String) {
    (
        pod.metadata.name.clone().unwrap_or_default(),
        pod.metadata.uid.clone().unwrap_or_default(),
    )
}

/// Pods under the first names that are free; a name is taken until its pod is gone.
fn new_pods(view: &ReplicaSetView, count: usize) -> Vec<Pod> {
    let set = &view.set;
    let taken: BTreeSet<&str> = view
        .pods
        .iter()
        .filter_map(|pod| pod.metadata.name.as_deref())
        .collect();
    let name = set.metadata.name.as_deref().unwrap_or_default();
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    let names = (0_u32..).map(|number| joined(name, &short_hash(&(uid, number), 5)));
    let mut fresh = BTreeSet::new();
    let free = names.filter(|name| !taken.contains(name.as_str()) && fresh.insert(name.clone()));
    free.take(count).map(|name| new_pod(set, name)).collect()
}

fn new_pod(set: &ReplicaSet, name: String) -> Pod {
    let template = set
        .spec
        .as_ref()
        .and_then(|spec| spec.template.clone())
        .unwrap_or_default();
    let from_template = template.metadata.unwrap_or_default();
    let owner = owner_reference(set);
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", owner.name)),
            name: Some(name),
            namespace: set.metadata.namespace.clone(),
            labels: from_template.labels,
            annotations: from_template.annotations,
            finalizers: from_template.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

/// The `count` pods whose loss hurts least.
fn victims(mut active: Vec<&Pod>, count: usize) -> Vec<(String, String)> {
    active.sort_by_cached_key(|pod| value_of(pod));
    active.into_iter().take(count).map(name_and_uid).collect()
}

/// Orders pods by how much their loss hurts: least first.
fn value_of(pod: &Pod) -> impl Ord + use<> {
    let bound = pod
        .spec
        .as_ref()
        .is_some_and(|spec| spec.node_name.is_some());
    let phase = match pods::phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let annotations = pod.metadata.annotations.as_ref();
    let cost = annotations
        .and_then(|all| all.get(DELETION_COST))
        .and_then(|cost| cost.parse::<i32>().ok());
    let containers = pod
        .status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten());
    let restarts = containers
        .map(|container| container.restart_count)
        .max()
        .unwrap_or(0);
    let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (
        bound,
        phase,
        pods::is_ready(pod),
        cost.unwrap_or(0),
        // Long ready pods, those with few restarts and old ones are worth more.
        Reverse(pods::ready_since(pod)),
        Reverse(restarts),
        Reverse(created),
        pod.metadata.name.clone(),
    )
}

fn status(
    set: &ReplicaSet,
    active: &[&Pod],
    now: Timestamp,
) -> (ReplicaSetStatus, Option<Duration>) {
    let spec = set.spec.as_ref();
    let min_ready = spec.and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let template = spec.and_then(|spec| spec.template.as_ref());
    let labels = template.and_then(|template| template.metadata.as_ref()?.labels.as_ref());
    let fully_labelled = |pod: &&&Pod| {
        labels.is_none_or(|wanted| {
            pod.metadata
                .labels
                .as_ref()
                .is_some_and(|have| selector::has_all(wanted, have))
        })
    };
    let pods_available: Vec<Availability> = active
        .iter()
        .map(|pod| pods::availability(pod, min_ready, now))
        .collect();
    let soon = pods_available.iter().filter_map(|state| match state {
        Availability::In(left) => Some(*left),
        Availability::Yes | Availability::No => None,
    });
    let count = |number: usize| Some(i32::try_from(number).unwrap_or(i32::MAX));
    let status = ReplicaSetStatus {
        replicas: i32::try_from(active.len()).unwrap_or(i32::MAX),
        fully_labeled_replicas: count(active.iter().filter(fully_labelled).count()),
        ready_replicas: count(active.iter().filter(|pod| pods::is_ready(pod)).count()),
        available_replicas: count(
            pods_available
                .iter()
                .filter(|state| **state == Availability::Yes)
                .count(),
        ),
        observed_generation: set.metadata.generation,
        conditions: set
            .status
            .as_ref()
            .and_then(|status| status.conditions.clone()),
        ..ReplicaSetStatus::default()
    };
    (status, soon.min())
}

/// Absent counts and zero are the same.
fn filled(status: &ReplicaSetStatus) -> [i64; 5] {
    let count = |count: Option<i32>| i64::from(count.unwrap_or(0));
    [
        i64::from(status.replicas),
        count(status.fully_labeled_replicas),
        count(status.ready_replicas),
        count(status.available_replicas),
        status.observed_generation.unwrap_or(0),
    ]
}

#[cfg(test)]
mod tests;
