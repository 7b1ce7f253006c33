//! Asks an engine for the tokens of a prompt.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kthena_api::model_server::InferenceEngine;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Prompt;
use crate::fetch::{FetchLimits, Fetcher};

/// How long an engine that failed is left alone.
pub(super) const REST: Duration = Duration::from_secs(5);
/// Bytes of an answer.
const ANSWER: usize = 16 << 20;
/// Connections kept per engine and thread.
const KEPT: usize = 4;

thread_local! {
    /// Connections of this thread's runtime.
    static KEPT_OPEN: RefCell<HashMap<SocketAddr, Vec<Fetcher>>> = RefCell::default();
}

/// Which engines failed lately.
#[derive(Debug, Default)]
pub(super) struct Remote {
    resting: Mutex<HashMap<SocketAddr, Instant>>,
}

#[derive(Serialize)]
struct Question<'q> {
    #[serde(skip_serializing_if = "str::is_empty")]
    model: &'q str,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<&'q str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<Vec<Turn<'q>>>,
    add_special_tokens: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    add_generation_prompt: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    return_token_strs: Option<bool>,
}

#[derive(Serialize)]
struct Turn<'q> {
    role: &'q str,
    content: &'q str,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    tokens: Vec<i64>,
}

/// What is sent to an engine of this kind.
pub(super) fn body(prompt: &Prompt, model: &str, engine: InferenceEngine) -> Vec<u8> {
    let is_vllm = engine == InferenceEngine::Vllm;
    let (text, messages) = match prompt {
        Prompt::Text(text) => (Some(text.as_str()), None),
        Prompt::Chat(messages) => {
            let turns = messages.iter().map(|message| Turn {
                role: &message.role,
                content: &message.content,
            });
            (None, Some(turns.collect()))
        }
    };
    let question = Question {
        model,
        prompt: text,
        add_special_tokens: messages.is_none(),
        add_generation_prompt: (is_vllm && messages.is_some()).then_some(true),
        messages,
        return_token_strs: is_vllm.then_some(false),
    };
    // Texts, lists and booleans always serialize.
    serde_json::to_vec(&question).unwrap_or_default()
}

/// The tokens of an answer; those outside 32 bits are reduced to them.
fn read(answer: &[u8]) -> Option<Vec<u32>> {
    let answer: Answer = serde_json::from_slice(answer).ok()?;
    let low = |token: i64| u32::try_from(token.rem_euclid(1 << 32)).unwrap_or(0);
    Some(answer.tokens.into_iter().map(low).collect())
}

impl Remote {
    /// Whether an engine failed a moment ago.
    pub(super) fn rests(&self, address: SocketAddr) -> bool {
        let mut resting = self.lock();
        match resting.get(&address) {
            Some(until) if *until > Instant::now() => true,
            Some(_) => {
                resting.remove(&address);
                false
            }
            None => false,
        }
    }

    /// The tokens, or nothing, after which the engine rests. So it does if the caller does not wait for the end.
    pub(super) async fn ask(
        &self,
        address: SocketAddr,
        body: &[u8],
        limit: Duration,
    ) -> Option<Vec<u32>> {
        let mut failing = Failing {
            remote: self,
            address: Some(address),
        };
        let mut fetcher = take(address);
        let limits = FetchLimits {
            time: limit,
            body: ANSWER,
        };
        let answer = fetcher.post("/tokenize", body, limits).await.ok()?;
        let tokens = read(&answer)?;
        put(address, fetcher);
        failing.address = None;
        Some(tokens)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Instant>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets an engine rest unless it was taken back.
struct Failing<'r> {
    remote: &'r Remote,
    address: Option<SocketAddr>,
}

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        if let Some(address) = self.address {
            self.remote.lock().insert(address, Instant::now() + REST);
        }
    }
}

fn take(address: SocketAddr) -> Fetcher {
    let kept = KEPT_OPEN.with_borrow_mut(|open| open.get_mut(&address)?.pop());
    kept.unwrap_or_else(|| Fetcher::new(address))
}

fn put(address: SocketAddr, fetcher: Fetcher) {
    if !fetcher.is_connected() {
        return;
    }
    KEPT_OPEN.with_borrow_mut(|open| {
        let kept = open.entry(address).or_default();
        if kept.len() < KEPT {
            kept.push(fetcher);
        }
    });
}

#[cfg(test)]
mod tests {
    use kthena_api::model_server::InferenceEngine::{self, Sglang, Vllm};
    use kthena_router_pipeline::Message;
    use rstest::rstest;
    use serde_json::json;

    use super::{body, read};
    use crate::tokens::Prompt;

    fn text() -> Prompt {
        Prompt::Text("hello".to_owned())
    }

    fn chat() -> Prompt {
        Prompt::Chat(vec![Message {
            role: "user".to_owned(),
            content: "hello".to_owned(),
        }])
    }

    #[rstest]
    #[case::vllm_text(text(), "m", Vllm, json!({"model": "m", "prompt": "hello", "add_special_tokens": true, "return_token_strs": false}))]
    #[case::vllm_chat(chat(), "m", Vllm, json!({"model": "m", "messages": [{"role": "user", "content": "hello"}], "add_special_tokens": false, "add_generation_prompt": true, "return_token_strs": false}))]
    #[case::sglang_text(text(), "m", Sglang, json!({"model": "m", "prompt": "hello", "add_special_tokens": true}))]
    #[case::sglang_chat(chat(), "m", Sglang, json!({"model": "m", "messages": [{"role": "user", "content": "hello"}], "add_special_tokens": false}))]
    #[case::no_model(text(), "", Sglang, json!({"prompt": "hello", "add_special_tokens": true}))]
    fn asks(
        #[case] prompt: Prompt,
        #[case] model: &str,
        #[case] engine: InferenceEngine,
        #[case] expected: serde_json::Value,
    ) {
        let sent: serde_json::Value =
            serde_json::from_slice(&body(&prompt, model, engine)).unwrap();
        assert_eq!(sent, expected);
    }

    #[rstest]
    #[case::vllm(r#"{"count":2,"max_model_len":4096,"tokens":[304,303],"token_strs":null}"#, Some(&[304, 303][..]))]
    #[case::none(r#"{"count":0}"#, Some(&[][..]))]
    #[case::wide(r#"{"tokens":[4294967296,-1]}"#, Some(&[0, u32::MAX][..]))]
    #[case::text("not found", None)]
    #[case::words(r#"{"tokens":["a"]}"#, None)]
    fn reads(#[case] answer: &str, #[case] expected: Option<&[u32]>) {
        assert_eq!(read(answer.as_bytes()).as_deref(), expected);
    }
}
