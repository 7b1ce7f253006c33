use std::time::Duration;

use rstest::rstest;
use serde_json::json;

use crate::testing::{Sim, role, serving};
use crate::view::PodPhase;

fn true_conditions(sim: &Sim) -> Vec<(&str, &str, &str)> {
    let conditions = sim.status().conditions.as_deref().unwrap_or_default();
    conditions
        .iter()
        .filter(|one| one.status == "True")
        .map(|one| {
            (
                one.type_.as_str(),
                one.reason.as_str(),
                one.message.as_str(),
            )
        })
        .collect()
}

#[test]
fn r66_groups_count_as_what_they_are() {
    let mut sim = Sim::new(serving(3, &[role("a", 1, 0)]));
    sim.step();
    let status = sim.status();
    assert_eq!(
        (
            status.replicas,
            status.available_replicas,
            status.updated_replicas
        ),
        (3, 0, 3)
    );

    sim.ready_all();
    sim.pod("sample-1-a-0-0").is_ready = false;
    sim.step();
    assert_eq!(sim.status().available_replicas, 2);

    sim.is_graceful = true;
    sim.edit(|serving| serving.spec.replicas = Some(1));
    sim.step();
    let status = sim.status();
    assert_eq!(
        (status.replicas, status.updated_replicas),
        (3, 1),
        "a group that goes counts until it is gone"
    );
}

#[rstest]
#[case::no_partition(None, 2)]
#[case::explicit_zero(Some(0), 0)]
fn r66_current_replicas_of_a_finished_rollout(
    #[case] partition: Option<i32>,
    #[case] expected: i32,
) {
    let mut object = serving(2, &[role("a", 1, 0)]);
    object.spec.rollout_strategy = serde_json::from_value(json!({
        "type": "ServingGroupRollingUpdate",
        "rollingUpdateConfiguration": { "maxUnavailable": 1, "partition": partition },
    }))
    .unwrap();
    let mut sim = Sim::settled(object);
    sim.edit_image("engine:2");
    sim.settle();

    assert_eq!(sim.status().current_replicas, expected);
    assert_eq!(sim.status().updated_replicas, 2);
}

#[test]
fn r67_the_current_revision_is_the_old_one_until_the_last_group_has_left_it() {
    let mut sim = Sim::settled(serving(3, &[role("a", 1, 0)]));
    sim.is_graceful = true;
    let old = sim.status().current_revision.clone();
    sim.edit_image("engine:2");

    for _ in 0..30 {
        sim.step();
        let is_on_old = sim.pods.values().any(|pod| pod.revision == old);
        let status = sim.status();
        assert_ne!(status.update_revision, old);
        let expected = if is_on_old {
            &old
        } else {
            &status.update_revision
        };
        assert_eq!(
            status.current_revision, *expected,
            "groups that go count too"
        );
        sim.reap();
        sim.ready_all();
    }
    assert_eq!(sim.status().current_revision, sim.status().update_revision);
}

#[test]
fn r68_the_observed_generation_is_the_one_that_was_planned_for() {
    let mut sim = Sim::settled(serving(1, &[role("a", 1, 0)]));
    sim.edit(|serving| serving.spec.scheduler_name = None);
    sim.step();
    assert_eq!(sim.status().observed_generation, 2);
}

#[test]
fn r69_the_selector_matches_one_pod_per_group_and_is_there_without_groups() {
    let mut sim = Sim::new(serving(0, &[role("prefill", 2, 1), role("decode", 1, 0)]));
    sim.step();
    assert_eq!(
        sim.status().label_selector,
        "modelserving.volcano.sh/entry=true,modelserving.volcano.sh/name=sample,\
         modelserving.volcano.sh/role-id=prefill-0,modelserving.volcano.sh/role=prefill"
    );
}

#[test]
fn r70_r71_exactly_one_condition_is_true_and_says_what_goes_on() {
    let mut sim = Sim::new(serving(2, &[role("a", 1, 0)]));
    sim.step();
    let progressing = (
        "Progressing",
        "GroupProgressing",
        "Some groups is progressing: [0 1]; 0 of 2 groups ready, waiting for sample-0: is being created",
    );
    assert_eq!(true_conditions(&sim), [progressing]);

    sim.ready_all();
    sim.step();
    assert_eq!(
        true_conditions(&sim),
        [(
            "Available",
            "AllGroupsReady",
            "All Serving groups are ready"
        )]
    );

    sim.edit_image("engine:2");
    sim.step();
    let updating = (
        "UpdateInProgress",
        "GroupsUpdating",
        "Some groups is progressing: [1], Updated Groups are: []; 0 of 2 groups updated, waiting for sample-1: is being deleted",
    );
    assert_eq!(true_conditions(&sim), [updating]);

    sim.settle();
    assert_eq!(
        true_conditions(&sim),
        [(
            "Available",
            "AllGroupsReady",
            "All Serving groups are ready"
        )]
    );
}

#[test]
fn r71_the_transition_time_changes_with_the_status_only() {
    let mut sim = Sim::new(serving(2, &[role("a", 1, 0)]));
    sim.step();
    let first = sim.status().conditions.as_ref().unwrap()[0].clone();
    sim.wait(Duration::from_mins(1));
    sim.pod("sample-0-a-0-0").phase = PodPhase::Running;
    sim.pod("sample-0-a-0-0").is_ready = true;
    sim.step();

    let second = &sim.status().conditions.as_ref().unwrap()[0];
    assert_eq!(
        second.message,
        "Some groups is progressing: [1]; 1 of 2 groups ready, waiting for sample-1/a-0: is not ready",
        "the message is refreshed"
    );
    assert_eq!(second.last_transition_time, first.last_transition_time);

    sim.ready_all();
    sim.step();
    let conditions = sim.status().conditions.as_ref().unwrap();
    let progressing = conditions
        .iter()
        .find(|one| one.type_ == "Progressing")
        .unwrap();
    assert_eq!(progressing.status, "False");
    assert!(progressing.last_transition_time > first.last_transition_time);
}

#[test]
fn r72_nothing_is_written_when_nothing_changed() {
    let sim = Sim::settled(serving(2, &[role("a", 1, 1)]));
    let plan = sim.plan();
    assert_eq!(plan.status, None);
    assert_eq!(plan.status_on_failure, None);
}

#[test]
fn r27_a_status_is_written_even_if_creation_fails() {
    let sim = Sim::new(serving(2, &[role("a", 1, 0)]));
    let status = sim.plan().status_on_failure.unwrap();
    assert_eq!(
        (status.replicas, status.observed_generation),
        (0, 1),
        "and it does not claim what failed"
    );
    assert!(!status.label_selector.is_empty());
}

#[test]
fn what_is_put_off_is_told_together_later() {
    let mut sim = Sim::new(serving(6, &[role("a", 1, 0)]));
    sim.step();
    let before = sim.memory.clone();
    sim.pod("sample-0-a-0-0").phase = PodPhase::Running;
    sim.pod("sample-0-a-0-0").is_ready = true;
    let mut plan = sim.plan();
    assert!(plan.status_can_wait && plan.events.len() == 1);

    plan.put_off(&before);

    assert!(plan.is_idle(), "nothing is said or done for now");
    sim.memory = plan.memory;
    sim.ready_all();
    let plan = sim.plan();
    assert!(!plan.status_can_wait, "being available is no mere progress");
    let told: Vec<_> = plan.events.iter().map(|one| one.reason).collect();
    assert_eq!(told, ["RoleRunning"]);
    assert!(
        plan.events[0].message.contains("6 ServingGroups"),
        "the first one too"
    );
}
