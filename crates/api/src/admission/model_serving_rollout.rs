//! Rules SG-V5 to SG-V9 and SG-V12: rollouts of groups and of roles.

use kthena_schema::Fault;

use super::at::At;
use super::int_or_percent::{check_form, scaled_down};
use super::invalid;
use super::model_serving::replicas_of;
use crate::int_or_percent::{IntOrPercent, Rounding};

const BY_GROUP: &str = "ServingGroupRollingUpdate";
const BY_ROLE: &str = "RoleRollingUpdate";

/// The unit of rollouts; absent counts as groups.
fn rollout_type<'v>(spec: &At<'v>) -> &'v str {
    match spec.field("rolloutStrategy").field("type").text() {
        "" => BY_GROUP,
        name => name,
    }
}

/// Limits of a rollout of groups.
pub(super) fn check_group_level(spec: &At<'_>, faults: &mut Vec<Fault>) {
    let configuration = spec
        .field("rolloutStrategy")
        .field("rollingUpdateConfiguration");
    if configuration.is_absent() {
        return;
    }
    if rollout_type(spec) == BY_ROLE {
        faults.push(configuration.forbidden(
            "rollingUpdateConfiguration is only valid when rolloutStrategy.type is ServingGroupRollingUpdate",
        ));
        return;
    }
    let limit = configuration.field("maxUnavailable");
    check_form(&limit, faults);
    check_form(&configuration.field("partition"), faults);
    let surge = configuration.field("maxSurge");
    check_form(&surge, faults);
    let Some(replicas) = spec.field("replicas").int().filter(|_| !limit.is_absent()) else {
        return;
    };
    // Groups beyond the count let a rollout proceed although none may be down.
    if scaled_down(&limit, replicas, faults) == Some(0) && !has_surge(&surge, replicas) {
        faults.push(invalid(
            configuration.path,
            "",
            "maxUnavailable cannot be 0",
        ));
    }
}

fn has_surge(surge: &At<'_>, replicas: i64) -> bool {
    if surge.value.is_string() {
        let total = i32::try_from(replicas).unwrap_or(i32::MAX);
        let share = IntOrPercent::Text(surge.text().to_owned()).scaled(total, Rounding::Up);
        return share.is_some_and(|share| share > 0);
    }
    surge.int().is_some_and(|count| count > 0)
}

/// Partitions of roles.
pub(super) fn check_partitions(spec: &At<'_>, roles: &[At<'_>], faults: &mut Vec<Fault>) {
    for partition in roles
        .iter()
        .map(|role| role.field("partition"))
        .filter(|partition| !partition.is_absent())
    {
        check_form(&partition, faults);
        if rollout_type(spec) != BY_ROLE {
            faults.push(partition.forbidden(
                "partition is only valid when rolloutStrategy.type is RoleRollingUpdate",
            ));
        }
    }
}

/// Limits of a rollout of roles; without such a rollout they mean nothing and are not judged.
pub(super) fn check_role_max_unavailable(spec: &At<'_>, roles: &[At<'_>], faults: &mut Vec<Fault>) {
    if rollout_type(spec) != BY_ROLE {
        return;
    }
    for role in roles {
        let limit = role.field("maxUnavailable");
        if limit.is_absent() {
            continue;
        }
        check_form(&limit, faults);
        let replicas = replicas_of(role);
        match scaled_down(&limit, replicas, faults) {
            // Nothing can be unavailable of nothing: the default limit must not forbid to scale to zero.
            _ if replicas == 0 => {}
            Some(0) => faults.push(limit.invalid("maxUnavailable cannot be 0")),
            Some(count) if count > replicas => {
                let detail = format!("maxUnavailable cannot be greater than replicas ({replicas})");
                faults.push(limit.invalid(detail));
            }
            _ => {}
        }
    }
}

/// Recovery of whole groups and rollout of single roles do not go together.
pub(super) fn check_policies(spec: &At<'_>, faults: &mut Vec<Fault>) {
    let recovery = spec.field("recoveryPolicy");
    if recovery.text() == "ServingGroupRecreate" && rollout_type(spec) == BY_ROLE {
        let path = spec.field("rolloutStrategy").field("type").path;
        faults.push(invalid(
            path,
            BY_ROLE,
            "incompatible recoveryPolicy and rolloutStrategy.type after applying defaults: recoveryPolicy=ServingGroupRecreate, rolloutStrategy.type=RoleRollingUpdate; valid pairs: (ServingGroupRecreate,ServingGroupRollingUpdate) or (RoleRecreate,RoleRollingUpdate)",
        ));
    }
}
