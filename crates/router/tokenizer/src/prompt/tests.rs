use rstest::rstest;
use serde_json::{Value, json};

use super::{Kind, Prompt};
use crate::fault::EncodeFault;

fn read(body: &Value) -> Result<Prompt, EncodeFault> {
    Prompt::read(body.to_string().as_bytes())
}

#[rstest]
#[case::text(json!({"prompt": "a"}), &["a"])]
#[case::texts(json!({"prompt": ["a", "b"]}), &["a", "b"])]
#[case::before_messages(json!({"prompt": "a", "messages": [{"role": "user", "content": "b"}]}), &["a"])]
fn texts_of_completions(#[case] body: Value, #[case] wanted: &[&str]) {
    match read(&body).unwrap() {
        Prompt::Texts { texts, special } => {
            assert_eq!(texts, wanted);
            assert!(special);
        }
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case::one(json!({"prompt": [1, 2]}), &[&[1, 2][..]])]
#[case::several(json!({"prompt": [[1], [2, 3]]}), &[&[1][..], &[2, 3]])]
fn ids_of_completions(#[case] body: Value, #[case] wanted: &[&[u32]]) {
    match read(&body).unwrap() {
        Prompt::Ids(lists) => assert_eq!(lists, wanted),
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case::chat(json!({"messages": [{"role": "user", "content": "a"}]}), Kind::Chat)]
#[case::tools(
    json!({"messages": [{"role": "user", "content": "a"}], "tools": [{"type": "function", "function": {"name": "f"}}]}),
    Kind::Tools
)]
#[case::no_tools(json!({"messages": [{"role": "user", "content": "a"}], "tools": []}), Kind::Chat)]
#[case::calls(
    json!({"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}]}),
    Kind::Tools
)]
#[case::system_in_front(json!({"system": "s", "messages": [{"role": "user", "content": "a"}]}), Kind::Chat)]
#[case::input(json!({"input": "a", "instructions": "b"}), Kind::Chat)]
#[case::items(json!({"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]}]}), Kind::Chat)]
#[case::text(json!({"prompt": "a"}), Kind::Text)]
fn kinds(#[case] body: Value, #[case] wanted: Kind) {
    assert_eq!(read(&body).unwrap().kind(), wanted);
}

#[rstest]
#[case::a_template(json!({"messages": [], "chat_template": "x"}))]
#[case::truncation(json!({"prompt": "a", "truncate_prompt_tokens": 5}))]
#[case::embeddings(json!({"prompt": "a", "prompt_embeds": "x"}))]
#[case::other_items(json!({"input": [{"type": "reasoning", "role": "x"}]}))]
fn what_is_for_the_engine(#[case] body: Value) {
    assert!(matches!(read(&body), Err(EncodeFault::Unsupported(_))));
}

#[rstest]
#[case::nothing(json!({"model": "m"}))]
#[case::no_texts(json!({"prompt": []}))]
#[case::no_message(json!({"messages": [1]}))]
#[case::no_role(json!({"messages": [{"content": "x"}]}))]
#[case::no_object(json!([]))]
fn what_no_engine_takes(#[case] body: Value) {
    assert!(matches!(read(&body), Err(EncodeFault::Malformed(_))));
}
