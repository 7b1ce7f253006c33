use rstest::rstest;
use serde_json::json;

use super::TokenizerFiles;
use crate::Tokenizer;

const TOKENIZER_JSON: &[u8] = include_bytes!("../../tests/vectors/byte-level/tokenizer.json");

fn files(config: &str) -> TokenizerFiles {
    TokenizerFiles {
        tokenizer: TOKENIZER_JSON.to_vec(),
        config: Some(config.into()),
        ..TokenizerFiles::default()
    }
}

#[test]
fn templates_are_where_hugging_face_puts_them() {
    let list = json!({"chat_template": [
        {"name": "default", "template": "a"}, {"name": "tool_use", "template": "b"}, {"name": "rag", "template": "c"},
    ]});
    let list = files(&list.to_string()).templates().unwrap();
    assert_eq!(list.plain.unwrap().text, "a");
    assert_eq!(list.tools.unwrap().text, "b");

    let mut one = files(r#"{"chat_template": "a"}"#);
    assert_eq!(one.templates().unwrap().plain.unwrap().text, "a");
    one.template = Some("of its own".to_owned());
    assert_eq!(one.templates().unwrap().plain.unwrap().text, "of its own");
    assert!(files("{}").templates().unwrap().plain.is_none());
}

#[test]
fn names_of_tokens_are_texts_or_objects() {
    let mut files =
        files(r#"{"bos_token": {"content": "<s>"}, "eos_token": "</s>", "pad_token": null}"#);
    files.special_tokens = Some(br#"{"eos_token": "other", "pad_token": "<pad>"}"#.to_vec());
    let named = files.named_tokens().unwrap();
    let named: Vec<_> = named
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    assert_eq!(
        named,
        [
            ("bos_token", "<s>"),
            ("eos_token", "</s>"),
            ("pad_token", "<pad>")
        ]
    );
}

#[rstest]
#[case::no_object("[]", "tokenizer_config.json: the file: expected an object")]
#[case::half("{\"a\":", "tokenizer_config.json: EOF while parsing")]
#[case::a_number(
    r#"{"chat_template": 1}"#,
    "tokenizer_config.json: chat_template: expected a text, or a list"
)]
#[case::an_item_without_name(
    r#"{"chat_template": [{"template": "x"}]}"#,
    "tokenizer_config.json: chat_template[0].name: expected a text"
)]
#[case::no_default(
    r#"{"chat_template": [{"name": "rag", "template": "x"}]}"#,
    "no template of the list is named \"default\""
)]
#[case::a_token(
    r#"{"bos_token": 1}"#,
    "tokenizer_config.json: bos_token: expected a text"
)]
#[case::syntax(
    r#"{"chat_template": "{% if %}"}"#,
    "tokenizer_config.json: chat_template: syntax error"
)]
fn faults_name_file_field_and_remedy(#[case] config: &str, #[case] wanted: &str) {
    let fault = Tokenizer::load(&files(config)).unwrap_err().to_string();
    assert!(
        fault.starts_with(wanted) || fault.contains(wanted),
        "{fault}"
    );
    assert!(fault.contains(';'), "it says what to do: {fault}");
}

#[rstest]
#[case::nothing("", "tokenizer.json: EOF")]
#[case::another_file(r#"{"model_type": "llama"}"#, "tokenizer.json: ")]
fn a_tokenizer_that_is_none(#[case] text: &str, #[case] wanted: &str) {
    let files = TokenizerFiles {
        tokenizer: text.into(),
        ..TokenizerFiles::default()
    };
    let fault = Tokenizer::load(&files).unwrap_err().to_string();
    assert!(
        fault.starts_with(wanted) && fault.contains("save_pretrained"),
        "{fault}"
    );
}
