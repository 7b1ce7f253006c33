use rstest::rstest;
use serde_json::{Value, json};

use crate::plan::Action;
use crate::testing::{Sim, role, serving};
use crate::view::{GangSupport, PodGroupView};

const SUPPORT: GangSupport = GangSupport {
    has_sub_groups: true,
};

fn sim(roles: &[Value]) -> Sim {
    let mut sim = Sim::new(serving(1, roles));
    sim.gang = Some(SUPPORT);
    sim
}

fn gang_of(sim: &mut Sim, group: &str) -> Value {
    sim.settle();
    sim.pod_groups[group].spec.clone()
}

/// A role whose entry and worker ask for these resources.
fn hungry(resources: &Value) -> Value {
    let mut role = role("a", 2, 1);
    for template in ["entryTemplate", "workerTemplate"] {
        role[template]["spec"]["containers"][0]["resources"] = resources.clone();
    }
    role
}

#[test]
fn r73_members_and_sub_groups_follow_the_policy() {
    let mut sim = sim(&[role("prefill", 2, 1), role("decode", 2, 1)]);
    sim.edit(|serving| {
        serving.spec.template.gang_policy =
            serde_json::from_value(json!({ "minRoleReplicas": { "prefill": 2, "decode": 1 } }))
                .unwrap();
        serving.spec.template.network_topology = serde_json::from_value(json!({
            "groupPolicy": { "mode": "hard", "highestTierAllowed": 2 },
            "rolePolicy": { "mode": "soft" },
        }))
        .unwrap();
        serving.metadata.annotations =
            Some([(kthena_api::labels::QUEUE_NAME.to_owned(), "fast".to_owned())].into());
    });
    let spec = gang_of(&mut sim, "sample-0");
    assert_eq!(spec["minMember"], 6);
    assert_eq!(spec["queue"], "fast");
    assert_eq!(
        spec["networkTopology"],
        json!({ "mode": "hard", "highestTierAllowed": 2 })
    );
    let first = json!({
        "name": "prefill", "subGroupSize": 2, "minSubGroups": 2, "networkTopology": { "mode": "soft" },
        "matchLabelKeys": ["modelserving.volcano.sh/role-id"],
        "labelSelector": { "matchLabels": {
            "modelserving.volcano.sh/name": "sample", "modelserving.volcano.sh/role": "prefill" } },
    });
    assert_eq!(spec["subGroupPolicy"][0], first);
    assert_eq!(spec["subGroupPolicy"][1]["minSubGroups"], 1);
    let object = &sim.rendered["gang/sample-0"];
    assert_eq!(
        object["metadata"]["ownerReferences"][0].get("blockOwnerDeletion"),
        None
    );
    let pod = &sim.rendered["sample-0-decode-1-1"]["metadata"]["annotations"];
    assert_eq!(
        *pod,
        json!({ "scheduling.k8s.io/group-name": "sample-0", "volcano.sh/task-spec": "decode-1" })
    );
}

#[rstest]
#[case::requests(json!({ "requests": { "cpu": "500m", "memory": "1Gi" } }), json!({ "cpu": "2", "memory": "4294967296" }))]
#[case::gpu_under_limits_only(json!({ "limits": { "nvidia.com/gpu": 4, "cpu": "2" }, "requests": { "cpu": "1" } }),
    json!({ "nvidia.com/gpu": "16", "cpu": "4" }))]
#[case::nothing(json!({}), json!(null))]
fn r77_resources_are_what_the_scheduler_counts(#[case] resources: Value, #[case] expected: Value) {
    let mut sim = sim(&[hungry(&resources)]);
    assert_eq!(gang_of(&mut sim, "sample-0")["minResources"], expected);
}

#[test]
fn r77_init_containers_sidecars_and_overhead_count() {
    let cpu = |amount: &str| json!({ "requests": { "cpu": amount } });
    let mut one = role("a", 1, 0);
    one["entryTemplate"]["spec"] = json!({
        "containers": [{ "name": "x", "resources": cpu("1") }],
        "initContainers": [
            { "name": "side", "restartPolicy": "Always", "resources": cpu("1") },
            { "name": "load", "resources": cpu("3") },
        ],
        "overhead": { "cpu": "250m" },
    });
    let mut sim = sim(&[one]);
    assert_eq!(
        gang_of(&mut sim, "sample-0")["minResources"],
        json!({ "cpu": "4250m" })
    );
}

#[test]
fn r74_the_same_in_other_words_is_not_written_again() {
    let mut sim = sim(&[hungry(&json!({ "requests": { "memory": "1Gi" } }))]);
    sim.settle();
    let gang = sim.pod_groups.get_mut("sample-0").unwrap();
    gang.spec["minResources"]["memory"] = json!("4Gi");
    gang.spec["queue"] = json!("default");
    gang.spec["subGroupPolicy"][0]["somethingNew"] = json!(1);
    assert!(sim.plan().is_idle());

    sim.edit(|serving| serving.spec.template.roles[0].replicas = Some(3));
    let spec = gang_of(&mut sim, "sample-0");
    assert_eq!(
        (&spec["minMember"], &spec["minResources"]["memory"]),
        (&json!(6), &json!("6442450944"))
    );
}

#[test]
fn r78_a_topology_that_is_taken_away_is_changed_in_place() {
    let mut sim = sim(&[role("a", 1, 0)]);
    sim.edit(|serving| {
        serving.spec.template.network_topology = serde_json::from_value(
            json!({ "groupPolicy": { "mode": "hard" }, "rolePolicy": { "mode": "hard" } }),
        )
        .unwrap();
    });
    sim.settle();
    let uid = sim.pod_groups["sample-0"].uid.clone();
    sim.edit(|serving| serving.spec.template.network_topology = None);
    let spec = gang_of(&mut sim, "sample-0");
    assert_eq!(spec.get("networkTopology"), None);
    assert_eq!(spec["subGroupPolicy"][0].get("networkTopology"), None);
    assert_eq!(sim.pod_groups["sample-0"].uid, uid);
}

#[test]
fn r74_a_topology_that_the_server_completed_is_not_written_again() {
    let topology = |tier: Value| {
        let policy = json!({ "mode": "soft", "highestTierAllowed": tier });
        serde_json::from_value(json!({ "groupPolicy": policy, "rolePolicy": policy })).unwrap()
    };
    let mut sim = sim(&[role("a", 1, 0)]);
    sim.edit(|serving| serving.spec.template.network_topology = Some(topology(Value::Null)));
    sim.settle();
    let spec = &mut sim.pod_groups.get_mut("sample-0").unwrap().spec;
    spec["networkTopology"]["highestTierAllowed"] = json!(1);
    spec["subGroupPolicy"][0]["networkTopology"]["highestTierAllowed"] = json!(1);
    assert_eq!(sim.plan().actions, []);

    sim.edit(|serving| serving.spec.template.network_topology = Some(topology(json!(3))));
    sim.settle();
    sim.edit(|serving| serving.spec.template.network_topology = Some(topology(Value::Null)));
    let spec = gang_of(&mut sim, "sample-0");
    let sub_group = &spec["subGroupPolicy"][0]["networkTopology"];
    for topology in [&spec["networkTopology"], sub_group] {
        assert_eq!(
            *topology,
            json!({ "mode": "soft" }),
            "a limit can be taken away"
        );
    }
}

#[test]
fn r39_r40_a_lost_pod_group_comes_back_and_goes_with_its_group() {
    let mut sim = sim(&[role("a", 1, 0)]);
    sim.settle();
    sim.pod_groups.clear();
    sim.settle();
    assert!(sim.pod_groups.contains_key("sample-0"));
    sim.edit(|serving| serving.spec.replicas = Some(0));
    sim.settle();
    assert!(sim.pod_groups.is_empty());
}

#[test]
fn r40_an_ordinal_is_free_when_its_pod_group_is_gone_too() {
    let mut sim = sim(&[role("a", 1, 0)]);
    sim.settle();
    sim.edit_image("engine:2");
    let plan = sim.plan();
    sim.memory = plan.memory;
    sim.pods.clear();
    sim.pod_groups.get_mut("sample-0").unwrap().is_terminating = true;
    assert!(
        sim.plan()
            .actions
            .iter()
            .all(|action| !matches!(action, Action::CreatePod { .. }))
    );
    sim.pod_groups.clear();
    sim.settle();
    assert_eq!(sim.names(), ["sample-0-a-0-0"]);
}

#[test]
fn r75_pods_wait_for_the_pod_group_of_their_group_only() {
    let mut sim = Sim::new(serving(2, &[role("a", 1, 0)]));
    sim.gang = Some(SUPPORT);
    let stranger = PodGroupView {
        name: "sample-0".to_owned(),
        ..PodGroupView::default()
    };
    sim.pod_groups.insert("sample-0".to_owned(), stranger);
    let plan = sim.step();
    assert_eq!(sim.names(), ["sample-1-a-0-0"]);
    assert_eq!(plan.requeue_after, Some(std::time::Duration::from_secs(1)));
    assert!(
        plan.events
            .iter()
            .any(|event| event.reason == "NameConflict")
    );
}

#[test]
fn r76_a_protected_group_waits_for_the_members_it_has() {
    let mut sim = Sim::new(serving(2, &[role("a", 1, 0)]));
    sim.gang = Some(SUPPORT);
    sim.settle();
    sim.edit(|serving| {
        serving.spec.rollout_strategy = serde_json::from_value(json!({
            "type": "ServingGroupRollingUpdate", "rollingUpdateConfiguration": { "partition": 1 },
        }))
        .unwrap();
        let role = &mut serving.spec.template.roles[0];
        role.worker_replicas = 3;
        role.worker_template = Some(role.entry_template.clone());
    });
    sim.settle();
    assert_eq!(sim.pod_groups["sample-0"].spec["minMember"], 1);
    assert_eq!(sim.pod_groups["sample-1"].spec["minMember"], 4);
}

#[test]
fn r79_without_the_kind_there_are_no_pod_groups_and_when_it_appears_running_pods_stay() {
    let mut sim = Sim::settled(serving(2, &[role("a", 1, 0)]));
    let before = sim.uids();
    assert_eq!(
        sim.rendered["sample-0-a-0-0"]["metadata"].get("annotations"),
        None
    );
    sim.gang = Some(GangSupport {
        has_sub_groups: false,
    });
    sim.settle();
    assert_eq!(sim.pod_groups.len(), 2);
    assert_eq!(sim.pod_groups["sample-0"].spec.get("subGroupPolicy"), None);
    assert_eq!(sim.uids(), before);

    // The kind goes while a group is being deleted.
    sim.is_graceful = true;
    sim.edit(|serving| serving.spec.replicas = Some(1));
    sim.step();
    sim.gang = None;
    sim.pod_groups.clear();
    sim.settle();
    assert_eq!(sim.names(), ["sample-0-a-0-0"]);
}

#[test]
fn r80_with_another_scheduler_the_pod_groups_go_and_the_pods_stay() {
    let mut sim = sim(&[role("a", 1, 0)]);
    sim.settle();
    let before = sim.uids();
    sim.edit(|serving| serving.spec.scheduler_name = Some("default-scheduler".to_owned()));
    sim.settle();
    assert!(sim.pod_groups.is_empty());
    assert_eq!(sim.uids(), before);
}

#[test]
fn a_gang_that_cannot_be_placed_says_why() {
    let mut sim = sim(&[role("a", 1, 0)]);
    sim.step();
    let why = "NotEnoughResources: 1/1 tasks in gang unschedulable";
    why.clone_into(&mut sim.pod_groups.get_mut("sample-0").unwrap().unplaced);
    sim.step();
    let find = |sim: &Sim| {
        let conditions = sim.status().conditions.clone().unwrap_or_default();
        conditions
            .into_iter()
            .find(|one| one.type_ == "Unschedulable")
            .unwrap()
    };
    let told = find(&sim);
    assert_eq!(
        (told.status.as_str(), told.message),
        ("True", format!("sample-0: {why}"))
    );
    sim.settle();
    assert_eq!(find(&sim).status, "False", "it runs");
}
