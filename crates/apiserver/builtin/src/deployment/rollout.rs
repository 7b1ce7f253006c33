//! How large each `ReplicaSet` of a Deployment shall be next.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::sets::new_set;
use super::{DeploymentAction, DeploymentView, Sets, available, name, replicas, wanted};
use crate::pods;

/// What a rolling update may do if the Deployment does not say.
const QUARTER: &str = "25%";

/// How many pods a rolling update may have too many, and how many may be missing.
struct Limits {
    surge: i32,
    unavailable: i32,
}

/// Whether old pods end before new ones start.
pub(super) fn recreates(deployment: &Deployment) -> bool {
    let strategy = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}

/// A paused Deployment still follows its replicas, but its template rests.
pub(super) fn scale_while_paused(
    deployment: &Deployment,
    sets: &Sets<'_>,
) -> Vec<DeploymentAction> {
    let all = || sets.new.into_iter().chain(sets.old.iter().copied());
    let used: Vec<&ReplicaSet> = all().filter(|set| replicas(set) > 0).collect();
    match used.as_slice() {
        [only] => scale(only, wanted(deployment)),
        // Nothing runs: the newest set takes all.
        [] => all()
            .next()
            .map(|set| scale(set, wanted(deployment)))
            .unwrap_or_default(),
        // In the middle of an update the sizes rest as they are.
        _ => Vec::new(),
    }
}

/// All old pods first, the new set once none of them is left.
pub(super) fn recreate(view: &DeploymentView, sets: &Sets<'_>) -> Vec<DeploymentAction> {
    let deployment = &view.deployment;
    let down: Vec<_> = sets.old.iter().flat_map(|set| scale(set, 0)).collect();
    let of_old = |uid: &String| {
        sets.old
            .iter()
            .any(|set| set.metadata.uid.as_ref() == Some(uid))
    };
    let runs = |pod: &Pod| {
        !pods::is_finished(pod)
            && pods::controller(&pod.metadata).is_some_and(|owner| of_old(&owner.uid))
    };
    if !down.is_empty() || view.pods.iter().any(|pod| runs(pod)) {
        return down;
    }
    match sets.new {
        Some(new) => scale(new, wanted(deployment)),
        None => create(deployment, sets, wanted(deployment)),
    }
}

/// One step of a rolling update: up first, then down.
pub(super) fn roll(deployment: &Deployment, sets: &Sets<'_>) -> Vec<DeploymentAction> {
    let limits = limits(deployment);
    let wanted = wanted(deployment);
    let old: i32 = sets.old.iter().map(|set| replicas(set)).sum();
    let Some(new) = sets.new else {
        let room = (wanted + limits.surge - old).clamp(0, wanted);
        return create(deployment, sets, room);
    };
    let up = scale(new, new_size(wanted, limits.surge, replicas(new), old));
    if !up.is_empty() {
        return up;
    }
    shrink_old(sets, new, wanted - limits.unavailable)
}

/// Size of the new set: as many as wanted, as far as all sets together stay under the ceiling.
fn new_size(wanted: i32, surge: i32, new: i32, old: i32) -> i32 {
    if new >= wanted {
        return wanted;
    }
    let room = (wanted + surge - new - old).max(0);
    new + room.min(wanted - new)
}

/// Takes away old pods: first those that do not work anyway, then as many as availability can spare.
fn shrink_old(sets: &Sets<'_>, new: &ReplicaSet, floor: i32) -> Vec<DeploymentAction> {
    let total: i32 = replicas(new) + sets.old.iter().map(|set| replicas(set)).sum::<i32>();
    let missing_new = replicas(new) - available(new);
    let mut spare = total - floor - missing_new;
    if spare <= 0 {
        return Vec::new();
    }
    let mut sizes: Vec<i32> = sets.old.iter().map(|set| replicas(set)).collect();
    for (set, size) in sets.old.iter().zip(&mut sizes) {
        let broken = (*size - available(set)).clamp(0, spare);
        *size -= broken;
        spare -= broken;
    }
    let working: i32 = available(new) + sets.old.iter().map(|set| available(set)).sum::<i32>();
    let mut spare = spare.min(working - floor);
    for size in &mut sizes {
        let gone = (*size).clamp(0, spare.max(0));
        *size -= gone;
        spare -= gone;
    }
    sets.old
        .iter()
        .zip(sizes)
        .flat_map(|(set, size)| scale(set, size))
        .collect()
}

fn scale(set: &ReplicaSet, size: i32) -> Vec<DeploymentAction> {
    if replicas(set) == size {
        return Vec::new();
    }
    vec![DeploymentAction::Scale {
        set: name(set),
        replicas: size,
    }]
}

fn create(deployment: &Deployment, sets: &Sets<'_>, size: i32) -> Vec<DeploymentAction> {
    let made = new_set(deployment, sets, size);
    made.map(|set| DeploymentAction::Create(Box::new(set)))
        .into_iter()
        .collect()
}

fn limits(deployment: &Deployment) -> Limits {
    let strategy = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.strategy.as_ref());
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let quarter = IntOrString::String(QUARTER.to_owned());
    let surge = rolling
        .and_then(|rolling| rolling.max_surge.as_ref())
        .unwrap_or(&quarter);
    let unavailable = rolling
        .and_then(|rolling| rolling.max_unavailable.as_ref())
        .unwrap_or(&quarter);
    let wanted = wanted(deployment);
    let surge = share(surge, wanted, 99);
    let unavailable = share(unavailable, wanted, 0).min(wanted);
    // Without any room the update could never begin.
    let unavailable = if surge == 0 && unavailable == 0 {
        1
    } else {
        unavailable
    };
    Limits { surge, unavailable }
}

/// A number, or a percentage of `of`; `round` hundredths are added before cutting.
fn share(value: &IntOrString, of: i32, round: i64) -> i32 {
    match value {
        IntOrString::Int(number) => (*number).max(0),
        IntOrString::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            let share = (percent.max(0) * i64::from(of) + round) / 100;
            i32::try_from(share).unwrap_or(i32::MAX)
        }
    }
}

/// Pods that must be available for the Deployment to count as available.
pub(super) fn floor(deployment: &Deployment) -> i32 {
    let missing = if recreates(deployment) {
        0
    } else {
        limits(deployment).unavailable
    };
    wanted(deployment) - missing
}
