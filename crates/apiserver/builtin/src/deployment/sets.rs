//! The `ReplicaSet`s of a Deployment: which one is the present one, their revisions, their end.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::{DeploymentAction, Sets, is_paused, name, replicas};
use crate::identity::{joined, short_hash};

/// Label that tells the pods of one template from those of another.
pub const HASH_LABEL: &str = "pod-template-hash";
/// Annotation with the number of a revision.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// What kubectl keeps in an annotation belongs to the object it was applied to.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Old sets that are kept if the Deployment does not say how many.
const HISTORY: i32 = 10;

/// Tells the set of the present template from the others.
pub(super) fn sort<'a>(deployment: &Deployment, sets: &'a [Arc<ReplicaSet>]) -> Sets<'a> {
    let mut all: Vec<&ReplicaSet> = sets.iter().map(AsRef::as_ref).collect();
    let age = |set: &&ReplicaSet| {
        (
            set.metadata.creation_timestamp.as_ref().map(|time| time.0),
            name(set),
        )
    };
    all.sort_by_key(age);
    let template = deployment
        .spec
        .as_ref()
        .map(|spec| without_hash(&spec.template));
    let carries = |set: &ReplicaSet| {
        let own = set
            .spec
            .as_ref()
            .and_then(|spec| spec.template.as_ref())
            .map(without_hash);
        set.metadata.deletion_timestamp.is_none() && own == template
    };
    let new = all.iter().position(|set| carries(set));
    let new = new.map(|position| all.remove(position));
    all.retain(|set| set.metadata.deletion_timestamp.is_none() || replicas(set) > 0);
    Sets { new, old: all }
}

fn without_hash(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    let metadata = template.metadata.get_or_insert_default();
    if let Some(labels) = &mut metadata.labels {
        labels.remove(HASH_LABEL);
    }
    // Written by programs that print a zero time.
    metadata.creation_timestamp = None;
    template
}

/// Revisions and settings that sets and Deployment must carry; making the set is the rollout's.
pub(super) fn marks(deployment: &Deployment, sets: &Sets<'_>) -> Vec<DeploymentAction> {
    let mut actions = Vec::new();
    let Some(new) = sets.new else { return actions };
    let revision = next_revision(sets).max(revision(&new.metadata));
    if revision != self::revision(&new.metadata) {
        actions.push(DeploymentAction::MarkSet {
            set: name(new),
            revision,
        });
    }
    if revision != self::revision(&deployment.metadata) {
        actions.push(DeploymentAction::MarkDeployment { revision });
    }
    let seconds = min_ready(deployment);
    let own = new
        .spec
        .as_ref()
        .and_then(|spec| spec.min_ready_seconds)
        .unwrap_or(0);
    if seconds != own && !is_paused(deployment) {
        actions.push(DeploymentAction::SetMinReady {
            set: name(new),
            seconds,
        });
    }
    actions
}

/// One more than the highest revision of an old set.
fn next_revision(sets: &Sets<'_>) -> i64 {
    1 + sets
        .old
        .iter()
        .map(|set| revision(&set.metadata))
        .max()
        .unwrap_or(0)
}

fn revision(metadata: &ObjectMeta) -> i64 {
    let text = metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(REVISION));
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

pub(super) fn min_ready(deployment: &Deployment) -> i32 {
    deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.min_ready_seconds)
        .unwrap_or(0)
}

/// The set for the present template, with `replicas` pods.
pub(super) fn new_set(
    deployment: &Deployment,
    sets: &Sets<'_>,
    replicas: i32,
) -> Option<ReplicaSet> {
    let spec = deployment.spec.as_ref()?;
    let collisions = deployment
        .status
        .as_ref()
        .and_then(|status| status.collision_count);
    let hash = short_hash(&(without_hash(&spec.template), collisions), 10);
    let mut template = spec.template.clone();
    let labels = template
        .metadata
        .get_or_insert_default()
        .labels
        .get_or_insert_default();
    labels.insert(HASH_LABEL.to_owned(), hash.clone());
    let labels = labels.clone();
    let mut selector = spec.selector.clone();
    selector
        .match_labels
        .get_or_insert_default()
        .insert(HASH_LABEL.to_owned(), hash.clone());
    let mut annotations = deployment.metadata.annotations.clone().unwrap_or_default();
    annotations.remove(LAST_APPLIED);
    annotations.insert(REVISION.to_owned(), next_revision(sets).to_string());
    let own_name = deployment.metadata.name.clone().unwrap_or_default();
    Some(ReplicaSet {
        metadata: ObjectMeta {
            name: Some(joined(&own_name, &hash)),
            namespace: deployment.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: Some(vec![OwnerReference {
                api_version: "apps/v1".to_owned(),
                kind: "Deployment".to_owned(),
                name: own_name,
                uid: deployment.metadata.uid.clone().unwrap_or_default(),
                controller: Some(true),
                block_owner_deletion: Some(true),
            }]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            min_ready_seconds: spec.min_ready_seconds,
            replicas: Some(replicas),
            selector,
            template: Some(template),
        }),
        status: None,
    })
}

/// Empty old sets that the history limit leaves no room for, those of the lowest revisions.
pub(super) fn beyond_history(deployment: &Deployment, sets: &Sets<'_>) -> Vec<DeploymentAction> {
    let limit = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.revision_history_limit)
        .unwrap_or(HISTORY);
    let empty = |set: &&&ReplicaSet| {
        let status = set.status.as_ref();
        replicas(set) == 0
            && status.is_some_and(|status| status.replicas == 0)
            && status.and_then(|status| status.observed_generation) >= set.metadata.generation
            && set.metadata.deletion_timestamp.is_none()
    };
    let mut empty: Vec<&ReplicaSet> = sets.old.iter().filter(empty).copied().collect();
    empty.sort_by_key(|set| revision(&set.metadata));
    let surplus = sets
        .old
        .len()
        .saturating_sub(usize::try_from(limit).unwrap_or(0));
    let gone = empty.into_iter().take(surplus);
    gone.map(|set| DeploymentAction::Delete {
        set: name(set),
        uid: set.metadata.uid.clone().unwrap_or_default(),
    })
    .collect()
}
