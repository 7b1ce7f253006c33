//! Asks an engine for the tokens of a prompt.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kthena_api::model_server::InferenceEngine;
use memchr::memmem;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{Prompt, TokenFault};
use crate::fetch::{FetchLimits, Fetcher};
use crate::tls::EngineTls;

/// How long an engine that failed is left alone.
pub(super) const REST: Duration = Duration::from_secs(5);
/// The same for one that does not tokenize. What serves there may change.
const LONG_REST: Duration = Duration::from_mins(1);
/// Bytes of an answer.
const ANSWER: usize = 16 << 20;
/// Connections kept per engine and thread.
const KEPT: usize = 4;
/// Engines asked for one prompt, at most.
const TRIED: usize = 2;

thread_local! {
    /// Connections of this thread's runtime, by where they lead and whether in TLS.
    static KEPT_OPEN: RefCell<HashMap<(SocketAddr, bool), Vec<Fetcher>>> = RefCell::default();
}

/// Which engines failed lately.
#[derive(Debug, Default)]
pub(super) struct Remote {
    resting: Mutex<HashMap<SocketAddr, Rest>>,
}

/// An engine is left alone.
#[derive(Debug, Clone, Copy)]
struct Rest {
    until: Instant,
    fault: TokenFault,
}

/// Engines that may be asked.
#[derive(Debug)]
pub(super) struct Askable {
    /// In the order they are tried.
    pub(super) addresses: Vec<SocketAddr>,
    /// How they prove who they are; `None` = they speak without TLS.
    pub(super) tls: Option<Arc<EngineTls>>,
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

/// What a body says of its prompt, as it stands there.
#[derive(Deserialize)]
struct Asked<'b> {
    #[serde(borrow)]
    prompt: Option<&'b RawValue>,
    #[serde(borrow)]
    messages: Option<&'b RawValue>,
    /// A message that stands before the others, which engines are not asked for by this path.
    system: Option<IgnoredAny>,
    #[serde(borrow)]
    tools: Option<&'b RawValue>,
    #[serde(borrow)]
    chat_template_kwargs: Option<BTreeMap<String, &'b RawValue>>,
    #[serde(borrow)]
    documents: Option<&'b RawValue>,
    #[serde(borrow)]
    reasoning_effort: Option<&'b RawValue>,
    add_generation_prompt: Option<bool>,
    continue_final_message: Option<bool>,
    add_special_tokens: Option<bool>,
}

#[derive(Serialize)]
struct WholeQuestion<'b> {
    #[serde(skip_serializing_if = "str::is_empty")]
    model: &'b str,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<&'b RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<&'b RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<&'b RawValue>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    chat_template_kwargs: BTreeMap<String, &'b RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    add_generation_prompt: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    continue_final_message: Option<bool>,
    add_special_tokens: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    return_token_strs: Option<bool>,
}

/// What is asked of an engine that must not miss anything the tokens depend on. `None` = the body cannot be asked for.
pub(super) fn whole_question(body: &[u8], model: &str, engine: InferenceEngine) -> Option<Vec<u8>> {
    let asked: Asked<'_> = serde_json::from_slice(body).ok()?;
    // Of several texts the first one counts.
    let prompt = match asked.prompt {
        Some(list) if list.get().starts_with('[') => Some(
            *serde_json::from_str::<Vec<&RawValue>>(list.get())
                .ok()?
                .first()?,
        ),
        prompt => prompt,
    };
    let messages = asked.messages.filter(|_| prompt.is_none());
    if prompt.is_none() && (messages.is_none() || asked.system.is_some()) {
        return None;
    }
    let is_chat = messages.is_some();
    let is_vllm = engine == InferenceEngine::Vllm;
    let named = named(
        asked.chat_template_kwargs,
        asked.documents,
        asked.reasoning_effort,
    )?;
    let question = WholeQuestion {
        model,
        prompt,
        messages,
        tools: asked.tools.filter(|_| is_chat && is_vllm),
        chat_template_kwargs: named,
        add_generation_prompt: asked
            .add_generation_prompt
            .or(Some(true))
            .filter(|_| is_chat && is_vllm),
        continue_final_message: asked.continue_final_message.filter(|_| is_chat && is_vllm),
        add_special_tokens: asked.add_special_tokens.unwrap_or(!is_chat),
        return_token_strs: is_vllm.then_some(false),
    };
    serde_json::to_vec(&question).ok()
}

/// What templates are given by name. A chat's effort of reasoning switches thinking, which an engine that is only asked
/// for tokens has to be told.
fn named<'b>(
    given: Option<BTreeMap<String, &'b RawValue>>,
    documents: Option<&'b RawValue>,
    effort: Option<&'b RawValue>,
) -> Option<BTreeMap<String, &'b RawValue>> {
    const THINKING: &str = "enable_thinking";
    let mut named = given.unwrap_or_default();
    if let Some(effort) = effort {
        let thinks = if effort.get() == "\"none\"" {
            "false"
        } else {
            "true"
        };
        let thinks = serde_json::from_str(thinks).ok()?;
        named.entry(THINKING.to_owned()).or_insert(thinks);
        named.insert("reasoning_effort".to_owned(), effort);
    }
    named.extend(documents.map(|documents| ("documents".to_owned(), documents)));
    Some(named)
}

/// The tokens of an answer; those outside 32 bits are reduced to them.
fn read(answer: &[u8]) -> Option<Vec<u32>> {
    let answer: Answer = serde_json::from_slice(answer).ok()?;
    let low = |token: i64| u32::try_from(token.rem_euclid(1 << 32)).unwrap_or(0);
    Some(answer.tokens.into_iter().map(low).collect())
}

/// Whether an engine has no such path. One that has it says 404 too, of a model that it does not know, and how it came
/// to that.
fn is_unsupported(status: u16, answer: &[u8]) -> bool {
    match status {
        404 => memmem::find(answer, b"\"error\"").is_none(),
        405 | 501 => true,
        _ => false,
    }
}

impl Remote {
    /// Why an engine is not asked now.
    fn rests(&self, address: SocketAddr) -> Option<TokenFault> {
        let mut resting = self.lock();
        let rest = *resting.get(&address)?;
        if rest.until > Instant::now() {
            return Some(rest.fault);
        }
        resting.remove(&address);
        None
    }

    /// The tokens as one of the engines tells them, tried in order. The caller bounds the time of all.
    pub(super) async fn ask_any(
        &self,
        engines: &Askable,
        body: &[u8],
        limit: Duration,
    ) -> Result<Arc<[u32]>, TokenFault> {
        let mut tried = 0;
        // What all of them have in common is told; else that somebody failed, or that nobody could be asked.
        let mut fault = None;
        for address in engines.addresses.iter().copied() {
            let seen = match self.rests(address) {
                Some(TokenFault::Unsupported) => TokenFault::Unsupported,
                Some(_) => TokenFault::Nobody,
                None if tried == TRIED => TokenFault::Nobody,
                None => {
                    tried += 1;
                    match self.ask(address, engines.tls.as_ref(), body, limit).await {
                        Ok(tokens) => return Ok(tokens.into()),
                        Err(fault) => fault,
                    }
                }
            };
            fault = Some(match fault {
                None => seen,
                Some(before) if before == seen => seen,
                Some(TokenFault::Failed) => TokenFault::Failed,
                Some(_) if seen == TokenFault::Failed => TokenFault::Failed,
                Some(_) => TokenFault::Nobody,
            });
        }
        Err(fault.unwrap_or(TokenFault::Nobody))
    }

    /// The tokens, or why not, after which the engine rests. So it does if the caller does not wait for the end.
    async fn ask(
        &self,
        address: SocketAddr,
        tls: Option<&Arc<EngineTls>>,
        body: &[u8],
        limit: Duration,
    ) -> Result<Vec<u32>, TokenFault> {
        let mut failing = Failing {
            remote: self,
            address: Some(address),
            fault: TokenFault::Failed,
        };
        let mut fetcher = take(address, tls);
        let limits = FetchLimits {
            time: limit,
            body: ANSWER,
        };
        let answer = fetcher.post("/tokenize", body, limits).await;
        let (status, answer) = answer.map_err(|_| TokenFault::Failed)?;
        if is_unsupported(status, &answer) {
            failing.fault = TokenFault::Unsupported;
            return Err(TokenFault::Unsupported);
        }
        let tokens = read(&answer).filter(|_| (200..300).contains(&status));
        let tokens = tokens.ok_or(TokenFault::Failed)?;
        put(address, tls.is_some(), fetcher);
        failing.address = None;
        Ok(tokens)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Rest>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets an engine rest unless it was taken back.
struct Failing<'r> {
    remote: &'r Remote,
    address: Option<SocketAddr>,
    fault: TokenFault,
}

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let length = match self.fault {
            TokenFault::Unsupported => LONG_REST,
            _ => REST,
        };
        let until = Instant::now() + length;
        let fault = self.fault;
        self.remote.lock().insert(address, Rest { until, fault });
    }
}

fn take(address: SocketAddr, tls: Option<&Arc<EngineTls>>) -> Fetcher {
    let key = (address, tls.is_some());
    let kept = KEPT_OPEN.with_borrow_mut(|open| open.get_mut(&key)?.pop());
    kept.unwrap_or_else(|| Fetcher::new(address, tls.cloned()))
}

fn put(address: SocketAddr, secure: bool, fetcher: Fetcher) {
    if !fetcher.is_connected() {
        return;
    }
    KEPT_OPEN.with_borrow_mut(|open| {
        let kept = open.entry((address, secure)).or_default();
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

    use super::{body, read, whole_question};
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
    #[case::text(
        r#"{"model":"x","prompt":"a","temperature":0}"#, Vllm,
        Some(json!({"model": "m", "prompt": "a", "add_special_tokens": true, "return_token_strs": false}))
    )]
    #[case::first_of_texts(
        r#"{"prompt":["a","b"],"add_special_tokens":false}"#, Sglang,
        Some(json!({"model": "m", "prompt": "a", "add_special_tokens": false}))
    )]
    #[case::chat(
        r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}],"tools":[{"b":1,"a":2}],"documents":[],
            "reasoning_effort":"none","chat_template_kwargs":{"x":1},"continue_final_message":true,"add_generation_prompt":false}"#,
        Vllm,
        Some(json!({
            "model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}],
            "tools": [{"b": 1, "a": 2}], "continue_final_message": true, "add_generation_prompt": false,
            "chat_template_kwargs": {"x": 1, "documents": [], "reasoning_effort": "none", "enable_thinking": false},
            "add_special_tokens": false, "return_token_strs": false,
        }))
    )]
    #[case::another_path(
        r#"{"system":"s","messages":[{"role":"user","content":"a"}]}"#,
        Vllm,
        None
    )]
    #[case::nothing(r#"{"input":"a"}"#, Vllm, None)]
    fn asks_for_everything(
        #[case] of: &str,
        #[case] engine: InferenceEngine,
        #[case] expected: Option<serde_json::Value>,
    ) {
        let sent = whole_question(of.as_bytes(), "m", engine);
        let sent = sent.map(|sent| serde_json::from_slice::<serde_json::Value>(&sent).unwrap());
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
