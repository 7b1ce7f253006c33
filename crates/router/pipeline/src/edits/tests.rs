mod halves;

use proptest::prelude::{any, prop_assert_eq, proptest};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn edited(body: &str, path: &str, model: Option<&str>) -> (String, bool) {
    let facts = BodyFacts::read(body.as_bytes()).unwrap();
    let edits = Edits::for_engine(&facts, ApiPath::of(path), model);
    let text = edits.pieces(body.as_bytes()).collect::<Vec<_>>().concat();
    assert_eq!(text.len(), edits.length(body.as_bytes()));
    (String::from_utf8(text).unwrap(), edits.hides_usage())
}

#[rstest]
#[case::absent(
    r#"{"model":"m","stream":true}"#,
    r#"{"stream_options":{"include_usage":true},"model":"m","stream":true}"#,
    true
)]
#[case::empty(
    r#"{"model":"m","stream":true,"stream_options":{ }}"#,
    r#"{"model":"m","stream":true,"stream_options":{"include_usage":true }}"#,
    true
)]
#[case::siblings_stay(
    r#"{"model":"m","stream":true,"stream_options":{"x":1}}"#,
    r#"{"model":"m","stream":true,"stream_options":{"include_usage":true,"x":1}}"#,
    true
)]
#[case::declined(
    r#"{"model":"m","stream":true,"stream_options":{"include_usage":false,"x":1}}"#,
    r#"{"model":"m","stream":true,"stream_options":{"include_usage":true,"x":1}}"#,
    true
)]
#[case::not_a_boolean(
    r#"{"model":"m","stream":true,"stream_options":{"include_usage":"true"}}"#,
    r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
    true
)]
#[case::no_object(
    r#"{"model":"m","stream":true,"stream_options":null}"#,
    r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
    true
)]
#[case::asked_for(
    r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
    r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
    false
)]
#[case::no_stream(r#"{"model":"m"}"#, r#"{"include_usage":true,"model":"m"}"#, false)]
#[case::stream_is_a_text(
    r#"{"model":"m","stream":"true"}"#,
    r#"{"include_usage":true,"model":"m","stream":"true"}"#,
    false
)]
#[case::already_there(
    r#"{"model":"m","include_usage":false}"#,
    r#"{"model":"m","include_usage":true}"#,
    false
)]
fn the_wish_for_usage(#[case] body: &str, #[case] expected: &str, #[case] hides: bool) {
    assert_eq!(
        edited(body, "/v1/completions", None),
        (expected.to_owned(), hides)
    );
    for other in ["/v1/responses", "/v1/messages", "/v1/embeddings", "/v1/x"] {
        assert_eq!(
            edited(body, other, None),
            (body.to_owned(), false),
            "{other}"
        );
    }
}

#[rstest]
#[case::replaced(
    r#"{"x":1.0e10,"model": "m" ,"y":[ ]}"#,
    r#"{"x":1.0e10,"model": "served" ,"y":[ ]}"#
)]
#[case::every_occurrence(
    r#"{"model":"a","model":"m"}"#,
    r#"{"model":"served","model":"served"}"#
)]
#[case::same_name_is_left(r#"{"model":"served"}"#, r#"{"model":"served"}"#)]
#[case::numbers_stay(
    r#"{"n":9007199254740993123,"model":"m"}"#,
    r#"{"n":9007199254740993123,"model":"served"}"#
)]
fn the_model_name(#[case] body: &str, #[case] expected: &str) {
    assert_eq!(edited(body, "/v1/embeddings", Some("served")).0, expected);
}

#[test]
fn a_name_that_needs_escapes_is_escaped() {
    let (text, _) = edited(
        r#"{"model":"m"}"#,
        "/v1/embeddings",
        Some("a\"\\\n\u{1f600}"),
    );

    assert_eq!(
        serde_json::from_str::<Value>(&text).unwrap(),
        json!({"model": "a\"\\\n\u{1f600}"})
    );
}

proptest! {
    #[test]
    fn an_edited_body_decodes_to_the_edited_tree(
        before in any::<String>(),
        stream in any::<Option<bool>>(),
        options in proptest::option::of(any::<Option<bool>>()),
        served in proptest::option::of("\\PC{1,6}"),
    ) {
        let mut body = json!({"a": before, "model": "m", "z": [1, {"model": "inner"}]});
        if let Some(stream) = stream {
            body["stream"] = stream.into();
        }
        if let Some(include) = options {
            body["stream_options"] = include.map_or(json!({"k": 1}), |include| json!({"include_usage": include}));
        }
        let (text, _) = edited(&body.to_string(), "/v1/chat/completions", served.as_deref());

        let mut expected = body;
        if let Some(served) = served {
            expected["model"] = served.into();
        }
        if stream == Some(true) {
            if expected.get("stream_options").is_none() {
                expected["stream_options"] = json!({});
            }
            expected["stream_options"]["include_usage"] = true.into();
        } else {
            expected["include_usage"] = true.into();
        }
        prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    }
}
