//! The tokens of prompts, beside those that a real engine told.
//!
//! `tests/vectors/make.py` made the folders and says what they were recorded with.

#![expect(
    clippy::unwrap_used,
    reason = "in a test a panic is the report; helpers are not marked as tests"
)]

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex};

use jiff::civil::{DateTime, date};
use kthena_router_tokenizer::{
    NoMemory, Prompt, SegmentKey, SegmentMemory, Tokenizer, TokenizerFiles,
};
use proptest::prelude::{Strategy, any, prop, prop_assert_eq, proptest};
use rstest::rstest;
use serde_json::{Value, json};

macro_rules! folder {
    ($name:literal) => {
        Folder {
            files: TokenizerFiles {
                tokenizer: include_bytes!(concat!("../vectors/", $name, "/tokenizer.json"))
                    .to_vec(),
                config: Some(
                    include_bytes!(concat!("../vectors/", $name, "/tokenizer_config.json"))
                        .to_vec(),
                ),
                ..TokenizerFiles::default()
            },
            recorded: include_str!(concat!("../vectors/", $name, "/vectors.json")),
        }
    };
}

struct Folder {
    files: TokenizerFiles,
    recorded: &'static str,
}

fn byte_level() -> Folder {
    let mut folder = folder!("byte-level");
    let template = include_str!("../vectors/byte-level/chat_template.jinja");
    folder.files.template = Some(template.to_owned());
    folder
}

fn begin_token() -> Folder {
    folder!("begin-token")
}

fn sentence_piece() -> Folder {
    folder!("sentence-piece")
}

fn now() -> DateTime {
    date(2026, 7, 1).at(12, 0, 0, 0)
}

/// Remembers everything, and how often that was of use.
#[derive(Default)]
struct Elephant {
    known: Mutex<HashMap<SegmentKey, Arc<[u32]>>>,
    hits: Mutex<usize>,
}

impl SegmentMemory for Elephant {
    fn get(&self, key: SegmentKey) -> Option<Arc<[u32]>> {
        let found = self.known.lock().unwrap().get(&key).cloned();
        *self.hits.lock().unwrap() += usize::from(found.is_some());
        found
    }

    fn put(&self, key: SegmentKey, tokens: &Arc<[u32]>) {
        self.known.lock().unwrap().insert(key, Arc::clone(tokens));
    }
}

fn tokens(
    tokenizer: &Tokenizer,
    body: &Value,
    memory: &dyn SegmentMemory,
) -> Result<Vec<u32>, String> {
    let prompt = Prompt::read(body.to_string().as_bytes()).map_err(|fault| fault.to_string())?;
    tokenizer
        .tokens(&prompt, now(), memory)
        .map_err(|fault| fault.to_string())
}

#[rstest]
#[case::byte_level(byte_level())]
#[case::begin_token(begin_token())]
#[case::sentence_piece(sentence_piece())]
fn tokens_are_those_of_the_engine(#[case] folder: Folder) {
    let tokenizer = Tokenizer::load(&folder.files).unwrap();
    // The order of members is part of what is asked.
    let requests = include_str!("../vectors/requests.json");
    let requests: BTreeMap<String, Box<serde_json::value::RawValue>> =
        serde_json::from_str(requests).unwrap();
    let recorded: BTreeMap<String, Option<Vec<u32>>> =
        serde_json::from_str(folder.recorded).unwrap();
    assert_eq!(requests.len(), recorded.len());

    let mut wrong = Vec::new();
    for (title, body) in &requests {
        let prompt = Prompt::read(body.get().as_bytes()).unwrap();
        let found = tokenizer.tokens(&prompt, now(), &NoMemory);
        match (&recorded[title], found) {
            (Some(wanted), Ok(found)) if *wanted == found => {}
            (None, Err(_)) => {}
            (wanted, found) => wrong.push(format!("{title}:\n  {wanted:?}\n  {found:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[rstest]
#[case::byte_level(byte_level())]
#[case::begin_token(begin_token())]
#[case::sentence_piece(sentence_piece())]
fn the_next_turn_costs_only_what_it_adds(#[case] folder: Folder) {
    let tokenizer = Tokenizer::load(&folder.files).unwrap();
    let memory = Elephant::default();
    let question = "What is the capital of France, and what is the weather there today? ".repeat(3);
    let mut messages = Vec::new();
    for turn in 0..4 {
        messages.push(json!({"role": "user", "content": format!("{turn} {question}")}));
        let body = json!({"model": "m", "messages": messages});
        let known = memory.known.lock().unwrap().len();
        let found = tokens(&tokenizer, &body, &memory);
        assert_eq!(found, tokens(&tokenizer, &body, &NoMemory));
        assert!(
            memory.known.lock().unwrap().len() <= known + 2,
            "only what is new is remembered"
        );
        messages.push(json!({"role": "assistant", "content": format!("{turn} The capital of France is Paris. {question}")}));
    }
    // Each turn looks up all messages but its question and the answer before it.
    assert_eq!(*memory.hits.lock().unwrap(), 1 + 3 + 5);
}

/// Texts with special tokens of all folders in them.
fn text() -> impl Strategy<Value = String> {
    let mark = prop::sample::select(vec![
        "<|im_start|>",
        "<|im_end|>",
        "<think>",
        "[INST]",
        "[/INST]",
        "</s>",
        "<|begin|>",
        "<|turn|>",
        " ",
        "\n",
        "<|",
    ]);
    let piece = proptest::prop_oneof![
        mark.prop_map(str::to_owned),
        any::<String>(),
        "[a-z ]{0,120}",
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

static ALL: LazyLock<[Tokenizer; 3]> = LazyLock::new(|| {
    [byte_level(), begin_token(), sentence_piece()]
        .map(|folder| Tokenizer::load(&folder.files).unwrap())
});

proptest! {
    #[test]
    fn memory_changes_nothing(texts in prop::collection::vec(text(), 1..4), special in any::<bool>()) {
        for tokenizer in &*ALL {
            let memory = Elephant::default();
            for _ in 0..2 {
                for text in &texts {
                    let body = json!({"prompt": text, "add_special_tokens": special});
                    prop_assert_eq!(
                        tokens(tokenizer, &body, &memory),
                        tokens(tokenizer, &body, &NoMemory)
                    );
                }
            }
        }
    }
}
