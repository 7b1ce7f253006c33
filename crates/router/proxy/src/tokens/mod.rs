//! The tokens of a prompt as the engine would see them.
//!
//! An engine is asked, within one small budget and on connections that are kept; what was answered is remembered by
//! the prompt's hash. Prompts that clients send as numbers need nobody.
//!
//! # Invariants
//!
//! - Asking never takes longer than the budget, whatever engines do.
//! - An engine that failed is left alone for a while; if no other is there, requests go on without tokens at once.
//!
//! # Where to go next
//!
//! `remote` for the question, `cache` for what is remembered.

mod cache;
mod remote;

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use kthena_api::model_server::InferenceEngine;
use kthena_router_pipeline::{Message, PromptFacts, PromptReader};
use kthena_router_scheduler::PromptText;
use kthena_router_view::ServerView;

use cache::{PromptHash, TokenCache};
use remote::Remote;

/// Engines asked for one prompt, at most.
const TRIED: usize = 2;

/// How tokens are found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokensConfig {
    /// What a request may wait for its tokens, above zero.
    pub budget: Duration,
    /// Where vLLM engines tokenize; `None` = where they serve.
    pub vllm_port: Option<u16>,
    /// Where `SGLang` engines tokenize; `None` = where they serve.
    pub sglang_port: Option<u16>,
    /// Bytes of tokens that are remembered.
    pub cache: usize,
}

impl Default for TokensConfig {
    fn default() -> Self {
        Self {
            budget: Duration::from_millis(200),
            vllm_port: None,
            sglang_port: None,
            cache: 32 << 20,
        }
    }
}

/// Why there are no tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenFault {
    #[error("no engine may be asked at the moment")]
    Nobody,
    #[error("no engine answered in time")]
    Late,
    #[error("engines failed")]
    Failed,
}

/// What is to be tokenized.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Prompt {
    Text(String),
    Chat(Vec<Message>),
}

/// Finds out tokens.
#[derive(Debug)]
pub(crate) struct Tokens {
    config: TokensConfig,
    cache: TokenCache,
    remote: Remote,
}

impl Tokens {
    pub(crate) fn new(config: TokensConfig) -> Self {
        Self {
            cache: TokenCache::new(config.cache),
            remote: Remote::default(),
            config,
        }
    }

    /// The tokens of `prompt`, of which `facts` were read, for the engines of `server`, which call the model `model`.
    /// `chance` says with which of them to begin. No tokens = the prompt is empty or of a kind that cannot be tokenized.
    pub(crate) async fn find(
        &self,
        (prompt, facts): (&PromptReader<'_>, &PromptFacts),
        model: &str,
        server: &ServerView,
        chance: u64,
    ) -> Result<Arc<[u32]>, TokenFault> {
        if let Some(ids) = ids(prompt, facts) {
            return Ok(ids.into());
        }
        let hash = PromptHash::of(model, prompt.completion().is_none(), prompt);
        if let Some(tokens) = self.cache.get(hash) {
            return Ok(tokens);
        }
        let Some(text) = read(prompt) else {
            return Ok(Arc::default());
        };
        let body = remote::body(&text, model, server.engine);
        let asking = self.ask(&body, server, chance);
        let tokens = tokio::time::timeout(self.config.budget, asking)
            .await
            .map_err(|_| TokenFault::Late)??;
        self.cache.put(hash, &tokens);
        Ok(tokens)
    }

    /// Asks engines in turn, from a random one on.
    async fn ask(
        &self,
        body: &[u8],
        server: &ServerView,
        chance: u64,
    ) -> Result<Arc<[u32]>, TokenFault> {
        let port = match server.engine {
            InferenceEngine::Vllm => self.config.vllm_port,
            InferenceEngine::Sglang => self.config.sglang_port,
        };
        let count = server.pods().count();
        let first = usize::try_from(chance % (count.max(1) as u64)).unwrap_or(0);
        let addresses = server.pods().chain(server.pods()).skip(first).take(count);
        let mut fault = TokenFault::Nobody;
        let usable = addresses
            .map(|pod| SocketAddr::new(pod.address.ip(), port.unwrap_or(pod.address.port())))
            .filter(|address| !self.remote.rests(*address));
        for address in usable.take(TRIED) {
            match self.remote.ask(address, body, self.config.budget).await {
                Some(tokens) => return Ok(tokens.into()),
                None => fault = TokenFault::Failed,
            }
        }
        Err(fault)
    }
}

/// The prompt's parts; `None` = there is none to be tokenized.
fn read(prompt: &PromptReader<'_>) -> Option<Prompt> {
    if let Some(text) = prompt.completion() {
        return Some(Prompt::Text(text)).filter(|_| !is_empty(prompt));
    }
    let messages = prompt.messages();
    (!messages.is_empty()).then_some(Prompt::Chat(messages))
}

fn is_empty(prompt: &PromptReader<'_>) -> bool {
    let mut empty = true;
    prompt.pieces(&mut |piece| {
        empty &= piece.is_empty();
        if empty {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    empty
}

/// The tokens of a prompt that the client sent as one list of numbers.
fn ids(prompt: &PromptReader<'_>, facts: &PromptFacts) -> Option<Vec<u32>> {
    if facts.token_ids == 0 || facts.chars > 0 {
        return None;
    }
    let mut ids = Some(Vec::new());
    prompt.pieces(&mut |piece| {
        let id = std::str::from_utf8(piece).ok().map(str::trim);
        match (&mut ids, id.map(str::parse)) {
            _ if id == Some("") => ControlFlow::Continue(()),
            (Some(ids), Some(Ok(id))) => {
                ids.push(id);
                ControlFlow::Continue(())
            }
            _ => {
                ids = None;
                ControlFlow::Break(())
            }
        }
    });
    ids
}

#[cfg(test)]
mod tests;
