use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::testing::widgets;

/// Objects and the cells a kube-apiserver 1.36 showed for them; ages are left out.
const ROWS: &str = include_str!("../../tests/transcripts/tables.json");
const AGE: &str = "(age)";

fn now() -> Timestamp {
    "2026-11-22T18:00:00Z".parse().unwrap()
}

#[test]
fn rows_of_built_in_kinds_are_those_of_the_real_server() {
    let recorded: Value = serde_json::from_str(ROWS).unwrap();
    for row in recorded["rows"].as_array().unwrap() {
        let text = |member: &str| row[member].as_str().unwrap();
        let columns = Columns::builtin(&GroupResource::new(text("group"), text("resource")));
        let object = &row["object"];
        let about = format!("{} {}", text("resource"), object["metadata"]["name"]);

        let definitions = columns.definitions();
        let shown: Vec<Value> = definitions
            .as_array()
            .unwrap()
            .iter()
            .map(|column| json!([column["name"], column["type"], column["priority"]]))
            .collect();
        assert_eq!(json!(shown), row["columns"], "columns of {about}");

        let made = columns.row(object, None, now());
        let cells: Vec<Value> = made["cells"]
            .as_array()
            .unwrap()
            .iter()
            .zip(row["cells"].as_array().unwrap())
            .map(|(cell, wanted)| {
                if wanted == AGE {
                    json!(AGE)
                } else {
                    cell.clone()
                }
            })
            .collect();
        assert_eq!(json!(cells), row["cells"], "cells of {about}");
        let conditions = made
            .get("conditions")
            .and_then(Value::as_array)
            .map_or(0, Vec::len);
        assert_eq!(
            conditions,
            row["conditions"].as_array().unwrap().len(),
            "conditions of {about}"
        );
    }
}

#[rstest]
#[case::ahead_of_us(-5, "<invalid>")]
#[case::a_second_ahead(-1, "0s")]
#[case::seconds(119, "119s")]
#[case::two_minutes(120, "2m")]
#[case::minutes_and_seconds(185, "3m5s")]
#[case::minutes(10 * 60 + 59, "10m")]
#[case::three_hours(3 * 3600, "3h")]
#[case::hours_and_minutes(5 * 3600 + 60, "5h1m")]
#[case::hours(47 * 3600, "47h")]
#[case::days_and_hours(50 * 3600, "2d2h")]
#[case::days(100 * 86_400, "100d")]
#[case::years_and_days(800 * 86_400, "2y70d")]
#[case::years(3_650 * 86_400, "10y")]
fn durations_are_short(#[case] seconds: i64, #[case] expected: &str) {
    assert_eq!(human_duration(seconds), expected);
}

#[test]
fn restarts_tell_when_the_last_one_was() {
    let pod = json!({
        "kind": "Pod",
        "metadata": {"name": "p", "creationTimestamp": "2026-11-22T17:00:00Z"},
        "spec": {"containers": [{}]},
        "status": {"phase": "Running", "containerStatuses": [{
            "restartCount": 2, "ready": true, "state": {"running": {}},
            "lastState": {"terminated": {"finishedAt": "2026-11-22T17:59:00Z"}},
        }]},
    });
    let cells = Columns::builtin(&GroupResource::new("", "pods")).cells_of(&pod, now());
    assert_eq!(
        cells[..5],
        [
            json!("p"),
            json!("1/1"),
            json!("Running"),
            json!("2 (60s ago)"),
            json!("60m")
        ]
    );
}

fn widget() -> Value {
    json!({
        "metadata": {"name": "w", "creationTimestamp": "2026-11-22T17:58:00Z", "labels": {"a.b/c": "dotted"}},
        "spec": {"size": 3, "ratio": 0.5, "on": true, "list": [{"n": "x", "v": 1}, {"n": "y", "v": 2}], "deep": {"n": "z"}},
        "status": {"conditions": [
            {"type": "Ready", "status": "False", "reason": "Waiting"},
            {"type": "Active", "status": "True"},
        ]},
    })
}

#[rstest]
#[case::member("integer", ".spec.size", json!(3))]
#[case::float_as_integer("integer", ".spec.ratio", json!(0))]
#[case::number("number", ".spec.ratio", json!(0.5))]
#[case::boolean("boolean", ".spec.on", json!(true))]
#[case::wrong_type("integer", ".spec.on", Value::Null)]
#[case::absent("string", ".spec.none", Value::Null)]
#[case::text_of_a_number("string", ".spec.size", json!("3"))]
#[case::text_of_an_object("string", ".spec.deep", json!("{\"n\":\"z\"}"))]
#[case::age("date", ".metadata.creationTimestamp", json!("2m"))]
#[case::no_date("date", ".metadata.name", json!("<invalid>"))]
#[case::filter("string", ".status.conditions[?(@.type=='Active')].status", json!("True"))]
#[case::filter_with_spaces("string", ".status.conditions[?( @.type == \"Ready\" )].reason", json!("Waiting"))]
#[case::filter_without_match("string", ".status.conditions[?(@.type=='None')].status", Value::Null)]
#[case::filter_by_number("string", ".spec.list[?(@.v>1)].n", json!("y"))]
#[case::filter_by_presence("string", ".status.conditions[?(@.reason)].type", json!("Ready"))]
#[case::index("string", ".spec.list[0].n", json!("x"))]
#[case::last("string", ".spec.list[-1].n", json!("y"))]
#[case::beyond("string", ".spec.list[7].n", Value::Null)]
#[case::slice("string", ".spec.list[1:].n", json!("y"))]
#[case::all("string", ".spec.list[*].n", json!("x"))]
#[case::quoted_member("string", ".metadata.labels['a.b/c']", json!("dotted"))]
#[case::escaped_member("string", ".metadata.labels.a\\.b/c", json!("dotted"))]
#[case::at_any_depth("string", "..reason", json!("Waiting"))]
#[case::in_braces("string", "{.spec.deep.n}", json!("z"))]
#[case::not_a_path("string", ".spec[", Value::Null)]
fn columns_of_custom_kinds(#[case] kind: &str, #[case] path: &str, #[case] expected: Value) {
    let column = json!({"name": "C", "type": kind, "jsonPath": path, "priority": 1});
    let columns = Columns::custom(&[column]);
    assert_eq!(columns.cells_of(&widget(), now()), [json!("w"), expected]);
    assert_eq!(columns.definitions()[1]["priority"], 1);
}

#[test]
fn custom_kinds_without_columns_show_their_age() {
    let columns = Columns::custom(&[]);
    assert_eq!(
        columns.cells_of(&widget(), now()),
        [json!("w"), json!("2m")]
    );
    assert_eq!(columns.definitions()[0]["format"], "name");
    let object = Object::from_value(&widgets(), &widget()).unwrap();
    assert_eq!(columns.cells(&object, now()).len(), 2);
}

proptest! {
    #[test]
    fn no_path_makes_it_panic(path in "[.a\\[\\]0?@()'=<>*:\\\\-]{0,16}") {
        let columns = Columns::custom(&[json!({"name": "C", "type": "string", "jsonPath": path})]);
        let _ = columns.cells_of(&json!({"a": [{"a": 1}, {"a": [2]}]}), now());
    }
}
