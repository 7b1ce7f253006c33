//! What is reported of a `ModelServing`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kthena_api::labels;
use kthena_api::model_serving::ModelServingStatus;

use crate::state::Lifecycle;
use crate::view::ServingView;

/// What counts of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) revision: String,
    pub(crate) lifecycle: Lifecycle,
}

/// The three conditions; exactly one of them is true.
const TYPES: [&str; 3] = ["Available", "Progressing", "UpdateInProgress"];

impl Tally {
    /// A group that is about to be created.
    pub(crate) fn planned(revision: &str) -> Self {
        Self {
            revision: revision.to_owned(),
            lifecycle: Lifecycle::Creating,
        }
    }
}

/// The status of these groups.
pub(crate) fn compute(
    view: &ServingView,
    groups: &BTreeMap<i32, Tally>,
    update: &str,
    protected: usize,
    now: Timestamp,
) -> ModelServingStatus {
    let stored = view.serving.status.clone().unwrap_or_default();
    let staying = || {
        groups
            .values()
            .filter(|group| group.lifecycle != Lifecycle::Deleting)
    };
    let updated = count(staying().filter(|group| group.revision == update).count());
    let available = count(
        staying()
            .filter(|group| group.lifecycle == Lifecycle::Running)
            .count(),
    );
    let outdated = count(staying().filter(|group| group.revision != update).count());
    let replicas = count(groups.len());
    let is_finished =
        updated == available && available == replicas && replicas == view.wanted_groups();
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
        current_revision: current_revision(groups, &stored.current_revision, update),
        update_revision: update.to_owned(),
        conditions: Some(conditions(view, groups, update, outdated, protected, now)),
        label_selector: label_selector(view),
    }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn has_partition(view: &ServingView) -> bool {
    view.serving
        .spec
        .rollout_strategy
        .as_ref()
        .and_then(|strategy| strategy.rolling_update_configuration.as_ref())
        .is_some_and(|configuration| configuration.partition.is_some())
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

fn conditions(
    view: &ServingView,
    groups: &BTreeMap<i32, Tally>,
    update: &str,
    outdated: i32,
    protected: usize,
    now: Timestamp,
) -> Vec<Condition> {
    let is_ready = |group: &Tally| group.lifecycle == Lifecycle::Running;
    let progressing = list(groups, |group| !is_ready(group));
    let updated = list(groups, |group| {
        group.revision == update && group.lifecycle != Lifecycle::Deleting
    });
    let is_rolling = usize::try_from(outdated).is_ok_and(|outdated| outdated > protected);
    let (kind, reason, message) = if groups.values().all(is_ready) {
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
    let stored = view
        .serving
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone());
    let mut all = stored.unwrap_or_default();
    if !all.iter().any(|condition| condition.type_ == kind) {
        all.push(Condition {
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
            message: String::new(),
            observed_generation: None,
            reason: String::new(),
            status: String::new(),
            type_: kind.to_owned(),
        });
    }
    for condition in all
        .iter_mut()
        .filter(|condition| TYPES.contains(&condition.type_.as_str()))
    {
        let status = if condition.type_ == kind {
            "True"
        } else {
            "False"
        };
        if condition.status != status {
            status.clone_into(&mut condition.status);
            // Stored times have whole seconds.
            condition.last_transition_time =
                Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
        }
        if condition.type_ == kind {
            reason.clone_into(&mut condition.reason);
            condition.message.clone_from(&message);
        }
        condition.observed_generation = view.serving.metadata.generation;
    }
    all
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
