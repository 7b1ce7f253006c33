//! Installations of the controller that this one replaces, as its API objects look: nothing is restarted or relabelled.

use std::collections::BTreeMap;

use kthena_api::model_serving::ModelServing;
use serde_json::{Value, json};

use crate::plan::Action;
use crate::revision::SnapshotContent;
use crate::testing::{Sim, UID};
use crate::view::{GangSupport, PodGroupView, PodPhase, PodView, ServiceView, SnapshotView};

/// A role as the API server returns it, with all defaults of its schema.
fn role(image: &str) -> Value {
    let template = json!({
        "metadata": { "labels": { "app": "llama" } },
        "spec": { "containers": [{
            "name": "engine", "image": image,
            "resources": { "limits": { "nvidia.com/gpu": "1", "memory": "16Gi" } },
        }] },
    });
    json!({
        "name": "prefill", "replicas": 2, "maxUnavailable": 1, "workerReplicas": 1,
        "entryTemplate": template, "workerTemplate": template,
    })
}

/// The same role as a typed Go client writes it into a ControllerRevision: nulls, empty structs and other units.
fn role_in_snapshot(image: &str, replicas: i32) -> Value {
    let mut role = role(image);
    role["replicas"] = json!(replicas);
    for template in ["entryTemplate", "workerTemplate"] {
        role[template]["metadata"]["creationTimestamp"] = Value::Null;
        let container = &mut role[template]["spec"]["containers"][0];
        container["resources"] = json!({ "limits": { "nvidia.com/gpu": 1, "memory": "16384Mi" } });
    }
    role
}

fn serving(image: &str, partition: Option<i32>, revisions: [&str; 2]) -> ModelServing {
    serde_json::from_value(json!({
        "metadata": { "name": "sample", "namespace": "default", "uid": UID, "generation": 3 },
        "spec": {
            "replicas": 2, "schedulerName": "volcano", "recoveryPolicy": "RoleRecreate",
            "rolloutStrategy": {
                "type": "ServingGroupRollingUpdate",
                "rollingUpdateConfiguration": { "maxUnavailable": 1, "partition": partition },
            },
            "template": { "restartGracePeriodSeconds": 0, "roles": [role(image)] },
        },
        "status": {
            "observedGeneration": 3, "replicas": 2, "availableReplicas": 2,
            "currentRevision": revisions[0], "updateRevision": revisions[1],
            "conditions": [{ "type": "Available", "status": "True", "reason": "AllGroupsReady",
                "message": "All Serving groups are ready", "lastTransitionTime": "2026-01-01T00:00:00Z" }],
        },
    }))
    .unwrap()
}

/// A cluster whose groups are on these revisions.
fn installed(object: ModelServing, groups: [&str; 2], hash: &str) -> Sim {
    let mut sim = Sim::new(object);
    for (group, revision) in groups.iter().enumerate() {
        for instance in 0..2 {
            for index in 0..2 {
                let name = format!("sample-{group}-prefill-{instance}-{index}");
                let pod = PodView {
                    name: name.clone(),
                    uid: format!("uid-of-{name}"),
                    owner: UID.to_owned(),
                    group: format!("sample-{group}"),
                    role: "prefill".to_owned(),
                    role_id: format!("prefill-{instance}"),
                    revision: (*revision).to_owned(),
                    role_hash: hash.to_owned(),
                    phase: PodPhase::Running,
                    is_ready: true,
                    ..PodView::default()
                };
                sim.pods.insert(name, pod);
            }
            let name = format!("sample-{group}-prefill-{instance}-0");
            let service = ServiceView {
                name: name.clone(),
                uid: format!("uid-of-service-{name}"),
                owner: UID.to_owned(),
                group: format!("sample-{group}"),
                role: "prefill".to_owned(),
                role_id: format!("prefill-{instance}"),
                is_terminating: false,
            };
            sim.services.insert(name, service);
        }
    }
    sim
}

fn snapshot(sim: &mut Sim, revision: &str, image: &str, replicas: i32) {
    let data = json!({ "data": [role_in_snapshot(image, replicas)] });
    let name = format!("sample-{revision}");
    let view = SnapshotView {
        name: name.clone(),
        uid: format!("uid-of-{name}"),
        owner: UID.to_owned(),
        revision: revision.to_owned(),
        number: 1,
        is_terminating: false,
        content: SnapshotContent::read(&data),
        role_replicas: BTreeMap::new(),
        role_hashes: BTreeMap::new(),
    };
    sim.snapshots.insert(name, view);
}

/// Takes over; nothing but the status and notes on snapshots may be written.
fn take_over(sim: &mut Sim) {
    let before = sim.pods.clone();
    let plan = sim.plan();
    let is_note = |action: &Action| matches!(action, Action::PatchSnapshot { .. });
    assert!(plan.actions.iter().all(is_note), "{:?}", plan.actions);
    sim.settle();
    assert_eq!(sim.pods, before, "no pod is restarted or relabelled");
}

#[test]
fn r97_r100_a_finished_installation_is_taken_over_by_content() {
    let mut sim = installed(
        serving("v1", None, ["67b8d4b8c7"; 2]),
        ["67b8d4b8c7"; 2],
        "5d8f9c4b6",
    );
    snapshot(&mut sim, "67b8d4b8c7", "v1", 2);
    take_over(&mut sim);
    let status = sim.status();
    assert_eq!(
        (
            status.current_revision.as_str(),
            status.update_revision.as_str()
        ),
        ("67b8d4b8c7", "67b8d4b8c7")
    );
    assert_eq!((status.available_replicas, status.updated_replicas), (2, 2));
}

#[test]
fn r12_r97_counts_in_the_data_may_lag_behind() {
    let mut sim = installed(
        serving("v1", None, ["67b8d4b8c7"; 2]),
        ["67b8d4b8c7"; 2],
        "5d8f9c4b6",
    );
    snapshot(&mut sim, "67b8d4b8c7", "v1", 7);
    take_over(&mut sim);
    let counts = &sim.snapshots["sample-67b8d4b8c7"].role_replicas;
    assert_eq!(counts.get("prefill"), Some(&2));
}

#[test]
fn r97_a_rollout_held_by_a_partition_stays_where_it_is() {
    let mut sim = installed(
        serving("v2", Some(1), ["84c8bf59d", "67b8d4b8c7"]),
        ["84c8bf59d", "67b8d4b8c7"],
        "5d8f9c4b6",
    );
    snapshot(&mut sim, "84c8bf59d", "v1", 2);
    snapshot(&mut sim, "67b8d4b8c7", "v2", 2);
    take_over(&mut sim);
    let status = sim.status();
    assert_eq!(
        (
            status.current_revision.as_str(),
            status.update_revision.as_str()
        ),
        ("84c8bf59d", "67b8d4b8c7")
    );

    // And a lost protected group still comes back as it was.
    sim.pods.retain(|_, pod| pod.group != "sample-0");
    sim.settle();
    assert_eq!(
        sim.rendered["sample-0-prefill-0-0"]["spec"]["containers"][0]["image"],
        "v1"
    );
    assert_eq!(sim.pods["sample-0-prefill-0-0"].revision, "84c8bf59d");
}

#[test]
fn r97_a_rollout_in_the_middle_goes_on() {
    let mut sim = installed(
        serving("v2", None, ["84c8bf59d", "67b8d4b8c7"]),
        ["84c8bf59d", "67b8d4b8c7"],
        "5d8f9c4b6",
    );
    snapshot(&mut sim, "84c8bf59d", "v1", 2);
    snapshot(&mut sim, "67b8d4b8c7", "v2", 2);
    let done: Vec<_> = sim
        .uids()
        .into_iter()
        .filter(|(name, _)| name.starts_with("sample-1"))
        .collect();
    sim.settle();
    let uids = sim.uids();
    assert!(
        done.iter().all(|(name, uid)| uids[name] == *uid),
        "what is updated stays"
    );
    assert!(sim.pods.values().all(|pod| pod.revision == "67b8d4b8c7"));
    assert_eq!(sim.snapshots.len(), 1);
}

#[test]
fn r98_a_settled_installation_without_a_snapshot_gets_one_under_its_name() {
    let mut sim = installed(
        serving("v1", Some(2), ["67b8d4b8c7"; 2]),
        ["67b8d4b8c7"; 2],
        "5d8f9c4b6",
    );
    let before = sim.pods.clone();
    sim.settle();
    assert_eq!(sim.pods, before);
    assert!(sim.snapshots.contains_key("sample-67b8d4b8c7"));
}

#[test]
fn r94_pods_of_very_old_versions_without_a_hash_are_no_reason_to_restart_them() {
    let mut sim = installed(
        serving("v1", None, ["67b8d4b8c7"; 2]),
        ["67b8d4b8c7"; 2],
        "",
    );
    snapshot(&mut sim, "67b8d4b8c7", "v1", 2);
    take_over(&mut sim);
}

#[test]
fn r74_r100_gangs_stay_the_objects_they_are_and_are_only_corrected() {
    let mut object = serving("v1", None, ["67b8d4b8c7"; 2]);
    let policy = json!({ "minRoleReplicas": { "prefill": 1 } });
    object.spec.template.gang_policy = serde_json::from_value(policy).unwrap();
    let mut sim = installed(object, ["67b8d4b8c7"; 2], "5d8f9c4b6");
    snapshot(&mut sim, "67b8d4b8c7", "v1", 2);
    sim.gang = Some(GangSupport {
        has_sub_groups: true,
    });
    for name in ["sample-0", "sample-1"] {
        // It counts requests only, so the limits of the template are missing.
        let spec = json!({
            "minMember": 2, "queue": "default",
            "subGroupPolicy": [{
                "name": "prefill", "subGroupSize": 2, "minSubGroups": 1,
                "labelSelector": { "matchLabels": {
                    "modelserving.volcano.sh/name": "sample", "modelserving.volcano.sh/role": "prefill" } },
                "matchLabelKeys": ["modelserving.volcano.sh/role-id"],
            }],
        });
        let gang = PodGroupView {
            name: name.to_owned(),
            uid: format!("uid-of-gang-{name}"),
            owner: UID.to_owned(),
            group: name.to_owned(),
            spec,
            ..PodGroupView::default()
        };
        sim.pod_groups.insert(name.to_owned(), gang);
    }
    let before = sim.pods.clone();

    let plan = sim.plan();
    let changed: Vec<_> = plan
        .actions
        .iter()
        .filter(|action| !matches!(action, Action::PatchSnapshot { .. }))
        .map(|action| match action {
            Action::PatchPodGroup { patch, .. } => patch["spec"].clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    let missing = json!({ "minResources": { "memory": "34359738368", "nvidia.com/gpu": "2" } });
    assert_eq!(changed, [missing.clone(), missing]);
    sim.settle();
    assert_eq!(sim.pods, before);
    assert_eq!(sim.pod_groups["sample-1"].uid, "uid-of-gang-sample-1");
}

/// Pods of versions that wrote no hashes, at the revision of image v1, under a spec with image v2 that is rolled by role.
fn without_hashes() -> Sim {
    let mut object = serving("v2", None, ["84c8bf59d"; 2]);
    object.spec.rollout_strategy =
        serde_json::from_value(json!({ "type": "RoleRollingUpdate" })).unwrap();
    installed(object, ["84c8bf59d"; 2], "")
}

#[test]
fn r56_without_a_hash_the_snapshot_tells_that_a_role_is_outdated() {
    let mut sim = without_hashes();
    snapshot(&mut sim, "84c8bf59d", "v1", 2);
    let before = sim.uids();
    sim.settle();
    let after = sim.uids();
    assert!(after.iter().all(|(name, uid)| before[name] != *uid));
    assert!(sim.pods.values().all(|pod| !pod.role_hash.is_empty()));
}

#[test]
fn r56_without_a_hash_and_a_snapshot_nothing_is_restarted_on_a_guess() {
    let mut sim = without_hashes();
    let before = sim.uids();
    sim.settle();
    assert_eq!(sim.uids(), before);
}

/// A role rollout of that controller is finished: `prefill` changed, `decode` did not and keeps the label of the revision
/// before. It wrote no snapshot of the new revision and has dropped the old one.
fn after_a_role_rollout() -> Sim {
    let mut object = serving("v2", None, ["67b8d4b8c7"; 2]);
    object.spec.rollout_strategy =
        serde_json::from_value(json!({ "type": "RoleRollingUpdate" })).unwrap();
    let mut decode = object.spec.template.roles[0].clone();
    decode.name = "decode".to_owned();
    object.spec.template.roles.push(decode);
    let mut sim = installed(object, ["67b8d4b8c7"; 2], "5d8f9c4b6");
    let renamed = |text: &str| text.replace("prefill", "decode");
    for pod in sim.pods.clone().into_values() {
        let decode = PodView {
            name: renamed(&pod.name),
            uid: renamed(&pod.uid),
            role: "decode".to_owned(),
            role_id: renamed(&pod.role_id),
            revision: "84c8bf59d".to_owned(),
            role_hash: "7f6b6d8c9".to_owned(),
            ..pod
        };
        sim.pods.insert(decode.name.clone(), decode);
    }
    for service in sim.services.clone().into_values() {
        let decode = ServiceView {
            name: renamed(&service.name),
            uid: renamed(&service.uid),
            role: "decode".to_owned(),
            role_id: renamed(&service.role_id),
            ..service
        };
        sim.services.insert(decode.name.clone(), decode);
    }
    sim
}

#[test]
fn r98_r100_after_a_finished_role_rollout_without_any_snapshot_no_pod_is_restarted() {
    let mut sim = after_a_role_rollout();
    let before = sim.pods.clone();
    sim.settle();
    assert_eq!(sim.pods, before);
    let status = sim.status();
    assert_eq!(
        (
            status.current_revision.as_str(),
            status.update_revision.as_str(),
            status.updated_replicas
        ),
        ("67b8d4b8c7", "67b8d4b8c7", 2)
    );

    // Another manager of ours, and the next rollouts of the role that changes.
    for image in ["v3", "v4"] {
        sim.restart();
        sim.settle();
        sim.edit(|serving| {
            let template = &mut serving.spec.template.roles[0].entry_template;
            let spec = template.spec.get_or_insert_default();
            spec["containers"][0]["image"] = json!(image);
        });
        sim.settle();
        for (name, pod) in &before {
            let is_same = sim.pods[name].uid == pod.uid;
            assert_eq!(is_same, pod.role == "decode", "{name} at {image}");
        }
    }
}

#[test]
fn r99_a_hash_that_pods_of_the_revision_carry_is_known_without_a_snapshot_of_the_older_one() {
    let mut sim = after_a_role_rollout();
    let content = SnapshotContent::of(sim.serving.spec.template.roles.clone());
    snapshot(&mut sim, "67b8d4b8c7", "v2", 2);
    sim.snapshots.get_mut("sample-67b8d4b8c7").unwrap().content = Some(content);
    // A group made after the rollout has both roles at the new revision.
    for pod in sim.pods.values_mut().filter(|pod| pod.group == "sample-1") {
        pod.revision = "67b8d4b8c7".to_owned();
    }
    take_over(&mut sim);
}
