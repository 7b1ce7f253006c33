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
