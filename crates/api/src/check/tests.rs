use rstest::rstest;
use serde_json::{Value, json};

use super::{check, settle};

fn texts(kind: &str, object: &Value, old: Option<&Value>) -> Vec<String> {
    check(kind, object, old)
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn serving() -> Value {
    json!({
        "metadata": {"name": "demo"},
        "spec": {"template": {"roles": [{"name": "r", "workerReplicas": 0, "entryTemplate": {"spec": {"containers": []}}}]}},
    })
}

#[test]
fn a_sound_manifest_has_no_faults() {
    assert_eq!(
        texts("ModelServing", &serving(), None),
        Vec::<String>::new()
    );
}

#[test]
fn all_stages_report_together() {
    let mut object = serving();
    object["spec"]["replicas"] = json!(-1);
    object["spec"]["recoveryPolicy"] = json!("Never");
    object["spec"]["template"]["roles"][0]["name"] = json!("Upper");

    let found = texts("ModelServing", &object, None);

    assert_eq!(
        found[0],
        "spec.recoveryPolicy: Unsupported value: \"Never\": supported values: \"ServingGroupRecreate\", \"RoleRecreate\", \"None\""
    );
    assert_eq!(
        found[1],
        ".spec.replicas: Invalid value: -1: should be a non-negative integer"
    );
    assert!(
        found
            .iter()
            .any(|text| text.starts_with("spec.template.roles[0].name: ")),
        "{found:?}"
    );
    assert!(
        !found.iter().any(|text| text.starts_with("spec.replicas: ")),
        "said twice: {found:?}"
    );
}

#[test]
fn unknown_fields_are_named() {
    let mut object = serving();
    object["spec"]["replica"] = json!(1);
    object["spec"]["template"]["roles"][0]["entryTemplate"]["spec"]["fromTheFuture"] = json!(true);

    let unknown: Vec<String> = settle("ModelServing", &object)
        .unknown
        .iter()
        .map(ToString::to_string)
        .collect();

    assert_eq!(
        unknown,
        [
            "spec.replica",
            "spec.template.roles[0].entryTemplate.spec.fromTheFuture"
        ]
    );
}

#[rstest]
#[case::changed(json!("m"), json!("n"), &["spec.modelName: Invalid value: \"n\": modelName is immutable"])]
#[case::same(json!("m"), json!("m"), &[])]
fn mr2_model_name_is_immutable(#[case] old: Value, #[case] new: Value, #[case] expected: &[&str]) {
    let route =
        |name: &Value| json!({"metadata": {"name": "r"}, "spec": {"modelName": name, "rules": []}});

    assert_eq!(
        texts("ModelRoute", &route(&new), Some(&route(&old))),
        expected
    );
}

#[rstest]
fn every_kind_survives_an_empty_object(
    #[values(
        "ModelRoute",
        "ModelServer",
        "ExternalModelProvider",
        "ModelServing",
        "ModelBooster",
        "AutoscalingPolicy"
    )]
    kind: &str,
) {
    let expected_clean = kind == "ModelBooster";

    assert_eq!(check(kind, &json!({}), None).is_empty(), expected_clean);
    assert!(
        check(kind, &Value::Null, None)
            .iter()
            .all(|fault| !fault.to_string().is_empty())
    );
}

#[test]
fn a_policy_is_judged_with_its_defaults() {
    let object = json!({"metadata": {"name": "p"}, "spec": {
        "metrics": [{"name": "m", "targetValue": "1"}],
        "homogeneousTarget": {"target": {"targetRef": {"name": "s"}}, "minReplicas": 1, "maxReplicas": 2},
        "behavior": {"scaleUp": {"panicPolicy": {"percent": 5}}},
    }});

    assert_eq!(
        texts("AutoscalingPolicy", &object, None),
        ["spec.behavior.scaleUp.panicPolicy.period: Required value"]
    );
}

#[test]
fn sg_p2_repeated_host_aliases_are_kept_in_order() {
    let mut object = serving();
    let aliases =
        json!([{"ip": "1.1.1.1", "hostnames": ["a"]}, {"ip": "1.1.1.1", "hostnames": ["b"]}]);
    object["spec"]["template"]["roles"][0]["entryTemplate"]["spec"]["hostAliases"] =
        aliases.clone();

    let settled = settle("ModelServing", &object).object;

    assert_eq!(
        settled["spec"]["template"]["roles"][0]["entryTemplate"]["spec"]["hostAliases"],
        aliases
    );
    assert_eq!(texts("ModelServing", &object, None), Vec::<String>::new());
}
