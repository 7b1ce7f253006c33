//! Rollout strategies of all kinds.

use kthena_api::int_or_percent::IntOrPercent;
use kthena_api::model_serving::{RollingUpdateConfiguration, RolloutStrategy, RolloutType};
use proptest::prelude::*;

/// How replacements are held back.
#[derive(Debug, Clone)]
pub(super) struct Rollout {
    by_role: bool,
    max_unavailable: i32,
    max_surge: Option<i32>,
    partition: Option<i32>,
    is_paused: bool,
}

pub(super) fn rollout() -> impl Strategy<Value = Rollout> {
    let counts = (1..4, proptest::option::of(0..3), proptest::option::of(0..4));
    (any::<bool>(), counts, proptest::bool::weighted(0.2)).prop_map(
        |(by_role, (max_unavailable, max_surge, partition), is_paused)| Rollout {
            by_role,
            max_unavailable,
            max_surge,
            partition,
            is_paused,
        },
    )
}

impl Rollout {
    pub(super) fn strategy(&self) -> RolloutStrategy {
        let configuration = RollingUpdateConfiguration {
            max_unavailable: Some(IntOrPercent::Int(self.max_unavailable)),
            partition: self.partition.map(IntOrPercent::Int),
            max_surge: self.max_surge.map(IntOrPercent::Int),
        };
        RolloutStrategy {
            kind: Some(if self.by_role {
                RolloutType::RoleRollingUpdate
            } else {
                RolloutType::ServingGroupRollingUpdate
            }),
            rolling_update_configuration: (!self.by_role).then_some(configuration),
            paused: Some(self.is_paused),
            progress_deadline_seconds: None,
        }
    }
}
