use kthena_wire::chat::ChatRequest;
use kthena_wire::completions::CompletionRequest;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;

fn fault(body: &str) -> ApiError {
    decode::<ChatRequest>(body.as_bytes(), CHAT).unwrap_err()
}

#[rstest]
#[case::empty("", "body.0")]
#[case::cut_off("{\"model\":", "body.9")]
#[case::not_an_object("[1]", "body")]
#[case::missing("{}", "body.messages")]
#[case::list("{\"messages\":{}}", "body.messages")]
#[case::integer("{\"messages\":[],\"n\":1.5}", "body.n")]
#[case::text("{\"messages\":[],\"model\":7}", "body.model")]
#[case::number("{\"messages\":[],\"temperature\":\"hot\"}", "body.temperature")]
#[case::object("{\"messages\":[],\"stream_options\":true}", "body.stream_options")]
fn the_member_at_fault_is_named(#[case] body: &str, #[case] param: &str) {
    let error = fault(body);
    assert_eq!(error.status, StatusCode::BAD_REQUEST);
    assert_eq!(error.body.error.param.as_deref(), Some(param));
}

#[test]
fn a_null_member_is_an_absent_one() {
    let body = json!({"model": "m", "messages": [], "n": null, "stop": null, "stream": null});
    let body = body.to_string();
    assert!(decode::<ChatRequest>(body.as_bytes(), CHAT).is_ok());
}

/// JSON of all kinds under the names that matter.
fn body() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9_f64..1e9).prop_map(Value::from),
        "[a-z]{0,4}".prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("role|content|type|text", inner, 0..4)
                .prop_map(|members| members.into_iter().collect()),
        ]
    });
    let name = prop::sample::select(vec![
        "model",
        "messages",
        "prompt",
        "n",
        "stop",
        "stream",
        "stream_options",
        "max_tokens",
        "seed",
    ]);
    prop::collection::btree_map(name.prop_map(str::to_owned), value, 0..6)
        .prop_map(|members| members.into_iter().collect())
}

proptest! {
    #[test]
    fn whatever_comes_is_taken_or_refused_with_400(body in body()) {
        let bytes = body.to_string();
        for error in [
            decode::<ChatRequest>(bytes.as_bytes(), CHAT).err(),
            decode::<CompletionRequest>(bytes.as_bytes(), COMPLETION).err(),
        ].into_iter().flatten() {
            prop_assert_eq!(error.status, StatusCode::BAD_REQUEST);
        }
    }

    #[test]
    fn any_bytes_are_refused_with_400(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Err(error) = decode::<ChatRequest>(&bytes, CHAT) {
            prop_assert_eq!(error.status, StatusCode::BAD_REQUEST);
        }
    }
}
