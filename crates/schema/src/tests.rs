//! Pruning, defaults, unique lists, look-ups and definitions; values of generated schemas.

use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Map, Value, json};

use crate::{Definitions, ListType, MapType, Schema, SchemaError};

pub(crate) fn schema(value: &Value) -> Schema {
    Schema::parse(value).unwrap_or_else(|error| panic!("{error}"))
}

fn pruned(schema: &Schema, mut value: Value) -> (Value, Vec<String>) {
    let dropped = schema
        .prune(&mut value)
        .iter()
        .map(ToString::to_string)
        .collect();
    (value, dropped)
}

fn defaulted(schema: &Schema, mut value: Value) -> Value {
    schema.fill_defaults(&mut value);
    value
}

#[rstest]
#[case::unknown_member(
    json!({"type": "object", "properties": {"a": {"type": "object", "properties": {}}}}),
    json!({"a": {"x": 1}, "b": 2}), json!({"a": {}}), &["a.x", "b"]
)]
#[case::in_items(
    json!({"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}}),
    json!([{"a": "1"}, {"b": 2}]), json!([{"a": "1"}, {}]), &["[1].b"]
)]
#[case::map_values_stay(
    json!({"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {}}}}),
    json!({"k": {"a": 1, "b": 2}}), json!({"k": {"a": 1}}), &["k.b"]
)]
#[case::preserved(
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"a": {"type": "object", "properties": {}}}}),
    json!({"a": {"x": 1}, "b": {"c": [1]}}), json!({"a": {}, "b": {"c": [1]}}), &["a.x"]
)]
#[case::preserved_without_type(
    json!({"type": "object", "properties": {"config": {"x-kubernetes-preserve-unknown-fields": true}}}),
    json!({"config": [{"a": {"b": 1}}]}), json!({"config": [{"a": {"b": 1}}]}), &[]
)]
#[case::embedded_resource(
    json!({"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}}),
    json!({"apiVersion": "v1", "kind": "K", "metadata": {"x": 1}, "spec": {"y": 1}, "z": 1}),
    json!({"apiVersion": "v1", "kind": "K", "metadata": {"x": 1}, "spec": {}}), &["spec.y", "z"]
)]
#[case::scalars_are_left_for_validation(json!({"type": "object"}), json!(3), json!(3), &[])]
fn prunes(
    #[case] of: Value,
    #[case] value: Value,
    #[case] expected: Value,
    #[case] dropped: &[&str],
) {
    assert_eq!(
        pruned(&schema(&of), value),
        (
            expected,
            dropped.iter().map(|path| (*path).to_owned()).collect()
        )
    );
}

#[test]
fn a_resource_keeps_its_own_members() {
    let schema = Schema::parse_resource(&json!({
        "type": "object",
        "properties": {"metadata": {"type": "object"}, "spec": {"type": "object", "properties": {"a": {"type": "string"}}}},
    }))
    .unwrap_or_else(|error| panic!("{error}"));
    let value = json!({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "n", "any": {"thing": null}}, "spec": {"a": "b"}});

    assert_eq!(pruned(&schema, value.clone()), (value.clone(), Vec::new()));
    assert_eq!(defaulted(&schema, value.clone()), value);
}

fn with_defaults() -> Schema {
    schema(&json!({"type": "object", "properties": {
        "count": {"type": "integer", "default": 1},
        "plain": {"type": "string"},
        "maybe": {"type": "string", "nullable": true, "default": "d"},
        "inner": {"type": "object", "properties": {"mode": {"type": "string", "default": "hard"}}},
        "made": {"type": "object", "default": {}, "properties": {"mode": {"type": "string", "default": "soft"}}},
        "list": {"type": "array", "items": {"type": "object", "properties": {"port": {"type": "integer", "default": 80}}}},
        "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"x": {"default": true}}}},
    }}))
}

#[rstest]
#[case::a2_absent_parent_gets_nothing(json!({}), json!({"count": 1, "maybe": "d", "made": {"mode": "soft"}}))]
#[case::a2_present_parent(json!({"inner": {}}), json!({"count": 1, "maybe": "d", "made": {"mode": "soft"}, "inner": {"mode": "hard"}}))]
#[case::a3_null_becomes_the_default(json!({"count": null}), json!({"count": 1, "maybe": "d", "made": {"mode": "soft"}}))]
#[case::a3_null_without_default_goes(json!({"plain": null, "inner": null}), json!({"count": 1, "maybe": "d", "made": {"mode": "soft"}}))]
#[case::a3_nullable_keeps_null(json!({"maybe": null}), json!({"count": 1, "maybe": null, "made": {"mode": "soft"}}))]
#[case::a3_null_items_stay(json!({"list": [null, {}]}), json!({"count": 1, "maybe": "d", "made": {"mode": "soft"}, "list": [null, {"port": 80}]}))]
#[case::values_stay(json!({"count": 0, "made": {"mode": ""}}), json!({"count": 0, "maybe": "d", "made": {"mode": ""}}))]
#[case::map_values(json!({"map": {"k": {}, "n": null}}), json!({"count": 1, "maybe": "d", "made": {"mode": "soft"}, "map": {"k": {"x": true}}}))]
fn fills_defaults(#[case] value: Value, #[case] expected: Value) {
    assert_eq!(defaulted(&with_defaults(), value), expected);
}

#[rstest]
#[case::set(json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}), json!(["a", "b", "a", "a"]), &["[2]: Duplicate value: \"a\""])]
#[case::map(
    json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object"}}),
    json!([{"k": 1}, {"k": 2}, {"k": 1, "v": 3}]), &["[2]: Duplicate value: {\"k\":1}"]
)]
#[case::missing_keys_are_alike(
    json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object"}}),
    json!([{}, {"v": 1}]), &["[1]: Duplicate value: {}"]
)]
#[case::no_objects(
    json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object"}}),
    json!([{}, 3]), &["[1]: Invalid value: 3: must be an object for an array of list-type map"]
)]
#[case::atomic(json!({"type": "array", "items": {"type": "string"}}), json!(["a", "a"]), &[])]
fn unique_lists(#[case] of: Value, #[case] value: Value, #[case] expected: &[&str]) {
    let found: Vec<String> = schema(&of)
        .validate_unique(&value)
        .iter()
        .map(ToString::to_string)
        .collect();

    assert_eq!(found, expected);
}

#[test]
fn looks_up_by_path_through_lists_and_maps() {
    let schema = schema(&json!({"type": "object", "properties": {"rules": {
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        "items": {"type": "object", "x-kubernetes-map-type": "atomic", "required": ["name"], "properties": {
            "name": {"type": "string", "description": "Its name."},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        }},
    }}}));

    let rules = schema.field("rules").expect("is there");
    assert_eq!(rules.list_type(), ListType::Map);
    assert_eq!(rules.list_map_keys().collect::<Vec<_>>(), ["name"]);
    assert_eq!(rules.item().map(Schema::map_type), Some(MapType::Atomic));
    assert_eq!(
        rules.item().map(|item| item.required().collect::<Vec<_>>()),
        Some(vec!["name"])
    );
    assert_eq!(
        schema.at(&["rules", "name"]).and_then(Schema::description),
        Some("Its name.")
    );
    assert_eq!(
        schema
            .at(&["rules", "labels", "any"])
            .and_then(Schema::type_name),
        Some("string")
    );
    assert!(schema.at(&["rules", "nope"]).is_none());
}

#[test]
fn definitions_refer_to_each_other_and_to_themselves() {
    let document = json!({
        "Pod": {"type": "object", "properties": {
            "spec": {"$ref": "#/definitions/Spec", "default": {}, "description": "What it runs."},
            "cpu": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.api.resource.Quantity"},
            "port": {"allOf": [{"$ref": "#/definitions/Port"}], "default": 1},
        }},
        "Spec": {"type": "object", "properties": {
            "containers": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}},
                "x-kubernetes-patch-merge-key": "name", "x-kubernetes-patch-strategy": "merge,retainKeys"},
            "again": {"$ref": "#/definitions/Spec"},
            "raw": {"type": "object"},
        }},
        "Port": {"type": "string", "format": "int-or-string"},
        "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": "string"},
        "Unused": {"$ref": "#/definitions/Missing"},
    });
    let document: Map<String, Value> = document.as_object().cloned().expect("is an object");

    let definitions =
        Definitions::parse(&document, &["Pod"]).unwrap_or_else(|error| panic!("{error}"));
    let pod = definitions.get("Pod").expect("is there");
    let containers = pod.at(&["spec", "containers"]).expect("is there");
    assert!(containers.patch_strategy().merge && containers.patch_strategy().retain_keys);
    assert_eq!(containers.patch_merge_key(), Some("name"));
    assert_eq!(
        pod.field("spec").and_then(Schema::description),
        Some("What it runs.")
    );
    assert!(pod.field("cpu").is_some_and(Schema::is_int_or_string));
    assert_eq!(
        pod.field("port").and_then(Schema::default_value),
        Some(&json!(1))
    );
    // Free objects of built-in types keep what is in them, and so does a type inside itself.
    let value = json!({"spec": {"raw": {"a": {"b": 1}}, "again": {"x": 1}, "y": 2}, "cpu": 2});
    assert_eq!(
        pruned(pod, value),
        (
            json!({"spec": {"raw": {"a": {"b": 1}}, "again": {"x": 1}}, "cpu": 2}),
            vec!["spec.y".to_owned()]
        )
    );

    let missing = Definitions::parse(&document, &["Unused"]);
    assert!(matches!(missing, Err(SchemaError::UnknownDefinition(name)) if name == "Missing"));
}

#[rstest]
#[case::type_(json!({"type": "text"}), "<nil>: invalid type")]
#[case::pattern(json!({"properties": {"a": {"pattern": "("}}}), "a.pattern: error parsing regexp: missing closing ): `(`")]
#[case::list_type(json!({"x-kubernetes-list-type": "bag"}), "<nil>: invalid x-kubernetes-list-type")]
#[case::rule(json!({"x-kubernetes-validations": [{"rule": "self =="}]}), "<nil>.x-kubernetes-validations[0]: compilation failed")]
#[case::no_schema(json!({"items": 3}), "[]: invalid schema")]
fn refuses_a_bad_schema(#[case] of: Value, #[case] start: &str) {
    let error = Schema::parse(&of).expect_err("is refused").to_string();

    assert!(error.starts_with(start), "{error}");
}

#[test]
fn refuses_a_schema_that_never_ends() {
    let mut of = json!({"type": "object"});
    for _ in 0..200 {
        of = json!({"type": "object", "properties": {"a": of}});
    }

    assert!(matches!(Schema::parse(&of), Err(SchemaError::Depth { .. })));
}

/// A schema and a value that it accepts.
fn schema_and_value() -> impl Strategy<Value = (Value, Value)> {
    let leaf = prop_oneof![
        any::<i32>().prop_map(|n| (json!({"type": "integer", "format": "int32", "default": 3}), json!(n))),
        any::<bool>().prop_map(|flag| (json!({"type": "boolean"}), json!(flag))),
        "[a-z]{1,5}".prop_map(|text| (json!({"type": "string", "minLength": 1, "maxLength": 5, "pattern": "^[a-z]+$"}), json!(text))),
        any::<u16>().prop_map(|n| (json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}), json!(n))),
        Just((json!({"type": "string", "nullable": true}), Value::Null)),
    ];
    leaf.prop_recursive(4, 40, 4, |inner| {
        prop_oneof![
            prop::collection::btree_map("[a-d]", inner.clone(), 0..4).prop_map(|members| {
                let of: Map<String, Value> = members
                    .iter()
                    .map(|(name, (of, _))| (name.clone(), of.clone()))
                    .collect();
                let value: Map<String, Value> = members
                    .into_iter()
                    .map(|(name, (_, value))| (name, value))
                    .collect();
                (
                    json!({"type": "object", "properties": of}),
                    Value::Object(value),
                )
            }),
            (inner.clone(), 0..3_usize).prop_map(|((of, value), count)| {
                (
                    json!({"type": "array", "items": of, "maxItems": 3}),
                    Value::Array(vec![value; count]),
                )
            }),
            inner.prop_map(|(of, value)| {
                (
                    json!({"type": "object", "additionalProperties": of}),
                    json!({"k": value.clone(), "l": value}),
                )
            }),
        ]
    })
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 50, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-d]", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

#[rstest]
#[case::whole(json!({"n": 2}), None)]
#[case::fraction_of_zero(json!({"n": 2.0}), Some(("n", "int32")))]
#[case::in_a_list(json!({"list": [{"port": "http"}, {"port": 8.0}]}), Some(("list[1].port", "int32")))]
#[case::in_a_map(json!({"map": {"a": 1, "b": 1.0}}), Some(("map[b]", "int64")))]
#[case::a_number_may(json!({"ratio": 2.0, "unknown": 3.0}), None)]
fn integers_with_a_fraction(#[case] value: Value, #[case] expected: Option<(&str, &str)>) {
    let schema = schema(&json!({"type": "object", "properties": {
        "n": {"type": "integer", "format": "int32"}, "ratio": {"type": "number"},
        "list": {"type": "array", "items": {"type": "object", "properties": {"port": {"x-kubernetes-int-or-string": true}}}},
        "map": {"type": "object", "additionalProperties": {"type": "integer"}},
    }}));

    let found = schema.fractional_integer(&value);

    let found = found
        .as_ref()
        .map(|found| (found.path.as_str(), found.go_type));
    assert_eq!(found, expected);
}

proptest! {
    #[test]
    fn accepts_what_was_made_for_it((of, value) in schema_and_value()) {
        let schema = schema(&of);
        let filled = defaulted(&schema, value);
        prop_assert_eq!(pruned(&schema, filled.clone()), (filled.clone(), Vec::new()));
        prop_assert_eq!(schema.check(&filled, None), Vec::new());
        prop_assert_eq!(schema.check(&filled, Some(&filled)), Vec::new());
    }

    #[test]
    fn pruning_and_defaults_are_idempotent((of, _) in schema_and_value(), value in any_json()) {
        let schema = schema(&of);
        let (once, _) = pruned(&schema, value);
        prop_assert_eq!(pruned(&schema, once.clone()), (once.clone(), Vec::new()));
        let filled = defaulted(&schema, once);
        prop_assert_eq!(defaulted(&schema, filled.clone()), filled);
    }

    #[test]
    fn no_value_makes_it_panic((of, _) in schema_and_value(), value in any_json(), old in any_json()) {
        let schema = schema(&of);
        let faults = schema.check_with_scale(&value, Some(&old), [".a.b"].as_slice());
        let _ = (crate::summary(&faults), faults.iter().map(crate::Fault::cause).count());
        prop_assert_eq!(schema.validate(&value, Some(&value)), Vec::new());
    }

    #[test]
    fn no_schema_makes_it_panic(of in any_json()) {
        let _ = Schema::parse(&of);
    }
}
