//! What is reported of a `ModelServing`.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kthena_api::conditions::{self, Wanted};
use kthena_api::labels;
use kthena_api::model_serving::{ModelServingStatus, RoleStatus};

use crate::groups;
use crate::moment::Moment;
use crate::revision::{GroupTemplate, Revisions};
use crate::state::{GroupState, Groups, Lifecycle};
use crate::view::{PodView, ServingView};

/// What counts of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) revision: String,
    pub(crate) lifecycle: Lifecycle,
    /// Instances by role.
    roles: BTreeMap<String, RoleTally>,
    /// What keeps it from being ready: an instance and a reason.
    waiting: Option<Waiting>,
}

/// Instances of a role in a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct RoleTally {
    all: i32,
    ready: i32,
    updated: i32,
}

/// Something that is not ready.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Waiting {
    what: String,
    why: String,
    /// The reason comes from the cluster; without one there is only what the controller knows.
    is_told: bool,
}

/// All that a status is computed from besides the groups.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) view: &'a ServingView,
    pub(crate) revisions: &'a Revisions<'a>,
    pub(crate) protected: usize,
    /// A group that must come back at the current revision is missing.
    pub(crate) holds_current: bool,
    pub(crate) now: Moment,
}

/// How far things are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) replicas: i32,
    pub(crate) updated: i32,
    pub(crate) outdated: i32,
    pub(crate) available: i32,
    /// All groups are ready, and none is to be replaced.
    pub(crate) is_settled: bool,
}

/// The three conditions; exactly one of them is true.
const TYPES: [&str; 3] = ["Available", "Progressing", "UpdateInProgress"];
/// Our additions, which appear when they are true for the first time.
const STALLED: &str = "Stalled";
const PAUSED: &str = "Paused";
/// Type of a condition and reason of an event.
pub(crate) const PLUGIN_FAILED: &str = "PluginFailed";
const UNPLACED: &str = "Unschedulable";

/// What is reported in conditions of our own.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Told<'a> {
    /// What a plugin said that keeps pods from being created.
    pub(crate) plugin_failed: Option<&'a str>,
    /// Why the rollout does not get on.
    pub(crate) stalled: Option<&'a str>,
    /// Why a gang cannot be placed.
    pub(crate) unplaced: Option<&'a str>,
}

impl Tally {
    fn of(group: &GroupState<'_>) -> Self {
        let mut roles = BTreeMap::new();
        for (role, instances) in &group.roles {
            let tally: &mut RoleTally = roles.entry(role.clone()).or_default();
            for instance in instances.values() {
                tally.all += 1;
                tally.ready += i32::from(instance.lifecycle == Lifecycle::Running);
                tally.updated += i32::from(!instance.is_leaving() && instance.is_up_to_date);
            }
        }
        Self {
            revision: group.revision.clone(),
            lifecycle: group.lifecycle,
            roles,
            waiting: waiting(group),
        }
    }

    /// A group that is about to be created.
    pub(crate) fn planned(
        name: &str,
        template: &GroupTemplate<'_>,
        revisions: &Revisions<'_>,
    ) -> Self {
        let is_updated = template.revision == revisions.update;
        let roles = template.roles.iter().map(|planned| {
            let tally = RoleTally {
                all: planned.replicas,
                ready: 0,
                updated: if is_updated { planned.replicas } else { 0 },
            };
            (planned.role.name.clone(), tally)
        });
        Self {
            revision: template.revision.clone(),
            lifecycle: Lifecycle::Creating,
            roles: roles.collect(),
            waiting: Some(Waiting::own(name.to_owned(), "is being created")),
        }
    }
}

impl Waiting {
    fn own(what: String, why: &str) -> Self {
        Self {
            what,
            why: why.to_owned(),
            is_told: false,
        }
    }
}

/// The first instance that is not ready, those first that somebody gives a reason for.
fn waiting(group: &GroupState<'_>) -> Option<Waiting> {
    if let Some(pod) = group
        .instances()
        .flat_map(|one| &one.pods)
        .find(|pod| is_kept(pod))
    {
        return Some(Waiting {
            what: pod.name.clone(),
            why: format!("is being deleted and kept by finalizer {}", pod.finalizer),
            is_told: true,
        });
    }
    if group.is_leaving() {
        return Some(Waiting::own(group.name.clone(), "is being deleted"));
    }
    let mut first = None;
    for instance in group
        .instances()
        .filter(|instance| instance.lifecycle != Lifecycle::Running)
    {
        let what = format!("{}/{}", group.name, instance.id);
        let told = instance
            .pods
            .iter()
            .find(|pod| !pod.is_serving() && !pod.waiting.is_empty());
        if let Some(pod) = told {
            return Some(Waiting {
                what,
                why: pod.waiting.clone(),
                is_told: true,
            });
        }
        let why = if instance.is_leaving() {
            "is being deleted"
        } else {
            "is not ready"
        };
        first.get_or_insert(Waiting::own(what, why));
    }
    let is_scaling = group.lifecycle != Lifecycle::Running;
    first.or_else(|| {
        is_scaling.then(|| Waiting::own(group.name.clone(), "has not all its instances yet"))
    })
}

/// Somebody else must let it go before it can be gone.
fn is_kept(pod: &PodView) -> bool {
    pod.is_terminating && !pod.finalizer.is_empty()
}

/// What counts of all groups.
pub(crate) fn tallies(groups: &Groups<'_>) -> BTreeMap<i32, Tally> {
    groups
        .iter()
        .map(|(ordinal, group)| (*ordinal, Tally::of(group)))
        .collect()
}

impl Frame<'_> {
    /// Counts the groups.
    pub(crate) fn counts(&self, groups: &BTreeMap<i32, Tally>) -> Counts {
        let update = &self.revisions.update;
        let staying = || {
            groups
                .values()
                .filter(|group| group.lifecycle != Lifecycle::Deleting)
        };
        let outdated = staying().filter(|group| group.revision != *update).count();
        let is_ready = |group: &&Tally| group.lifecycle == Lifecycle::Running;
        let may_stay = self.protected.min(groups.len());
        Counts {
            replicas: count(groups.len()),
            updated: count(staying().count() - outdated),
            outdated: count(outdated),
            available: count(staying().filter(is_ready).count()),
            is_settled: outdated <= may_stay && groups.values().all(|group| is_ready(&group)),
        }
    }

    /// The status of these groups.
    pub(crate) fn compute(
        &self,
        groups: &BTreeMap<i32, Tally>,
        told: Told<'_>,
    ) -> ModelServingStatus {
        let view = self.view;
        let update = &self.revisions.update;
        let stored = view.serving.status.clone().unwrap_or_default();
        let counts = self.counts(groups);
        let Counts {
            replicas,
            updated,
            outdated,
            available,
            ..
        } = counts;
        let is_finished =
            updated == available && available == replicas && replicas == view.wanted_groups();
        let mut conditions = self.conditions(groups, counts);
        let paused = groups::is_paused(view).then_some("Nothing is replaced until it is resumed");
        let own = [
            (STALLED, "ProgressDeadlineExceeded", told.stalled),
            (UNPLACED, "GangUnschedulable", told.unplaced),
            (PLUGIN_FAILED, "PluginError", told.plugin_failed),
            (PAUSED, "RolloutPaused", paused),
        ];
        for (kind, reason, message) in own {
            let told = message.map(|message| (reason, message));
            self.set(&mut conditions, kind, told);
        }
        ModelServingStatus {
            observed_generation: view.serving.metadata.generation.unwrap_or(0),
            replicas,
            // Without a partition a finished rollout has made the new revision the current one.
            current_replicas: if is_finished && !has_partition(view) {
                updated
            } else {
                outdated
            },
            updated_replicas: updated,
            available_replicas: available,
            current_revision: self.current_revision(groups, &stored.current_revision),
            update_revision: update.clone(),
            conditions: Some(conditions),
            label_selector: label_selector(view),
            roles: self.roles(groups),
        }
    }

    fn roles(&self, groups: &BTreeMap<i32, Tally>) -> Vec<RoleStatus> {
        let roles = self.revisions.spec_roles().iter().map(|role| {
            let mut sum = RoleTally::default();
            for tally in groups
                .values()
                .filter_map(|group| group.roles.get(&role.name))
            {
                sum.all = sum.all.saturating_add(tally.all);
                sum.ready = sum.ready.saturating_add(tally.ready);
                sum.updated = sum.updated.saturating_add(tally.updated);
            }
            RoleStatus {
                name: role.name.clone(),
                replicas: sum.all,
                ready_replicas: sum.ready,
                updated_replicas: sum.updated,
            }
        });
        roles.collect()
    }

    /// The revision that groups are on which are not updated yet.
    fn current_revision(&self, groups: &BTreeMap<i32, Tally>, stored: &str) -> String {
        if self.holds_current && !stored.is_empty() {
            return stored.to_owned();
        }
        current_revision(groups, stored, &self.revisions.update)
    }

    /// The three conditions of which one is true.
    fn conditions(&self, groups: &BTreeMap<i32, Tally>, counts: Counts) -> Vec<Condition> {
        let is_ready = |group: &Tally| group.lifecycle == Lifecycle::Running;
        let progressing = list(groups, |group| !is_ready(group));
        let updated = list(groups, |group| {
            group.revision == self.revisions.update && group.lifecycle != Lifecycle::Deleting
        });
        let is_rolling =
            usize::try_from(counts.outdated).is_ok_and(|outdated| outdated > self.protected);
        let (kind, reason, mut message) = if groups.values().all(is_ready) {
            (
                "Available",
                "AllGroupsReady",
                "All Serving groups are ready".to_owned(),
            )
        } else if is_rolling {
            let message =
                format!("Some groups is progressing: {progressing}, Updated Groups are: {updated}");
            ("UpdateInProgress", "GroupsUpdating", message)
        } else {
            (
                "Progressing",
                "GroupProgressing",
                format!("Some groups is progressing: {progressing}"),
            )
        };
        if let Some(waiting) = first_waiting(groups) {
            let (done, what) = if is_rolling {
                (counts.updated, "updated")
            } else {
                (counts.available, "ready")
            };
            let Waiting { what: who, why, .. } = waiting;
            message = format!(
                "{message}; {done} of {} groups {what}, waiting for {who}: {why}",
                counts.replicas
            );
        }
        let mut all = self.stored_conditions();
        for other in TYPES {
            let told = (other == kind).then_some((reason, message.as_str()));
            self.set(&mut all, other, told);
        }
        all
    }

    fn stored_conditions(&self) -> Vec<Condition> {
        let status = self.view.serving.status.as_ref();
        status
            .and_then(|status| status.conditions.clone())
            .unwrap_or_default()
    }

    /// Makes a condition true with a reason and a message, or false if it was ever told.
    fn set(&self, all: &mut Vec<Condition>, kind: &str, told: Option<(&str, &str)>) {
        let observed_generation = self.view.serving.metadata.generation;
        let now = self.now.wall;
        match told {
            Some((reason, message)) => {
                let wanted = Wanted {
                    kind,
                    holds: true,
                    reason,
                    message,
                    observed_generation,
                };
                conditions::set(all, &wanted, now);
            }
            None => {
                conditions::withdraw(all, kind, observed_generation, now);
            }
        }
    }
}

/// What to name: the first with a reason from the cluster, else the first at all.
fn first_waiting(groups: &BTreeMap<i32, Tally>) -> Option<&Waiting> {
    let mut all = groups.values().filter_map(|group| group.waiting.as_ref());
    let told = all.clone().find(|waiting| waiting.is_told);
    told.or_else(|| all.next())
}

/// Whether `next` only says that more is ready or updated than `stored` does: nobody needs to know at once.
pub(crate) fn is_mere_progress(stored: &ModelServingStatus, next: &ModelServingStatus) -> bool {
    let frame = |status: &ModelServingStatus| {
        let conditions = status.conditions.iter().flatten();
        let conditions: Vec<_> = conditions
            .map(|one| (one.type_.clone(), one.status.clone()))
            .collect();
        (
            status.observed_generation,
            status.replicas,
            status.current_revision.clone(),
            status.update_revision.clone(),
            status.label_selector.clone(),
            conditions,
        )
    };
    frame(stored) == frame(next) && next.available_replicas >= stored.available_replicas
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn has_partition(view: &ServingView) -> bool {
    groups::configuration(view).is_some_and(|configuration| configuration.partition.is_some())
}

/// The revision that groups are on which are not updated yet.
fn current_revision(groups: &BTreeMap<i32, Tally>, stored: &str, update: &str) -> String {
    let mut votes: BTreeMap<&str, (usize, std::cmp::Reverse<i32>)> = BTreeMap::new();
    for (ordinal, group) in groups.iter().filter(|(_, group)| group.revision != update) {
        let vote = votes
            .entry(&group.revision)
            .or_insert((0, std::cmp::Reverse(*ordinal)));
        vote.0 += 1;
    }
    if votes.contains_key(stored) {
        return stored.to_owned();
    }
    let winner = votes.into_iter().max_by_key(|(_, vote)| *vote);
    winner.map_or(update, |(revision, _)| revision).to_owned()
}

/// Selects one pod per group, so that an autoscaler counts groups.
fn label_selector(view: &ServingView) -> String {
    let Some(first) = view.serving.spec.template.roles.first() else {
        return String::new();
    };
    let mut parts = [
        format!("{}=true", labels::ENTRY),
        format!("{}={}", labels::MODEL_SERVING_NAME, view.name()),
        format!("{}={}-0", labels::ROLE_ID, first.name),
        format!("{}={}", labels::ROLE, first.name),
    ];
    parts.sort_unstable();
    parts.join(",")
}

/// The ordinals of some groups: `[0 2 3]`.
fn list(groups: &BTreeMap<i32, Tally>, is_listed: impl Fn(&Tally) -> bool) -> String {
    let ordinals: Vec<_> = groups
        .iter()
        .filter(|(_, group)| is_listed(group))
        .map(|(ordinal, _)| ordinal.to_string())
        .collect();
    format!("[{}]", ordinals.join(" "))
}

#[cfg(test)]
mod tests;
