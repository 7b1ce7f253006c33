use rstest::rstest;
use serde_json::{Value, json};

use super::drift;
use crate::testing::{Sim, merge, read, set, template};
use crate::translate::translate;

/// Drift after a user changed the `ModelServing` and the set.
fn after(serving: &Value, edit: &Value) -> Option<(Value, Vec<&'static str>)> {
    let mut sim = Sim::settled(set());
    let mut changed = sim.serving.clone().unwrap();
    merge(&mut changed, serving);
    sim.serving = Some(changed);
    sim.edit(edit);
    let view = sim.view();
    let drift = drift(&translate(&view.set), view.serving.as_ref().unwrap())?;
    Some((drift.spec, drift.fields))
}

#[rstest]
#[case::as_it_was_made(json!({}))]
#[case::a_pause(json!({ "spec": { "rolloutStrategy": {
    "type": "ServingGroupRollingUpdate", "paused": true, "progressDeadlineSeconds": 60,
} } }))]
#[case::explicit_defaults(json!({ "spec": { "recoveryPolicy": "RoleRecreate", "rolloutStrategy": {
    "type": "ServingGroupRollingUpdate",
    "rollingUpdateConfiguration": { "maxUnavailable": 1, "partition": 0 },
} } }))]
#[case::what_does_not_follow_from_the_set(json!({ "spec": {
    "template": { "restartGracePeriodSeconds": 5, "networkTopology": { "rolePolicy": { "mode": "soft" } } },
} }))]
fn r89_nothing_differs(#[case] serving: Value) {
    assert_eq!(after(&serving, &json!({})), None);
}

#[rstest]
#[case::scaled(json!({ "spec": { "replicas": 7 } }), json!({ "replicas": 2 }), &["replicas"])]
#[case::recovery(
    json!({ "spec": { "recoveryPolicy": "None" } }),
    json!({ "recoveryPolicy": "RoleRecreate" }),
    &["recoveryPolicy"]
)]
#[case::no_plugins(
    json!({ "spec": { "plugins": null } }),
    json!({ "plugins": [{ "name": "lws-standard-labels", "type": "BuiltIn" }] }),
    &["plugins"]
)]
#[case::a_limit(
    json!({ "spec": { "rolloutStrategy": {
        "type": "ServingGroupRollingUpdate", "paused": true,
        "rollingUpdateConfiguration": { "maxUnavailable": 2, "partition": 1 },
    } } }),
    json!({ "rolloutStrategy": {
        "type": "ServingGroupRollingUpdate",
        "rollingUpdateConfiguration": { "maxUnavailable": 1, "partition": 0 },
    } }),
    &["rolloutStrategy"]
)]
#[case::another_kind_of_rollout(
    json!({ "spec": { "rolloutStrategy": { "type": "RoleRollingUpdate" } } }),
    json!({ "rolloutStrategy": { "type": "ServingGroupRollingUpdate" } }),
    &["rolloutStrategy"]
)]
fn r88_drift_is_mended_and_nothing_else(
    #[case] serving: Value,
    #[case] expected: Value,
    #[case] fields: &[&str],
) {
    assert_eq!(
        after(&serving, &json!({})),
        Some((expected, fields.to_vec()))
    );
}

#[test]
fn an_edit_of_the_set_changes_only_what_it_is_about() {
    let (spec, fields) = after(&json!({}), &json!({ "spec": { "replicas": 5 } })).unwrap();
    assert_eq!(spec, json!({ "replicas": 5 }));
    assert_eq!(fields, ["replicas"]);

    let edit =
        json!({ "spec": { "leaderWorkerTemplate": { "workerTemplate": template("engine:2") } } });
    let (spec, fields) = after(&json!({}), &edit).unwrap();
    assert_eq!(fields, ["template.roles"]);
    assert_eq!(spec.as_object().unwrap().len(), 1, "{spec}");
    let containers = &spec["template"]["roles"][0]["entryTemplate"]["spec"]["containers"];
    assert_eq!(containers[0]["image"], "engine:2");
}

#[test]
fn the_scheduler_is_that_of_the_templates_and_else_the_default() {
    let with = |name: Value| json!({ "spec": { "leaderWorkerTemplate": { "workerTemplate": { "spec": { "schedulerName": name } } } } });
    let (spec, fields) = after(&json!({}), &with(json!("mine"))).unwrap();
    assert_eq!(fields, ["schedulerName", "template.roles"]);
    assert_eq!(spec["schedulerName"], "mine");

    let changed = json!({ "spec": { "schedulerName": "mine" } });
    let (spec, _) = after(&changed, &with(Value::Null)).unwrap();
    assert_eq!(spec, json!({ "schedulerName": "volcano" }));
}

#[test]
fn defaults_of_the_server_are_no_drift() {
    let mut set = set();
    let ports = json!([{ "containerPort": 8000 }]);
    set["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]["containers"][0]["ports"] = ports;
    let sim = Sim::settled(set.clone());
    let serving = sim.view().serving.unwrap();
    let entry = &serving.spec.template.roles[0].entry_template;
    let stored = &entry.spec.as_ref().unwrap()["containers"][0]["ports"][0];
    assert_eq!(stored["protocol"], "TCP", "the server has filled it in");

    assert_eq!(drift(&translate(&read(&set)), &serving), None);
}
