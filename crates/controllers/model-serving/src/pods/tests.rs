use kthena_api::labels;
use serde_json::{Value, json};

use crate::testing::{Sim, role, serving};

fn rendered(change: impl FnOnce(&mut Value)) -> Sim {
    let mut prefill = role("prefill", 1, 2);
    change(&mut prefill);
    Sim::settled(serving(1, &[prefill]))
}

fn env(pod: &Value, list: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let entries = pod["spec"][list][0]["env"].as_array().unwrap();
    entries
        .iter()
        .map(|entry| (text(&entry["name"]), text(&entry["value"])))
        .collect()
}

#[test]
fn r5_a_worker_pod_as_it_is_sent() {
    let sim = rendered(|_| {});
    let mut pod = sim.rendered["sample-0-prefill-0-1"].clone();
    // These two are hashes; their form is tested elsewhere.
    for label in [labels::REVISION, labels::ROLE_TEMPLATE_HASH] {
        pod["metadata"]["labels"][label] = json!("HASH");
    }
    insta::assert_yaml_snapshot!(pod);
}

#[test]
fn r2_identity_labels_of_entry_and_worker() {
    let sim = rendered(|_| {});
    let labels_of = |name: &str| sim.rendered[name]["metadata"]["labels"].clone();
    let entry = labels_of("sample-0-prefill-0-0");
    let worker = labels_of("sample-0-prefill-0-2");

    assert_eq!(entry[labels::ENTRY], "true");
    assert!(worker.get(labels::ENTRY).is_none());
    for pod in [entry, worker] {
        assert_eq!(pod[labels::MODEL_SERVING_NAME], "sample");
        assert_eq!(pod[labels::GROUP_NAME], "sample-0");
        assert_eq!(pod[labels::ROLE], "prefill");
        assert_eq!(pod[labels::ROLE_ID], "prefill-0");
        assert_eq!(pod[labels::REVISION], sim.status().update_revision.as_str());
        assert!(
            pod[labels::ROLE_TEMPLATE_HASH]
                .as_str()
                .is_some_and(|hash| !hash.is_empty())
        );
    }
}

#[test]
fn r3_template_labels_are_kept_but_never_forge_identity() {
    let forged = json!({
        "labels": {
            labels::GROUP_NAME: "group-0", labels::ENTRY: "true", "app": "x",
            "modelserving.volcano.sh/rolename": "prefill",
        },
        "annotations": { "note": "kept" },
    });
    let sim = rendered(|role| {
        role["entryTemplate"]["metadata"] = forged.clone();
        role["workerTemplate"]["metadata"] = forged;
    });
    let worker = &sim.rendered["sample-0-prefill-0-1"]["metadata"];

    assert_eq!(worker["labels"][labels::GROUP_NAME], "sample-0");
    assert!(
        worker["labels"].get(labels::ENTRY).is_none(),
        "a worker is no entry, whatever its template says"
    );
    assert_eq!(worker["labels"]["app"], "x");
    assert_eq!(
        worker["labels"]["modelserving.volcano.sh/rolename"],
        "prefill"
    );
    assert_eq!(worker["annotations"]["note"], "kept");
}

#[test]
fn r4_our_variables_come_first_in_every_container_and_replace_the_users() {
    let sim = rendered(|role| {
        role["workerTemplate"]["spec"] = json!({
            "initContainers": [{ "name": "init", "image": "i" }],
            "containers": [{ "name": "engine", "image": "e", "env": [
                { "name": "MINE", "value": "$(ENTRY_ADDRESS)" }, { "name": "GROUP_SIZE", "value": "99" },
            ] }],
        });
    });
    let worker = &sim.rendered["sample-0-prefill-0-2"];
    let ours = [
        ("GROUP_SIZE".to_owned(), "3".to_owned()),
        (
            "ENTRY_ADDRESS".to_owned(),
            "sample-0-prefill-0-0.default".to_owned(),
        ),
        ("WORKER_INDEX".to_owned(), "2".to_owned()),
    ];

    assert_eq!(env(worker, "initContainers"), ours);
    let mut all = ours.to_vec();
    all.push(("MINE".to_owned(), "$(ENTRY_ADDRESS)".to_owned()));
    assert_eq!(env(worker, "containers"), all);
}

#[test]
fn r5_the_rest_of_the_template_survives_unchanged() {
    let aliases = json!([
        { "ip": "10.0.0.1", "hostnames": ["a"] },
        { "ip": "10.0.0.1", "hostnames": ["b"] },
    ]);
    let sim = rendered(|role| {
        role["entryTemplate"]["spec"] = json!({
            "containers": [{ "name": "engine", "image": "e", "fieldOfTomorrow": { "x": [1, 2] } }],
            "hostAliases": aliases, "schedulerName": "mine", "restartPolicy": "Never", "nodeName": "",
        });
    });
    let spec = &sim.rendered["sample-0-prefill-0-0"]["spec"];

    assert_eq!(spec["hostAliases"], aliases);
    assert_eq!(
        spec["containers"][0]["fieldOfTomorrow"],
        json!({ "x": [1, 2] })
    );
    assert_eq!(spec["restartPolicy"], "Never");
    assert_eq!(
        spec["schedulerName"], "volcano",
        "always the one of the ModelServing"
    );
    assert!(spec.get("hostname").is_none() && spec.get("subdomain").is_none());
}

#[test]
fn r6_each_pod_has_each_variable_once() {
    let sim = rendered(|_| {});
    for pod in sim.rendered.values() {
        assert_eq!(env(pod, "containers").len(), 3);
    }
}

#[test]
fn r7_workers_without_a_template_are_not_created_and_that_is_told() {
    let mut object = serving(1, &[role("prefill", 1, 2)]);
    object.spec.template.roles[0].worker_template = None;
    let mut sim = Sim::new(object);

    let plan = sim.step();

    assert_eq!(sim.names(), ["sample-0-prefill-0-0"]);
    assert!(
        plan.events
            .iter()
            .any(|event| event.reason == "WorkerTemplateMissing")
    );
    sim.ready_all();
    sim.step();
    assert_eq!(
        sim.status().available_replicas,
        0,
        "it can never be complete"
    );
    assert!(sim.plan().actions.is_empty());
}
