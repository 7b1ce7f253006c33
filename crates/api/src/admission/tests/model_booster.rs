use rstest::rstest;
use serde_json::{Value, json};

use super::{faults, set};
use crate::admission::Rules;

fn booster(workers: &Value) -> Value {
    json!({"spec": {"backend": {"name": "b", "type": "vLLM", "modelURI": "hf://m", "replicas": 1, "workers": workers}}})
}

fn pair(prefill: &Value, decode: &Value) -> Value {
    let workers =
        json!([{"type": "prefill", "config": prefill}, {"type": "decode", "config": decode}]);
    set(
        booster(&workers),
        "/spec/backend/type",
        json!("vLLMDisaggregated"),
    )
}

fn denied(object: &Value) -> Vec<String> {
    faults(Rules::ModelBooster, object)
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_missing_spec_passes() {
    assert_eq!(denied(&json!({})), NOTHING);
}

#[test]
fn mb_v1_replicas() {
    let object = set(
        booster(&json!([{}])),
        "/spec/backend/replicas",
        json!(1_000_001),
    );

    assert_eq!(
        denied(&object),
        ["spec.backend.replicas: Invalid value: 1000001: replicas (1000001) cannot exceed 1000000"]
    );
}

#[rstest]
#[case::blank("   ", "image cannot be empty or whitespace only")]
#[case::space("a b", "image cannot contain whitespace")]
#[case::tab("a\tb", "image cannot contain whitespace")]
#[case::newline("a\nb", "image cannot contain whitespace")]
#[case::unicode_space("a\u{a0}b", "image cannot contain whitespace")]
fn mb_v2_images(#[case] image: &str, #[case] reason: &str) {
    let expected = format!(
        "spec.backend.workers[0].image: Invalid value: {}: invalid container image reference: {reason}",
        kthena_schema::go::quote(image)
    );

    assert_eq!(denied(&booster(&json!([{"image": image}]))), [expected]);
}

#[test]
fn mb_v2_an_empty_image_is_no_image() {
    assert_eq!(denied(&booster(&json!([{"image": ""}]))), NOTHING);
}

#[rstest]
#[case::two_workers("vLLM", json!([{}, {}]), "spec.backend.workers: Invalid value: 2: If backend type is 'vLLM', there must be exactly one worker")]
#[case::no_worker("vLLM", json!([]), "spec.backend.workers: Invalid value: 0: If backend type is 'vLLM', there must be exactly one worker")]
#[case::wrong_type("vLLM", json!([{"type": "prefill"}]), "spec.backend.workers[0].type: Invalid value: \"prefill\": If backend type is 'vLLM', the worker type must be 'server'")]
#[case::sglang("SGLang", json!([{}, {}]), "spec.backend.workers: Invalid value: 2: If backend type is 'SGLang', there must be exactly one worker")]
#[case::server_in_pair("vLLMDisaggregated", json!([{"type": "prefill"}, {"type": "server"}]), "spec.backend.workers[1].type: Invalid value: \"server\": If backend type is 'vLLMDisaggregated', all workers must be type 'prefill' or 'decode'")]
fn mb_v3_worker_types(#[case] kind: &str, #[case] workers: Value, #[case] expected: &str) {
    let object = set(booster(&workers), "/spec/backend/type", json!(kind));

    assert_eq!(denied(&object), [expected]);
}

#[test]
fn mb_v3_unreachable_types_have_rules_too() {
    let workers = json!([{"type": "prefill"}, {"type": "coordinator"}, {"type": "controller"}, {"type": "decode"}]);

    assert_eq!(
        denied(&set(
            booster(&workers),
            "/spec/backend/type",
            json!("MindIEDisaggregated")
        )),
        NOTHING
    );
}

#[rstest]
#[case::numbers(json!({"port": 9000}), json!({"port": 9000}))]
#[case::number_and_text(json!({"port": 9000}), json!({"port": "9000"}))]
#[case::plus_sign(json!({"port": "+9000"}), json!({"port": 9000}))]
#[case::default_spelled_out(json!({}), json!({"port": 8000}))]
#[case::no_config(Value::Null, json!({"port": 8000}))]
fn mb_v4_matching_ports(#[case] prefill: Value, #[case] decode: Value) {
    assert_eq!(denied(&pair(&prefill, &decode)), NOTHING);
}

#[rstest]
#[case::zero(json!(0), "0", "0")]
#[case::too_large(json!(65536), "65536", "65536")]
#[case::negative(json!(-1), "-1", "-1")]
#[case::fraction(json!(80.5), "80.5", "80.5")]
#[case::text(json!("http"), "\"http\"", "http")]
#[case::spaces(json!(" 80"), "\" 80\"", " 80")]
#[case::null(Value::Null, "null", "<nil>")]
#[case::flag(json!(true), "true", "true")]
fn mb_v4_bad_ports(#[case] port: Value, #[case] shown: &str, #[case] text: &str) {
    let expected = format!(
        "spec.backend.workers[0].config.port: Invalid value: {shown}: invalid port \"{text}\" for worker server"
    );

    assert_eq!(
        denied(&booster(&json!([{"config": {"port": port}}]))),
        [expected]
    );
}

#[test]
fn mb_v4_ports_must_agree() {
    assert_eq!(
        denied(&pair(&json!({"port": 9000}), &json!({"port": 9001}))),
        [
            "spec.backend.workers[1].config.port: Invalid value: 9001: workers use different engine ports: 9000 and 9001"
        ]
    );
}

#[test]
fn mb_v4_other_content_of_a_config_never_shows() {
    let found = denied(&booster(&json!([{"config": "token: secret"}])));

    assert_eq!(
        found,
        [
            "spec.backend.workers[0].config.port: Invalid value: null: failed to get port for worker server: config must be a JSON object"
        ]
    );
}

#[rstest]
#[case::same_claim("pvc://c/m", "pvc://c")]
#[case::three_slashes("pvc:///c/m", "pvc:///c/")]
#[case::claim_itself("pvc://c", "pvc://c")]
#[case::repeated_slashes("pvc://c//m///x", "pvc://c")]
#[case::dots("pvc://c/./m", "pvc://c")]
#[case::trailing_slash("pvc://c/m/", "pvc://c/")]
#[case::other_scheme("hf://m", "hostpath:///cache")]
#[case::dots_in_a_name("pvc://c/..m/m..", "pvc://c")]
fn mb_v5_reachable_models(#[case] model: &str, #[case] cache: &str) {
    let object = set(
        booster(&json!([{}])),
        "/spec/backend/modelURI",
        json!(model),
    );

    assert_eq!(
        denied(&set(object, "/spec/backend/cacheURI", json!(cache))),
        NOTHING
    );
}

#[rstest]
#[case::no_cache(
    "pvc://c/m",
    Value::Null,
    "spec.backend.cacheURI",
    "when modelURI uses pvc://, cacheURI must also use pvc://"
)]
#[case::host_cache("pvc://c/m", json!("hostpath:///x"), "spec.backend.cacheURI", "when modelURI uses pvc://, cacheURI must also use pvc://")]
#[case::traversal_first("pvc://../c", json!("pvc://c"), "spec.backend.modelURI", "pvc:// modelURI must not contain '..' path segments")]
#[case::traversal_inside("pvc://c/../d", json!("pvc://c"), "spec.backend.modelURI", "pvc:// modelURI must not contain '..' path segments")]
#[case::empty_claim("pvc://c/m", json!("pvc:///"), "spec.backend.cacheURI", "must contain a single PVC claim name with no path separator")]
#[case::path_in_claim("pvc://c/m", json!("pvc://c/sub"), "spec.backend.cacheURI", "claim names cannot contain '/'")]
#[case::other_claim("pvc://d/m", json!("pvc://c"), "spec.backend.modelURI", "PVC source path \"/d/m\" is not reachable via cacheURI mount \"/c\"")]
#[case::common_prefix("pvc://store-x/m", json!("pvc://store"), "spec.backend.modelURI", "PVC source path \"/store-x/m\" is not reachable via cacheURI mount \"/store\"")]
fn mb_v5_unreachable_models(
    #[case] model: &str,
    #[case] cache: Value,
    #[case] path: &str,
    #[case] reason: &str,
) {
    let object = set(
        booster(&json!([{}])),
        "/spec/backend/modelURI",
        json!(model),
    );
    let found = denied(&set(object, "/spec/backend/cacheURI", cache));

    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with(&format!("{path}: Invalid value: ")),
        "{}",
        found[0]
    );
    assert!(found[0].contains(reason), "{}", found[0]);
}

fn transfer(connector: &str, role: &str) -> Value {
    json!({"kv-transfer-config": json!({"kv_connector": connector, "kv_role": role}).to_string()})
}

fn connector_fault(object: &Value) -> String {
    let found = denied(object);
    assert_eq!(found.len(), 1, "{found:?}");
    let start = "spec.backend.workers: Invalid value: \"b\": invalid kv connector configuration: ";
    found[0]
        .strip_prefix(start)
        .unwrap_or_else(|| panic!("{}", found[0]))
        .to_owned()
}

#[rstest]
#[case::none_configured(json!({}), json!({}))]
#[case::nixl(
    transfer("NixlConnector", "kv_producer"),
    transfer("NixlConnector", "kv_consumer")
)]
#[case::both_roles(
    transfer("LMCacheConnectorV1", "kv_both"),
    transfer("LMCacheConnectorV1", "kv_both")
)]
#[case::two_names_of_mooncake(
    transfer("MooncakeConnector", "kv_both"),
    transfer("MooncakeConnectorV1", "kv_both")
)]
fn mb_v6_matching_connectors(#[case] prefill: Value, #[case] decode: Value) {
    assert_eq!(denied(&pair(&prefill, &decode)), NOTHING);
}

#[rstest]
#[case::not_text(json!({"kv-transfer-config": 1}), "worker prefill: kv-transfer-config must be a JSON string, got float64")]
#[case::object(json!({"kv-transfer-config": {}}), "worker prefill: kv-transfer-config must be a JSON string, got map[string]interface {}")]
#[case::no_connector(json!({"kv-transfer-config": "{\"kv_role\":\"kv_both\"}"}), "worker prefill: kv-transfer-config is set but kv_connector is missing")]
#[case::unsupported(
    transfer("Magic", "kv_both"),
    "worker prefill: unsupported kv_connector \"Magic\" (supported: LMCacheConnectorV1, MooncakeConnector, MooncakeConnectorV1, NixlConnector)"
)]
#[case::no_role(json!({"kv-transfer-config": "{\"kv_connector\":\"NixlConnector\"}"}), "worker prefill: kv-transfer-config is set but kv_role is missing")]
#[case::wrong_role(
    transfer("NixlConnector", "kv_consumer"),
    "worker prefill: invalid kv_role \"kv_consumer\", expected one of [kv_producer, kv_both]"
)]
fn mb_v6_prefill_configuration(#[case] prefill: Value, #[case] expected: &str) {
    assert_eq!(
        connector_fault(&pair(&prefill, &transfer("NixlConnector", "kv_both"))),
        expected
    );
}

#[rstest]
#[case::text("{", "worker decode: invalid kv-transfer-config: ")]
#[case::list("[]", "worker decode: invalid kv-transfer-config: ")]
fn mb_v6_configuration_is_a_json_object(#[case] text: &str, #[case] start: &str) {
    let found = connector_fault(&pair(
        &transfer("NixlConnector", "kv_both"),
        &json!({"kv-transfer-config": text}),
    ));

    assert!(found.starts_with(start), "{found}");
}

#[test]
fn mb_v6_decode_role() {
    let object = pair(
        &transfer("NixlConnector", "kv_producer"),
        &transfer("NixlConnector", "kv_producer"),
    );

    assert_eq!(
        connector_fault(&object),
        "worker decode: invalid kv_role \"kv_producer\", expected one of [kv_consumer, kv_both]"
    );
}

#[test]
fn mb_v6_one_side_only() {
    assert_eq!(
        connector_fault(&pair(&json!({}), &transfer("NixlConnector", "kv_both"))),
        "backend b: decode worker specifies kv_connector \"NixlConnector\" but the prefill worker has no kv-transfer-config; prefill and decode must configure the same kv connector"
    );
    assert_eq!(
        connector_fault(&pair(&transfer("NixlConnector", "kv_both"), &json!({}))),
        "backend b: prefill worker specifies kv_connector \"NixlConnector\" but the decode worker has no kv-transfer-config; prefill and decode must configure the same kv connector"
    );
}

#[test]
fn mb_v6_mismatch_does_not_depend_on_the_order_of_workers() {
    let object = pair(
        &transfer("NixlConnector", "kv_both"),
        &transfer("LMCacheConnectorV1", "kv_both"),
    );
    let mut reversed = object.clone();
    reversed["spec"]["backend"]["workers"]
        .as_array_mut()
        .expect("is a list")
        .reverse();

    let expected = "backend b: kv_connector mismatch between prefill (\"NixlConnector\") and decode (\"LMCacheConnectorV1\") workers; prefill and decode must use the same kv connector";
    assert_eq!(connector_fault(&object), expected);
    assert_eq!(connector_fault(&reversed), expected);
}

#[test]
fn mb_v6_duplicate_workers() {
    let workers = json!([{"type": "prefill"}, {"type": "decode"}, {"type": "prefill"}]);
    let object = set(
        booster(&workers),
        "/spec/backend/type",
        json!("vLLMDisaggregated"),
    );

    assert_eq!(
        connector_fault(&object),
        "backend b: found 2 prefill workers, expected at most 1; duplicate prefill workers are not supported"
    );
}
