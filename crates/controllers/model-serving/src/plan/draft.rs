//! A plan in the making.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kthena_api::event::Event;
use kthena_api::labels;
use serde_json::Value;

use super::{Action, Plan};
use crate::memory::Memory;
use crate::state::{Groups, Lifecycle};
use crate::view::ServingView;

/// Pods created in one pass, so that a plan stays small however much is asked for.
pub(super) const PODS_PER_PASS: usize = 500;
/// More role events than this in one pass are told as one: each event is a write.
const ROLE_EVENTS: usize = 4;
/// How long to wait for somebody else's object to go.
const CONFLICT: Duration = Duration::from_secs(1);

/// Collects decisions.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) memory: Memory,
    snapshots: Vec<Action>,
    gangs: Vec<Action>,
    /// Groups whose pods must wait.
    held_groups: BTreeSet<i32>,
    other: Vec<Action>,
    services: Vec<Action>,
    pods: BTreeMap<i32, Vec<Action>>,
    pod_count: usize,
    deleted: BTreeSet<String>,
    role_events: Vec<RoleEvent>,
    events: Vec<Event>,
    requeue_after: Option<Duration>,
    pods_wait: bool,
    /// What the first plugin that failed said.
    pub(super) plugin_error: Option<String>,
}

#[derive(Debug)]
struct RoleEvent {
    group: String,
    role: String,
    id: String,
    lifecycle: Lifecycle,
}

impl Draft {
    pub(super) fn new(memory: Memory) -> Self {
        Self {
            memory,
            ..Self::default()
        }
    }

    /// Any write that has no place of its own.
    pub(crate) fn act(&mut self, action: Action) {
        match action {
            Action::PatchSnapshot { .. } => self.snapshots.push(action),
            Action::CreatePodGroup { .. } | Action::PatchPodGroup { .. } => self.gangs.push(action),
            other => self.other.push(other),
        }
    }

    pub(crate) fn create_snapshot(&mut self, name: String, object: Value) {
        self.snapshots.push(Action::CreateSnapshot { name, object });
    }

    pub(crate) fn create_service(&mut self, name: String, object: Value) {
        self.services.push(Action::CreateService { name, object });
    }

    pub(crate) fn create_pod(&mut self, group: i32, name: String, object: Value) {
        self.pod_count += 1;
        self.pods
            .entry(group)
            .or_default()
            .push(Action::CreatePod { name, object });
    }

    pub(crate) fn delete_pod(&mut self, name: &str, uid: &str) {
        if self.deleted.insert(uid.to_owned()) {
            self.other.push(Action::DeletePod {
                name: name.to_owned(),
                uid: uid.to_owned(),
            });
        }
    }

    pub(crate) fn creates_pods(&self) -> bool {
        self.pod_count > 0
    }

    /// No more pods fit into this pass.
    pub(crate) fn is_full(&self) -> bool {
        self.pod_count >= PODS_PER_PASS
    }

    /// Notes the pods that should still be there next time. What is deleted here cannot be lost.
    pub(super) fn settle(&mut self, view: &ServingView, groups: &Groups<'_>) {
        self.memory.settle(view, groups, &self.deleted);
    }

    /// Creates no pods of this group in this pass.
    pub(crate) fn hold_group(&mut self, ordinal: i32) {
        self.held_groups.insert(ordinal);
        self.look_again(CONFLICT);
    }

    /// A plugin refuses: no pod is made without it.
    pub(crate) fn plugin_failed(&mut self, error: &str) {
        self.pods_wait = true;
        self.plugin_error.get_or_insert_with(|| error.to_owned());
    }

    /// Creates no pods in this pass.
    pub(crate) fn hold_pods(&mut self) {
        self.pods_wait = true;
        self.look_again(CONFLICT);
    }

    /// Somebody else's object has a name that is needed.
    pub(crate) fn name_taken(&mut self, kind: &str, name: &str) {
        self.warn(
            "NameConflict",
            format!("{kind} {name} exists and belongs to somebody else"),
        );
        if kind == "ControllerRevision" {
            self.pods_wait = true;
        }
        self.look_again(CONFLICT);
    }

    pub(crate) fn look_again(&mut self, delay: Duration) {
        self.requeue_after = Some(
            self.requeue_after
                .map_or(delay, |earlier| earlier.min(delay)),
        );
    }

    pub(crate) fn warn(&mut self, reason: &'static str, message: String) {
        self.events.push(Event::warning(reason, message));
    }

    pub(crate) fn tell_role(&mut self, group: &str, role: &str, id: &str, lifecycle: Lifecycle) {
        self.role_events.push(RoleEvent {
            group: group.to_owned(),
            role: role.to_owned(),
            id: id.to_owned(),
            lifecycle,
        });
    }

    /// The group goes; it keeps its ordinal until nothing of it is left.
    pub(crate) fn leave_group(&mut self, groups: &mut Groups<'_>, ordinal: i32) {
        if let Some(group) = groups.get_mut(&ordinal) {
            group.lifecycle = Lifecycle::Deleting;
            for instance in group.roles.values_mut().flat_map(BTreeMap::values_mut) {
                instance.lifecycle = Lifecycle::Deleting;
            }
            self.memory.leaving_groups.insert(group.name.clone());
        }
    }

    /// The role instance goes; it keeps its ordinal until nothing of it is left.
    pub(crate) fn leave_instance(
        &mut self,
        groups: &mut Groups<'_>,
        group: i32,
        role: &str,
        ordinal: i32,
    ) {
        let Some(group) = groups.get_mut(&group) else {
            return;
        };
        let name = group.name.clone();
        let instance = group
            .roles
            .get_mut(role)
            .and_then(|instances| instances.get_mut(&ordinal));
        let Some(instance) = instance.filter(|instance| !instance.is_leaving()) else {
            return;
        };
        instance.lifecycle = Lifecycle::Deleting;
        let id = instance.id.clone();
        if group.lifecycle == Lifecycle::Running {
            group.lifecycle = Lifecycle::Creating;
        }
        self.tell_role(&name, role, &id, Lifecycle::Deleting);
        self.memory.leaving_instances.insert((name, id));
    }

    /// Deletes what is left of everything that goes: pods, then services.
    pub(super) fn delete_leaving(&mut self, view: &ServingView, groups: &Groups<'_>) {
        let leaving: BTreeSet<(&str, &str)> = groups
            .values()
            .flat_map(|group| group.instances().map(move |instance| (group, instance)))
            .filter(|(_, instance)| instance.is_leaving())
            .map(|(group, instance)| (group.name.as_str(), instance.id.as_str()))
            .collect();
        let is_leaving = |group: &str, id: &str| leaving.contains(&(group, id));
        for pod in view
            .owned_pods()
            .filter(|pod| !pod.is_terminating && is_leaving(&pod.group, &pod.role_id))
        {
            self.delete_pod(&pod.name, &pod.uid);
        }
        for service in view
            .owned_services()
            .filter(|service| !service.is_terminating)
        {
            if is_leaving(&service.group, &service.role_id) {
                self.act(Action::DeleteService {
                    name: service.name.clone(),
                    uid: service.uid.clone(),
                });
            }
        }
    }

    pub(super) fn finish(mut self) -> Plan {
        self.summarise_roles();
        let mut actions = self.snapshots;
        actions.append(&mut self.gangs);
        actions.append(&mut self.other);
        actions.append(&mut self.services);
        if !self.pods_wait {
            let held = &self.held_groups;
            let pods = self
                .pods
                .into_iter()
                .filter(|(group, _)| !held.contains(group));
            actions.extend(pods.flat_map(|(_, pods)| pods));
        }
        Plan {
            actions,
            events: self.events,
            requeue_after: self.requeue_after,
            ..Plan::idle(self.memory)
        }
    }

    /// An object may have few events; many instances at once are told together.
    fn summarise_roles(&mut self) {
        let told = std::mem::take(&mut self.role_events);
        if told.len() <= ROLE_EVENTS {
            self.events.extend(told.iter().map(|event| {
                let RoleEvent {
                    group,
                    role,
                    id,
                    lifecycle,
                } = event;
                let message = format!(
                    "Role {role}/{id} in ServingGroup {group} is now {}",
                    word(*lifecycle)
                );
                Event::normal(reason(*lifecycle), message)
            }));
            return;
        }
        let mut by_reason: BTreeMap<&'static str, BTreeMap<&str, Vec<String>>> = BTreeMap::new();
        for RoleEvent {
            group,
            role,
            id,
            lifecycle,
        } in &told
        {
            let groups = by_reason.entry(reason(*lifecycle)).or_default();
            groups
                .entry(group)
                .or_default()
                .push(format!("{role}/{id}"));
        }
        for (reason, groups) in by_reason {
            let state = reason.trim_start_matches("Role");
            let list: Vec<_> = groups
                .iter()
                .map(|(group, ids)| format!("{group} ({})", ids.join(", ")))
                .collect();
            let message = format!(
                "Roles in {} ServingGroups are now {state}: {}",
                groups.len(),
                list.join(", ")
            );
            self.events.push(Event::normal(reason, message));
        }
    }
}

/// Reason of the event that says so.
pub(super) fn reason(lifecycle: Lifecycle) -> &'static str {
    match lifecycle {
        Lifecycle::Creating | Lifecycle::Scaling => labels::EVENT_ROLE_CREATING,
        Lifecycle::Running => labels::EVENT_ROLE_RUNNING,
        Lifecycle::Deleting => labels::EVENT_ROLE_DELETING,
    }
}

fn word(lifecycle: Lifecycle) -> &'static str {
    reason(lifecycle).trim_start_matches("Role")
}
