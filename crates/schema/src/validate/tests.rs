//! Texts and ratcheting; `kthena-api` compares many more texts with recordings of a real server.

use rstest::rstest;
use serde_json::{Value, json};

use crate::tests::schema;

fn texts(of: &Value, value: &Value, old: Option<&Value>) -> Vec<String> {
    schema(of)
        .validate(value, old)
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[rstest]
#[case::exclusive_minimum(json!({"type": "integer", "minimum": 1, "exclusiveMinimum": true}), json!(1), "<nil>: Invalid value: 1:  in body should be greater than 1")]
#[case::exclusive_maximum(json!({"type": "number", "maximum": 1.5, "exclusiveMaximum": true}), json!(1.5), "<nil>: Invalid value: 1.5:  in body should be less than 1.5")]
#[case::multiple(json!({"type": "integer", "multipleOf": 5}), json!(7), "<nil>: Invalid value: 7:  in body should be a multiple of 5")]
#[case::max_properties(json!({"type": "object", "additionalProperties": {}, "maxProperties": 1}), json!({"a": 1, "b": 2}), "<nil>: Too many: 2: must have at most 1 item")]
#[case::unique_items(json!({"type": "array", "uniqueItems": true}), json!([1, 2, 1]), "<nil>: Invalid value: \"\":  in body shouldn't contain duplicates")]
#[case::forbidden_property(json!({"type": "object", "additionalProperties": false}), json!({"a": 1}), "a: Invalid value: \"a\": a in body is a forbidden property")]
#[case::enum_of_numbers(json!({"enum": [1, true, "x"]}), json!(2), "<nil>: Unsupported value: 2: supported values: \"1\", \"true\", \"x\"")]
#[case::date_time(json!({"type": "string", "format": "date-time"}), json!("today"), "<nil>: Invalid value: \"today\":  in body must be of type date-time: \"today\"")]
#[case::int64(json!({"type": "integer", "format": "int64"}), json!(9_300_000_000_000_000_000_u64), "<nil>: Invalid value: \"\": Checked value must be of type integer with format int64 in ")]
#[case::not(json!({"not": {"type": "string"}}), json!("a"), "<nil>: Invalid value: \"\": \"\" must not validate the schema (not)")]
fn single_faults(#[case] of: Value, #[case] value: Value, #[case] expected: &str) {
    assert_eq!(texts(&of, &value, None), [expected]);
}

#[test]
fn one_of_wants_exactly_one() {
    let of = json!({"type": "object", "properties": {"a": {}, "b": {}}, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]});

    assert_eq!(texts(&of, &json!({"a": 1}), None), Vec::<String>::new());
    assert_eq!(
        texts(&of, &json!({"a": 1, "b": 1}), None),
        [
            "<nil>: Invalid value: \"\": \"\" must validate one and only one schema (oneOf). Found 2 valid alternatives"
        ]
    );
    assert_eq!(
        texts(&of, &json!({}), None),
        [
            "<nil>: Invalid value: \"\": \"\" must validate one and only one schema (oneOf). Found none valid",
            "a: Required value",
        ]
    );
}

#[test]
fn all_of_wants_all() {
    let of = json!({"allOf": [{"minimum": 5}, {"maximum": 3}]});

    assert_eq!(
        texts(&of, &json!(4), None),
        [
            "<nil>: Invalid value: 4:  in body should be greater than or equal to 5",
            "<nil>: Invalid value: 4:  in body should be less than or equal to 3",
            "<nil>: Invalid value: \"\": \"\" must validate all the schemas (allOf). None validated",
        ]
    );
}

fn named_ports() -> Value {
    json!({"type": "object", "properties": {
        "mode": {"type": "string", "enum": ["a"]},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": {"type": "string"}, "port": {"type": "integer", "maximum": 10}, "x": {}}}},
        "plain": {"type": "array", "items": {"type": "integer", "maximum": 10}},
    }})
}

#[rstest]
#[case::unchanged_field(json!({"mode": "bad"}), json!({"mode": "bad", "plain": []}), &[])]
#[case::changed_field(json!({"mode": "bad"}), json!({"mode": "worse"}), &["mode: Unsupported value: \"worse\": supported values: \"a\""])]
#[case::item_found_by_key(
    json!({"ports": [{"name": "p", "port": 11}]}),
    json!({"ports": [{"name": "q", "port": 1}, {"name": "p", "port": 11, "x": 1}]}), &[]
)]
#[case::item_changed(
    json!({"ports": [{"name": "p", "port": 11}]}), json!({"ports": [{"name": "p", "port": 12}]}),
    &["ports[0].port: Invalid value: 12: ports[0].port in body should be less than or equal to 10"]
)]
#[case::plain_lists_are_one_value(
    json!({"plain": [11]}), json!({"plain": [11, 1]}),
    &["plain[0]: Invalid value: 11: plain[0] in body should be less than or equal to 10"]
)]
fn a7_what_was_accepted_stays_accepted(
    #[case] old: Value,
    #[case] new: Value,
    #[case] expected: &[&str],
) {
    assert_eq!(texts(&named_ports(), &new, Some(&old)), expected);
}

#[test]
fn a7_lists_with_repeated_items_may_keep_them() {
    let of = schema(&named_ports());
    let twice = json!({"ports": [{"name": "p"}, {"name": "p"}]});
    let three = json!({"ports": [{"name": "p"}, {"name": "p"}, {"name": "q"}]});

    assert_eq!(of.check(&three, Some(&twice)), Vec::new());
    assert_eq!(of.check(&twice, Some(&json!({}))).len(), 1);
}
