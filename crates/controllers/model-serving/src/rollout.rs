//! Replaces what is outdated, a few at a time.
//!
//! # Invariants
//!
//! - Running groups are deleted only as long as the minimum stays available, protected groups included.
//! - What does not run goes first: replacing it costs nothing, and a mended spec is not stuck behind a bad one.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use kthena_api::int_or_percent::{IntOrPercent, Rounding};
use kthena_api::model_serving::Role;

use crate::groups::{configuration, max_surge};
use crate::plan::Draft;
use crate::revision::{Revisions, replicas};
use crate::state::{GroupState, Groups, InstanceState, Lifecycle, is_role_rollout};
use crate::view::ServingView;

/// Marks for deletion what this pass may replace.
pub(crate) fn run(
    view: &ServingView,
    groups: &mut Groups<'_>,
    protected: usize,
    revisions: &Revisions<'_>,
    draft: &mut Draft,
) {
    if is_role_rollout(view) {
        let outdated: Vec<_> = groups
            .iter()
            .skip(protected)
            .filter(|(_, group)| !group.is_leaving() && group.revision != revisions.update)
            .map(|(ordinal, _)| *ordinal)
            .collect();
        for ordinal in outdated.into_iter().rev() {
            replace_instances(groups, ordinal, revisions, draft);
        }
    } else {
        for ordinal in outdated_groups(view, groups, protected, &revisions.update) {
            draft.leave_group(groups, ordinal);
        }
    }
}

/// Groups that may be replaced now, those that go already included.
fn outdated_groups(
    view: &ServingView,
    groups: &Groups<'_>,
    protected: usize,
    update: &str,
) -> Vec<i32> {
    let minimum = minimum_available(view);
    let eligible = || groups.iter().skip(protected);
    let is_running = |group: &GroupState<'_>| group.lifecycle == Lifecycle::Running;
    let new_unavailable = eligible()
        .filter(|(_, group)| group.revision == update && !is_running(group))
        .count();
    // Groups that are missing would be new and unavailable: they would add to both sides and cancel out.
    let budget = groups
        .len()
        .saturating_sub(minimum)
        .saturating_sub(new_unavailable);
    let all_running = groups.values().filter(|group| is_running(group)).count();
    let mut running_budget = all_running.saturating_sub(minimum);

    let mut outdated: Vec<_> = eligible()
        .filter(|(_, group)| group.revision != update)
        .collect();
    outdated.sort_by_key(|(ordinal, group)| {
        (!group.is_leaving(), is_running(group), Reverse(**ordinal))
    });
    let mut chosen = Vec::new();
    for (ordinal, group) in outdated.into_iter().take(budget) {
        if is_running(group) {
            if running_budget == 0 {
                break;
            }
            running_budget -= 1;
        }
        chosen.push(*ordinal);
    }
    chosen
}

/// Groups that must stay available.
fn minimum_available(view: &ServingView) -> usize {
    let wanted = view.wanted_groups();
    let configured =
        configuration(view).and_then(|configuration| configuration.max_unavailable.as_ref());
    // A share that rounds down to nothing would never let a rollout start, unless there may be more groups.
    let least = i32::from(max_surge(view) == 0);
    let unavailable = configured
        .and_then(|value| value.scaled(wanted, Rounding::Down))
        .unwrap_or(1)
        .max(least);
    usize::try_from(wanted.saturating_sub(unavailable)).unwrap_or(0)
}

/// One group of a role rollout: each role on its own.
fn replace_instances(
    groups: &mut Groups<'_>,
    ordinal: i32,
    revisions: &Revisions<'_>,
    draft: &mut Draft,
) {
    let Some(group) = groups.get(&ordinal) else {
        return;
    };
    let mut leaving = Vec::new();
    for (role, instances) in &group.roles {
        let chosen = match revisions.spec_role(role) {
            None => instances.keys().copied().collect(),
            Some(wanted) => {
                let count = replicas(wanted);
                let Some(protected) = protected_instances(wanted) else {
                    continue;
                };
                outdated_instances(instances, count, wanted.max_unavailable.as_ref(), protected)
            }
        };
        leaving.extend(chosen.into_iter().map(|instance| (role.clone(), instance)));
    }
    for (role, instance) in leaving {
        draft.leave_instance(groups, ordinal, &role, instance);
    }
}

/// Instances of a role that a role rollout leaves alone; `None` if nobody can read how many.
pub(crate) fn protected_instances(role: &Role) -> Option<usize> {
    let partition = role.partition.as_ref();
    let count = partition.map_or(Some(0), |value| value.scaled(replicas(role), Rounding::Up));
    usize::try_from(count?.max(0)).ok()
}

fn outdated_instances(
    instances: &BTreeMap<i32, InstanceState>,
    count: i32,
    max_unavailable: Option<&IntOrPercent>,
    protected: usize,
) -> Vec<i32> {
    let unavailable = match max_unavailable {
        None => count,
        Some(value) => match value.scaled(count, Rounding::Down) {
            Some(value) => value.max(1),
            None => return Vec::new(),
        },
    };
    let minimum = usize::try_from(count.saturating_sub(unavailable)).unwrap_or(0);
    let is_running = |instance: &InstanceState| instance.lifecycle == Lifecycle::Running;
    let new_unavailable = instances
        .values()
        .filter(|one| one.is_leaving() || one.is_up_to_date && !is_running(one))
        .count();
    let budget = instances
        .len()
        .saturating_sub(minimum)
        .saturating_sub(new_unavailable);
    // Without a hash nobody knows what it was built from; it is not restarted on a guess.
    let is_outdated =
        |one: &InstanceState| !one.is_leaving() && !one.is_up_to_date && !one.role_hash.is_empty();
    let mut outdated: Vec<_> = instances
        .iter()
        .skip(protected)
        .filter(|(_, instance)| is_outdated(instance))
        .collect();
    outdated.sort_by_key(|(ordinal, instance)| (is_running(instance), Reverse(**ordinal)));
    outdated
        .into_iter()
        .take(budget)
        .map(|(ordinal, _)| *ordinal)
        .collect()
}

#[cfg(test)]
mod tests;
