use std::ops::ControlFlow;

use kthena_router_scheduler::PromptText;
use proptest::prelude::{any, prop, prop_assert_eq, proptest};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::BodyFacts;

fn with_reader<R>(body: &str, read: impl FnOnce(PromptReader<'_>) -> R) -> R {
    let facts = BodyFacts::read(body.as_bytes()).unwrap();
    read(PromptReader::new(
        body.as_bytes(),
        &facts.prompt.unwrap_or_default(),
    ))
}

fn text(body: &str) -> String {
    let mut bytes = Vec::new();
    with_reader(body, |reader| {
        reader.pieces(&mut |piece| {
            bytes.extend_from_slice(piece);
            ControlFlow::Continue(())
        });
    });
    String::from_utf8(bytes).unwrap()
}

#[rstest]
#[case::completion(json!({"model": "m", "prompt": "Hello World"}), "Hello World")]
#[case::texts(json!({"model": "m", "prompt": ["a", "b"]}), "a\nb")]
#[case::ids(json!({"model": "m", "prompt": [1, 22, 3]}), "1\n22\n3")]
#[case::prompt_before_messages(
    json!({"model": "m", "prompt": "p", "messages": [{"role": "user", "content": "x"}]}),
    "p"
)]
#[case::chat(
    json!({"model": "m", "messages": [
        {"role": "system", "content": "be kind"},
        {"content": "hi", "role": "user"},
    ]}),
    "<|im_start|>system\nbe kind<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n"
)]
#[case::parts(
    json!({"model": "m", "messages": [{"role": "user", "content": [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": "x"}},
        {"text": "b"},
        {"type": "input_text", "text": "c"},
    ]}]}),
    "<|im_start|>user\na\nb\nc<|im_end|>\n"
)]
#[case::messages_that_do_not_count(
    json!({"model": "m", "messages": [
        {"role": 1, "content": "x"},
        {"role": "user"},
        {"role": "user", "content": [{"type": "image_url"}]},
        7,
        {"role": "user", "content": "y"},
    ]}),
    "<|im_start|>user\ny<|im_end|>\n"
)]
#[case::system(
    json!({"model": "m", "system": [{"type": "text", "text": "s"}], "messages": [{"role": "user", "content": "x"}]}),
    "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nx<|im_end|>\n"
)]
#[case::input_text(
    json!({"model": "m", "instructions": "i", "input": "x"}),
    "<|im_start|>developer\ni<|im_end|>\n<|im_start|>user\nx<|im_end|>\n"
)]
#[case::input_items(
    json!({"model": "m", "input": [
        {"role": "user", "content": "x"},
        {"type": "function_call", "role": "user", "content": "no"},
        {"role": "", "content": "no"},
    ]}),
    "<|im_start|>user\nx<|im_end|>\n"
)]
#[case::nothing(json!({"model": "m"}), "")]
fn the_text_of_a_prompt(#[case] body: Value, #[case] wanted: &str) {
    assert_eq!(text(&body.to_string()), wanted);
}

#[rstest]
#[case::simple(r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t")]
#[case::unicode(r#""\u0041é\u00e9""#, "Aéé")]
#[case::pair(r#""a\ud83d\ude00b""#, "a😀b")]
#[case::half_a_pair(r#""a\ud83db""#, "a\u{fffd}b")]
#[case::two_first_halves(r#""\ud83d\ud83d\ude00""#, "\u{fffd}😀")]
#[case::second_half(r#""\ude00x""#, "\u{fffd}x")]
fn escapes(#[case] literal: &str, #[case] wanted: &str) {
    assert_eq!(
        text(&format!(r#"{{"model":"m","prompt":{literal}}}"#)),
        wanted
    );
}

#[test]
fn messages_of_a_chat() {
    let body = json!({"model": "m", "system": "s", "messages": [
        {"role": "user", "content": [{"text": "a\"b"}, {"text": "c"}]},
    ]});
    let messages = with_reader(&body.to_string(), |reader| {
        assert_eq!(reader.completion(), None);
        reader.messages()
    });
    let message = |role: &str, content: &str| Message {
        role: role.to_owned(),
        content: content.to_owned(),
    };
    assert_eq!(
        messages,
        [message("system", "s"), message("user", "a\"b\nc")]
    );
}

#[test]
fn a_completion_has_no_messages() {
    let body = json!({"model": "m", "prompt": "a\nb"}).to_string();
    with_reader(&body, |reader| {
        assert_eq!(reader.completion().as_deref(), Some("a\nb"));
        assert!(reader.messages().is_empty());
    });
}

#[test]
fn a_reader_that_has_enough_gets_no_more() {
    let body = json!({"model": "m", "messages": [
        {"role": "user", "content": "first"}, {"role": "user", "content": "second"},
    ]});
    let mut pieces = 0;
    with_reader(&body.to_string(), |reader| {
        reader.pieces(&mut |_| {
            pieces += 1;
            if pieces == 4 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
    });
    assert_eq!(pieces, 4);
}

proptest! {
    #[test]
    fn any_text_comes_out_as_it_went_in(
        role in any::<String>(),
        contents in prop::collection::vec(any::<String>(), 1..4),
    ) {
        let messages: Vec<_> = contents
            .iter()
            .map(|content| json!({"role": role, "content": content}))
            .collect();
        let body = json!({"model": "m", "messages": messages}).to_string();
        let wanted: Vec<String> = contents
            .iter()
            .map(|content| format!("<|im_start|>{role}\n{content}<|im_end|>\n"))
            .collect();
        let wanted = wanted.concat();
        prop_assert_eq!(text(&body), &*wanted);

        let facts = BodyFacts::read(body.as_bytes()).unwrap();
        prop_assert_eq!(facts.prompt.unwrap().chars, wanted.chars().count() as u64);
    }
}
