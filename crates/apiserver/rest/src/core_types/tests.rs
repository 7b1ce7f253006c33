use rstest::rstest;
use serde_json::{Value, json};

use super::{check, defaults::fill_defaults, pod_spec::quality_of_service, settle::settle};

const NOW: &str = "2026-01-01T00:00:00Z";

fn pod(container: &Value) -> Value {
    json!({ "metadata": { "name": "p" }, "spec": { "containers": [container] } })
}

fn faults(group: &str, kind: &str, object: &Value, old: Option<&Value>) -> Vec<String> {
    check::faults(group, kind, object, old)
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[rstest]
#[case::no_tag("nginx", "Always")]
#[case::latest("nginx:latest", "Always")]
#[case::tag("nginx:1.27", "IfNotPresent")]
#[case::digest("nginx@sha256:abc", "IfNotPresent")]
#[case::port_of_a_registry("localhost:5000/nginx", "Always")]
fn an_image_that_may_change_is_always_pulled(#[case] image: &str, #[case] policy: &str) {
    let mut pod = pod(&json!({ "name": "c", "image": image }));

    fill_defaults("", "Pod", &mut pod);

    assert_eq!(
        pod.pointer("/spec/containers/0/imagePullPolicy"),
        Some(&json!(policy))
    );
}

#[test]
fn a_probe_and_limits_are_filled_and_amounts_spelt_out() {
    let mut pod = pod(&json!({
        "name": "c",
        "image": "i:1",
        "readinessProbe": { "httpGet": { "port": 80 } },
        "resources": { "limits": { "cpu": "0.5", "memory": "1024Mi" } },
    }));

    fill_defaults("", "Pod", &mut pod);

    let container = &pod["spec"]["containers"][0];
    assert_eq!(
        container["readinessProbe"],
        json!({
            "httpGet": { "port": 80, "path": "/", "scheme": "HTTP" },
            "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
        })
    );
    assert_eq!(
        container["resources"]["requests"],
        json!({ "cpu": "500m", "memory": "1Gi" })
    );
}

#[rstest]
#[case::pod("", "Pod")]
#[case::service("", "Service")]
#[case::secret("", "Secret")]
#[case::namespace("", "Namespace")]
#[case::deployment("apps", "Deployment")]
#[case::definition("apiextensions.k8s.io", "CustomResourceDefinition")]
fn rules_survive_values_of_any_type(#[case] group: &str, #[case] kind: &str) {
    for odd in [
        json!(null),
        json!(1),
        json!("x"),
        json!([]),
        json!({ "type": [] }),
    ] {
        let mut object =
            json!({ "metadata": odd, "spec": odd, "status": odd, "data": odd, "stringData": odd });

        fill_defaults(group, kind, &mut object);
        settle(group, kind, &mut object, None, NOW);

        check::faults(group, kind, &object, None);
    }
}

#[test]
fn filling_twice_changes_nothing() {
    let mut once = pod(&json!({
        "name": "c", "image": "i", "ports": [{ "containerPort": 80 }],
        "env": [{ "name": "IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } }],
    }));
    once["spec"]["volumes"] =
        json!([{ "name": "v" }, { "name": "s", "secret": { "secretName": "x" } }]);
    fill_defaults("", "Pod", &mut once);
    let mut twice = once.clone();

    fill_defaults("", "Pod", &mut twice);

    assert_eq!(once, twice);
    assert_eq!(once["spec"]["volumes"][0]["emptyDir"], json!({}));
}

#[test]
fn string_data_is_encoded_over_data() {
    let mut secret = json!({ "data": { "a": "b2xk", "b": "Yg==" }, "stringData": { "a": "new" } });

    fill_defaults("", "Secret", &mut secret);

    assert_eq!(
        secret,
        json!({ "type": "Opaque", "data": { "a": "bmV3", "b": "Yg==" } })
    );
}

#[rstest]
#[case::nothing(json!({}), "BestEffort")]
#[case::some(json!({ "requests": { "cpu": "1" } }), "Burstable")]
#[case::all(
    json!({ "limits": { "cpu": "1", "memory": "1Gi" }, "requests": { "cpu": "1", "memory": "1Gi" } }),
    "Guaranteed"
)]
#[case::only_devices(json!({ "limits": { "nvidia.com/gpu": "1" } }), "BestEffort")]
fn quality_of_service_follows_cpu_and_memory(#[case] resources: Value, #[case] class: &str) {
    let spec = json!({ "containers": [{ "resources": resources }] });

    assert_eq!(quality_of_service(&spec), class);
}

#[test]
fn a_service_gets_an_address_and_keeps_it() {
    let mut service = json!({ "metadata": { "uid": "u" }, "spec": { "ports": [{ "port": 80 }] } });
    fill_defaults("", "Service", &mut service);
    settle("", "Service", &mut service, None, NOW);
    let mut changed = json!({ "metadata": { "uid": "u" }, "spec": { "ports": [{ "port": 81 }] } });
    fill_defaults("", "Service", &mut changed);
    settle("", "Service", &mut changed, Some(&service), NOW);

    assert!(
        service["spec"]["clusterIP"]
            .as_str()
            .unwrap()
            .starts_with("10.")
    );
    assert_eq!(service["spec"]["clusterIP"], changed["spec"]["clusterIP"]);
    assert_eq!(changed["spec"]["ports"][0]["targetPort"], 81);
}

#[rstest]
#[case::no_containers("", "Pod", json!({ "spec": {} }), "spec.containers: Required value")]
#[case::unknown_volume(
    "",
    "Pod",
    json!({ "spec": { "containers": [
        { "name": "c", "image": "i", "volumeMounts": [{ "name": "v", "mountPath": "/v" }] },
    ] } }),
    "spec.containers[0].volumeMounts[0].name: Not found: \"v\""
)]
#[case::selector_and_labels(
    "apps",
    "Deployment",
    json!({ "spec": {
        "selector": { "matchLabels": { "app": "a" } },
        "template": {
            "metadata": { "labels": { "app": "b" } },
            "spec": { "containers": [{ "name": "c", "image": "i" }] },
        },
    } }),
    "spec.template.metadata.labels: Invalid value: {\"app\":\"b\"}: `selector` does not match template `labels`"
)]
#[case::service_without_ports(
    "",
    "Service",
    json!({ "spec": { "type": "ClusterIP" } }),
    "spec.ports: Required value"
)]
fn refuses(#[case] group: &str, #[case] kind: &str, #[case] object: Value, #[case] fault: &str) {
    assert_eq!(faults(group, kind, &object, None), [fault]);
}

#[test]
fn the_data_of_a_revision_never_changes() {
    let old = json!({ "revision": 1, "data": { "a": 1 } });
    let new = json!({ "revision": 2, "data": { "a": 2 } });

    let found = faults("apps", "ControllerRevision", &new, Some(&old));

    assert_eq!(
        found,
        ["data: Invalid value: {\"a\":2}: field is immutable"]
    );
}
