//! What a server stores is read and written again without loss, and without additions.

use kthena_api::autoscaling_policy::AutoscalingPolicy;
use kthena_api::duration::GoDuration;
use kthena_api::external_model_provider::ExternalModelProvider;
use kthena_api::model_booster::ModelBooster;
use kthena_api::model_route::ModelRoute;
use kthena_api::model_server::ModelServer;
use kthena_api::model_serving::ModelServing;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::recording;

fn again<K: DeserializeOwned + Serialize>(object: &Value) -> Result<Value, serde_json::Error> {
    let typed: K = serde_json::from_value(object.clone())?;
    serde_json::to_value(typed)
}

pub(crate) fn round_trip(kind: &str, object: &Value) -> Result<Value, serde_json::Error> {
    match kind {
        "ModelRoute" => again::<ModelRoute>(object),
        "ModelServer" => again::<ModelServer>(object),
        "ExternalModelProvider" => again::<ExternalModelProvider>(object),
        "ModelServing" => again::<ModelServing>(object),
        "ModelBooster" => again::<ModelBooster>(object),
        _ => again::<AutoscalingPolicy>(object),
    }
}

/// `null` members say the same as none, a duration may be spelled in many ways, a quantity may be a number.
fn meaning(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            map.retain(|_, member| !member.is_null());
            for (name, member) in map.iter_mut() {
                *member = match member.take() {
                    Value::Number(number) if name == "targetValue" => number.to_string().into(),
                    member => meaning(member),
                };
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| *item = meaning(item.take())),
        Value::String(text) => {
            if let Ok(duration) = text.parse::<GoDuration>() {
                *text = duration.to_string();
            }
        }
        _ => {}
    }
    value
}

#[test]
fn stored_specs_survive() {
    for case in recording::cases() {
        // A spec that is missing reads as an empty one; a bad duration is for the reader to report.
        let Some(stored) = case.stored.filter(|stored| stored.get("spec").is_some()) else {
            continue;
        };
        if case.name == "server bad duration accepted" {
            assert!(round_trip(&case.kind, &stored).is_err());
            continue;
        }
        let found = round_trip(&case.kind, &stored)
            .unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_eq!(
            meaning(found["spec"].clone()),
            meaning(stored["spec"].clone()),
            "{}",
            case.name
        );
    }
}

#[test]
fn a12_what_go_clients_write_is_read() {
    let policy = json!({
        "metadata": {"name": "p", "creationTimestamp": null},
        "spec": {
            "tolerancePercent": 0,
            "metrics": null,
            "behavior": {"scaleUp": {"stablePolicy": {}, "panicPolicy": {"period": "0s"}}, "scaleDown": {}},
            "homogeneousTarget": {"target": {"targetRef": {}}, "minReplicas": 0, "maxReplicas": 0},
        },
        "status": {},
    });
    let booster = json!({
        "metadata": {"name": "b", "creationTimestamp": null},
        "spec": {"backend": {"name": "b", "type": "vLLM", "modelURI": "hf://m", "replicas": 1,
            "workers": [{"resources": {}, "affinity": {}, "config": null}]}},
        "status": {},
    });
    let server = json!({
        "metadata": {"name": "s", "creationTimestamp": null},
        "spec": {"inferenceEngine": "vLLM", "workloadSelector": null, "workloadPort": {"port": 8000},
            "trafficPolicy": {"retry": {"attempts": 0, "retryInterval": "0s"}}},
        "status": {},
    });
    for (kind, object) in [
        ("AutoscalingPolicy", policy),
        ("ModelBooster", booster),
        ("ModelServer", server),
    ] {
        round_trip(kind, &object).unwrap_or_else(|error| panic!("{kind}: {error}"));
    }
}

#[test]
fn a12_unset_fields_are_not_written() {
    let found = round_trip(
        "AutoscalingPolicy",
        &json!({"metadata": {"name": "p"}, "spec": {"behavior": {"scaleDown": {}}}}),
    );
    let found = found.unwrap_or_else(|error| panic!("{error}"));

    assert_eq!(found["spec"], json!({"behavior": {"scaleDown": {}}}));
    assert_eq!(found.get("status"), None);
}

#[test]
fn sg_p5_no_field_of_a_pod_is_lost() {
    let pod = json!({"containers": [{"name": "c", "newIn": {"2030": [1, null]}}], "alsoNew": 1.5});
    let object = json!({"metadata": {"name": "m"}, "spec": {"template": {"roles": [
        {"name": "r", "workerReplicas": 0, "entryTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": pod}},
    ]}}});

    let found = round_trip("ModelServing", &object).unwrap_or_else(|error| panic!("{error}"));

    assert_eq!(found["spec"], object["spec"]);
}
