mod autoscaling_policy;
mod external_model_provider;
mod framing;
mod model_booster;
mod model_route;
mod model_server;
mod model_serving;
mod model_serving_rollout;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::Rules;

/// What is held against an object, one text per fault.
fn faults(rules: Rules, object: &Value) -> Vec<String> {
    rules
        .faults(object)
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// `object` with the value at `pointer` replaced or added; `null` removes it.
fn set(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').expect("is a pointer");
    let parent = object.pointer_mut(parent).expect("the parent is there");
    match parent {
        Value::Object(map) if value.is_null() => drop(map.remove(name)),
        Value::Object(map) => drop(map.insert(name.to_owned(), value)),
        Value::Array(items) => items[name.parse::<usize>().expect("is an index")] = value,
        other => panic!("{other} has no members"),
    }
    object
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[-0-9a-z%./:]{0,12}".prop_map(Value::from),
    ];
    let names = prop::sample::select(vec![
        "metadata",
        "name",
        "spec",
        "template",
        "roles",
        "rules",
        "targetModels",
        "backend",
        "workers",
        "config",
        "behavior",
        "scaleUp",
        "panicPolicy",
        "period",
        "metrics",
        "targetValue",
        "disaggregatedTarget",
        "ratioConstraint",
        "replicas",
        "maxUnavailable",
        "workloadSelector",
        "matchLabels",
        "headers",
        "type",
        "regex",
        "modelMatch",
        "uri",
        "auth",
    ]);
    leaf.prop_recursive(7, 60, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_object_makes_the_rules_panic(object in any_json()) {
        for rules in Rules::ALL {
            let found = rules.faults(&object);
            let _ = (rules.message(&found), rules.mutate(&object), crate::check(rules.kind(), &object, Some(&object)));
        }
    }

    #[test]
    fn nothing_is_held_against_an_unchanged_spec(object in any_json(), label in "[a-z]{1,5}") {
        let old = json!({"metadata": {"name": "n"}, "spec": object});
        let new = json!({"metadata": {"name": "n", "labels": {"a": label}}, "spec": object});
        for rules in Rules::ALL {
            prop_assert!(rules.validate(&new, Some(&old)).is_empty());
        }
    }
}
