use std::collections::{BTreeMap, BTreeSet};

use kthena_api::labels;
use kthena_api::model_serving::{ModelServing, Role};
use rstest::rstest;
use serde_json::{Value, json};

use super::{Blueprint, SnapshotContent};
use crate::plan::Action;
use crate::testing::{Sim, UID, role, serving};
use crate::view::SnapshotView;

fn revision_of(roles: &[Value]) -> String {
    Sim::settled(serving(1, roles))
        .status()
        .update_revision
        .clone()
}

fn snapshot(revision: &str, roles: &[Value]) -> SnapshotView {
    SnapshotView {
        name: format!("sample-{revision}"),
        uid: format!("uid-{revision}"),
        owner: UID.to_owned(),
        revision: revision.to_owned(),
        number: 1,
        is_terminating: false,
        content: SnapshotContent::read(&json!({ "data": roles })),
        role_replicas: BTreeMap::new(),
        role_hashes: BTreeMap::new(),
    }
}

#[test]
fn r1_absent_counts_are_one_and_an_empty_object_is_no_reason_to_panic() {
    let object: ModelServing = serde_json::from_value(json!({
        "metadata": { "name": "sample", "namespace": "default", "uid": UID },
        "spec": { "template": { "roles": [{ "name": "a", "workerReplicas": 0, "entryTemplate": {} }] } },
    }))
    .unwrap();
    assert_eq!(Sim::settled(object).names(), ["sample-0-a-0-0"]);

    let empty: ModelServing =
        serde_json::from_value(json!({ "metadata": { "name": "sample", "uid": UID } })).unwrap();
    let mut sim = Sim::new(empty);
    sim.step();
    assert!(sim.pods.is_empty());
}

#[test]
fn r8_the_order_of_roles_counts_and_other_settings_do_not() {
    let (a, b) = (role("a", 1, 0), role("b", 1, 0));
    assert_ne!(
        revision_of(&[a.clone(), b.clone()]),
        revision_of(&[b.clone(), a.clone()])
    );

    let mut sim = Sim::settled(serving(1, &[a, b]));
    let before = sim.status().update_revision.clone();
    sim.edit(|serving| {
        let spec = &mut serving.spec;
        spec.scheduler_name = Some("other".to_owned());
        spec.recovery_policy = Some(kthena_api::model_serving::RecoveryPolicy::None);
        spec.template.restart_grace_period_seconds = Some(9);
        spec.template.roles[0].replicas = Some(3);
    });
    sim.settle();
    assert_eq!(sim.status().update_revision, before);
}

#[test]
fn r9_reordering_roles_changes_no_role_hash() {
    let hashes = |roles: &[Value]| -> BTreeMap<String, String> {
        let sim = Sim::settled(serving(1, roles));
        sim.pods
            .values()
            .map(|pod| (pod.role.clone(), pod.role_hash.clone()))
            .collect()
    };
    let (a, b) = (role("a", 1, 0), role("b", 1, 0));
    assert_eq!(hashes(&[a.clone(), b.clone()]), hashes(&[b, a]));
}

#[test]
fn r10_a_revision_is_short_safe_and_the_same_in_every_version() {
    let roles: Vec<Role> = vec![serde_json::from_value(role("prefill", 1, 1)).unwrap()];
    let revision = Blueprint::of(&roles).revision(0);

    assert!((1..=10).contains(&revision.len()));
    assert!(
        revision.chars().all(|c| "456789bcdf".contains(c)),
        "{revision}"
    );
    // Changing this value restarts the pods of every user who upgrades.
    insta::assert_snapshot!(revision);
}

#[rstest]
#[case::as_we_write_it(json!({ "data": [role("a", 2, 0)] }), true)]
#[case::a_bare_list(json!([role("a", 2, 0)]), true)]
#[case::something_else(json!({ "data": "text" }), false)]
#[case::nothing(Value::Null, false)]
fn r11_snapshots_are_read_in_both_forms(#[case] data: Value, #[case] is_readable: bool) {
    let content = SnapshotContent::read(&data);
    assert_eq!(content.is_some(), is_readable);
    if let Some(content) = content {
        assert_eq!(content.replicas(), BTreeMap::from([("a".to_owned(), 2)]));
    }
}

#[test]
fn r11_a_snapshot_is_a_controller_revision_with_the_full_roles() {
    let sim = Sim::new(serving(1, &[role("a", 2, 0)]));
    let plan = sim.plan();
    let Some(Action::CreateSnapshot { name, object }) = plan.actions.first() else {
        panic!("{plan:?}")
    };
    let revision = object["metadata"]["labels"][labels::REVISION]
        .as_str()
        .unwrap();

    assert_eq!(*name, format!("sample-{revision}"));
    assert_eq!(object["apiVersion"], "apps/v1");
    assert_eq!(object["revision"], 1);
    assert_eq!(
        object["metadata"]["labels"][labels::MODEL_SERVING_NAME],
        "sample"
    );
    assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], UID);
    assert_eq!(object["data"]["data"][0]["replicas"], 2);
}

#[test]
fn r12_role_counts_are_kept_in_an_annotation_and_the_data_is_never_written_again() {
    let mut sim = Sim::settled(serving(1, &[role("a", 1, 0)]));
    sim.edit(|serving| serving.spec.template.roles[0].replicas = Some(3));

    let plan = sim.step();

    let patches: Vec<_> = plan
        .actions
        .iter()
        .filter(|action| matches!(action, Action::PatchSnapshot { .. }))
        .collect();
    let [Action::PatchSnapshot { patch, .. }] = patches[..] else {
        panic!("{plan:?}")
    };
    assert_eq!(
        patch["metadata"]["annotations"][labels::ROLE_REPLICAS],
        "{\"a\":3}"
    );
    assert!(patch.get("data").is_none());
    sim.settle();
    assert_eq!(sim.snapshots.len(), 1);
}

#[test]
fn r13_the_snapshot_comes_before_everything_else() {
    let mut sim = Sim::settled(serving(2, &[role("a", 1, 0)]));
    sim.edit_image("engine:2");
    for _ in 0..4 {
        let plan = sim.step();
        let first_pod = plan
            .actions
            .iter()
            .position(|action| matches!(action, Action::CreatePod { .. }));
        let snapshot = plan
            .actions
            .iter()
            .position(|action| matches!(action, Action::CreateSnapshot { .. }));
        if let (Some(pod), Some(snapshot)) = (first_pod, snapshot) {
            assert!(snapshot < pod);
        }
        sim.ready_all();
    }
    // The simulated cluster refuses pods whose revision has no snapshot.
    sim.settle();
}

#[test]
fn r14_only_revisions_that_are_referred_to_are_kept_and_strangers_are_left_alone() {
    let mut sim = Sim::settled(serving(2, &[role("a", 1, 0)]));
    let mut foreign = snapshot("fffff", &[role("x", 1, 0)]);
    foreign.owner = "uid-of-a-former-sample".to_owned();
    sim.snapshots.insert(foreign.name.clone(), foreign);
    let old = sim.status().update_revision.clone();

    sim.edit_image("engine:2");
    sim.step();
    let kept: Vec<_> = sim
        .snapshots
        .values()
        .map(|snapshot| snapshot.revision.as_str())
        .collect();
    assert!(kept.contains(&old.as_str()), "a group is still on it");

    sim.settle();
    let mut names: Vec<_> = sim.snapshots.keys().cloned().collect();
    names.sort();
    let mut expected = vec![
        "sample-fffff".to_owned(),
        format!("sample-{}", sim.status().update_revision),
    ];
    expected.sort();
    assert_eq!(names, expected);
}

#[test]
fn r15_another_content_under_the_computed_name_is_never_overwritten() {
    let roles = [role("a", 1, 0)];
    let computed = revision_of(&roles);
    let mut sim = Sim::new(serving(1, &roles));
    let other = snapshot(&computed, &[role("other", 1, 0)]);
    sim.snapshots.insert(other.name.clone(), other);

    sim.step();

    assert_ne!(sim.status().update_revision, computed);
    assert_eq!(
        sim.pods["sample-0-a-0-0"].revision,
        sim.status().update_revision
    );
}

#[test]
fn r97_a_snapshot_of_the_same_content_is_the_revision_whoever_wrote_it() {
    let mut sim = Sim::new(serving(1, &[role("a", 1, 0)]));
    let mut upstream = role("a", 4, 0);
    upstream["entryTemplate"]["metadata"] = json!({});
    upstream["entryTemplate"]["spec"]["containers"][0]["resources"] = json!({});
    upstream["maxUnavailable"] = json!(1);
    let theirs = snapshot("84c8bf59d", &[upstream]);
    sim.snapshots.insert(theirs.name.clone(), theirs);

    sim.settle();

    assert_eq!(sim.status().update_revision, "84c8bf59d");
    assert_eq!(sim.pods["sample-0-a-0-0"].revision, "84c8bf59d");
}

#[test]
fn r98_a_settled_object_without_snapshots_keeps_its_revision_and_gets_one() {
    let mut sim = Sim::settled(serving(1, &[role("a", 1, 0)]));
    sim.snapshots.clear();
    sim.restart();
    for pod in sim.pods.values_mut() {
        "theirs".clone_into(&mut pod.revision);
    }
    let status = sim.serving.status.as_mut().unwrap();
    "theirs".clone_into(&mut status.update_revision);
    "theirs".clone_into(&mut status.current_revision);
    let before = sim.uids();

    sim.settle();

    assert_eq!(sim.uids(), before);
    assert_eq!(sim.status().update_revision, "theirs");
    assert!(sim.snapshots.contains_key("sample-theirs"));
}

#[test]
fn r99_new_pods_of_an_unchanged_role_carry_the_hash_that_is_there() {
    let mut sim = Sim::settled(serving(1, &[role("a", 1, 0)]));
    for pod in sim.pods.values_mut() {
        "theirs".clone_into(&mut pod.role_hash);
    }
    sim.edit(|serving| serving.spec.replicas = Some(2));
    sim.settle();

    assert!(sim.pods.values().all(|pod| pod.role_hash == "theirs"));
}

#[test]
fn r100_another_controller_of_ours_changes_nothing() {
    let mut sim = Sim::settled(serving(3, &[role("a", 2, 1)]));
    let before = (sim.uids(), sim.serving.status.clone());
    sim.restart();
    assert!(sim.plan().is_idle());
    sim.settle();
    assert_eq!((sim.uids(), sim.serving.status.clone()), before);
}

fn two_groups() -> Sim {
    Sim::settled(serving(2, &[role("a", 1, 0)]))
}

/// The revision that the spec has after it got this image, once all run it.
fn rolled_out(sim: &mut Sim, image: &str) -> String {
    sim.edit_image(image);
    sim.settle();
    sim.status().update_revision.clone()
}

fn stored(sim: &Sim) -> BTreeMap<String, i64> {
    let snapshots = sim.snapshots.values();
    snapshots
        .map(|one| (one.revision.clone(), one.number))
        .collect()
}

#[test]
fn as_many_revisions_are_kept_as_the_spec_says_and_those_wanted_last() {
    let mut sim = two_groups();
    sim.edit(|serving| serving.spec.revision_history_limit = Some(1));
    let [one, two] = ["engine:1", "engine:2"].map(|image| rolled_out(&mut sim, image));
    assert_eq!(stored(&sim).into_keys().collect::<BTreeSet<_>>(), {
        BTreeSet::from([one.clone(), two.clone()])
    });

    // Back to the first: its name and its snapshot are the same, and it is the one wanted last now.
    assert_eq!(rolled_out(&mut sim, "engine:1"), one);
    let numbers = stored(&sim);
    assert!(numbers[&one] > numbers[&two], "{numbers:?}");
    let three = rolled_out(&mut sim, "engine:3");
    let numbers = stored(&sim);
    assert_eq!(numbers.keys().collect::<BTreeSet<_>>(), {
        BTreeSet::from([&one, &three])
    });
    assert!(numbers[&three] > numbers[&one], "{numbers:?}");

    sim.edit(|serving| serving.spec.revision_history_limit = Some(0));
    sim.settle();
    assert_eq!(stored(&sim).into_keys().collect::<Vec<_>>(), [three]);
}

#[test]
fn numbers_begin_to_count_when_revisions_are_to_be_kept() {
    let mut sim = two_groups();
    let one = rolled_out(&mut sim, "engine:1");
    let two = rolled_out(&mut sim, "engine:2");
    assert_eq!(stored(&sim), BTreeMap::from([(two.clone(), 1)]), "R11, R14");

    sim.edit(|serving| serving.spec.revision_history_limit = Some(5));
    assert_eq!(rolled_out(&mut sim, "engine:1"), one);
    assert_eq!(stored(&sim), BTreeMap::from([(two, 1), (one, 2)]));
}
