//! Reads groups and role instances back from the labels of pods.
//!
//! # Invariants
//!
//! - A record that is being deleted keeps its ordinal until its pods and services are gone.
//! - Readiness is judged by the template a record is on, not by the newest one.
//! - Objects of others, and names that are not of the published form, are no records.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use kthena_api::model_serving::{RolloutType, ServingGroupTemplate};
use serde_json::{Value, json};

use crate::memory::Memory;
use crate::names;
use crate::order::Rank;
use crate::revision::{GroupTemplate, PlannedRole, Revisions};
use crate::rollout::protected_instances;
use crate::view::{PodView, ServingView};

/// Where a group or a role instance is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifecycle {
    /// Not ready, or not ready any more.
    Creating,
    /// All of it is ready.
    Running,
    /// Ready instances, but not as many as wanted. Groups only.
    Scaling,
    /// Going away.
    Deleting,
}

/// One instance of a role.
#[derive(Debug, Clone)]
pub struct InstanceState {
    /// `<role>-<ordinal>`.
    pub id: String,
    /// Revision its pods carry.
    pub revision: String,
    /// Role template hash its pods carry.
    pub role_hash: String,
    /// Where it is in its life.
    pub lifecycle: Lifecycle,
    pub(crate) pods: Vec<Arc<PodView>>,
    pub(crate) is_up_to_date: bool,
}

/// One serving group.
#[derive(Debug, Clone)]
pub struct GroupState<'a> {
    /// `<serving>-<ordinal>`.
    pub name: String,
    /// Revision it counts as.
    pub revision: String,
    /// Where it is in its life.
    pub lifecycle: Lifecycle,
    /// Instances by role name and ordinal.
    pub roles: BTreeMap<String, BTreeMap<i32, InstanceState>>,
    pub(crate) template: GroupTemplate<'a>,
}

/// All groups by ordinal.
pub(crate) type Groups<'a> = BTreeMap<i32, GroupState<'a>>;

impl Lifecycle {
    fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "Creating",
            Self::Running => "Running",
            Self::Scaling => "Scaling",
            Self::Deleting => "Deleting",
        }
    }
}

impl InstanceState {
    pub(crate) fn is_leaving(&self) -> bool {
        self.lifecycle == Lifecycle::Deleting
    }

    pub(crate) fn rank(&self) -> Rank {
        Rank {
            is_running: self.lifecycle == Lifecycle::Running,
            is_leaving: self.is_leaving(),
            cost: self
                .pods
                .iter()
                .map(|pod| pod.deletion_cost)
                .fold(0, i64::saturating_add),
        }
    }
}

impl GroupState<'_> {
    pub(crate) fn is_leaving(&self) -> bool {
        self.lifecycle == Lifecycle::Deleting
    }

    pub(crate) fn rank(&self) -> Rank {
        let cost = self
            .instances()
            .map(|instance| instance.rank().cost)
            .fold(0, i64::saturating_add);
        Rank {
            is_running: self.lifecycle == Lifecycle::Running,
            is_leaving: self.is_leaving(),
            cost,
        }
    }

    pub(crate) fn instances(&self) -> impl Iterator<Item = &InstanceState> {
        self.roles.values().flat_map(BTreeMap::values)
    }
}

/// Builds the records of a view.
pub(crate) fn groups<'a>(
    view: &'a ServingView,
    revisions: &Revisions<'a>,
    memory: &Memory,
    protected: usize,
) -> Groups<'a> {
    let mut records = records(view, memory);
    let is_role_rollout = is_role_rollout(view);
    let mut groups = BTreeMap::new();
    let fresh = revisions.spec();
    for (index, (ordinal, mut roles)) in std::mem::take(&mut records).into_iter().enumerate() {
        let name = names::group(view.name(), ordinal);
        let is_leaving = memory.leaving_groups.contains(&name);
        for instance in roles.values_mut().flat_map(BTreeMap::values_mut) {
            settle_instance(instance, &name, is_leaving, revisions, memory);
        }
        let mut revision = group_revision(&roles, revisions, is_role_rollout);
        if is_role_rollout
            && !is_leaving
            && revision == revisions.update
            && let Some(older) = revisions.older
            && has_protected_gap(&roles, revisions, older)
        {
            older.clone_into(&mut revision);
        }
        let template = template_in_use(&revision, index < protected, revisions, is_role_rollout)
            .unwrap_or_else(|| fresh.clone());
        let lifecycle = if is_leaving {
            Lifecycle::Deleting
        } else {
            group_lifecycle(&roles, &template)
        };
        groups.insert(
            ordinal,
            GroupState {
                name,
                revision,
                lifecycle,
                roles,
                template,
            },
        );
    }
    groups
}

type Records = BTreeMap<i32, BTreeMap<String, BTreeMap<i32, InstanceState>>>;

fn records(view: &ServingView, memory: &Memory) -> Records {
    let mut records = Records::new();
    for pod in view.owned_pods() {
        let group = names::ordinal_under(view.name(), &pod.group);
        let instance = names::ordinal_under(&pod.role, &pod.role_id);
        let (Some(group), Some(ordinal)) = (group, instance) else {
            continue;
        };
        let instances = records
            .entry(group)
            .or_default()
            .entry(pod.role.clone())
            .or_default();
        instances
            .entry(ordinal)
            .or_insert_with(|| blank(&pod.role_id))
            .pods
            .push(Arc::clone(pod));
    }
    // What is left of a record that goes away holds its place.
    for gang in view.owned_pod_groups() {
        if memory.leaving_groups.contains(&gang.group)
            && let Some(group) = names::ordinal_under(view.name(), &gang.group)
        {
            records.entry(group).or_default();
        }
    }
    for service in view.owned_services() {
        let Some(group) = names::ordinal_under(view.name(), &service.group) else {
            continue;
        };
        let Some(ordinal) = names::ordinal_under(&service.role, &service.role_id) else {
            continue;
        };
        let instance = (service.group.clone(), service.role_id.clone());
        let is_leaving = memory.leaving_groups.contains(&service.group)
            || memory.leaving_instances.contains(&instance);
        if is_leaving {
            let instances = records
                .entry(group)
                .or_default()
                .entry(service.role.clone())
                .or_default();
            instances
                .entry(ordinal)
                .or_insert_with(|| blank(&service.role_id));
        }
    }
    records
}

fn blank(id: &str) -> InstanceState {
    InstanceState {
        id: id.to_owned(),
        revision: String::new(),
        role_hash: String::new(),
        lifecycle: Lifecycle::Creating,
        pods: Vec::new(),
        is_up_to_date: false,
    }
}

fn settle_instance(
    instance: &mut InstanceState,
    group: &str,
    group_is_leaving: bool,
    revisions: &Revisions<'_>,
    memory: &Memory,
) {
    instance
        .pods
        .sort_by(|one, other| one.name.cmp(&other.name));
    // Live pods say what the instance is; terminating ones only if there is nothing else.
    let speaker = instance
        .pods
        .iter()
        .min_by_key(|pod| pod.is_terminating)
        .cloned();
    let Some(speaker) = speaker else {
        instance.lifecycle = Lifecycle::Deleting;
        return;
    };
    instance.revision.clone_from(&speaker.revision);
    instance.role_hash.clone_from(&speaker.role_hash);
    // Very old pods carry none, but what they were built from may still be known.
    let is_known = revisions.role(&speaker.revision, &speaker.role).is_some();
    if instance.role_hash.is_empty() && is_known {
        instance.role_hash = revisions.role_hash(&speaker.revision, &speaker.role);
    }
    instance.is_up_to_date =
        revisions.is_up_to_date(&speaker.role, &speaker.revision, &speaker.role_hash);
    let is_leaving = group_is_leaving
        || memory
            .leaving_instances
            .contains(&(group.to_owned(), instance.id.clone()));
    let role = revisions
        .role(&speaker.revision, &speaker.role)
        .or_else(|| revisions.spec_role(&speaker.role));
    let ready = instance.pods.iter().filter(|pod| pod.is_serving()).count();
    let wanted = role.map_or(instance.pods.len(), |role| pods_of(role.worker_replicas));
    instance.lifecycle = match (is_leaving, ready == wanted) {
        (true, _) => Lifecycle::Deleting,
        (false, true) => Lifecycle::Running,
        (false, false) => Lifecycle::Creating,
    };
}

/// Pods of an instance: the entry pod and its workers.
pub(crate) fn pods_of(workers: i32) -> usize {
    1 + usize::try_from(workers).unwrap_or(0)
}

/// The spec's revision if all of the group is up to date, else the older one that most of it is on.
fn group_revision(
    roles: &BTreeMap<String, BTreeMap<i32, InstanceState>>,
    revisions: &Revisions<'_>,
    is_role_rollout: bool,
) -> String {
    let all = || {
        roles
            .values()
            .flat_map(BTreeMap::values)
            .filter(|instance| !instance.pods.is_empty())
    };
    let staying: Vec<_> = all().filter(|instance| !instance.is_leaving()).collect();
    let counted = if staying.is_empty() {
        all().collect()
    } else {
        staying
    };
    // Unchanged roles keep their old label through a role rollout; one new label tells that there was one.
    let has_new_label = counted
        .iter()
        .any(|instance| instance.revision == revisions.update);
    let is_current = counted.iter().all(|instance| instance.is_up_to_date);
    if counted.is_empty() || is_current && (has_new_label || is_role_rollout) {
        return revisions.update.clone();
    }
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for instance in counted
        .iter()
        .filter(|instance| instance.revision != revisions.update)
    {
        *votes.entry(&instance.revision).or_default() += 1;
    }
    let winner = votes
        .into_iter()
        .max_by_key(|(revision, count)| (*count, std::cmp::Reverse(*revision)));
    winner.map_or_else(
        || revisions.update.clone(),
        |(revision, _)| revision.to_owned(),
    )
}

/// Whether an instance that must come back as it was at an older revision is missing or on its way out.
fn has_protected_gap(
    roles: &BTreeMap<String, BTreeMap<i32, InstanceState>>,
    revisions: &Revisions<'_>,
    older: &str,
) -> bool {
    let none = BTreeMap::new();
    revisions.spec_roles().iter().any(|role| {
        let instances = roles.get(&role.name).unwrap_or(&none);
        let is_there = |ordinal| {
            instances
                .get(&ordinal)
                .is_some_and(|instance| !instance.is_leaving())
        };
        let protected = protected_instances(role).unwrap_or(0);
        let protected = i32::try_from(protected).unwrap_or(i32::MAX);
        revisions.differs(role, older)
            && !(0..protected.min(crate::revision::replicas(role))).all(is_there)
    })
}

/// What a group is completed with: the spec, or what it was built from while it waits for its turn.
///
/// A protected group keeps the counts recorded with its revision; one that is to be rolled follows the counts
/// of the spec. `None` = nobody remembers its revision.
fn template_in_use<'a>(
    revision: &str,
    is_protected: bool,
    revisions: &Revisions<'a>,
    is_role_rollout: bool,
) -> Option<GroupTemplate<'a>> {
    if revision == revisions.update || (is_role_rollout && !is_protected) {
        return Some(revisions.spec());
    }
    let mut template = revisions.template(revision)?;
    if !is_protected {
        for PlannedRole { role, replicas } in &mut template.roles {
            if let Some(current) = revisions.spec_role(&role.name) {
                *replicas = crate::revision::replicas(current);
            }
        }
    }
    Some(template)
}

fn group_lifecycle(
    roles: &BTreeMap<String, BTreeMap<i32, InstanceState>>,
    template: &GroupTemplate<'_>,
) -> Lifecycle {
    let none = BTreeMap::new();
    let mut has_all = true;
    let mut is_running = true;
    for PlannedRole { role, replicas } in &template.roles {
        let instances = roles.get(&role.name).unwrap_or(&none);
        has_all &= i32::try_from(instances.len()) == Ok(*replicas);
        is_running &= instances
            .values()
            .all(|instance| instance.lifecycle == Lifecycle::Running);
    }
    match (has_all, is_running) {
        (true, true) => Lifecycle::Running,
        (false, true) => Lifecycle::Scaling,
        (_, false) => Lifecycle::Creating,
    }
}

pub(crate) fn is_role_rollout(view: &ServingView) -> bool {
    view.serving
        .spec
        .rollout_strategy
        .as_ref()
        .and_then(|strategy| strategy.kind)
        == Some(RolloutType::RoleRollingUpdate)
}

/// Seconds to wait before a failed pod is dealt with.
pub(crate) fn grace(template: &ServingGroupTemplate) -> Duration {
    let seconds = template.restart_grace_period_seconds.unwrap_or(0).max(0);
    Duration::from_secs(seconds.unsigned_abs())
}

/// The records as the debug dump shows them, by group.
pub fn describe(view: &ServingView, memory: &Memory) -> Value {
    let revisions = Revisions::of(view);
    let protected = crate::groups::protected(view);
    let mut dump = serde_json::Map::new();
    for group in groups(view, &revisions, memory, protected).into_values() {
        let running: HashSet<_> = group
            .instances()
            .flat_map(|instance| &instance.pods)
            .filter(|pod| pod.is_serving())
            .collect();
        let mut running: Vec<_> = running.into_iter().map(|pod| pod.name.clone()).collect();
        running.sort_unstable();
        let roles: serde_json::Map<_, _> = group
            .roles
            .iter()
            .map(|(role, instances)| {
                (
                    role.clone(),
                    instances.values().map(describe_instance).collect(),
                )
            })
            .collect();
        dump.insert(
            group.name.clone(),
            json!({
                "name": group.name, "runningPods": running, "revision": group.revision,
                "status": group.lifecycle.as_str(), "roles": roles,
            }),
        );
    }
    Value::Object(dump)
}

fn describe_instance(instance: &InstanceState) -> (String, Value) {
    let dump = json!({
        "name": instance.id, "revision": instance.revision, "roleTemplateHash": instance.role_hash,
        "status": instance.lifecycle.as_str(),
    });
    (instance.id.clone(), dump)
}
