use proptest::prelude::{Just, Strategy, prop, prop_assert_eq, prop_oneof, proptest};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn read(body: &str) -> Result<BodyFacts, RouteError> {
    BodyFacts::read(body.as_bytes())
}

fn tokens(body: &Value) -> Option<u64> {
    read(&body.to_string())
        .unwrap()
        .prompt
        .map(PromptFacts::tokens)
}

fn chars(body: &Value) -> Option<u64> {
    read(&body.to_string())
        .unwrap()
        .prompt
        .map(|prompt| prompt.chars)
}

#[rstest]
#[case::plain(r#"{"model":"m"}"#, "m", false)]
#[case::spaces_around(" \n{ \"model\" : \"m\" , \"stream\" : true } \r\n", "m", true)]
#[case::untrimmed(r#"{"model":" m "}"#, " m ", false)]
#[case::escaped_value(r#"{"model":"a\/bA"}"#, "a/bA", false)]
#[case::escaped_name(r#"{"mod\u0065l":"m"}"#, "m", false)]
#[case::last_of_two(
    r#"{"model":"a","stream":true,"model":"b","stream":false}"#,
    "b",
    false
)]
#[case::stream_is_a_text(r#"{"model":"m","stream":"true"}"#, "m", false)]
#[case::nested_names_do_not_count(r#"{"x":{"model":"no","stream":true},"model":"m"}"#, "m", false)]
#[case::huge_number(
    r#"{"model":"m","n":1e999999,"m":123456789012345678901234567890}"#,
    "m",
    false
)]
fn model_and_stream(#[case] body: &str, #[case] model: &str, #[case] stream: bool) {
    let facts = read(body).unwrap();

    assert_eq!((facts.model.as_str(), facts.stream), (model, stream));
}

#[rstest]
#[case::text(r#"{"model":"m","user":"u\u0031"}"#, Some("u1"))]
#[case::absent(r#"{"model":"m"}"#, None)]
#[case::not_a_text(r#"{"model":"m","user":1}"#, None)]
#[case::last_of_two(r#"{"model":"m","user":"a","user":"b"}"#, Some("b"))]
fn who_the_client_says_it_is(#[case] body: &str, #[case] expected: Option<&str>) {
    assert_eq!(read(body).unwrap().user.as_deref(), expected);
}

#[rstest]
#[case::unsaid(r#"{"model":"m"}"#, 0)]
#[case::old_name(r#"{"model":"m","max_tokens":5}"#, 5)]
#[case::new_name_wins(r#"{"model":"m","max_completion_tokens":7,"max_tokens":5}"#, 7)]
#[case::null_is_unsaid(r#"{"model":"m","max_completion_tokens":null,"max_tokens":5}"#, 5)]
#[case::no_number(r#"{"model":"m","max_tokens":"5"}"#, 0)]
fn allowed_answers(#[case] body: &str, #[case] expected: u64) {
    let facts = read(body).unwrap();

    assert_eq!(facts.max_output_tokens(body.as_bytes()), expected);
}

#[rstest]
#[case::missing(r#"{"prompt":"x"}"#)]
#[case::not_a_text(r#"{"model":7}"#)]
#[case::empty(r#"{"model":""}"#)]
#[case::blank(r#"{"model":" \t"}"#)]
#[case::null_body("null")]
#[case::last_of_two_is_no_text(r#"{"model":"m","model":null}"#)]
fn bodies_without_a_model(#[case] body: &str) {
    assert_eq!(read(body).unwrap_err(), RouteError::ModelMissing);
}

#[rstest]
#[case::second_value(r#"{"model":"m"}{"model":"m"}"#, true)]
#[case::trailing_bytes(r#"{"model":"m"} x"#, true)]
#[case::array("[]", false)]
#[case::text("\"m\"", false)]
#[case::cut_short(r#"{"model":"m""#, false)]
fn bodies_that_are_no_single_object(#[case] body: &str, #[case] trailing: bool) {
    let error = read(body).unwrap_err();

    assert_eq!(error == RouteError::TrailingData, trailing, "{error}");
    assert_eq!(
        matches!(error, RouteError::BadJson(_)),
        !trailing,
        "{error}"
    );
}

#[rstest]
#[case::text(json!({"prompt": "hello"}), Some(5))]
#[case::empty_text(json!({"prompt": ""}), Some(0))]
#[case::texts_are_joined(json!({"prompt": ["ab", "c"]}), Some(4))]
#[case::null_is_absent(json!({"prompt": null, "messages": []}), Some(0))]
#[case::number(json!({"prompt": 1}), None)]
#[case::object_hides_messages(json!({"prompt": {}, "messages": []}), None)]
#[case::mixed_list(json!({"prompt": ["a", {}]}), None)]
#[case::nothing(json!({}), None)]
#[case::prompt_wins(json!({"prompt": "ab", "messages": [{"role": "user", "content": "hi"}]}), Some(2))]
#[case::one_message(json!({"messages": [{"role": "user", "content": "hi"}]}), Some(30))]
#[case::two_messages(json!({"messages": [{"role": "user", "content": "hello world"}, {"role": "a", "content": ""}]}), Some(39 + 25))]
#[case::no_list(json!({"messages": "hi"}), None)]
#[case::null_messages(json!({"messages": null}), None)]
#[case::text_parts(json!({"messages": [{"role": "u", "content": [{"type": "text", "text": "ab"}, {"text": "c"}]}]}), Some(24 + 1 + 4))]
#[case::image_beside_text(json!({"messages": [{"role": "u", "content": [{"type": "image_url", "image_url": {}}, {"type": "text", "text": "ab"}]}]}), Some(27))]
#[case::image_only(json!({"messages": [{"role": "u", "content": [{"type": "image_url", "text": "no"}]}]}), Some(0))]
#[case::tool_call_only(json!({"messages": [{"role": "assistant", "content": null, "tool_calls": []}]}), Some(0))]
#[case::element_without_role(json!({"messages": ["x", 1, {"content": "hi"}]}), Some(0))]
#[case::system_text(json!({"system": "be", "messages": []}), Some(24 + 6 + 2))]
#[case::system_parts(json!({"system": [{"type": "text", "text": "be"}], "messages": []}), Some(32))]
#[case::system_alone(json!({"system": "be"}), None)]
#[case::input_text(json!({"input": "hi"}), Some(24 + 4 + 2))]
#[case::input_with_instructions(json!({"instructions": "do", "input": "hi"}), Some(24 + 9 + 2 + 30))]
#[case::empty_instructions(json!({"instructions": "", "input": "hi"}), Some(30))]
#[case::input_items(json!({"input": [{"role": "user", "content": "hi"}, {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}, {"type": "reasoning", "role": "user", "content": "no"}, {"role": "", "content": "no"}]}), Some(60))]
#[case::input_number(json!({"input": 1}), None)]
#[case::input_texts(json!({"input": ["a", "b", [1, 2]]}), Some(0))]
#[case::input_null(json!({"input": null}), None)]
#[case::part_of_another_type(json!({"messages": [{"role": "u", "content": [{"type": "tool_result", "text": "no"}, {"type": "", "text": "ab"}, {"type": "output_text", "text": "c"}]}]}), Some(24 + 1 + 4))]
#[case::messages_before_input(json!({"messages": [], "input": "hi"}), Some(0))]
fn prompts(#[case] mut body: Value, #[case] expected: Option<u64>) {
    body["model"] = json!("m");

    assert_eq!(chars(&body), expected);
}

#[rstest]
#[case::rounds_up(json!({"model": "m", "prompt": "hello"}), 2)]
#[case::empty(json!({"model": "m", "prompt": ""}), 0)]
#[case::chat(json!({"model": "m", "messages": [{"role": "user", "content": "hello world"}]}), 10)]
#[case::token_ids(json!({"model": "m", "prompt": [1, 2, 3]}), 3)]
#[case::lists_of_token_ids(json!({"model": "m", "prompt": [[1, 2], [3]]}), 3)]
fn token_estimates(#[case] body: Value, #[case] expected: u64) {
    assert_eq!(tokens(&body), Some(expected));
}

fn message() -> impl Strategy<Value = Value> {
    let part = prop_oneof![
        "\\PC{0,8}".prop_map(|text| json!({"type": "text", "text": text})),
        Just(json!({"type": "image_url", "image_url": {"url": "x"}})),
    ];
    let content = prop_oneof![
        ".{0,12}".prop_map(Value::from),
        prop::collection::vec(part, 0..4).prop_map(Value::from),
        Just(Value::Null),
    ];
    ("[a-z]{0,6}", content).prop_map(|(role, content)| json!({"role": role, "content": content}))
}

/// The prompt as text, built the obvious way from a decoded tree.
fn chatml(messages: &[Value]) -> String {
    let mut text = String::new();
    for message in messages {
        let content = match &message["content"] {
            Value::String(content) => Some(content.clone()),
            Value::Array(parts) => {
                let texts: Vec<&str> = parts
                    .iter()
                    .filter_map(|part| part["text"].as_str())
                    .collect();
                (!texts.is_empty()).then(|| texts.join("\n"))
            }
            _ => None,
        };
        if let Some(content) = content {
            let role = message["role"].as_str().unwrap();
            text.extend([
                "<|im_start|>",
                role,
                "
",
                &content,
                "<|im_end|>
",
            ]);
        }
    }
    text
}

proptest! {
    #[test]
    fn the_count_agrees_with_the_text_built_from_a_tree(messages in prop::collection::vec(message(), 0..6)) {
        let expected = chatml(&messages).chars().count() as u64;
        prop_assert_eq!(chars(&json!({"model": "m", "messages": messages})), Some(expected));
    }
}
