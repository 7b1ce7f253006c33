//! The tokens of a prompt as the engine would see them.
//!
//! For models whose files the router was given they are made here; for all others an engine is asked, on connections
//! that are kept. Either happens within one small budget, and what was found is remembered. Prompts that clients send
//! as numbers need nobody.
//!
//! # Invariants
//!
//! - Finding tokens never takes longer than the budget, whatever engines do.
//! - An engine that failed is left alone for a while, one that has no such path for longer; if no other is there,
//!   requests go on without tokens at once.
//!
//! # Where to go next
//!
//! `remote` for the question to an engine, `local` for what is made here, the crate of tokens for threads, memory and
//! checks.

mod local;
mod remote;

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use kthena_api::model_server::Protocol;
use kthena_router_observability::figures::TokenizerFigures;
use kthena_router_pipeline::{Message, PromptFacts, PromptReader};
use kthena_router_scheduler::PromptText;
use kthena_router_tokens::{PromptHash, TokenCache};
use kthena_router_view::ServerView;

use crate::error::ProxyError;
use crate::tls::EngineTls;
use local::Local;
use remote::{Askable, Remote};

pub use kthena_router_tokens::TokenizerFolderError;
pub use local::LocalTokenizer;

/// How tokens are found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokensConfig {
    /// What a request may wait for its tokens, above zero.
    pub budget: Duration,
    /// Bytes of tokens that are remembered.
    pub cache: usize,
    /// Models that are tokenized here.
    pub local: Vec<LocalTokenizer>,
    /// How often their tokens are compared with an engine's, about. Above zero.
    pub check: Duration,
}

impl Default for TokensConfig {
    fn default() -> Self {
        Self {
            budget: Duration::from_millis(200),
            cache: 32 << 20,
            local: Vec::new(),
            check: Duration::from_mins(5),
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
    /// Whatever the server calls them, they are other engines.
    #[error("the engines do not tokenize")]
    Unsupported,
}

/// What is to be tokenized.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Prompt {
    Text(String),
    Chat(Vec<Message>),
}

/// A prompt whose tokens are wanted.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) prompt: PromptReader<'a>,
    pub(crate) facts: &'a PromptFacts,
    /// The whole request.
    pub(crate) body: &'a [u8],
    /// The name engines know the model or adapter by.
    pub(crate) model: &'a str,
    pub(crate) server: &'a ServerView,
    /// Where its engines tokenize; `None` = where they serve.
    pub(crate) port: Option<u16>,
    /// Says which engine is asked first.
    pub(crate) chance: u64,
}

/// Finds out tokens.
#[derive(Debug)]
pub(crate) struct Tokens {
    budget: Duration,
    cache: Arc<TokenCache>,
    engines: Engines,
    local: Option<Local>,
}

/// How engines are asked.
#[derive(Debug)]
struct Engines {
    tls: Arc<EngineTls>,
    remote: Arc<Remote>,
}

impl Engines {
    /// Those that may be asked, from a random one on.
    fn askable(&self, wanted: &Wanted<'_>) -> Askable {
        let server = wanted.server;
        let count = server.pods().count();
        let first = usize::try_from(wanted.chance % (count.max(1) as u64)).unwrap_or(0);
        let pods = server.pods().chain(server.pods()).skip(first).take(count);
        let port = |served: u16| wanted.port.unwrap_or(served);
        let addresses = pods.map(|pod| SocketAddr::new(pod.address.ip(), port(pod.address.port())));
        Askable {
            addresses: addresses.collect(),
            tls: (server.protocol == Protocol::Https).then(|| Arc::clone(&self.tls)),
        }
    }
}

impl Tokens {
    /// Reads the files of the models that are tokenized here.
    pub(crate) fn new(config: &TokensConfig, tls: Arc<EngineTls>) -> Result<Self, ProxyError> {
        Ok(Self {
            budget: config.budget,
            cache: Arc::new(TokenCache::new(config.cache)),
            engines: Engines {
                tls,
                remote: Arc::default(),
            },
            local: Local::load(config)?,
        })
    }

    /// The tokens of a prompt; no tokens = it is empty or of a kind that cannot be tokenized.
    pub(crate) async fn find(&self, wanted: Wanted<'_>) -> Result<Arc<[u32]>, TokenFault> {
        if let Some(ids) = ids(&wanted.prompt, wanted.facts) {
            return Ok(ids.into());
        }
        if let Some(local) = &self.local
            && let Some(found) = local.find(&wanted, &self.cache, &self.engines).await
        {
            return found;
        }
        let prompt = &wanted.prompt;
        let hash = PromptHash::of(wanted.model, prompt.completion().is_none(), prompt);
        if let Some(tokens) = self.cache.get(hash) {
            return Ok(tokens);
        }
        let Some(text) = read(prompt) else {
            return Ok(Arc::default());
        };
        let body = remote::body(&text, wanted.model, wanted.server.engine);
        let engines = self.engines.askable(&wanted);
        let asking = self.engines.remote.ask_any(&engines, &body, self.budget);
        let tokens = tokio::time::timeout(self.budget, asking)
            .await
            .map_err(|_| TokenFault::Late)??;
        self.cache.put(hash, &tokens);
        Ok(tokens)
    }

    /// Numbers for metrics.
    pub(crate) fn figures(&self) -> Vec<TokenizerFigures> {
        self.local.as_ref().map(Local::figures).unwrap_or_default()
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
