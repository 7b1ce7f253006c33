use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kthena_api::admission::Rules;
use rstest::rstest;
use serde_json::{Value, json};

use super::{Endpoint, answer};

fn endpoint(path: &str) -> Endpoint {
    let mut all = Endpoint::CONTROLLER_MANAGER.iter().chain(Endpoint::ROUTER);
    *all.find(|endpoint| endpoint.path == path)
        .expect("a path of ours")
}

const SERVING: &str = "/validate-workload-ai-v1alpha1-modelserving";

fn review(object: &Value) -> Vec<u8> {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": { "uid": "u-1", "object": object },
    })
    .to_string()
    .into_bytes()
}

fn serving(replicas: i32) -> Value {
    let template = json!({ "spec": { "containers": [{ "name": "c", "image": "i" }] } });
    json!({ "kind": "ModelServing", "metadata": { "name": "m" }, "spec": {
        "replicas": replicas,
        "template": { "roles": [{ "name": "a", "replicas": 1, "workerReplicas": 0, "entryTemplate": template }] },
    } })
}

#[test]
fn w4_a_good_object_is_allowed_under_the_uid_of_the_request() {
    let answer = answer(endpoint(SERVING), "application/json", &review(&serving(1)));
    assert_eq!(
        (answer.status.as_u16(), answer.content_type),
        (200, "application/json")
    );
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        body,
        json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "response": { "uid": "u-1", "allowed": true } })
    );
}

#[test]
fn w4_a_bad_object_is_denied_with_the_message_alone() {
    let mut object = serving(1);
    object["spec"]["template"]["roles"][0]["workerReplicas"] = json!(2);
    let answer = answer(endpoint(SERVING), "application/json", &review(&object));
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["response"]["allowed"], false);
    let status = body["response"]["status"].as_object().unwrap();
    assert_eq!(status.keys().collect::<Vec<_>>(), ["message"]);
    let message = status["message"].as_str().unwrap();
    assert!(
        message.starts_with("validation failed:\n  - spec.template.roles[0]."),
        "{message}"
    );
}

#[rstest]
#[case::plain("application/json", true)]
#[case::charset("application/json; charset=utf-8", true)]
#[case::text("text/plain", false)]
#[case::absent("", false)]
#[case::other_charset("application/json; charset=latin1", false)]
fn w2_only_json_is_read(#[case] content_type: &str, #[case] is_read: bool) {
    let answer = answer(endpoint(SERVING), content_type, &review(&serving(1)));
    assert_eq!(answer.status.is_success(), is_read);
    if !is_read {
        let text = String::from_utf8(answer.body).unwrap();
        assert_eq!(
            text,
            format!("invalid Content-Type, expected application/json, got {content_type}")
        );
    }
}

#[rstest]
#[case::other_words(
    "/validate/modelbooster",
    "text/x",
    b"{}",
    "invalid Content-Type, expect application/json, got text/x"
)]
#[case::no_request(SERVING, "application/json", b"{}", "admission review request is nil")]
#[case::no_object(
    SERVING,
    "application/json",
    br#"{"request":{}}"#,
    "failed to decode modelServing: no object"
)]
#[case::no_object_booster(
    "/validate/modelbooster",
    "application/json",
    br#"{"request":{"object":null}}"#,
    "empty object in admission request"
)]
#[case::no_json(
    SERVING,
    "application/json",
    b"{",
    "failed to decode body: EOF while parsing an object at line 1 column 1"
)]
fn w3_what_cannot_be_read_is_a_bad_request(
    #[case] path: &str,
    #[case] content_type: &str,
    #[case] body: &[u8],
    #[case] expected: &str,
) {
    let answer = answer(endpoint(path), content_type, body);
    assert_eq!(answer.status.as_u16(), 400);
    assert_eq!(String::from_utf8(answer.body).unwrap(), expected);
}

#[test]
fn w4_changes_are_a_json_patch_in_base64() {
    let object = json!({ "kind": "AutoscalingPolicy", "metadata": { "name": "p" }, "spec": {
        "metrics": [{ "metricName": "m", "targetValue": "1" }], "behavior": {},
    } });
    let answer = answer(
        endpoint("/mutate/autoscalingpolicy"),
        "application/json",
        &review(&object),
    );
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["response"]["allowed"], true);
    let wanted = Rules::AutoscalingPolicy.mutate(&object);
    if wanted.is_empty() {
        assert_eq!(body["response"].get("patch"), None);
    } else {
        assert_eq!(body["response"]["patchType"], "JSONPatch");
        let patch = STANDARD
            .decode(body["response"]["patch"].as_str().unwrap())
            .unwrap();
        assert_eq!(
            serde_json::from_slice::<Vec<Value>>(&patch).unwrap(),
            wanted
        );
    }
}
