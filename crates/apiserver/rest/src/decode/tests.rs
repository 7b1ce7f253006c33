use rstest::rstest;
use serde_json::json;

use super::*;

#[test]
fn keeps_the_last_of_two_and_notes_the_path() {
    let decoded = json(br#"{"a":1,"b":[{"c":1,"c":2}],"a":3,"a":4}"#).unwrap();

    assert_eq!(decoded.value, json!({"a": 4, "b": [{"c": 2}]}));
    assert_eq!(decoded.duplicates, ["b[0].c", "a"]);
}

#[test]
fn yaml_notes_duplicates_too() {
    let decoded = yaml(b"spec:\n  replicas: 1\n  replicas: 2\n").unwrap();

    assert_eq!(decoded.value, json!({"spec": {"replicas": 2}}));
    assert_eq!(decoded.duplicates, ["spec.replicas"]);
}

#[test]
fn yaml_member_names_become_text() {
    let decoded = yaml(b"data:\n  8080: a\n  true: b\n").unwrap();

    assert_eq!(decoded.value, json!({"data": {"8080": "a", "true": "b"}}));
}

#[rstest]
#[case::cut_off(b"{\"a\":")]
#[case::two_documents(b"{} {}")]
#[case::empty(b"")]
fn refuses_what_is_not_one_json_document(#[case] body: &[u8]) {
    assert!(json(body).is_err());
}
