use rstest::rstest;
use serde_json::{Value, json};

use super::faults;
use crate::admission::Rules;

fn server(selector: &Value) -> Vec<String> {
    faults(
        Rules::ModelServer,
        &json!({"spec": {"workloadSelector": selector}}),
    )
}

const NAME_FORM: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE_FORM: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

#[rstest]
#[case::plain(json!({"matchLabels": {"app": "x"}}))]
#[case::prefixed_key_and_empty_value(json!({"matchLabels": {"example.com/app": ""}}))]
#[case::pd_group(json!({"matchLabels": {"a": "b"}, "pdGroup": {"groupKey": "g", "prefillLabels": {"r": "p"}, "decodeLabels": {"r": "d"}}}))]
#[case::group_key_is_no_label_key(json!({"matchLabels": {"a": "b"}, "pdGroup": {"groupKey": "not a key!", "prefillLabels": {"r": "p"}, "decodeLabels": {"r": "p"}}}))]
fn accepts(#[case] selector: Value) {
    assert_eq!(server(&selector), Vec::<String>::new());
}

#[rstest]
#[case::no_spec(json!({}))]
#[case::no_selector(json!({"spec": {}}))]
#[case::null_selector(json!({"spec": {"workloadSelector": null}}))]
fn sv_v1_needs_a_selector(#[case] object: Value) {
    let expected = ["spec.workloadSelector: Required value: workloadSelector must be specified"];

    assert_eq!(faults(Rules::ModelServer, &object), expected);
}

#[rstest]
#[case::absent(json!({}))]
#[case::empty(json!({"matchLabels": {}}))]
fn sv_v2_needs_a_label(#[case] selector: Value) {
    let expected = [
        "spec.workloadSelector.matchLabels: Required value: labels must contain at least one label",
    ];

    assert_eq!(server(&selector), expected);
}

#[rstest]
#[case::key(json!({"bad key": "v"}), "key: Invalid value: \"bad key\": ", NAME_FORM)]
#[case::empty_prefix(json!({"/app": "v"}), "key: Invalid value: \"/app\": ", "prefix part must be non-empty")]
#[case::value(json!({"app": "bad value"}), "values[0][app]: Invalid value: \"bad value\": ", VALUE_FORM)]
fn sv_v3_labels_are_legal(#[case] labels: Value, #[case] place: &str, #[case] reason: &str) {
    let expected = format!(
        "spec.workloadSelector.matchLabels: Invalid value: {labels}: invalid selector: {place}{reason}"
    );

    assert_eq!(server(&json!({"matchLabels": labels})), [expected]);
}

#[test]
fn sv_v3_only_the_first_bad_pair_is_reported_and_keys_are_sorted() {
    let found = server(&json!({"matchLabels": {"z z": "1", "a a": "2"}}));

    assert_eq!(found.len(), 1);
    let start = "spec.workloadSelector.matchLabels: Invalid value: {\"a a\":\"2\",\"z z\":\"1\"}: invalid selector: key: Invalid value: \"a a\": ";
    assert!(found[0].starts_with(start), "{}", found[0]);
}

#[test]
fn sv_v3_lengths_are_limited() {
    let long = "v".repeat(64);
    let found = server(&json!({"matchLabels": {"a": long}}));

    assert!(
        found[0].ends_with("must be no more than 63 characters"),
        "{}",
        found[0]
    );
}

#[test]
fn sv_v4_pd_group_needs_key_and_both_label_sets() {
    let found = server(
        &json!({"matchLabels": {"a": "b"}, "pdGroup": {"groupKey": "", "prefillLabels": {}}}),
    );

    assert_eq!(
        found,
        [
            "spec.workloadSelector.pdGroup.groupKey: Required value: groupKey must be specified",
            "spec.workloadSelector.pdGroup.prefillLabels: Required value: labels must contain at least one label",
            "spec.workloadSelector.pdGroup.decodeLabels: Required value: labels must contain at least one label",
        ]
    );
}

#[test]
fn sv_v4_pd_labels_are_legal() {
    let found = server(
        &json!({"matchLabels": {"a": "b"}, "pdGroup": {"groupKey": "g", "prefillLabels": {"a": "b"}, "decodeLabels": {"a": "-"}}}),
    );

    let expected = format!(
        "spec.workloadSelector.pdGroup.decodeLabels: Invalid value: {{\"a\":\"-\"}}: invalid selector: values[0][a]: Invalid value: \"-\": {VALUE_FORM}"
    );
    assert_eq!(found, [expected]);
}
