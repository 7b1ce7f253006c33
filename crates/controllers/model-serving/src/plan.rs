//! The order of decisions for one `ModelServing`, and what a plan consists of.
//!
//! Recovery first, because it decides what exists; then the number of groups, the rollout, the roles inside the
//! groups that stay, their services, the snapshots, and last the status, which describes the cluster as it will
//! be once the plan is carried out.

#[cfg(test)]
mod convergence_tests;
mod draft;
#[cfg(test)]
mod take_over_tests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kthena_api::conditions;
use kthena_api::event::Event;
use kthena_api::model_serving::{ModelServingStatus, RecoveryPolicy};
use serde_json::Value;

use crate::memory::{Memory, PodMark};
use crate::moment::Moment;
use crate::recovery;
use crate::revision::{GroupTemplate, Revisions};
use crate::state::{self, Groups, Lifecycle};
use crate::status::{self, Frame, Tally, Told};
use crate::view::ServingView;
use crate::{gang, groups, names, roles, rollout, services, snapshots, stall};

pub(crate) use draft::Draft;

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Stores a revision. Pods must wait until this has succeeded.
    CreateSnapshot {
        /// Name of the ControllerRevision.
        name: String,
        /// The whole object.
        object: Value,
    },
    /// Records the role counts of a revision.
    PatchSnapshot {
        /// Name of the ControllerRevision.
        name: String,
        /// A JSON merge patch.
        patch: Value,
    },
    /// Drops a revision nobody refers to.
    DeleteSnapshot {
        /// Name of the ControllerRevision.
        name: String,
        /// The one that is meant.
        uid: String,
    },
    /// Creates a `PodGroup`. The pods of its group must wait until this has succeeded.
    CreatePodGroup {
        /// Name.
        name: String,
        /// The whole object.
        object: Value,
    },
    /// Changes what a `PodGroup` asks for.
    PatchPodGroup {
        /// Name.
        name: String,
        /// A JSON merge patch.
        patch: Value,
    },
    /// Deletes a `PodGroup`.
    DeletePodGroup {
        /// Name.
        name: String,
        /// The one that is meant.
        uid: String,
    },
    /// Deletes a pod.
    DeletePod {
        /// Name.
        name: String,
        /// The one that is meant; a successor of the same name survives.
        uid: String,
    },
    /// Deletes a service.
    DeleteService {
        /// Name.
        name: String,
        /// The one that is meant.
        uid: String,
    },
    /// Creates a service.
    CreateService {
        /// Name.
        name: String,
        /// The whole object.
        object: Value,
    },
    /// Creates a pod.
    CreatePod {
        /// Name.
        name: String,
        /// The whole object.
        object: Value,
    },
}

/// What must be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Writes in the order in which they must be made.
    pub actions: Vec<Action>,
    /// The status to write once the actions succeeded; `None` = it is stored already.
    pub status: Option<ModelServingStatus>,
    /// The status to write if one of them failed; `None` = it is stored already.
    pub status_on_failure: Option<ModelServingStatus>,
    /// The status is only further along than the stored one: it may wait for more of the same.
    pub status_can_wait: bool,
    /// What happened.
    pub events: Vec<Event>,
    /// Look again after this time even if nothing changes.
    pub requeue_after: Option<Duration>,
    /// To be given to the next plan.
    pub memory: Memory,
}

/// Lists what must change for `view` to match its spec.
pub fn plan(view: &ServingView, memory: &Memory, now: Moment) -> Plan {
    if view.serving.metadata.deletion_timestamp.is_some() {
        return Plan::idle(memory.clone());
    }
    let mut draft = Draft::new(memory.clone());
    draft.memory.refresh(view);
    let protected = groups::protected(view);
    let revisions = Revisions::of(view);
    let mut groups = state::groups(view, &revisions, &draft.memory, protected);
    let before = status::tallies(&groups);

    tell_running(&groups, memory, &mut draft);
    recovery::run(view, &mut groups, memory, now.steady, &mut draft);
    let target = groups::target(view, &groups, &revisions, protected, &mut draft.memory);
    for ordinal in groups::surplus(&groups, target.keep, protected) {
        draft.leave_group(&mut groups, ordinal);
    }
    let missing = missing_groups(
        view,
        &groups,
        &revisions,
        (target.create, protected),
        &mut draft,
    );
    rollout::run(view, &mut groups, protected, &revisions, &mut draft);
    let wanted = roles::complete(view, &mut groups, &missing, &revisions, &mut draft);
    draft.delete_leaving(view, &groups);
    gang::ensure(view, &groups, &missing, &mut draft);
    services::ensure(view, &groups, &wanted, &mut draft);

    let mut after = status::tallies(&groups);
    after.extend(missing.iter().map(|(ordinal, template)| {
        let name = names::group(view.name(), *ordinal);
        (*ordinal, Tally::planned(&name, template, &revisions))
    }));
    let frame = Frame {
        view,
        revisions: &revisions,
        protected,
        holds_current: groups::has_protected_gap(view, &groups, protected),
        now,
    };
    let stall = stall::watch(&frame, &before, &after, &mut draft);
    let unplaced = gang::unplaced(view, &groups);
    let plugin_error = draft.plugin_error.clone();
    tell_plugin_error(view, plugin_error.as_deref(), &mut draft);
    let told = Told {
        plugin_failed: plugin_error.as_deref(),
        stalled: stall.as_deref(),
        unplaced: unplaced.as_deref(),
    };
    let next = frame.compute(&after, told);
    let mut kept: BTreeSet<_> = groups
        .values()
        .map(|group| group.revision.clone())
        .collect();
    kept.insert(next.current_revision.clone());
    snapshots::ensure(view, &revisions, &kept, &mut draft);

    let stored = view.serving.status.as_ref();
    draft.settle(view, &groups);
    let drafted = draft.finish();
    // Where nothing is done nothing can fail.
    let on_failure = (!drafted.actions.is_empty()).then(|| frame.compute(&before, told));
    Plan {
        status_can_wait: stored.is_some_and(|stored| status::is_mere_progress(stored, &next)),
        status: Some(next).filter(|next| stored != Some(next)),
        status_on_failure: on_failure.filter(|next| stored != Some(next)),
        ..drafted
    }
}

/// Groups to create, as many as one pass may.
fn missing_groups<'a>(
    view: &'a ServingView,
    groups: &Groups<'a>,
    revisions: &Revisions<'a>,
    (target, protected): (i32, usize),
    draft: &mut Draft,
) -> Vec<(i32, GroupTemplate<'a>)> {
    let mut budget = draft::PODS_PER_PASS;
    let mut missing = Vec::new();
    for (ordinal, template) in groups::missing(view, groups, revisions, target, protected) {
        if budget == 0 {
            draft.look_again(Duration::ZERO);
            break;
        }
        budget = budget.saturating_sub(roles::pods_of_group(&template).max(1));
        missing.push((ordinal, template));
    }
    missing
}

/// Tells what a plugin said, unless the stored status says it already.
fn tell_plugin_error(view: &ServingView, error: Option<&str>, draft: &mut Draft) {
    let stored = view.serving.status.as_ref();
    let conditions = stored.and_then(|status| status.conditions.as_deref());
    let conditions = conditions.unwrap_or_default();
    let is_told = |error: &str| conditions::says(conditions, status::PLUGIN_FAILED, error);
    if let Some(error) = error.filter(|error| !is_told(error)) {
        draft.warn(status::PLUGIN_FAILED, error.to_owned());
    }
}

/// Tells once that an instance became ready; after a restart of the controller that has been told.
fn tell_running(groups: &Groups<'_>, before: &Memory, draft: &mut Draft) {
    draft.memory.running.clear();
    for group in groups.values() {
        for (role, instances) in &group.roles {
            for instance in instances
                .values()
                .filter(|one| one.lifecycle == Lifecycle::Running)
            {
                let key = (group.name.clone(), instance.id.clone());
                if before.is_warm && !before.running.contains(&key) {
                    draft.tell_role(&group.name, role, &instance.id, Lifecycle::Running);
                }
                draft.memory.rebuilds.remove(&key);
                draft.memory.running.insert(key);
            }
        }
    }
}

impl Plan {
    fn idle(memory: Memory) -> Self {
        Self {
            actions: Vec::new(),
            status: None,
            status_on_failure: None,
            status_can_wait: false,
            events: Vec::new(),
            requeue_after: None,
            memory,
        }
    }

    /// Leaves the status, and that instances became ready, to a later plan, which tells it together with what
    /// happens until then. `before` is what this plan was given to remember.
    pub fn put_off(&mut self, before: &Memory) {
        self.status = None;
        self.events
            .retain(|event| event.reason != draft::reason(Lifecycle::Running));
        let told = &before.running;
        self.memory.running.retain(|key| told.contains(key));
    }

    /// Nothing to do, nothing to say.
    pub fn is_idle(&self) -> bool {
        self.actions.is_empty() && self.status.is_none() && self.events.is_empty()
    }
}

impl Memory {
    /// Takes over deletions that an earlier controller began, and forgets those that are finished.
    fn refresh(&mut self, view: &ServingView) {
        if !self.is_warm {
            let policy = view.serving.spec.recovery_policy.unwrap_or_default();
            for pod in view.owned_pods().filter(|pod| pod.is_terminating) {
                match policy {
                    RecoveryPolicy::ServingGroupRecreate => {
                        self.leaving_groups.insert(pod.group.clone());
                    }
                    RecoveryPolicy::RoleRecreate => {
                        self.leaving_instances
                            .insert((pod.group.clone(), pod.role_id.clone()));
                    }
                    RecoveryPolicy::None => {}
                }
            }
            self.is_warm = true;
        }
        let pods = view
            .owned_pods()
            .map(|pod| (pod.group.as_str(), pod.role_id.as_str()));
        let services = view
            .owned_services()
            .map(|service| (service.group.as_str(), service.role_id.as_str()));
        let gangs = view
            .owned_pod_groups()
            .map(|gang| (gang.group.as_str(), ""));
        let present: BTreeSet<_> = pods.chain(services).chain(gangs).collect();
        let groups: BTreeSet<_> = present.iter().map(|(group, _)| *group).collect();
        self.leaving_groups
            .retain(|group| groups.contains(group.as_str()));
        self.leaving_instances
            .retain(|(group, id)| present.contains(&(group.as_str(), id.as_str())));
        // An instance that is being rebuilt is absent for a moment; one that is not wanted any more stays absent.
        let is_wanted = |group: &str| {
            names::ordinal_under(view.name(), group)
                .is_some_and(|ordinal| ordinal < view.wanted_groups())
        };
        self.rebuilds.retain(|(group, id), _| {
            is_wanted(group) || present.contains(&(group.as_str(), id.as_str()))
        });
    }

    /// Notes the pods that should still be there next time.
    fn settle(&mut self, view: &ServingView, groups: &Groups<'_>, deleted: &BTreeSet<String>) {
        let mut marks = BTreeMap::new();
        let leaving: BTreeSet<_> = groups
            .values()
            .flat_map(state::GroupState::instances)
            .filter(|instance| instance.is_leaving())
            .flat_map(|instance| instance.pods.iter().map(|pod| pod.uid.as_str()))
            .collect();
        for pod in view.owned_pods() {
            let old = self.pods.get(&pod.uid);
            // Who was not seen alive cannot be lost any more.
            let is_counted = !pod.is_terminating || old.is_some();
            if !is_counted || leaving.contains(pod.uid.as_str()) || deleted.contains(&pod.uid) {
                continue;
            }
            let forgiven = old.map_or(0, |mark| mark.forgiven_restarts);
            let mark = PodMark {
                group: pod.group.clone(),
                role: pod.role.clone(),
                role_id: pod.role_id.clone(),
                forgiven_restarts: if pod.is_serving() {
                    pod.restarts
                } else {
                    forgiven
                },
            };
            marks.insert(pod.uid.clone(), mark);
        }
        self.pods = marks;
        let present: BTreeSet<_> = view.pods.iter().map(|pod| pod.uid.as_str()).collect();
        self.failing.retain(|uid, _| present.contains(uid.as_str()));
    }
}
