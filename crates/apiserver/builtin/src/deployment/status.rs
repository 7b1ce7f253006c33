//! What a Deployment reports about itself.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Sets, available, name, replicas, wanted};

/// Seconds without progress after which a rollout counts as stuck, if the Deployment does not say.
const DEADLINE: i32 = 600;

/// The status that belongs to `sets`, and when it can change without any event.
pub(super) fn status(
    deployment: &Deployment,
    sets: &Sets<'_>,
    now: Timestamp,
) -> (DeploymentStatus, Option<Duration>) {
    let all = || sets.new.into_iter().chain(sets.old.iter().copied());
    let sum = |count: fn(&ReplicaSet) -> i32| all().map(count).sum::<i32>();
    let available = sum(reported_available);
    let before = deployment.status.as_ref();
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: Some(sum(present)),
        updated_replicas: Some(sets.new.map_or(0, present)),
        ready_replicas: Some(sum(ready)),
        available_replicas: Some(available),
        unavailable_replicas: Some((sum(replicas) - available).max(0)),
        collision_count: before.and_then(|status| status.collision_count),
        conditions: before.and_then(|status| status.conditions.clone()),
        ..DeploymentStatus::default()
    };
    let again_in = progress(deployment, sets, &mut status, now);
    availability(deployment, sets, &mut status, now);
    (status, again_in)
}

/// Whether all pods are of the present template, available, and no others are left.
pub(super) fn is_complete(deployment: &Deployment, sets: &Sets<'_>) -> bool {
    let wanted = wanted(deployment);
    let old: i32 = sets
        .old
        .iter()
        .map(|set| present(set).max(replicas(set)))
        .sum();
    sets.new.is_some_and(|new| {
        present(new) == wanted && available(new) == wanted && replicas(new) == wanted
    }) && old == 0
}

/// Whether two statuses say the same; an absent count is zero.
pub(super) fn same(before: Option<&DeploymentStatus>, after: &DeploymentStatus) -> bool {
    let Some(before) = before else { return false };
    let counts = |status: &DeploymentStatus| {
        [
            status.replicas,
            status.updated_replicas,
            status.ready_replicas,
            status.available_replicas,
            status.unavailable_replicas,
        ]
        .map(|count| count.unwrap_or(0))
    };
    counts(before) == counts(after)
        && before.observed_generation == after.observed_generation
        && before.conditions == after.conditions
}

fn present(set: &ReplicaSet) -> i32 {
    set.status.as_ref().map_or(0, |status| status.replicas)
}

fn ready(set: &ReplicaSet) -> i32 {
    set.status
        .as_ref()
        .and_then(|status| status.ready_replicas)
        .unwrap_or(0)
}

fn reported_available(set: &ReplicaSet) -> i32 {
    set.status
        .as_ref()
        .and_then(|status| status.available_replicas)
        .unwrap_or(0)
}

fn availability(
    deployment: &Deployment,
    sets: &Sets<'_>,
    status: &mut DeploymentStatus,
    now: Timestamp,
) {
    let floor = super::rollout::floor(deployment);
    let available: i32 = sets
        .new
        .into_iter()
        .chain(sets.old.iter().copied())
        .map(reported_available)
        .sum();
    let (value, reason, message) = if available >= floor {
        (
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        )
    } else {
        (
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    };
    set_condition(
        status,
        condition("Available", value, reason, message.to_owned(), now),
        Refresh::OnChange,
    );
}

/// Says whether the rollout moves; a rollout that does not is checked again at its deadline.
fn progress(
    deployment: &Deployment,
    sets: &Sets<'_>,
    status: &mut DeploymentStatus,
    now: Timestamp,
) -> Option<Duration> {
    let new = sets.new?;
    let subject = format!("ReplicaSet \"{}\"", name(new));
    let before = deployment.status.as_ref();
    let current = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "Progressing")
        .cloned();
    if is_complete(deployment, sets) {
        let message = format!("{subject} has successfully progressed.");
        let done = condition(
            "Progressing",
            "True",
            "NewReplicaSetAvailable",
            message,
            now,
        );
        set_condition(status, done, Refresh::OnChange);
        return None;
    }
    let moving = condition(
        "Progressing",
        "True",
        "ReplicaSetUpdated",
        format!("{subject} is progressing."),
        now,
    );
    let completed = current
        .as_ref()
        .is_some_and(|known| known.reason.as_deref() == Some("NewReplicaSetAvailable"));
    if current.is_none() || completed || moved(before, status) {
        set_condition(status, moving, Refresh::Always);
    }
    let since = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "Progressing");
    let since = since
        .and_then(|condition| condition.last_update_time.as_ref())
        .map_or(now, |time| time.0);
    let deadline = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.progress_deadline_seconds)
        .unwrap_or(DEADLINE);
    let left = SignedDuration::from_secs(i64::from(deadline)) - now.duration_since(since);
    if let Ok(left) = Duration::try_from(left)
        && !left.is_zero()
    {
        return Some(left);
    }
    let message = format!("{subject} has timed out progressing.");
    let stuck = condition(
        "Progressing",
        "False",
        "ProgressDeadlineExceeded",
        message,
        now,
    );
    set_condition(status, stuck, Refresh::OnChange);
    None
}

/// More new pods, more ready or available ones, or fewer old ones than before.
fn moved(before: Option<&DeploymentStatus>, after: &DeploymentStatus) -> bool {
    let Some(before) = before else { return true };
    let count = |count: Option<i32>| count.unwrap_or(0);
    let old = |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
    count(after.updated_replicas) > count(before.updated_replicas)
        || old(after) < old(before)
        || count(after.ready_replicas) > count(before.ready_replicas)
        || count(after.available_replicas) > count(before.available_replicas)
}

/// When the time of a condition is renewed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refresh {
    OnChange,
    Always,
}

fn condition(
    kind: &str,
    value: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) -> DeploymentCondition {
    // The API keeps whole seconds.
    let second = Timestamp::from_second(now.as_second()).unwrap_or(now);
    DeploymentCondition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: Some(Time(second)),
        last_update_time: Some(Time(second)),
    }
}

fn set_condition(status: &mut DeploymentStatus, mut wanted: DeploymentCondition, refresh: Refresh) {
    let conditions = status.conditions.get_or_insert_default();
    let Some(known) = conditions
        .iter_mut()
        .find(|known| known.type_ == wanted.type_)
    else {
        conditions.push(wanted);
        return;
    };
    let same = known.status == wanted.status
        && known.reason == wanted.reason
        && known.message == wanted.message;
    if same && refresh == Refresh::OnChange {
        return;
    }
    if known.status == wanted.status {
        wanted
            .last_transition_time
            .clone_from(&known.last_transition_time);
    }
    *known = wanted;
}
