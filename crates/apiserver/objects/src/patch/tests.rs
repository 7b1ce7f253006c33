use kthena_schema::Schema;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn merged(target: &Value, patch: &Value) -> Value {
    let mut target = target.clone();
    merge_patch(&mut target, patch);
    target
}

// The examples of RFC 7386, appendix A.
#[rstest]
#[case::replaces(json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"}))]
#[case::adds(json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"}))]
#[case::removes(json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"}))]
#[case::list_to_text(json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"}))]
#[case::nested(json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}}))]
#[case::lists_are_values(json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]}))]
#[case::whole_value(json!({"a": "b"}), json!(["c"]), json!(["c"]))]
#[case::null_kept_in_target(json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1}))]
#[case::nulls_of_new_objects_go(json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}}))]
fn merges(#[case] target: Value, #[case] patch: Value, #[case] expected: Value) {
    assert_eq!(merged(&target, &patch), expected);
}

#[rstest]
#[case::test_passes(json!([{"op": "test", "path": "/a", "value": 1}, {"op": "add", "path": "/b", "value": 2}]), Ok(json!({"a": 1, "b": 2})))]
#[case::test_fails(json!([{"op": "test", "path": "/a", "value": 2}]), Err(422))]
#[case::missing_path(json!([{"op": "remove", "path": "/x"}]), Err(422))]
#[case::unknown_operation(json!([{"op": "twist", "path": "/a"}]), Err(422))]
#[case::not_a_list(json!({"op": "add"}), Err(400))]
#[case::moves(json!([{"op": "move", "from": "/a", "path": "/b"}]), Ok(json!({"b": 1})))]
fn json_patches(#[case] patch: Value, #[case] expected: Result<Value, u16>) {
    let result = json_patch(&json!({"a": 1}), patch.to_string().as_bytes());
    assert_eq!(result.map_err(|error| error.code()), expected);
}

/// A failing operation leaves nothing of those before it.
#[test]
fn json_patches_are_whole_or_nothing() {
    let object = json!({"a": 1});
    let patch = br#"[{"op": "add", "path": "/b", "value": 1}, {"op": "remove", "path": "/x"}]"#;
    assert!(json_patch(&object, patch).is_err());
    assert_eq!(object, json!({"a": 1}));
    assert_eq!(json_patch(&object, b"[1").unwrap_err().code(), 400);
}

fn schema() -> Schema {
    let text = json!({"type": "string"});
    Schema::parse(&json!({"type": "object", "properties": {
        "byName": {
            "type": "array", "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "name",
            "items": {"type": "object", "properties": {
                "name": text, "v": text, "w": text,
                "inner": {
                    "type": "array", "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "k",
                    "items": {"type": "object", "properties": {"k": text, "v": text}},
                },
            }},
        },
        "scalars": {"type": "array", "x-kubernetes-patch-strategy": "merge", "items": text},
        "plain": {"type": "array", "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        "map": {"type": "object", "additionalProperties": text},
        "union": {
            "type": "object", "x-kubernetes-patch-strategy": "retainKeys",
            "properties": {"type": text, "rolling": text},
        },
    }})).unwrap()
}

fn named(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"name": name})).collect()
}

#[rstest]
#[case::merges_by_key(
    json!({"byName": [{"name": "a", "v": "1"}, {"name": "b"}]}),
    json!({"byName": [{"name": "a", "w": "2"}]}),
    json!({"byName": [{"name": "a", "v": "1", "w": "2"}, {"name": "b"}]}))]
#[case::new_items_come_first(
    json!({"byName": named(&["a"])}),
    json!({"byName": named(&["b"])}),
    json!({"byName": named(&["b", "a"])}))]
#[case::order_is_as_asked(
    json!({"byName": named(&["a", "b"])}),
    json!({"$setElementOrder/byName": named(&["b", "c", "a"]), "byName": named(&["c"])}),
    json!({"byName": named(&["b", "c", "a"])}))]
#[case::order_alone(
    json!({"byName": named(&["a", "b", "c"])}),
    json!({"$setElementOrder/byName": named(&["c", "b"])}),
    json!({"byName": named(&["a", "c", "b"])}))]
#[case::deletes_an_item(
    json!({"byName": named(&["a", "b"])}),
    json!({"byName": [{"name": "a", "$patch": "delete"}]}),
    json!({"byName": named(&["b"])}))]
#[case::replaces_the_list(
    json!({"byName": named(&["a", "b"])}),
    json!({"byName": [{"$patch": "replace"}, {"name": "c"}]}),
    json!({"byName": named(&["c"])}))]
#[case::replaces_an_item(
    json!({"byName": [{"name": "a", "v": "1"}]}),
    json!({"byName": [{"name": "a", "$patch": "merge", "w": "1"}]}),
    json!({"byName": [{"name": "a", "v": "1", "w": "1"}]}))]
#[case::nested_lists(
    json!({"byName": [{"name": "a", "inner": [{"k": "1", "v": "x"}, {"k": "2"}]}]}),
    json!({"byName": [{"name": "a", "inner": [{"k": "1", "v": null}, {"k": "2", "$patch": "delete"}]}]}),
    json!({"byName": [{"name": "a", "inner": [{"k": "1"}]}]}))]
#[case::scalars_unite(
    json!({"scalars": ["a", "b"]}),
    json!({"scalars": ["c", "a"]}),
    json!({"scalars": ["c", "a", "b"]}))]
#[case::scalars_go(
    json!({"scalars": ["a", "b"]}),
    json!({"$deleteFromPrimitiveList/scalars": ["a"]}),
    json!({"scalars": ["b"]}))]
#[case::scalars_ordered(
    json!({"scalars": ["a", "b"]}),
    json!({"$setElementOrder/scalars": ["c", "b"], "$deleteFromPrimitiveList/scalars": ["a"], "scalars": ["c"]}),
    json!({"scalars": ["c", "b"]}))]
#[case::plain_lists_are_replaced(
    json!({"plain": [{"a": 1}]}),
    json!({"plain": [{"b": 1}]}),
    json!({"plain": [{"b": 1}]}))]
#[case::maps_merge(
    json!({"map": {"a": "1", "b": "2"}}),
    json!({"map": {"a": null, "c": "3"}}),
    json!({"map": {"b": "2", "c": "3"}}))]
#[case::maps_are_replaced(
    json!({"map": {"a": "1"}}),
    json!({"map": {"$patch": "replace", "b": "2"}}),
    json!({"map": {"b": "2"}}))]
#[case::maps_are_emptied(
    json!({"map": {"a": "1"}}),
    json!({"map": {"$patch": "delete"}}),
    json!({"map": {}}))]
#[case::keys_are_retained(
    json!({"union": {"type": "Rolling", "rolling": "x"}}),
    json!({"union": {"$retainKeys": ["type"], "type": "Recreate"}}),
    json!({"union": {"type": "Recreate"}}))]
#[case::null_removes(json!({"map": {"a": "1"}}), json!({"map": null}), json!({}))]
fn merges_strategically(#[case] target: Value, #[case] patch: Value, #[case] expected: Value) {
    assert_eq!(
        strategic_merge_patch(&schema(), &target, &patch).unwrap(),
        expected
    );
}

#[rstest]
#[case::no_key(json!({"byName": [{"v": "1"}]}), 500)]
#[case::unknown_directive(json!({"map": {"$patch": "shuffle"}}), 400)]
#[case::not_an_object(json!([]), 400)]
#[case::retained_keys_must_be_listed(json!({"union": {"$retainKeys": ["type"], "rolling": "x"}}), 400)]
fn strategic_patches_that_make_no_sense(#[case] patch: Value, #[case] code: u16) {
    let target = json!({"byName": [{"name": "a"}], "map": {"a": "b"}, "union": {}});
    assert_eq!(
        strategic_merge_patch(&schema(), &target, &patch)
            .unwrap_err()
            .code(),
        code
    );
}

/// Any JSON tree of a few levels.
fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..4i64).prop_map(Value::from),
        "[ab]".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            object(inner),
        ]
    })
}

fn object(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    let names = proptest::sample::select(vec![
        "a",
        "b",
        "name",
        "byName",
        "scalars",
        "plain",
        "map",
        "union",
        "$patch",
        "$retainKeys",
        "$setElementOrder/byName",
        "$deleteFromPrimitiveList/scalars",
    ]);
    proptest::collection::btree_map(names.prop_map(str::to_owned), inner, 0..5)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

proptest! {
    #[test]
    fn no_json_patch_makes_it_panic(
        target in tree(),
        operations in proptest::collection::vec((0usize..7, "(/[ab0-]?){0,3}", "(/[ab01]?){0,2}", tree()), 0..6),
    ) {
        let names = ["add", "remove", "replace", "move", "copy", "test", "other"];
        let patch: Vec<Value> = operations
            .into_iter()
            .map(|(at, path, from, value)| json!({"op": names[at], "path": path, "from": from, "value": value}))
            .collect();
        let _ = json_patch(&target, json!(patch).to_string().as_bytes());
    }

    #[test]
    fn no_strategic_patch_makes_it_panic(target in object(tree()), patch in object(tree())) {
        let _ = strategic_merge_patch(&schema(), &target, &patch);
    }

    #[test]
    fn merging_twice_is_merging_once(target in tree(), patch in tree()) {
        let once = merged(&target, &patch);
        prop_assert_eq!(merged(&once, &patch), once);
    }

    #[test]
    fn an_empty_patch_changes_no_object(target in object(tree())) {
        prop_assert_eq!(merged(&target, &json!({})), target.clone());
        prop_assert_eq!(strategic_merge_patch(&schema(), &target, &json!({})).unwrap(), target);
    }
}
