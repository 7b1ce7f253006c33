use serde_json::json;

use super::*;

/// A field with a run of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).unwrap();
    assert!(length < 0x80, "the test's messages are short");
    [&[number << 3 | 2, length], bytes].concat()
}

fn body(api_version: &str, kind: &str, object: &[u8]) -> Vec<u8> {
    let type_meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
    [MAGIC.to_vec(), field(1, &type_meta), field(2, object)].concat()
}

#[test]
fn every_message_that_is_referred_to_is_there() {
    let messages = unpack();
    assert!(messages.contains_key("core/v1.Pod"));

    for Row(_, json, kind, _) in messages.values().flatten() {
        assert!(
            kind.len() == 1 || messages.contains_key(kind),
            "{json}: {kind}"
        );
    }
}

#[test]
fn reads_maps_and_drops_zero_values() {
    let metadata = [field(1, b"one"), field(2, b"")].concat();
    let pair = [field(1, b"a"), field(2, b"1")].concat();
    let object = [field(1, &metadata), field(2, &pair)].concat();

    let value = decode(&body("v1", "ConfigMap", &object)).unwrap();

    assert_eq!(
        value,
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "one" }, "data": { "a": "1" } })
    );
}

#[test]
fn keeps_a_zero_that_was_set_on_purpose() {
    // Deployment.spec is field 2, spec.replicas field 1.
    let object = field(2, &[1 << 3, 0]);

    let value = decode(&body("apps/v1", "Deployment", &object)).unwrap();

    assert_eq!(value["spec"], json!({ "replicas": 0 }));
}

#[test]
fn options_of_deletions_come_in_any_group() {
    // gracePeriodSeconds is field 1.
    let value = decode(&body("policy/v1", "DeleteOptions", &[1 << 3, 5])).unwrap();

    assert_eq!(value["gracePeriodSeconds"], 5);
}

#[test]
fn any_cut_of_a_body_is_an_error_or_an_object_but_no_panic() {
    let object = [field(1, &field(1, b"one")), field(2, &field(1, b"a"))].concat();
    let whole = body("v1", "ConfigMap", &object);

    for end in 0..whole.len() {
        let _ = decode(&whole[..end]);
    }
    assert!(matches!(decode(b"{}"), Err(ProtobufError::Magic)));
    assert!(matches!(
        decode(&body("v1", "Nothing", b"")),
        Err(ProtobufError::UnknownKind { .. })
    ));
}
