//! What is rebuilt when pods fail or vanish.
//!
//! A pod was lost if it was seen alive, nobody here meant to delete it, and it is gone. A pod has failed if it
//! ended, or if its containers restarted since it was last ready and it is not ready now; it gets a grace period.
//! An instance that fails again and again without ever running is rebuilt less and less often.

use std::collections::HashSet;
use std::time::Duration;

use kthena_api::model_serving::RecoveryPolicy;

use crate::memory::Memory;
use crate::names;
use crate::plan::Draft;
use crate::state::{self, Groups, Lifecycle};
use crate::view::{PodPhase, PodView, ServingView};

pub(crate) fn run(
    view: &ServingView,
    groups: &mut Groups<'_>,
    before: &Memory,
    now: Duration,
    draft: &mut Draft,
) {
    let policy = view.serving.spec.recovery_policy.unwrap_or_default();
    let present: HashSet<_> = view.pods.iter().map(|pod| pod.uid.as_str()).collect();
    for mark in before
        .pods
        .iter()
        .filter(|(uid, _)| !present.contains(uid.as_str()))
        .map(|(_, mark)| mark)
    {
        rebuild(
            view,
            groups,
            policy,
            [&mark.group, &mark.role, &mark.role_id],
            draft,
        );
    }
    for pod in view.owned_pods().filter(|pod| !pod.is_terminating) {
        if !has_failed(pod, before, policy) {
            draft.memory.failing.remove(&pod.uid);
            continue;
        }
        let is_new = !before.failing.contains_key(&pod.uid);
        let since = *draft.memory.failing.entry(pod.uid.clone()).or_insert(now);
        if is_new
            && before
                .running
                .contains(&(pod.group.clone(), pod.role_id.clone()))
        {
            draft.tell_role(&pod.group, &pod.role, &pod.role_id, Lifecycle::Creating);
        }
        let key = (pod.group.clone(), pod.role_id.clone());
        let rebuilds = draft.memory.rebuilds.get(&key).copied().unwrap_or(0);
        let grace = state::grace(&view.serving.spec.template).max(back_off(rebuilds));
        let left = (since + grace).saturating_sub(now);
        if !left.is_zero() {
            draft.look_again(left);
            continue;
        }
        draft
            .memory
            .rebuilds
            .insert(key, rebuilds.saturating_add(1));
        if policy == RecoveryPolicy::None {
            draft.delete_pod(&pod.name, &pod.uid);
        } else {
            rebuild(
                view,
                groups,
                policy,
                [&pod.group, &pod.role, &pod.role_id],
                draft,
            );
        }
    }
}

/// How long an instance that was rebuilt that often stays as it is: at once, 10 s, 20 s, … 5 minutes.
fn back_off(rebuilds: u32) -> Duration {
    const FIRST: u64 = 10;
    const LONGEST: u64 = 300;
    match rebuilds.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => Duration::from_secs((FIRST << doublings.min(10)).min(LONGEST)),
    }
}

fn has_failed(pod: &PodView, before: &Memory, policy: RecoveryPolicy) -> bool {
    match pod.phase {
        PodPhase::Failed | PodPhase::Succeeded => true,
        // Left to the kubelet, which restarts containers by itself.
        _ if policy == RecoveryPolicy::None => false,
        PodPhase::Pending | PodPhase::Running => {
            let forgiven = before
                .pods
                .get(&pod.uid)
                .map_or(0, |mark| mark.forgiven_restarts);
            !pod.is_serving() && pod.restarts > forgiven
        }
    }
}

/// Deletes the unit of the policy, so that it is created anew under the same names.
fn rebuild(
    view: &ServingView,
    groups: &mut Groups<'_>,
    policy: RecoveryPolicy,
    [group, role, role_id]: [&str; 3],
    draft: &mut Draft,
) {
    let Some(group) = names::ordinal_under(view.name(), group) else {
        return;
    };
    match policy {
        RecoveryPolicy::None => {}
        RecoveryPolicy::ServingGroupRecreate => draft.leave_group(groups, group),
        RecoveryPolicy::RoleRecreate => {
            if let Some(ordinal) = names::ordinal_under(role, role_id) {
                draft.leave_instance(groups, group, role, ordinal);
            }
        }
    }
}

#[cfg(test)]
mod tests;
