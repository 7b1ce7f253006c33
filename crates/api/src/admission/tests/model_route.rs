use rstest::rstest;
use serde_json::{Value, json};

use super::faults;
use crate::admission::Rules;

fn route(spec: &Value) -> Vec<String> {
    faults(Rules::ModelRoute, &json!({"spec": spec}))
}

fn with_rule(rule: &Value) -> Vec<String> {
    route(&json!({"modelName": "m", "rules": [rule]}))
}

fn with_targets(targets: &Value) -> Vec<String> {
    with_rule(&json!({"targetModels": targets}))
}

#[rstest]
#[case::by_model_name(json!({"modelName": "m", "rules": [{"targetModels": [{"modelServerName": "a"}]}]}))]
#[case::by_adapters(json!({"loraAdapters": ["l"], "rules": [{"targetModels": [{"modelServerName": "a"}]}]}))]
#[case::by_both(json!({"modelName": "m", "loraAdapters": ["l"], "rules": [{"targetModels": [{"modelServerName": "a"}]}]}))]
#[case::default_and_zero_weight(json!({"modelName": "m", "rules": [{"targetModels": [{"modelServerName": "a"}, {"modelServerName": "b", "weight": 0}]}]}))]
#[case::external_target(json!({"modelName": "m", "rules": [{"targetModels": [{"externalModelProviderName": "p"}]}]}))]
#[case::mixed_targets(json!({"modelName": "m", "rules": [{"targetModels": [{"externalModelProviderName": "p", "weight": 30}, {"modelServerName": "a", "weight": 70}]}]}))]
#[case::mr_n3_no_rules(json!({"modelName": "m", "rules": []}))]
#[case::mr_n3_limits_without_numbers(json!({"modelName": "m", "rules": [], "rateLimit": {"unit": "day"}}))]
fn accepts(#[case] spec: Value) {
    assert_eq!(route(&spec), Vec::<String>::new());
}

#[rstest]
#[case::absent(json!({"rules": []}))]
#[case::empty(json!({"modelName": "", "loraAdapters": [], "rules": []}))]
#[case::null(json!({"modelName": null, "loraAdapters": null, "rules": []}))]
fn mr_v1_needs_a_name_or_an_adapter(#[case] spec: Value) {
    assert_eq!(
        route(&spec),
        ["spec: Required value: either modelName or loraAdapters must be specified"]
    );
}

#[test]
fn mr_v2_adapters_have_names() {
    let found = route(&json!({"loraAdapters": ["a", ""], "rules": []}));

    assert_eq!(
        found,
        ["spec.loraAdapters[1]: Invalid value: \"\": lora adapter name cannot be an empty string"]
    );
}

#[test]
fn mr_v3_null_rule_is_refused_and_skipped() {
    assert_eq!(
        with_rule(&Value::Null),
        ["spec.rules[0]: Invalid value: null: rule must not be nil"]
    );
}

#[test]
fn mr_v4_rule_without_targets_is_not_looked_at_further() {
    let found = with_rule(&json!({"targetModels": [], "modelMatch": {"uri": {"regex": "("}}}));

    assert_eq!(
        found,
        [
            "spec.rules[0].targetModels: Required value: each rule must have at least one target model"
        ]
    );
}

#[test]
fn mr_v5_null_target_weighs_nothing() {
    let found = with_targets(&json!([null]));

    assert_eq!(
        found,
        [
            "spec.rules[0].targetModels[0]: Invalid value: null: target model must not be nil",
            "spec.rules[0].targetModels: Invalid value: 0: total weight must be greater than zero",
        ]
    );
}

#[rstest]
#[case::neither(json!([{}]), "/")]
#[case::both(json!([{"modelServerName": "a", "externalModelProviderName": "b"}]), "a/b")]
#[case::both_empty(json!([{"modelServerName": "", "externalModelProviderName": ""}]), "/")]
fn mr_v6_exactly_one_name(#[case] targets: Value, #[case] names: &str) {
    let expected = format!(
        "spec.rules[0].targetModels[0]: Invalid value: \"{names}\": exactly one of modelServerName or externalModelProviderName must be set"
    );

    assert_eq!(with_targets(&targets), [expected]);
}

#[test]
fn mr_v7_adapters_do_not_go_to_providers() {
    let found = route(
        &json!({"loraAdapters": ["l"], "rules": [{"targetModels": [{"externalModelProviderName": "p"}]}]}),
    );

    assert_eq!(
        found,
        [
            "spec.rules[0].targetModels[0].externalModelProviderName: Invalid value: \"p\": lora routes must target modelServerName"
        ]
    );
}

#[test]
fn mr_v8_weights_must_add_up_to_something() {
    let found = with_targets(
        &json!([{"modelServerName": "a", "weight": 0}, {"modelServerName": "b", "weight": 0}]),
    );

    assert_eq!(
        found,
        ["spec.rules[0].targetModels: Invalid value: 0: total weight must be greater than zero"]
    );
}

#[test]
fn mr_v9_header_regexes_compile() {
    let found = with_rule(&json!({
        "targetModels": [{"modelServerName": "a"}],
        "modelMatch": {"headers": {"x-b": {"regex": "(?=a)"}, "x-a": {"regex": "["}, "x-c": {"regex": "ok"}}},
    }));

    assert_eq!(
        found,
        [
            "spec.rules[0].modelMatch.headers[x-a].regex: Invalid value: \"[\": error parsing regexp: missing closing ]: `[`",
            "spec.rules[0].modelMatch.headers[x-b].regex: Invalid value: \"(?=a)\": error parsing regexp: invalid or unsupported Perl syntax: `(?=`",
        ]
    );
}

#[test]
fn mr_v10_uri_regex_compiles() {
    let found = with_rule(
        &json!({"targetModels": [{"modelServerName": "a"}], "modelMatch": {"uri": {"regex": "a{1001}"}}}),
    );

    assert_eq!(
        found,
        [
            "spec.rules[0].modelMatch.uri.regex: Invalid value: \"a{1001}\": error parsing regexp: invalid repeat count: `{1001}`"
        ]
    );
}

#[test]
fn faults_of_several_rules_come_together_and_in_order() {
    let found = route(&json!({
        "loraAdapters": [""],
        "rules": [null, {"targetModels": [{"weight": 0}], "modelMatch": {"uri": {"regex": "*"}}}],
    }));

    assert_eq!(
        found,
        [
            "spec.loraAdapters[0]: Invalid value: \"\": lora adapter name cannot be an empty string",
            "spec.rules[0]: Invalid value: null: rule must not be nil",
            "spec.rules[1].targetModels[0]: Invalid value: \"/\": exactly one of modelServerName or externalModelProviderName must be set",
            "spec.rules[1].targetModels: Invalid value: 0: total weight must be greater than zero",
            "spec.rules[1].modelMatch.uri.regex: Invalid value: \"*\": error parsing regexp: missing argument to repetition operator: `*`",
        ]
    );
}

#[rstest]
#[case::all_kinds(json!({"sessionAffinitySeconds": 1, "sources": [
    {"type": "Header", "name": "X-Session-ID"}, {"type": "Query", "name": "a b"}, {"type": "Cookie", "name": "sid"},
    {"type": "Body", "name": "user"}, {"type": "JWTClaim", "name": "sub"}]}))]
#[case::no_seconds(json!({"sources": [{"type": "Header", "name": "x"}]}))]
#[case::null(Value::Null)]
fn accepts_sticky_sessions(#[case] sticky: Value) {
    let found = route(&json!({"modelName": "m", "rules": [], "sessionSticky": sticky}));

    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn refuses_sticky_sessions_that_cannot_be_told_apart() {
    let sources = json!([{"type": "Header", "name": "x y"}, {"type": "Cookie", "name": "a=b"},
        {"type": "Body", "name": "session"}, {"type": "Query"}]);
    let sticky = json!({"sessionAffinitySeconds": 0, "sources": sources});
    let found = route(&json!({"modelName": "m", "rules": [], "sessionSticky": sticky}));

    assert_eq!(
        found,
        [
            "spec.sessionSticky.sessionAffinitySeconds: Invalid value: 0: must be at least 1",
            "spec.sessionSticky.sources[0].name: Invalid value: \"x y\": header name is invalid",
            "spec.sessionSticky.sources[1].name: Invalid value: \"a=b\": cookie name is invalid",
            "spec.sessionSticky.sources[2].name: Invalid value: \"session\": only the field user of a body is looked for",
            "spec.sessionSticky.sources[3].name: Required value: name must be specified",
        ]
    );
    let found = route(&json!({"modelName": "m", "rules": [], "sessionSticky": {}}));
    assert_eq!(
        found,
        [
            "spec.sessionSticky.sources: Required value: at least one source of the session's key must be specified"
        ]
    );
}
