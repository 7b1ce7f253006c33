use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kthena_router_observability::figures::TokenizerFigures;
use rstest::rstest;
use serde_json::json;

use super::{LocalTokenizer, Pool};
use crate::tokens::tests::{Engine, find, with};
use crate::tokens::{TokenFault, Tokens, TokensConfig};

/// Models whose tokens a real engine told, and what it told.
const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tokenizer/tests/vectors");

fn recorded(name: &str, title: &str) -> Vec<u32> {
    let text = std::fs::read(Path::new(VECTORS).join(name).join("vectors.json")).unwrap();
    let vectors: BTreeMap<String, Option<Vec<u32>>> = serde_json::from_slice(&text).unwrap();
    vectors[title].clone().unwrap()
}

fn config(folder: impl Into<PathBuf>) -> TokensConfig {
    TokensConfig {
        budget: Duration::from_secs(30),
        local: vec![LocalTokenizer {
            model: "m".to_owned(),
            folder: folder.into(),
        }],
        ..TokensConfig::default()
    }
}

/// Tokens of the model `m`, with the files of the folder `name`.
fn tokens(name: &str) -> Tokens {
    with(&config(Path::new(VECTORS).join(name)))
}

/// An engine's answer.
fn told(tokens: &[u32]) -> (u16, &'static str) {
    (200, Box::leak(json!({"tokens": tokens}).to_string().into()))
}

fn answers(answers: &[(u16, &'static str)]) -> &'static [(u16, &'static str)] {
    Box::leak(answers.into())
}

fn figures(tokens: &Tokens) -> TokenizerFigures {
    let [figures] = <[_; 1]>::try_from(tokens.figures()).unwrap();
    figures
}

/// How many prompts had this result.
fn count(tokens: &Tokens, result: &str) -> u64 {
    let prompts = figures(tokens).prompts;
    let found = prompts.iter().find(|(name, _)| *name == result);
    found.unwrap().1
}

/// Waits for what happens in the background.
async fn until(tokens: &Tokens, holds: impl Fn(&TokenizerFigures) -> bool) {
    let waiting = async {
        while !holds(&figures(tokens)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_mins(1), waiting).await;
    assert!(waited.is_ok(), "{:?}", figures(tokens));
}

const QUESTION: &str =
    r#"{"model":"m","messages":[{"role":"user","content":"What is the capital of France?"}]}"#;

#[tokio::test]
async fn tokens_are_made_here_and_compared_once() {
    let wanted = recorded("byte-level", "one question");
    let engine = Engine::start(answers(&[told(&wanted)])).await;
    let tokens = tokens("byte-level");
    for _ in 0..3 {
        assert_eq!(
            find(&tokens, engine.port, QUESTION).await.as_ref(),
            Ok(&wanted)
        );
    }
    until(&tokens, |figures| figures.kinds[1].same == 1).await;
    assert_eq!(
        find(&tokens, engine.port, QUESTION).await.as_ref(),
        Ok(&wanted)
    );
    assert_eq!(engine.asked(), 1);
    assert_eq!(count(&tokens, "tokenized"), 4);
}

#[tokio::test]
async fn an_engine_that_differs_is_believed_until_it_agrees() {
    let ours = recorded("byte-level", "one question");
    // It is wrong at the first check and when it is asked instead, and right from the next check on.
    let wrong = told(&[1, 2]);
    let engine = Engine::start(answers(&[wrong, wrong, told(&ours)])).await;
    let folder = Path::new(VECTORS).join("byte-level");
    let tokens = with(&TokensConfig {
        check: Duration::from_secs(1),
        ..config(folder)
    });
    assert_eq!(
        find(&tokens, engine.port, QUESTION).await.as_ref(),
        Ok(&ours)
    );
    until(&tokens, |figures| figures.kinds[1].differs).await;
    assert_eq!(find(&tokens, engine.port, QUESTION).await, Ok(vec![1, 2]));

    let agreed = async {
        while find(&tokens, engine.port, QUESTION).await.as_ref() != Ok(&ours) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), agreed)
        .await
        .unwrap();
    let chat = figures(&tokens).kinds[1];
    assert!(
        !chat.differs && chat.different >= 1 && chat.same >= 1,
        "{chat:?}"
    );
}

#[tokio::test]
async fn an_engine_that_does_not_tell_changes_nothing() {
    let ours = recorded("byte-level", "one question");
    let engine = Engine::start(answers(&[(404, "")])).await;
    let tokens = tokens("byte-level");
    assert_eq!(
        find(&tokens, engine.port, QUESTION).await.as_ref(),
        Ok(&ours)
    );
    until(&tokens, |figures| figures.kinds[1].unanswered == 1).await;
    assert_eq!(
        find(&tokens, engine.port, QUESTION).await.as_ref(),
        Ok(&ours)
    );
}

#[rstest]
#[case::a_template_that_refuses(
    r#"{"model":"m","messages":[{"role":"user","content":"a"},{"role":"user","content":"b"}]}"#,
    Err(TokenFault::Failed),
    "failed"
)]
#[case::an_image(
    r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"x"}}]}]}"#,
    Ok(vec![]),
    "unsupported"
)]
#[tokio::test]
async fn what_is_not_tokenized_is_counted(
    #[case] body: &str,
    #[case] wanted: Result<Vec<u32>, TokenFault>,
    #[case] result: &str,
) {
    let engine = Engine::start(&[]).await;
    let tokens = tokens("sentence-piece");
    assert_eq!(find(&tokens, engine.port, body).await, wanted);
    assert_eq!(count(&tokens, result), 1);
    assert_eq!(engine.asked(), 0);
}

#[tokio::test]
async fn nobody_waits_longer_than_the_budget() {
    let engine = Engine::start(&[]).await;
    let mut tokens = with(&TokensConfig {
        budget: Duration::from_millis(5),
        ..config(Path::new(VECTORS).join("byte-level"))
    });
    // Nobody takes the work up, as when all threads are busy.
    tokens.local.as_mut().unwrap().pool = Pool::start(0).unwrap();
    assert_eq!(
        find(&tokens, engine.port, QUESTION).await,
        Err(TokenFault::Late)
    );
    assert_eq!(count(&tokens, "late"), 1);
}

#[tokio::test]
async fn other_models_are_for_engines() {
    let engine = Engine::start(answers(&[told(&[7])])).await;
    let folder = Path::new(VECTORS).join("byte-level");
    let mut config = config(folder);
    "other".clone_into(&mut config.local[0].model);
    assert_eq!(
        find(&with(&config), engine.port, QUESTION).await,
        Ok(vec![7])
    );
}

#[rstest]
#[case::no_tokenizer(None, "{}", "there is no tokenizer.json")]
#[case::no_json(Some("x"), "{}", "tokenizer.json: expected value at line 1")]
#[case::half_a_config(None, "{", "tokenizer_config.json: EOF")]
fn faulty_folders_are_named(
    #[case] tokenizer: Option<&str>,
    #[case] config_text: &str,
    #[case] wanted: &str,
) {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(Path::new(VECTORS).join("byte-level/tokenizer.json")).unwrap();
    let bytes = tokenizer.map_or(&whole[..], str::as_bytes);
    if wanted != "there is no tokenizer.json" {
        std::fs::write(folder.path().join("tokenizer.json"), bytes).unwrap();
    }
    std::fs::write(folder.path().join("tokenizer_config.json"), config_text).unwrap();
    let fault = Tokens::new(&config(folder.path()), std::sync::Arc::default()).unwrap_err();
    let told = format!("{fault}: {}", std::error::Error::source(&fault).unwrap());
    assert!(told.contains(wanted) && told.contains("\"m\""), "{told}");
    assert!(told.contains(folder.path().to_str().unwrap()), "{told}");
}
