use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::resource::Resource;
use crate::testing::{Bench, KnownKinds, config_maps, namespaces, pods, widgets};
use crate::write::DeleteOptions;

fn resources() -> Vec<Resource> {
    vec![widgets(), pods(), config_maps(), namespaces()]
}

fn kinds() -> KnownKinds {
    KnownKinds(resources())
}

fn uid(bench: &Bench, resource: &Resource, name: &str) -> String {
    bench
        .store
        .get(&resource.group_resource, "a", name)
        .unwrap()
        .uid()
        .to_owned()
}

/// A reference to the widget `name`.
fn owner(bench: &Bench, name: &str, blocks: bool) -> Value {
    json!({
        "apiVersion": "x.io/v1", "kind": "Widget", "name": name, "uid": uid(bench, &widgets(), name),
        "blockOwnerDeletion": blocks,
    })
}

fn add(bench: &mut Bench, resource: &Resource, name: &str, owners: &[Value]) {
    let object = json!({"metadata": {"name": name, "ownerReferences": owners}});
    bench.create(resource, "a", object).unwrap();
}

/// `top` owns the widget `middle`, which owns the maps `leaf` and `other`, all of them blocking.
fn family() -> Bench {
    let mut bench = Bench::new();
    add(&mut bench, &widgets(), "top", &[]);
    let top = owner(&bench, "top", true);
    add(&mut bench, &widgets(), "middle", &[top]);
    for name in ["leaf", "other"] {
        let middle = owner(&bench, "middle", true);
        add(&mut bench, &config_maps(), name, &[middle]);
    }
    bench
}

fn delete(bench: &mut Bench, resource: &Resource, name: &str, propagation: Propagation) {
    let from = bench.changes.len();
    let options = DeleteOptions {
        propagation: Some(propagation),
        ..DeleteOptions::default()
    };
    bench.delete(resource, ("a", name), options).unwrap();
    bench.collect(&resources(), &kinds(), from);
}

/// Names in the order in which they went.
fn gone(bench: &Bench) -> Vec<&str> {
    let deleted = bench
        .changes
        .iter()
        .filter(|change| change.kind == ChangeKind::Deleted);
    deleted.map(|change| change.object.name()).collect()
}

#[test]
fn in_the_background_dependents_follow_their_owner() {
    let mut bench = family();
    delete(&mut bench, &widgets(), "top", Propagation::Background);
    assert_eq!(gone(&bench), ["top", "middle", "leaf", "other"]);
}

#[test]
fn in_the_foreground_the_owner_goes_last() {
    let mut bench = family();
    delete(&mut bench, &widgets(), "top", Propagation::Foreground);
    assert_eq!(gone(&bench), ["leaf", "other", "middle", "top"]);
}

#[test]
fn orphans_stay_and_forget_their_owner() {
    let mut bench = family();
    delete(&mut bench, &widgets(), "middle", Propagation::Orphan);
    assert_eq!(gone(&bench), ["middle"]);
    assert_eq!(bench.names(&config_maps()), ["leaf", "other"]);
    let leaf = bench
        .store
        .get(&config_maps().group_resource, "a", "leaf")
        .unwrap();
    assert!(leaf.owners().is_empty());
}

#[test]
fn an_owner_that_lives_keeps_the_object() {
    let mut bench = Bench::new();
    for name in ["one", "two"] {
        add(&mut bench, &widgets(), name, &[]);
    }
    let owners = [owner(&bench, "one", false), owner(&bench, "two", false)];
    add(&mut bench, &config_maps(), "shared", &owners);

    delete(&mut bench, &widgets(), "one", Propagation::Background);
    let shared = bench
        .store
        .get(&config_maps().group_resource, "a", "shared")
        .unwrap();
    assert_eq!(
        shared
            .owners()
            .iter()
            .map(|owner| &*owner.name)
            .collect::<Vec<_>>(),
        ["two"]
    );
    delete(&mut bench, &widgets(), "two", Propagation::Background);
    assert_eq!(gone(&bench), ["one", "two", "shared"]);
}

#[test]
fn a_dependent_that_does_not_block_is_not_waited_for() {
    let mut bench = Bench::new();
    add(&mut bench, &widgets(), "top", &[]);
    let reference = owner(&bench, "top", false);
    let held = json!({"metadata": {"name": "held", "ownerReferences": [reference], "finalizers": ["x.io/hold"]}});
    bench.create(&config_maps(), "a", held).unwrap();
    delete(&mut bench, &widgets(), "top", Propagation::Foreground);
    assert_eq!(gone(&bench), ["top"]);
    assert!(
        bench
            .store
            .get(&config_maps().group_resource, "a", "held")
            .unwrap()
            .is_deleting()
    );
}

#[test]
fn a_dependent_with_a_finalizer_of_its_own_holds_a_foreground_deletion() {
    let mut bench = Bench::new();
    add(&mut bench, &widgets(), "top", &[]);
    let reference = owner(&bench, "top", true);
    let held = json!({"metadata": {"name": "held", "ownerReferences": [reference], "finalizers": ["x.io/hold"]}});
    bench.create(&config_maps(), "a", held).unwrap();
    delete(&mut bench, &widgets(), "top", Propagation::Foreground);
    assert_eq!(gone(&bench), Vec::<&str>::new());

    let from = bench.changes.len();
    let release = |object: &mut Value| object["metadata"]["finalizers"] = json!([]);
    bench
        .edit(
            &config_maps(),
            ("a", "held"),
            crate::write::Part::Main,
            release,
        )
        .unwrap();
    bench.collect(&resources(), &kinds(), from);
    assert_eq!(gone(&bench), ["held", "top"]);
}

#[test]
fn a_cycle_of_owners_ends() {
    let mut bench = Bench::new();
    add(&mut bench, &widgets(), "one", &[]);
    let one = owner(&bench, "one", true);
    add(&mut bench, &widgets(), "two", &[one]);
    let two = owner(&bench, "two", true);
    let close = |object: &mut Value| object["metadata"]["ownerReferences"] = json!([two]);
    bench
        .edit(&widgets(), ("a", "one"), crate::write::Part::Main, close)
        .unwrap();
    delete(&mut bench, &widgets(), "one", Propagation::Foreground);
    assert_eq!(bench.names(&widgets()), Vec::<String>::new());
}

#[rstest]
#[case::missing_owner("Widget", "x.io/v1", "none", "u", true)]
#[case::same_name_other_uid("Widget", "x.io/v1", "there", "u", true)]
#[case::kind_that_is_not_served("Gadget", "y.io/v1", "none", "u", false)]
#[case::owner_of_the_cluster_missing("Namespace", "v1", "none", "u", true)]
fn owners_that_never_were(
    #[case] kind: &str,
    #[case] api_version: &str,
    #[case] name: &str,
    #[case] uid: &str,
    #[case] goes: bool,
) {
    let mut bench = Bench::new();
    add(&mut bench, &widgets(), "there", &[]);
    let from = bench.changes.len();
    let reference = json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": uid});
    add(&mut bench, &config_maps(), "map", &[reference]);
    bench.collect(&resources(), &kinds(), from);
    assert_eq!(gone(&bench).contains(&"map"), goes);
}

#[test]
fn an_owner_in_another_namespace_is_no_owner() {
    let mut bench = Bench::new();
    add(&mut bench, &widgets(), "there", &[]);
    let reference = owner(&bench, "there", false);
    let from = bench.changes.len();
    let object = json!({"metadata": {"name": "map", "ownerReferences": [reference]}});
    bench.create(&config_maps(), "b", object).unwrap();
    bench.collect(&resources(), &kinds(), from);
    assert_eq!(gone(&bench), ["map"]);
}

#[test]
fn pods_get_their_grace_and_a_second_look_changes_nothing() {
    let mut bench = Bench::new();
    add(&mut bench, &widgets(), "top", &[]);
    let reference = owner(&bench, "top", true);
    let pod = json!({
        "metadata": {"name": "p", "ownerReferences": [reference]},
        "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 9},
    });
    bench.create(&pods(), "a", pod).unwrap();
    delete(&mut bench, &widgets(), "top", Propagation::Background);
    assert_eq!(gone(&bench), ["top"]);
    let pod = bench.store.get(&pods().group_resource, "a", "p").unwrap();
    assert!(pod.is_deleting());
    assert_eq!(sweep(&bench.store, &kinds()), []);
}

#[test]
fn a_sweep_finds_what_was_left_undone() {
    let mut bench = family();
    bench
        .delete(&widgets(), ("a", "middle"), DeleteOptions::default())
        .unwrap();
    let actions = sweep(&bench.store, &kinds());
    let targets: Vec<_> = actions
        .iter()
        .map(|action| action.target().key.name.to_string())
        .collect();
    assert_eq!(targets, ["leaf", "other"]);
    bench.collect(&resources(), &kinds(), 0);
    assert_eq!(bench.names(&widgets()), ["top"]);
}
