use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::error::ApiError;
use crate::meta;

fn schema() -> Schema {
    let text = json!({"type": "string"});
    Schema::parse_resource(&json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "a": text, "b": text, "c": text,
        "map": {"type": "object", "additionalProperties": text},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": text},
        "list": {"type": "array", "items": text},
        "items": {
            "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
            "items": {"type": "object", "properties": {
                "port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}, "v": text,
            }},
        },
    }}}})).unwrap()
}

fn writer(manager: &str, second: i64) -> Writer<'_> {
    let now = Timestamp::from_second(second).unwrap();
    Writer {
        manager,
        api_version: "x.io/v1",
        subresource: "",
        separate_status: true,
        custom: true,
        now,
    }
}

/// An empty spec is left out: written down, it would be a field of its own.
fn configuration(spec: &Value) -> Value {
    let mut object = json!({"apiVersion": "x.io/v1", "kind": "W", "metadata": {"name": "w"}});
    if spec != &json!({}) {
        object["spec"] = spec.clone();
    }
    object
}

fn applied(
    live: Option<&Value>,
    manager: &str,
    second: i64,
    spec: &Value,
) -> Result<Value, ApiError> {
    apply(
        Some(&schema()),
        live,
        &configuration(spec),
        writer(manager, second),
        Conflicts::Refuse,
    )
}

fn owned(object: &Value, manager: &str) -> Value {
    let entries = object["metadata"]["managedFields"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let entry = entries
        .into_iter()
        .find(|entry| entry["manager"] == manager);
    entry.map_or(Value::Null, |entry| entry["fieldsV1"]["f:spec"].clone())
}

#[test]
fn list_items_are_known_by_all_their_keys_with_defaults() {
    let object = applied(
        None,
        "x",
        1,
        &json!({"items": [{"port": 80}, {"port": 80, "protocol": "UDP"}]}),
    )
    .unwrap();
    let tcp = "k:{\"port\":80,\"protocol\":\"TCP\"}";
    let udp = "k:{\"port\":80,\"protocol\":\"UDP\"}";
    assert_eq!(
        owned(&object, "x")["f:items"],
        json!({tcp: {".": {}, "f:port": {}}, udp: {".": {}, "f:port": {}, "f:protocol": {}}})
    );
    let again = applied(
        Some(&object),
        "y",
        2,
        &json!({"items": [{"port": 80, "protocol": "TCP", "v": "1"}]}),
    )
    .unwrap();
    assert_eq!(again["spec"]["items"].as_array().unwrap().len(), 2);
    assert_eq!(again["spec"]["items"][0]["v"], "1");
}

#[test]
fn the_same_value_can_have_several_owners_and_stays_until_the_last_lets_go() {
    let one = applied(None, "x", 1, &json!({"a": "1"})).unwrap();
    let both = applied(Some(&one), "y", 2, &json!({"a": "1"})).unwrap();
    let left = applied(Some(&both), "x", 3, &json!({})).unwrap();
    assert_eq!(left["spec"]["a"], "1");
    assert_eq!(owned(&left, "x"), Value::Null);
    let gone = applied(Some(&left), "y", 4, &json!({})).unwrap();
    assert_eq!(gone["spec"].get("a"), None);
}

#[test]
fn what_an_update_set_outlives_an_apply_that_let_go_of_it() {
    let object = applied(None, "x", 1, &json!({"a": "1", "b": "1"})).unwrap();
    let mut updated = object.clone();
    updated["spec"]["a"] = json!("2");
    track_update(
        Some(&schema()),
        Some(&object),
        &mut updated,
        writer("edit", 2),
    );
    assert_eq!(owned(&updated, "edit"), json!({"f:a": {}}));
    assert_eq!(owned(&updated, "x"), json!({"f:b": {}}));
    let later = applied(Some(&updated), "x", 3, &json!({"b": "1"})).unwrap();
    assert_eq!(later["spec"]["a"], "2");
}

#[test]
fn force_takes_fields_over() {
    let object = applied(None, "x", 1, &json!({"a": "1", "b": "1"})).unwrap();
    let refused = applied(Some(&object), "y", 2, &json!({"a": "2"})).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Apply failed with 1 conflict: conflict with \"x\": .spec.a"
    );
    let forced = apply(
        Some(&schema()),
        Some(&object),
        &configuration(&json!({"a": "2"})),
        writer("y", 2),
        Conflicts::Force,
    )
    .unwrap();
    assert_eq!(
        (owned(&forced, "x"), owned(&forced, "y")),
        (json!({"f:b": {}}), json!({"f:a": {}}))
    );
}

#[rstest]
#[case::same_fields_keep_their_time("1", "1970-01-01T00:00:01Z")]
#[case::a_new_value_gets_a_new_time("2", "1970-01-01T00:00:09Z")]
fn times_change_with_fields(#[case] value: &str, #[case] time: &str) {
    let object = applied(None, "x", 1, &json!({"a": "1"})).unwrap();
    let again = applied(Some(&object), "x", 9, &json!({"a": value})).unwrap();
    assert_eq!(again["metadata"]["managedFields"][0]["time"], time);
}

#[test]
fn lists_that_are_one_value_change_hands_as_a_whole() {
    let object = applied(None, "x", 1, &json!({"list": ["1"]})).unwrap();
    let error = applied(Some(&object), "y", 2, &json!({"list": ["2"]})).unwrap_err();
    assert!(error.to_string().ends_with(".spec.list"), "{error}");
    let same = applied(Some(&object), "y", 2, &json!({"list": ["1"]})).unwrap();
    assert_eq!(owned(&same, "y"), json!({"f:list": {}}));
}

#[test]
fn more_than_ten_updaters_are_folded_together() {
    let mut object = configuration(&json!({"a": "1"}));
    track_update(Some(&schema()), None, &mut object, writer("first", 0));
    for at in 0..14 {
        let mut next = object.clone();
        next["spec"]["map"][format!("k{at}")] = json!("v");
        track_update(
            Some(&schema()),
            Some(&object),
            &mut next,
            writer(&format!("m{at}"), at + 1),
        );
        object = next;
    }
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    // Ten, the one of all older ones, and nothing of the managers that were folded into it.
    assert_eq!(entries.len(), 11);
    assert!(
        entries
            .iter()
            .any(|entry| entry["manager"] == "ancient-changes")
    );
}

#[test]
fn without_a_schema_lists_are_values_and_objects_merge() {
    let make = |live: Option<&Value>, manager, spec: Value| {
        apply(
            None,
            live,
            &configuration(&spec),
            writer(manager, 1),
            Conflicts::Refuse,
        )
    };
    let object = make(None, "x", json!({"o": {"p": 1}, "items": [{"port": 1}]})).unwrap();
    let object = make(Some(&object), "y", json!({"o": {"q": 1}})).unwrap();
    assert_eq!(object["spec"]["o"], json!({"p": 1, "q": 1}));
    assert!(make(Some(&object), "y", json!({"items": [{"port": 2}]})).is_err());
}

// The texts are what a kube-apiserver 1.36 answered, but for the fields' names.
#[rstest]
#[case::unknown_field(json!({"z": 1}), ".spec.z: field not declared in schema")]
#[case::unknown_fields(
    json!({"items": [{"port": 1, "q": 2}], "z": 1}),
    "errors:\n  .spec.items[port=1,protocol=\"TCP\"].q: field not declared in schema\n  .spec.z: field not declared in schema")]
#[case::item_twice(json!({"set": ["p", "p"]}), ".spec.set: duplicate entries for key [=\"p\"]")]
fn what_does_not_fit_the_type_is_not_applied(#[case] spec: Value, #[case] faults: &str) {
    let error = applied(None, "x", 1, &spec).unwrap_err();
    assert_eq!(error.code(), 500);
    let head = "failed to create typed patch object (/w; x.io/v1, Kind=W): ";
    assert_eq!(error.to_string(), format!("{head}{faults}"));
}

#[test]
fn a_version_in_the_configuration_of_a_new_object_is_ignored() {
    let mut configuration = configuration(&json!({"a": "1"}));
    configuration["metadata"]["resourceVersion"] = json!("5");
    let made = apply(
        Some(&schema()),
        None,
        &configuration,
        writer("x", 1),
        Conflicts::Refuse,
    )
    .unwrap();
    assert_eq!(made["metadata"].get("resourceVersion"), None);
}

#[test]
fn unreadable_records_count_as_none() {
    let mut object = configuration(&json!({"a": "1"}));
    object["metadata"]["managedFields"] = json!([{"manager": 7, "operation": "Guess"}]);
    let applied = applied(Some(&object), "x", 1, &json!({"b": "1"})).unwrap();
    assert_eq!(owned(&applied, "before-first-apply")["f:a"], json!({}));
}

fn spec() -> impl Strategy<Value = Value> {
    let text = || proptest::option::of("[12]");
    let set = proptest::collection::btree_set("[pq]", 1..3);
    let map = proptest::collection::btree_map("[uv]", "[12]", 1..3);
    let items = proptest::collection::btree_map(1..4i64, proptest::option::of("[12]"), 1..3);
    (
        text(),
        text(),
        proptest::option::of(set),
        proptest::option::of(map),
        proptest::option::of(items),
    )
        .prop_map(|(a, b, set, map, items)| {
            let mut spec = json!({});
            let members = [
                ("a", json!(a)),
                ("b", json!(b)),
                ("set", json!(set)),
                ("map", json!(map)),
            ];
            for (name, value) in members.into_iter().filter(|(_, value)| !value.is_null()) {
                spec[name] = value;
            }
            if let Some(items) = items {
                spec["items"] = items
                    .into_iter()
                    .map(|(port, v)| {
                        let mut item = json!({"port": port});
                        if let Some(v) = v {
                            item["v"] = json!(v);
                        }
                        item
                    })
                    .collect();
            }
            spec
        })
}

/// The same configuration with every name its own, so that two of them have nothing in common.
fn moved(spec: &Value) -> Value {
    let mut spec = spec.clone();
    let Some(members) = spec.as_object_mut() else {
        return spec;
    };
    for gone in ["a", "b"] {
        members.remove(gone);
    }
    if let Some(set) = members.get_mut("set").and_then(Value::as_array_mut) {
        for item in set {
            *item = json!(format!("other-{}", item.as_str().unwrap()));
        }
    }
    if let Some(map) = members.get_mut("map") {
        *map = map
            .as_object()
            .unwrap()
            .iter()
            .map(|(key, value)| (format!("other-{key}"), value.clone()))
            .collect();
    }
    if let Some(items) = members.get_mut("items").and_then(Value::as_array_mut) {
        for item in items {
            item["port"] = json!(item["port"].as_i64().unwrap() + 100);
        }
    }
    spec
}

proptest! {
    #[test]
    fn applying_twice_is_applying_once(first in spec(), second in spec()) {
        let start = applied(None, "x", 1, &first).unwrap();
        let once = applied(Some(&start), "x", 2, &second).unwrap();
        let twice = applied(Some(&once), "x", 3, &second).unwrap();
        prop_assert_eq!(twice, once);
    }

    #[test]
    fn a_sole_owner_gets_exactly_what_it_says(first in spec(), second in spec()) {
        let start = applied(None, "x", 1, &first).unwrap();
        let next = applied(Some(&start), "x", 2, &second).unwrap();
        let bare = json!({});
        let sorted = |spec: &Value| {
            let mut spec = spec.clone();
            for list in ["set", "items"] {
                if let Some(items) = spec.get_mut(list).and_then(Value::as_array_mut) {
                    items.sort_by_key(Value::to_string);
                }
            }
            spec
        };
        prop_assert_eq!(sorted(next.get("spec").unwrap_or(&bare)), sorted(&second));
    }

    #[test]
    fn managers_with_nothing_in_common_never_conflict(one in spec(), two in spec(), three in spec()) {
        let object = applied(None, "x", 1, &one).unwrap();
        let object = applied(Some(&object), "y", 2, &moved(&two)).unwrap();
        let object = applied(Some(&object), "x", 3, &three).unwrap();
        let alone = applied(Some(&object), "y", 4, &json!({})).unwrap();
        let direct = applied(Some(&applied(None, "x", 1, &one).unwrap()), "x", 3, &three).unwrap();
        let keys = |object: &Value| {
            let mut spec = object.get("spec").cloned().unwrap_or(json!({}));
            for list in ["set", "items"] {
                if let Some(items) = spec.get_mut(list).and_then(Value::as_array_mut) {
                    items.sort_by_key(Value::to_string);
                }
            }
            spec
        };
        prop_assert_eq!(keys(&alone), keys(&direct), "what y brought is gone without a trace");
        prop_assert_eq!(owned(&alone, "y"), Value::Null);
    }

    #[test]
    fn forcing_wins_and_leaves_no_field_with_two_values(one in spec(), two in spec()) {
        let object = applied(None, "x", 1, &one).unwrap();
        let forced = apply(Some(&schema()), Some(&object), &configuration(&two), writer("y", 2), Conflicts::Force).unwrap();
        for (name, value) in two.as_object().unwrap().iter().filter(|(_, value)| value.is_string()) {
            prop_assert_eq!(&forced["spec"][name], value);
        }
        let again = applied(Some(&forced), "y", 3, &two);
        prop_assert_eq!(again.unwrap(), forced);
    }

    #[test]
    fn records_read_back_as_written(spec in spec()) {
        let object = applied(None, "x", 1, &spec).unwrap();
        let mut copy = object.clone();
        entries::write(&mut copy, entries::read(&object));
        prop_assert_eq!(&copy, &object);
        meta::set(&mut copy, "managedFields", Value::Null);
        prop_assert!(entries::read(&copy).is_empty());
    }
}
