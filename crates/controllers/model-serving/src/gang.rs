//! Volcano's `PodGroup`s: the pods of a serving group are placed together or not at all.
//!
//! There is one `PodGroup` per serving group, made before its pods, and computed from the template that the group is
//! on, so that it never waits for members that will not exist.
//!
//! # Invariants
//!
//! - A `PodGroup` that says the same in other words is not written again.
//! - Without the `PodGroup` kind in the cluster, or with another scheduler, there is none and nothing waits for one.

mod demand;

use std::collections::{BTreeMap, BTreeSet};

use kthena_api::labels;
use kthena_api::model_serving::{GangPolicy, ModelServing, NetworkTopology};
use serde_json::{Map, Value, json};

use crate::names;
use crate::plan::{Action, Draft};
use crate::quantity;
use crate::revision::{GroupTemplate, PlannedRole};
use crate::state::{Groups, Lifecycle, pods_of};
use crate::view::{PodGroupView, ServingView};

/// The scheduler that knows `PodGroup`s.
const SCHEDULER: &str = "volcano";
/// What the server takes an absent queue for.
const DEFAULT_QUEUE: &str = "default";
/// Members of the spec that are ours.
const OURS: [&str; 5] = [
    "minMember",
    "minResources",
    "queue",
    "networkTopology",
    "subGroupPolicy",
];

/// Whether pods are placed as gangs.
pub(crate) fn is_active(view: &ServingView) -> bool {
    view.gang.is_some() && view.serving.spec.scheduler_name.as_deref() == Some(SCHEDULER)
}

/// Creates, changes and deletes `PodGroup`s, so that every group that stays or is about to be made has one.
pub(crate) fn ensure(
    view: &ServingView,
    groups: &Groups<'_>,
    missing: &[(i32, GroupTemplate<'_>)],
    draft: &mut Draft,
) {
    if view.gang.is_none() {
        return;
    }
    let mut kept = BTreeSet::new();
    if is_active(view) {
        let found: BTreeMap<_, _> = view
            .pod_groups
            .iter()
            .map(|gang| (gang.name.as_str(), gang.as_ref()))
            .collect();
        let staying = groups
            .iter()
            .filter(|(_, group)| !group.is_leaving())
            .map(|(ordinal, group)| (*ordinal, &group.template));
        let missing = missing
            .iter()
            .map(|(ordinal, template)| (*ordinal, template));
        for (ordinal, template) in staying.chain(missing) {
            let name = names::group(view.name(), ordinal);
            let found = found.get(name.as_str()).copied();
            ensure_one(view, (ordinal, &name), template, found, draft);
            kept.insert(name);
        }
    }
    let unneeded = view
        .owned_pod_groups()
        .filter(|gang| !gang.is_terminating && !kept.contains(&gang.name));
    for gang in unneeded {
        draft.act(Action::DeletePodGroup {
            name: gang.name.clone(),
            uid: gang.uid.clone(),
        });
    }
}

/// Makes what was `found` under the name of a group what its template asks for.
fn ensure_one(
    view: &ServingView,
    (ordinal, name): (i32, &str),
    template: &GroupTemplate<'_>,
    found: Option<&PodGroupView>,
    draft: &mut Draft,
) {
    let wanted = spec(view, template);
    let Some(found) = found else {
        draft.act(Action::CreatePodGroup {
            name: name.to_owned(),
            object: render(view, name, &wanted),
        });
        return;
    };
    if found.owner != view.uid() {
        draft.name_taken("PodGroup", name);
        draft.hold_group(ordinal);
    } else if found.is_terminating {
        draft.hold_group(ordinal);
    } else if let Some(changes) = changes(&found.spec, &wanted) {
        draft.act(Action::PatchPodGroup {
            name: name.to_owned(),
            patch: json!({ "metadata": { "uid": found.uid }, "spec": changes }),
        });
    }
}

/// Why the first group that is not running cannot be placed, in the scheduler's words.
pub(crate) fn unplaced(view: &ServingView, groups: &Groups<'_>) -> Option<String> {
    let refused: BTreeMap<_, _> = view
        .owned_pod_groups()
        .filter(|gang| !gang.unplaced.is_empty())
        .map(|gang| (gang.name.as_str(), &gang.unplaced))
        .collect();
    let mut waiting = groups
        .values()
        .filter(|group| !group.is_leaving() && group.lifecycle != Lifecycle::Running);
    waiting.find_map(|group| {
        let why = refused.get(group.name.as_str())?;
        Some(format!("{}: {why}", group.name))
    })
}

fn render(view: &ServingView, name: &str, spec: &Map<String, Value>) -> Value {
    let mut owner = crate::pods::owner_reference(view);
    if let Some(owner) = owner.as_object_mut() {
        owner.remove("blockOwnerDeletion");
    }
    json!({
        "apiVersion": "scheduling.volcano.sh/v1beta1",
        "kind": "PodGroup",
        "metadata": {
            "name": name,
            "namespace": view.namespace(),
            "labels": { labels::MODEL_SERVING_NAME: view.name(), labels::GROUP_NAME: name },
            "annotations": { labels::POD_GROUP_NAME: name },
            "ownerReferences": [owner],
        },
        "spec": spec,
    })
}

/// What a group built from this template asks the scheduler for.
fn spec(view: &ServingView, template: &GroupTemplate<'_>) -> Map<String, Value> {
    let policy = view.serving.spec.template.gang_policy.as_ref();
    let members = template.roles.iter().map(|planned| {
        let pods = i64::try_from(pods_of(planned.role.worker_replicas)).unwrap_or(i64::MAX);
        i64::from(needed(policy, planned)).saturating_mul(pods)
    });
    let mut spec = Map::new();
    spec.insert(
        "minMember".to_owned(),
        members.fold(0, i64::saturating_add).into(),
    );
    let resources = demand::of(
        template
            .roles
            .iter()
            .map(|planned| (planned.role, needed(policy, planned))),
    );
    let resources: Map<String, Value> = resources
        .into_iter()
        .map(|(name, amount)| (name, Value::String(quantity::write(amount))))
        .collect();
    if !resources.is_empty() {
        spec.insert("minResources".to_owned(), resources.into());
    }
    if let Some(queue) = queue(&view.serving) {
        spec.insert("queue".to_owned(), queue.into());
    }
    let topology = view.serving.spec.template.network_topology.as_ref();
    if let Some(policy) = topology.and_then(|topology| topology.group_policy.as_ref()) {
        spec.insert("networkTopology".to_owned(), json!(policy));
    }
    if view.gang.is_some_and(|gang| gang.has_sub_groups) {
        let sub_groups = template
            .roles
            .iter()
            .map(|planned| sub_group(view, policy, topology, planned));
        spec.insert("subGroupPolicy".to_owned(), sub_groups.collect());
    }
    spec
}

/// Instances of a role that must be placed together.
fn needed(policy: Option<&GangPolicy>, planned: &PlannedRole<'_>) -> i32 {
    let listed = policy
        .and_then(|policy| policy.min_role_replicas.as_ref())
        .and_then(|roles| roles.get(&planned.role.name));
    listed.map_or(planned.replicas, |least| {
        (*least).clamp(0, planned.replicas)
    })
}

fn sub_group(
    view: &ServingView,
    policy: Option<&GangPolicy>,
    topology: Option<&NetworkTopology>,
    planned: &PlannedRole<'_>,
) -> Value {
    let mut sub_group = json!({
        "name": planned.role.name,
        "labelSelector": { "matchLabels": {
            labels::MODEL_SERVING_NAME: view.name(), labels::ROLE: planned.role.name,
        } },
        "matchLabelKeys": [labels::ROLE_ID],
        "subGroupSize": pods_of(planned.role.worker_replicas),
        "minSubGroups": needed(policy, planned),
    });
    if let Some(policy) = topology.and_then(|topology| topology.role_policy.as_ref()) {
        sub_group["networkTopology"] = json!(policy);
    }
    sub_group
}

fn queue(serving: &ModelServing) -> Option<&str> {
    let annotations = serving.metadata.annotations.as_ref()?;
    let queue = annotations.get(labels::QUEUE_NAME)?;
    Some(queue.as_str()).filter(|queue| !queue.is_empty())
}

/// A merge patch that turns `found` into `wanted`; `None` if they say the same.
fn changes(found: &Value, wanted: &Map<String, Value>) -> Option<Map<String, Value>> {
    let mut changes = Map::new();
    for key in OURS {
        let (old, new) = (found.get(key), wanted.get(key));
        if is_same(key, old, new) {
            continue;
        }
        let mut new = new.cloned().unwrap_or(Value::Null);
        // In a merge patch a member stays unless it is taken away.
        if let (Some(Value::Object(old)), Value::Object(new)) = (old, &mut new) {
            for member in old.keys() {
                new.entry(member).or_insert(Value::Null);
            }
        }
        changes.insert(key.to_owned(), new);
    }
    (!changes.is_empty()).then_some(changes)
}

fn is_same(key: &str, found: Option<&Value>, wanted: Option<&Value>) -> bool {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    let found = found.filter(|value| !is_empty(value));
    let wanted = wanted.filter(|value| !is_empty(value));
    match (key, found, wanted) {
        ("queue", found, wanted) => {
            let name = |value: Option<&Value>| {
                value
                    .and_then(Value::as_str)
                    .unwrap_or(DEFAULT_QUEUE)
                    .to_owned()
            };
            name(found) == name(wanted)
        }
        (_, None, None) => true,
        ("minResources", Some(Value::Object(found)), Some(Value::Object(wanted))) => {
            found.len() == wanted.len()
                && wanted.iter().all(|(name, amount)| {
                    found.get(name).and_then(quantity::read) == quantity::read(amount)
                })
        }
        ("subGroupPolicy", Some(found), Some(wanted)) => says(found, wanted),
        ("networkTopology", Some(found), Some(wanted)) => topology(found) == topology(wanted),
        (_, Some(found), Some(wanted)) => found == wanted,
        _ => false,
    }
}

/// Whether `found` says all that `wanted` says; the server may have added defaults.
fn says(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            // A topology that is not wanted any more must go.
            let of = |spec: &Map<String, Value>| spec.get("networkTopology").map(topology);
            of(found) == of(wanted)
                && wanted
                    .iter()
                    .filter(|(key, _)| *key != "networkTopology")
                    .all(|(key, wanted)| found.get(key).is_some_and(|found| says(found, wanted)))
        }
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len()
                && found
                    .iter()
                    .zip(wanted)
                    .all(|(found, wanted)| says(found, wanted))
        }
        _ => found == wanted,
    }
}

/// A topology with what Volcano's definition of `PodGroup` puts in for what is absent.
fn topology(given: &Value) -> Value {
    let mut whole = json!({ "mode": "hard", "highestTierAllowed": 1 });
    if let (Some(whole), Some(given)) = (whole.as_object_mut(), given.as_object()) {
        whole.extend(given.clone());
    }
    whole
}

#[cfg(test)]
mod tests;
