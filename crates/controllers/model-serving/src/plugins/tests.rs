use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kthena_api::event::Severity;
use rstest::rstest;
use serde_json::{Value, json};

use crate::testing::{Sim, role, serving};

fn sim(plugins: Value) -> Sim {
    let mut object = serving(1, &[role("a", 1, 1), role("b", 1, 0)]);
    object.spec.plugins = serde_json::from_value(plugins).unwrap();
    Sim::new(object)
}

fn tweak(annotation: &str, value: &str) -> Value {
    json!({ "name": "demo-pod-tweaks", "type": "BuiltIn", "config": { "annotations": { annotation: value } } })
}

/// Pods that carry an annotation, and its value.
fn annotated(sim: &Sim, key: &str) -> Vec<(String, String)> {
    let values = sim.rendered.iter().filter_map(|(name, pod)| {
        let value = pod["metadata"]["annotations"].get(key)?;
        Some((name.clone(), value.as_str()?.to_owned()))
    });
    values.collect()
}

#[test]
fn r82_each_plugin_sees_what_the_one_before_it_made() {
    let mut sim = sim(json!([tweak("x", "first"), tweak("x", "second")]));
    sim.settle();
    assert!(
        annotated(&sim, "x")
            .iter()
            .all(|(_, value)| value == "second")
    );
    assert_eq!(annotated(&sim, "x").len(), 3);
}

#[rstest]
#[case::absent(json!(null), &["sample-0-a-0-0", "sample-0-a-0-1", "sample-0-b-0-0"])]
#[case::role(json!({ "roles": ["b"] }), &["sample-0-b-0-0"])]
#[case::entry(json!({ "target": "Entry" }), &["sample-0-a-0-0", "sample-0-b-0-0"])]
#[case::worker(json!({ "target": "Worker" }), &["sample-0-a-0-1"])]
#[case::all_of_a_role(json!({ "roles": ["a"], "target": "All" }), &["sample-0-a-0-0", "sample-0-a-0-1"])]
#[case::unknown(json!({ "target": "Leader" }), &[])]
fn r83_a_plugin_sees_the_pods_of_its_scope(#[case] scope: Value, #[case] expected: &[&str]) {
    let mut plugin = tweak("x", "y");
    plugin["scope"] = scope;
    let mut sim = sim(json!([plugin]));
    sim.settle();
    let names: Vec<_> = annotated(&sim, "x")
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, expected);
}

#[rstest]
#[case::unknown(json!({ "name": "x", "type": "BuiltIn" }), "plugin x not registered")]
#[case::kind(json!({ "name": "demo-pod-tweaks", "type": "Webhook" }),
    "plugin demo-pod-tweaks has unsupported type Webhook")]
#[case::config(json!({ "name": "demo-pod-tweaks", "type": "BuiltIn", "config": { "annotations": 3 } }),
    "build plugin demo-pod-tweaks: invalid type: integer `3`, expected a map")]
fn r84_a_plugin_that_cannot_be_built_keeps_pods_back_and_says_so(
    #[case] plugin: Value,
    #[case] expected: &str,
) {
    let mut sim = sim(json!([plugin]));
    let plan = sim.step();
    assert!(sim.pods.is_empty());
    let warnings = plan
        .events
        .iter()
        .filter(|event| event.severity == Severity::Warning);
    let told: Vec<_> = warnings
        .map(|event| (event.reason, event.message.as_str()))
        .collect();
    assert_eq!(told, [("PluginFailed", expected)]);
    let conditions = sim.status().conditions.clone().unwrap_or_default();
    let condition = conditions
        .iter()
        .find(|one| one.type_ == "PluginFailed")
        .unwrap();
    assert_eq!(
        (condition.status.as_str(), condition.message.as_str()),
        ("True", expected)
    );
    assert!(sim.step().is_idle(), "told once");

    sim.edit(|serving| serving.spec.plugins = None);
    sim.settle();
    assert_eq!(sim.pods.len(), 3);
}

#[test]
fn r84_a_plugin_added_to_running_pods_touches_none_of_them() {
    let mut sim = sim(json!([]));
    sim.settle();
    let before = sim.uids();
    sim.edit(|serving| {
        serving.spec.plugins = serde_json::from_value(json!([tweak("x", "y")])).unwrap();
    });
    sim.settle();
    assert_eq!(sim.uids(), before, "R8");
}

#[test]
fn r85_the_demo_sets_runtime_class_annotations_and_variables_of_all_containers() {
    let plugin = json!({ "name": "demo-pod-tweaks", "type": "BuiltIn", "config": {
        "runtimeClassName": "nvidia", "annotations": { "x": "y" }, "env": [{ "name": "A", "value": "1" }],
    } });
    let mut sim = sim(json!([plugin]));
    sim.edit(|serving| {
        let spec = serving.spec.template.roles[0]
            .entry_template
            .spec
            .get_or_insert_default();
        spec.insert("initContainers".to_owned(), json!([{ "name": "i" }]));
    });
    sim.settle();
    for name in ["sample-0-a-0-0", "sample-0-a-0-1"] {
        let pod = &sim.rendered[name];
        assert_eq!(pod["spec"]["runtimeClassName"], "nvidia");
        let variables = pod["spec"]["containers"][0]["env"].as_array().unwrap();
        assert_eq!(
            variables.last().unwrap(),
            &json!({ "name": "A", "value": "1" })
        );
        assert_eq!(variables.len(), 4, "R6: once");
    }
    let variables = &sim.rendered["sample-0-a-0-0"]["spec"]["initContainers"][0]["env"];
    assert_eq!(variables.as_array().unwrap().len(), 4);
}

#[test]
fn r84_a_plugin_cannot_change_what_a_pod_is() {
    let original = json!({ "metadata": {
        "name": "n", "namespace": "ns", "ownerReferences": [1],
        "labels": { "modelserving.volcano.sh/role": "a", "user": "x" },
    } });
    let mut changed = json!({ "metadata": {
        "name": "other", "ownerReferences": [],
        "labels": { "modelserving.volcano.sh/role": "b", "modelserving.volcano.sh/entry": "true", "user": "y" },
    } });
    super::restore_identity(&original, &mut changed);
    let mut expected = original.clone();
    expected["metadata"]["labels"]["user"] = json!("y");
    assert_eq!(changed, expected);
}

#[test]
fn r85_r89_pods_of_a_leader_worker_set_carry_its_labels_and_variables() {
    let mut sim = sim(json!([{ "name": "lws-standard-labels", "type": "BuiltIn" }]));
    sim.serving.metadata.owner_references = Some(vec![OwnerReference {
        kind: "LeaderWorkerSet".to_owned(),
        name: "llama".to_owned(),
        ..OwnerReference::default()
    }]);
    sim.settle();
    let pod = &sim.rendered["sample-0-a-0-1"];
    let label = |name: &str| {
        pod["metadata"]["labels"][format!("leaderworkerset.sigs.k8s.io/{name}")].clone()
    };
    assert_eq!(
        [
            label("name"),
            label("group-index"),
            label("worker-index"),
            label("group-key")
        ],
        // The digest was made with coreutils: printf llama-0 | sha1sum
        [
            "llama",
            "0",
            "1",
            "7c180425a5e4b1b86c78e6f7625fe554149da9d4"
        ]
    );
    let variables = &pod["spec"]["containers"][0]["env"];
    assert_eq!(
        variables[0],
        json!({ "name": "LWS_LEADER_ADDRESS", "value": "sample-0-a-0-0.default" })
    );
}

#[test]
fn r85_without_a_leader_worker_set_there_is_nothing_to_label() {
    let mut sim = sim(json!([{ "name": "lws-standard-labels", "type": "BuiltIn" }]));
    sim.settle();
    let labels = sim.rendered["sample-0-a-0-0"]["metadata"]["labels"]
        .as_object()
        .unwrap();
    assert!(
        labels
            .keys()
            .all(|key| key.starts_with("modelserving.volcano.sh/"))
    );
}
