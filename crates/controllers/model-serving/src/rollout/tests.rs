use kthena_api::int_or_percent::IntOrPercent;
use rstest::rstest;
use serde_json::{Value, json};

use crate::testing::{Sim, role, serving};

fn sim(replicas: i32, configuration: &Value) -> Sim {
    let mut object = serving(replicas, &[role("a", 1, 0)]);
    object.spec.rollout_strategy = serde_json::from_value(json!({
        "type": "ServingGroupRollingUpdate", "rollingUpdateConfiguration": configuration,
    }))
    .unwrap();
    Sim::settled(object)
}

/// Groups that one pass deletes.
fn victims(sim: &mut Sim) -> Vec<String> {
    let before: Vec<_> = sim.groups().into_iter().map(str::to_owned).collect();
    sim.step();
    let after: Vec<_> = sim.groups().into_iter().map(str::to_owned).collect();
    before
        .into_iter()
        .filter(|group| !after.contains(group))
        .collect()
}

#[rstest]
#[case::default(json!({}), &["sample-3"])]
#[case::two(json!({ "maxUnavailable": 2 }), &["sample-2", "sample-3"])]
#[case::share_rounds_down(json!({ "maxUnavailable": "70%" }), &["sample-2", "sample-3"])]
#[case::r49_nothing_is_one(json!({ "maxUnavailable": "20%" }), &["sample-3"])]
#[case::partition(json!({ "maxUnavailable": 4, "partition": 2 }), &["sample-2", "sample-3"])]
#[case::partition_rounds_up(json!({ "maxUnavailable": 4, "partition": "60%" }), &["sample-3"])]
#[case::partition_beyond(json!({ "maxUnavailable": 4, "partition": 9 }), &[])]
#[case::r56d_unreadable_partition(json!({ "maxUnavailable": 1, "partition": "x" }), &["sample-3"])]
fn r47_as_many_running_groups_as_may_be_down(
    #[case] configuration: Value,
    #[case] expected: &[&str],
) {
    let mut sim = sim(4, &configuration);
    sim.edit_image("engine:2");
    assert_eq!(victims(&mut sim), expected);
}

#[test]
fn r48_what_does_not_run_goes_first() {
    let mut sim = sim(4, &json!({ "maxUnavailable": 1 }));
    sim.pod("sample-1-a-0-0").is_ready = false;
    sim.edit_image("engine:2");
    assert_eq!(victims(&mut sim), ["sample-1"]);
}

#[test]
fn r50_a_protected_group_that_is_down_counts() {
    let mut sim = sim(4, &json!({ "maxUnavailable": 1, "partition": 1 }));
    sim.pod("sample-0-a-0-0").is_ready = false;
    sim.edit_image("engine:2");
    assert_eq!(victims(&mut sim), [""; 0]);
}

#[test]
fn r51_a_bad_image_stops_after_the_limit_and_a_mended_one_replaces_the_bad_first() {
    let mut sim = sim(4, &json!({ "maxUnavailable": 1 }));
    sim.edit_image("bad");
    for _ in 0..20 {
        sim.step();
    }
    assert_eq!(sim.status().available_replicas, 3);

    sim.edit_image("engine:3");
    assert_eq!(
        victims(&mut sim),
        ["sample-3"],
        "the bad one is outdated and not running"
    );
    sim.settle();
    assert_eq!(sim.status().updated_replicas, 4);
}

#[test]
fn r10_a_lost_group_below_the_partition_comes_back_as_it_was() {
    let mut sim = sim(3, &json!({ "maxUnavailable": 3, "partition": 2 }));
    let old = sim.status().current_revision.clone();
    sim.edit_image("engine:2");
    sim.settle();
    sim.pods.remove("sample-0-a-0-0");
    sim.settle();

    let revisions: Vec<_> = sim.pods.values().map(|pod| pod.revision == old).collect();
    assert_eq!(revisions, [true, true, false]);
    let image = &sim.rendered["sample-0-a-0-0"]["spec"]["containers"][0]["image"];
    assert_eq!(image, "engine:1", "old label, old content");
    assert_eq!(
        (sim.status().current_replicas, sim.status().updated_replicas),
        (2, 1)
    );
}

#[test]
fn r52_a_role_rollout_leaves_unchanged_roles_alone() {
    let mut object = serving(2, &[role("prefill", 1, 0), role("decode", 1, 0)]);
    object.spec.rollout_strategy =
        serde_json::from_value(json!({ "type": "RoleRollingUpdate" })).unwrap();
    let mut sim = Sim::settled(object);
    let before = sim.uids();
    sim.edit(|serving| {
        let spec = serving.spec.template.roles[0]
            .entry_template
            .spec
            .get_or_insert_default();
        spec.insert(
            "containers".to_owned(),
            json!([{ "name": "engine", "image": "engine:2" }]),
        );
    });
    sim.settle();

    for (name, uid) in sim.uids() {
        assert_eq!(before[&name] == uid, name.contains("decode"), "{name}");
    }
    let status = sim.status();
    assert_eq!(
        (status.updated_replicas, status.available_replicas),
        (2, 2),
        "R55"
    );
    assert_eq!(status.current_revision, status.update_revision);
}

#[test]
fn r53_as_many_instances_of_a_role_as_may_be_down() {
    let mut object = serving(1, &[role("a", 4, 0)]);
    object.spec.rollout_strategy =
        serde_json::from_value(json!({ "type": "RoleRollingUpdate" })).unwrap();
    object.spec.template.roles[0].max_unavailable = Some(IntOrPercent::Int(2));
    let mut sim = Sim::settled(object);
    sim.pod("sample-0-a-1-0").is_ready = false;
    sim.pod("sample-0-a-3-0").is_ready = false;
    sim.edit_image("engine:2");
    sim.step();
    assert_eq!(sim.names(), ["sample-0-a-0-0", "sample-0-a-2-0"]);
}

#[test]
fn r54_roles_that_are_no_longer_asked_for_go_in_a_role_rollout() {
    let mut object = serving(1, &[role("a", 1, 0), role("b", 2, 0)]);
    object.spec.rollout_strategy =
        serde_json::from_value(json!({ "type": "RoleRollingUpdate" })).unwrap();
    let mut sim = Sim::settled(object);
    sim.edit(|serving| {
        serving.spec.template.roles.pop();
    });
    sim.settle();
    assert_eq!(sim.names(), ["sample-0-a-0-0"]);
}

#[test]
fn with_a_surge_nothing_goes_before_its_replacement_runs() {
    let mut sim = sim(3, &json!({ "maxUnavailable": 0, "maxSurge": 1 }));
    sim.is_graceful = true;
    sim.edit_image("engine:2");
    let mut most = 0;
    for _ in 0..60 {
        sim.step();
        let status = sim.status();
        assert!(status.available_replicas >= 3, "{status:?}");
        most = most.max(status.replicas);
        sim.reap();
        sim.ready_all();
    }
    sim.settle();
    assert_eq!(most, 4);
    assert_eq!(sim.groups(), ["sample-0", "sample-1", "sample-2"]);
    assert_eq!(sim.status().updated_replicas, 3);
}

#[rstest]
#[case::absent(json!({}), 3)]
#[case::share_rounds_up(json!({ "maxUnavailable": 1, "maxSurge": "10%" }), 4)]
#[case::no_more_than_is_outdated(json!({ "maxUnavailable": 1, "maxSurge": 9, "partition": 1 }), 5)]
#[case::nothing_to_replace(json!({ "maxUnavailable": 1, "maxSurge": 2, "partition": 3 }), 3)]
fn a_rollout_makes_as_many_extra_groups_as_it_may(
    #[case] configuration: Value,
    #[case] expected: i32,
) {
    let mut sim = sim(3, &configuration);
    sim.edit_image("bad");
    for _ in 0..5 {
        sim.step();
    }
    assert_eq!(sim.status().replicas, expected);
}

#[test]
fn a_paused_rollout_replaces_nothing_and_brings_back_what_was_there() {
    let mut sim = sim(3, &json!({ "maxUnavailable": 1 }));
    let pause = |sim: &mut Sim, paused| {
        sim.edit(|serving| {
            serving.spec.rollout_strategy.get_or_insert_default().paused = Some(paused);
        });
    };
    let old = sim.status().current_revision.clone();
    sim.edit_image("engine:2");
    sim.step();
    pause(&mut sim, true);
    sim.settle();
    let revisions =
        |sim: &Sim| -> Vec<bool> { sim.pods.values().map(|pod| pod.revision == old).collect() };
    assert_eq!(
        revisions(&sim),
        [true, true, true],
        "the group that was on its way out came back as it was"
    );
    sim.pods.remove("sample-1-a-0-0");
    sim.edit(|serving| serving.spec.replicas = Some(4));
    sim.settle();
    assert_eq!(revisions(&sim), [true; 4]);
    let conditions = sim.status().conditions.as_deref().unwrap_or_default();
    let paused = conditions.iter().find(|one| one.type_ == "Paused").unwrap();
    assert_eq!(
        (paused.status.as_str(), paused.reason.as_str()),
        ("True", "RolloutPaused")
    );

    pause(&mut sim, false);
    sim.settle();
    assert_eq!(revisions(&sim), [false; 4]);
}

#[test]
fn a_rollback_reuses_the_revision_and_touches_only_what_was_replaced() {
    let mut sim = sim(4, &json!({ "maxUnavailable": 1 }));
    let before = sim.uids();
    let old = sim.status().current_revision.clone();
    sim.edit_image("bad");
    sim.step();
    sim.step();
    sim.edit_image("engine:1");
    sim.settle();
    assert_eq!(sim.status().update_revision, old);
    let kept = sim
        .uids()
        .iter()
        .filter(|(name, uid)| before.get(*name) == Some(uid))
        .count();
    assert_eq!(kept, 3);
}

fn roles_sim(partition: Value, groups: i32) -> Sim {
    let mut object = serving(groups, &[role("a", 4, 0), role("b", 1, 0)]);
    object.spec.rollout_strategy =
        serde_json::from_value(json!({ "type": "RoleRollingUpdate" })).unwrap();
    object.spec.template.roles[0].partition = serde_json::from_value(partition).unwrap();
    Sim::settled(object)
}

/// Ordinals of role `a` in group 0 that are on `revision`.
fn ordinals_on(sim: &Sim, revision: &str) -> Vec<String> {
    let pods = sim.pods.values();
    let pods =
        pods.filter(|pod| pod.group == "sample-0" && pod.role == "a" && pod.revision == revision);
    pods.map(|pod| pod.role_id.clone()).collect()
}

#[rstest]
#[case::count(json!(2))]
#[case::share_rounds_up(json!("30%"))]
fn r53_r55_a_role_partition_keeps_the_lowest_instances_and_the_group_counts_as_old(
    #[case] partition: Value,
) {
    let mut sim = roles_sim(partition, 1);
    let old = sim.status().current_revision.clone();
    sim.edit_image("engine:2");
    sim.settle();
    assert_eq!(ordinals_on(&sim, &old), ["a-0", "a-1"]);
    let status = sim.status();
    assert_eq!(status.current_revision, old);
    assert_eq!((status.updated_replicas, status.available_replicas), (0, 1));
}

#[rstest]
#[case::one(&[0])]
#[case::all(&[0, 1])]
fn r55_r56c_lost_protected_instances_come_back_on_their_own_revision(
    #[case] lost: &[i32],
    #[values(false, true)] restarts: bool,
    #[values(false, true)] is_graceful: bool,
) {
    let mut sim = roles_sim(json!(2), 1);
    sim.is_graceful = is_graceful;
    let old = sim.status().current_revision.clone();
    sim.edit_image("engine:2");
    sim.settle();
    for ordinal in lost {
        sim.pods.remove(&format!("sample-0-a-{ordinal}-0"));
    }
    if restarts {
        sim.restart();
    }
    sim.settle();
    assert_eq!(ordinals_on(&sim, &old), ["a-0", "a-1"]);
    assert_eq!(
        sim.rendered["sample-0-a-0-0"]["spec"]["containers"][0]["image"],
        "engine:1"
    );
    assert_eq!(sim.status().current_revision, old);
}

#[test]
fn r56c_a_lost_protected_group_keeps_its_revision_even_if_it_cannot_be_made_for_a_while() {
    let mut sim = sim(2, &json!({ "maxUnavailable": 1, "partition": 1 }));
    let old = sim.status().current_revision.clone();
    sim.edit_image("engine:2");
    sim.settle();
    sim.pods.retain(|_, pod| pod.group != "sample-0");
    // The plan fails: only the status that goes with a failure is stored.
    for _ in 0..3 {
        let plan = sim.plan();
        sim.memory = plan.memory;
        if let Some(status) = plan.status_on_failure {
            sim.serving.status = Some(status);
        }
    }
    assert_eq!(sim.status().current_revision, old);
    sim.settle();
    assert_eq!(sim.pods["sample-0-a-0-0"].revision, old);
}

#[test]
fn r43_a_role_partition_protects_from_scale_down_whatever_it_costs() {
    let mut sim = roles_sim(json!(2), 1);
    for (ordinal, cost) in [(0, -5), (1, -5), (2, 100), (3, 50)] {
        sim.pod(&format!("sample-0-a-{ordinal}-0")).deletion_cost = cost;
    }
    sim.edit(|serving| serving.spec.template.roles[0].replicas = Some(3));
    sim.settle();
    let left: Vec<_> = sim
        .names()
        .into_iter()
        .filter(|name| name.contains("-a-"))
        .collect();
    assert_eq!(left, ["sample-0-a-0-0", "sample-0-a-1-0", "sample-0-a-2-0"]);
}

#[test]
fn r55_lowering_a_role_partition_finishes_the_rollout() {
    let mut sim = roles_sim(json!(4), 2);
    let old = sim.status().current_revision.clone();
    sim.edit_image("engine:2");
    sim.settle();
    assert_eq!(ordinals_on(&sim, &old).len(), 4);
    sim.edit(|serving| serving.spec.template.roles[0].partition = None);
    sim.settle();
    assert!(ordinals_on(&sim, &old).is_empty());
    assert_eq!(sim.status().current_revision, sim.status().update_revision);
    assert_eq!(sim.snapshots.len(), 1, "R14");
}
