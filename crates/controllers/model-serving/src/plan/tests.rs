use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kthena_api::event::Severity;
use rstest::rstest;

use crate::plan::Action;
use crate::state::describe;
use crate::testing::{Sim, role, serving};
use crate::view::{PodPhase, PodView};

fn created(plan: &crate::Plan) -> Vec<&str> {
    let pods = plan.actions.iter().filter_map(|action| match action {
        Action::CreatePod { name, .. } => Some(name.as_str()),
        _ => None,
    });
    pods.collect()
}

fn stranger(name: &str, group: &str) -> PodView {
    PodView {
        name: name.to_owned(),
        uid: format!("uid-of-{name}"),
        group: group.to_owned(),
        role: "a".to_owned(),
        role_id: "a-0".to_owned(),
        phase: PodPhase::Running,
        is_ready: true,
        ..PodView::default()
    }
}

#[test]
fn r31_entry_first_then_workers_roles_in_order_of_the_spec_groups_ascending() {
    let sim = Sim::new(serving(2, &[role("prefill", 2, 1), role("decode", 1, 0)]));
    assert_eq!(
        created(&sim.plan()),
        [
            "sample-0-prefill-0-0",
            "sample-0-prefill-0-1",
            "sample-0-prefill-1-0",
            "sample-0-prefill-1-1",
            "sample-0-decode-0-0",
            "sample-1-prefill-0-0",
            "sample-1-prefill-0-1",
            "sample-1-prefill-1-0",
            "sample-1-prefill-1-1",
            "sample-1-decode-0-0",
        ]
    );
}

#[test]
fn r33_r35_a_group_that_was_begun_is_completed() {
    let mut sim = Sim::settled(serving(2, &[role("a", 1, 2)]));
    let before = sim.uids();
    sim.restart();
    sim.pods.remove("sample-1-a-0-1");
    sim.pods.remove("sample-1-a-0-2");
    assert_eq!(created(&sim.plan()), ["sample-1-a-0-1", "sample-1-a-0-2"]);
    sim.settle();
    assert_eq!(sim.groups(), ["sample-0", "sample-1"]);
    assert_eq!(
        sim.uids()["sample-1-a-0-0"],
        before["sample-1-a-0-0"],
        "R95"
    );
}

#[test]
fn r16_an_ordinal_is_free_when_everything_of_it_is_gone() {
    let mut sim = Sim::settled(serving(2, &[role("a", 1, 1)]));
    sim.is_graceful = true;
    sim.edit_image("engine:2");
    sim.step();
    assert!(sim.pods["sample-1-a-0-0"].is_terminating && sim.pods["sample-1-a-0-1"].is_terminating);
    assert!(
        !sim.services.contains_key("sample-1-a-0-0"),
        "R40: services go with the group"
    );

    sim.pods.remove("sample-1-a-0-0");
    assert_eq!(created(&sim.step()), [""; 0], "one pod is still there");
    sim.pods.remove("sample-1-a-0-1");
    assert_eq!(created(&sim.step()), ["sample-1-a-0-0", "sample-1-a-0-1"]);
}

#[test]
fn r17_r18_a_role_and_its_group_run_when_all_their_pods_are_ready() {
    let mut sim = Sim::new(serving(1, &[role("a", 2, 1)]));
    sim.step();
    let state = |sim: &Sim| {
        let dump = describe(&sim.view(), &sim.memory);
        let group = dump["sample-0"].clone();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        (
            text(&group["status"]),
            text(&group["roles"]["a"]["a-0"]["status"]),
        )
    };
    for name in ["sample-0-a-0-0", "sample-0-a-0-1"] {
        assert_eq!(state(&sim), ("Creating".to_owned(), "Creating".to_owned()));
        sim.pod(name).phase = PodPhase::Running;
        sim.pod(name).is_ready = true;
    }
    assert_eq!(state(&sim), ("Creating".to_owned(), "Running".to_owned()));
    sim.ready_all();
    assert_eq!(state(&sim), ("Running".to_owned(), "Running".to_owned()));
}

#[test]
fn r18_a_ready_pod_does_not_bring_a_leaving_group_back() {
    let mut sim = Sim::settled(serving(2, &[role("a", 1, 0)]));
    sim.is_graceful = true;
    sim.edit(|serving| serving.spec.replicas = Some(1));
    sim.step();
    sim.pod("sample-1-a-0-0").is_ready = true;
    sim.step();
    assert_eq!(
        describe(&sim.view(), &sim.memory)["sample-1"]["status"],
        "Deleting"
    );
    assert_eq!(sim.status().available_replicas, 1);
}

#[test]
fn r19_readiness_is_judged_by_the_template_a_group_is_on() {
    let mut object = serving(2, &[role("a", 1, 1)]);
    object.spec.rollout_strategy = serde_json::from_value(serde_json::json!({
        "type": "ServingGroupRollingUpdate", "rollingUpdateConfiguration": { "partition": 1 },
    }))
    .unwrap();
    let mut sim = Sim::settled(object);
    sim.edit(|serving| serving.spec.template.roles[0].worker_replicas = 3);
    sim.settle();

    assert_eq!(
        sim.pods
            .values()
            .filter(|pod| pod.group == "sample-0")
            .count(),
        2
    );
    assert_eq!(
        sim.pods
            .values()
            .filter(|pod| pod.group == "sample-1")
            .count(),
        4
    );
    assert_eq!(sim.status().available_replicas, 2);
}

#[test]
fn r20_a_pod_that_is_not_ready_any_more_takes_its_group_out_but_is_not_deleted() {
    let mut sim = Sim::settled(serving(2, &[role("a", 1, 0)]));
    sim.pod("sample-0-a-0-0").is_ready = false;
    let plan = sim.step();
    assert!(plan.actions.is_empty());
    assert_eq!(sim.status().available_replicas, 1);
}

#[test]
fn r21_deletions_that_failed_are_asked_for_again() {
    let mut sim = Sim::settled(serving(3, &[role("a", 1, 1)]));
    sim.edit(|serving| serving.spec.replicas = Some(2));
    let plan = sim.plan();
    // The plan is remembered, but none of its calls reached the server.
    sim.memory = plan.memory;
    let again = sim.plan();
    assert_eq!(again.actions, plan.actions);
}

#[test]
fn r22_deletions_name_the_uid_and_only_what_is_owned() {
    let mut sim = Sim::settled(serving(1, &[role("a", 1, 1)]));
    sim.pods.insert(
        "sample-0-alien".to_owned(),
        stranger("sample-0-alien", "sample-0"),
    );
    sim.edit(|serving| serving.spec.replicas = Some(0));
    let plan = sim.plan();
    for action in &plan.actions {
        match action {
            Action::DeletePod { name, uid } => assert_eq!(sim.pods[name].uid, *uid),
            Action::DeleteService { name, uid } => assert_eq!(sim.services[name].uid, *uid),
            _ => {}
        }
    }
    sim.settle();
    assert_eq!(sim.names(), ["sample-0-alien"]);
}

#[test]
fn r23_r94_everything_is_read_back_after_a_restart() {
    let mut sim = Sim::settled(serving(3, &[role("a", 2, 1)]));
    let before = describe(&sim.view(), &sim.memory);
    sim.restart();
    assert_eq!(describe(&sim.view(), &sim.memory), before);
}

#[test]
fn r24_pods_of_strangers_are_not_counted() {
    let mut sim = Sim::new(serving(1, &[role("a", 1, 0)]));
    for (name, owner) in [
        ("sample-5-a-0-0", "uid-of-a-former-sample"),
        ("no-owner", ""),
    ] {
        let mut pod = stranger(name, "sample-5");
        owner.clone_into(&mut pod.owner);
        sim.pods.insert(name.to_owned(), pod);
    }
    sim.settle();
    assert_eq!(sim.status().replicas, 1);
    assert_eq!(sim.pods.len(), 3);
}

#[test]
fn r30_an_object_that_is_being_deleted_gets_nothing() {
    let mut sim = Sim::settled(serving(2, &[role("a", 1, 0)]));
    sim.serving.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    sim.pods.clear();
    assert!(sim.plan().is_idle());
}

#[test]
fn r32_a_name_taken_by_a_stranger_is_told_and_looked_at_again() {
    let mut sim = Sim::new(serving(1, &[role("a", 1, 1)]));
    sim.pods
        .insert("sample-0-a-0-0".to_owned(), stranger("sample-0-a-0-0", "x"));
    let plan = sim.step();
    assert_eq!(created(&plan), ["sample-0-a-0-1"]);
    assert_eq!(plan.requeue_after, Some(std::time::Duration::from_secs(1)));
    let warnings: Vec<_> = plan
        .events
        .iter()
        .filter(|event| event.severity == Severity::Warning)
        .collect();
    assert!(
        warnings.iter().all(|event| event.reason == "NameConflict"),
        "{warnings:?}"
    );
    assert!(!warnings.is_empty());
}

#[test]
fn r34_unparsable_and_far_ordinals_are_tolerated() {
    let mut sim = Sim::settled(serving(2, &[role("a", 1, 0)]));
    let mut odd = sim.pods["sample-1-a-0-0"].clone();
    odd.name = "odd".to_owned();
    odd.uid = "uid-odd".to_owned();
    odd.group = "sample-x".to_owned();
    sim.pods.insert("odd".to_owned(), odd);
    sim.edit(|serving| serving.spec.replicas = Some(3));
    assert_eq!(created(&sim.plan()), ["sample-2-a-0-0"]);
}

#[test]
fn r34_a_plan_stays_small_however_much_is_asked_for() {
    let sim = Sim::new(serving(i32::MAX, &[role("a", 1, 0)]));
    let plan = sim.plan();
    assert_eq!(created(&plan).len(), 500);
    assert_eq!(plan.requeue_after, Some(std::time::Duration::ZERO));

    let sim = Sim::new(serving(1, &[role("a", i32::MAX, 0)]));
    assert_eq!(created(&sim.plan()).len(), 500);
}

#[test]
fn r40_after_a_scale_down_with_costs_the_lowest_gap_is_filled() {
    let mut sim = Sim::settled(serving(4, &[role("a", 1, 0)]));
    for (name, cost) in [
        ("sample-0-a-0-0", 1),
        ("sample-1-a-0-0", 2),
        ("sample-2-a-0-0", 3),
    ] {
        sim.pod(name).deletion_cost = cost;
    }
    sim.pod("sample-3-a-0-0").deletion_cost = 100;
    sim.edit(|serving| serving.spec.replicas = Some(1));
    sim.settle();
    assert_eq!(sim.groups(), ["sample-3"]);
    sim.edit(|serving| serving.spec.replicas = Some(3));
    sim.settle();
    assert_eq!(sim.groups(), ["sample-0", "sample-1", "sample-3"]);
}

#[test]
fn r41_a_missing_pod_is_built_from_what_its_instance_was_built_from() {
    let mut object = serving(3, &[role("a", 1, 1)]);
    object.spec.recovery_policy = Some(kthena_api::model_serving::RecoveryPolicy::None);
    let mut sim = Sim::settled(object);
    let old = sim.status().update_revision.clone();
    sim.edit_image("engine:2");
    sim.pods.remove("sample-0-a-0-0");
    sim.pods.remove("sample-1-a-0-0");
    sim.step();
    // Group 1 is replaced; group 0 waits for its turn and is completed as it was.
    assert_eq!(sim.pods["sample-0-a-0-0"].revision, old);
    assert_eq!(
        sim.rendered["sample-0-a-0-0"]["spec"]["containers"][0]["image"],
        "engine:1"
    );
}

#[test]
fn r41_a_lost_snapshot_means_the_instance_is_replaced_as_a_whole() {
    let mut sim = Sim::settled(serving(2, &[role("a", 1, 1)]));
    sim.edit_image("engine:2");
    sim.snapshots.clear();
    sim.restart();
    sim.pods.remove("sample-0-a-0-1");
    sim.settle();
    let revisions: std::collections::BTreeSet<_> =
        sim.pods.values().map(|pod| pod.revision.clone()).collect();
    assert_eq!(revisions.len(), 1);
}

#[rstest]
#[case::gap(&[1], 3, &["sample-0-a-1-0"])]
#[case::more(&[], 5, &["sample-0-a-3-0", "sample-0-a-4-0"])]
fn r42_missing_instances_are_created_at_the_lowest_gaps(
    #[case] lost: &[i32],
    #[case] wanted: i32,
    #[case] expected: &[&str],
) {
    let mut sim = Sim::settled(serving(1, &[role("a", 3, 0)]));
    for ordinal in lost {
        sim.pods.remove(&format!("sample-0-a-{ordinal}-0"));
    }
    sim.edit(|serving| serving.spec.template.roles[0].replicas = Some(wanted));
    assert_eq!(created(&sim.plan()), expected);
}

#[test]
fn r42_a_leaving_ordinal_stays_reserved() {
    let mut sim = Sim::settled(serving(1, &[role("a", 2, 0)]));
    sim.is_graceful = true;
    sim.edit(|serving| serving.spec.template.roles[0].replicas = Some(1));
    sim.step();
    sim.edit(|serving| serving.spec.template.roles[0].replicas = Some(3));
    assert_eq!(created(&sim.plan()), ["sample-0-a-2-0"]);
}

#[test]
fn r43_surplus_instances_go_in_the_order_of_groups() {
    let mut sim = Sim::settled(serving(1, &[role("a", 4, 0)]));
    sim.pod("sample-0-a-1-0").is_ready = false;
    sim.pod("sample-0-a-3-0").deletion_cost = 100;
    sim.edit(|serving| serving.spec.template.roles[0].replicas = Some(2));
    sim.settle();
    assert_eq!(sim.names(), ["sample-0-a-0-0", "sample-0-a-3-0"]);
}

#[test]
fn r44_a_group_that_scales_is_not_available_until_all_its_roles_are_ready() {
    let mut sim = Sim::settled(serving(2, &[role("a", 1, 0)]));
    sim.edit(|serving| serving.spec.template.roles[0].replicas = Some(2));
    sim.step();
    sim.step();
    assert_eq!(sim.status().available_replicas, 0);
    sim.settle();
    assert_eq!(sim.status().available_replicas, 2);
}

#[test]
fn r45_a_role_without_instances_is_ready() {
    let sim = Sim::settled(serving(1, &[role("a", 1, 0), role("b", 0, 0)]));
    assert_eq!(sim.status().available_replicas, 1);
}

#[test]
fn r46_a_deleted_role_instance_is_told_and_takes_its_service_along() {
    let mut sim = Sim::settled(serving(1, &[role("a", 2, 1)]));
    sim.edit(|serving| serving.spec.template.roles[0].replicas = Some(1));
    let plan = sim.step();
    assert!(plan.events.iter().any(|event| {
        event.reason == "RoleDeleting"
            && event.message == "Role a/a-1 in ServingGroup sample-0 is now Deleting"
    }));
    assert!(!sim.services.contains_key("sample-0-a-1-0"));
}

#[test]
fn r90_running_is_told_once_and_not_again_after_a_restart() {
    let mut sim = Sim::new(serving(1, &[role("a", 1, 0)]));
    let told = |plan: &crate::Plan| {
        plan.events
            .iter()
            .map(|event| event.reason)
            .collect::<Vec<_>>()
    };
    assert_eq!(told(&sim.step()), ["RoleCreating"]);
    sim.ready_all();
    assert_eq!(told(&sim.step()), ["RoleRunning"]);
    assert!(told(&sim.step()).is_empty());
    sim.restart();
    assert!(told(&sim.step()).is_empty());
}

#[test]
fn r90_many_instances_at_once_are_told_together() {
    let sim = Sim::new(serving(2, &[role("a", 3, 0)]));
    let plan = sim.plan();
    let messages: Vec<_> = plan
        .events
        .iter()
        .map(|event| event.message.as_str())
        .collect();
    let list = "sample-0 (a/a-0, a/a-1, a/a-2), sample-1 (a/a-0, a/a-1, a/a-2)";
    assert_eq!(
        messages,
        [format!("Roles in 2 ServingGroups are now Creating: {list}")]
    );
    assert_eq!(plan.events[0].reason, "RoleCreating");
}

#[test]
fn r26_actions_come_in_the_order_in_which_they_depend_on_each_other() {
    let mut object = serving(3, &[role("a", 1, 1)]);
    object.spec.rollout_strategy = serde_json::from_value(serde_json::json!({
        "type": "ServingGroupRollingUpdate", "rollingUpdateConfiguration": { "maxUnavailable": 2 },
    }))
    .unwrap();
    let mut sim = Sim::settled(object);
    sim.edit_image("engine:2");
    sim.edit(|serving| serving.spec.replicas = Some(4));
    let kinds: Vec<_> = sim
        .plan()
        .actions
        .iter()
        .map(|action| match action {
            Action::CreateSnapshot { .. }
            | Action::PatchSnapshot { .. }
            | Action::CreatePodGroup { .. }
            | Action::PatchPodGroup { .. } => 0,
            Action::DeletePodGroup { .. }
            | Action::DeletePod { .. }
            | Action::DeleteService { .. }
            | Action::DeleteSnapshot { .. } => 1,
            Action::CreateService { .. } => 2,
            Action::CreatePod { .. } => 3,
        })
        .collect();
    assert!(kinds.is_sorted(), "{kinds:?}");
    assert_eq!([0, 1, 2, 3].map(|kind| kinds.contains(&kind)), [true; 4]);
}
