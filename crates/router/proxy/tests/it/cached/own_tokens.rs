//! The same with prompts that the router tokenizes itself.

use std::time::Duration;

use kthena_engine_sim::text::tokenizer::encode;
use kthena_router_proxy::LocalTokenizer;
use serde_json::json;

use super::{Engines, REPEATS, answered_by, by_cache, closed_port, events, prompt, value};
use crate::client::soon;
use crate::setup::{TestRouter, view_of};

const WORDS: [&str; 4] = ["one", " one", "other", " other"];

/// A folder whose tokenizer gives each token of the prompts the id that simulated engines give it, plus `shift`.
fn folder(shift: u32) -> tempfile::TempDir {
    let id = |text: &str| {
        let ids = encode(text);
        assert_eq!(ids.len(), 1, "{text:?} is one token");
        ids[0] + shift
    };
    let mut words: serde_json::Map<_, _> = WORDS
        .iter()
        .map(|word| ((*word).to_owned(), json!(id(word))))
        .collect();
    words.insert(" ".to_owned(), json!(id(" ")));
    words.insert("?".to_owned(), json!(0));
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {
            "type": "Split", "pattern": {"Regex": " ?[a-z]+"}, "behavior": "Isolated", "invert": false,
        },
        "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "?"},
    });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    folder
}

fn local(folder: &tempfile::TempDir) -> Vec<LocalTokenizer> {
    vec![LocalTokenizer {
        model: "m".to_owned(),
        folder: folder.path().to_owned(),
    }]
}

/// Asks for each word until the caches decide.
async fn goes_where_it_is_cached(router: &TestRouter, words: &[&str]) {
    for word in words {
        let before = value(router, "kv_index_blocks").await;
        let (first, _) = answered_by(router, &prompt(word)).await;
        soon(async { while value(router, "kv_index_blocks").await < before + 10 {} }).await;
        for _ in 0..REPEATS {
            let (pod, told) = answered_by(router, &prompt(word)).await;
            assert_eq!(pod, first, "{told}");
        }
    }
}

#[tokio::test]
async fn a_prompt_tokenized_here_goes_where_it_is_cached() {
    let engines = Engines::start(2).await;
    let folder = folder(0);
    let mut config = by_cache(events(engines.events));
    config.kv.as_mut().unwrap().tokens.local = local(&folder);
    // Engines could not be asked.
    let plugin = &mut config.scheduling.config.args.kvcache_aware;
    plugin.vllm_tokenizer_port = Some(closed_port().await);
    let router = TestRouter::start(config).await;
    let mut view = view_of(&engines.addresses, &json!({}));
    router.publisher.publish(view.snapshot());
    engines.until_known(&router).await;

    goes_where_it_is_cached(&router, &["one", "other"]).await;

    let asked = 2 * (REPEATS + 1);
    let line =
        format!(r#"kthena_router_tokenizer_prompts_total{{model="m",result="tokenized"}} {asked}"#);
    router.until_metric(&line).await;
    let line =
        r#"kthena_router_tokenizer_checks_total{model="m",kind="text",result="unanswered"} 1"#;
    router.until_metric(line).await;
}

#[tokio::test]
async fn a_folder_of_another_model_is_found_out() {
    let engines = Engines::start(2).await;
    let folder = folder(1);
    let mut config = by_cache(events(engines.events));
    let kv = config.kv.as_mut().unwrap();
    kv.tokens.local = local(&folder);
    kv.tokens.check = Duration::from_hours(1);
    let router = TestRouter::start(config).await;
    let mut view = view_of(&engines.addresses, &json!({}));
    router.publisher.publish(view.snapshot());
    engines.until_known(&router).await;

    answered_by(&router, &prompt("one")).await;
    let line = r#"kthena_router_tokenizer_differs{model="m",kind="text"} 1"#;
    router.until_metric(line).await;
    // From now on engines tell, so that what they hold is found again.
    goes_where_it_is_cached(&router, &["other"]).await;
}
