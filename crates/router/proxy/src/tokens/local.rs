//! Tokens made in this process, by the model's own files.
//!
//! # Invariants
//!
//! - The threads that serve connections do none of it, and wait no longer than the budget.
//! - Where a check found that an engine makes other tokens, its own answer is used until a check agrees.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Zoned;
use kthena_api::model_server::InferenceEngine;
use kthena_router_observability::figures::TokenizerFigures;
use kthena_router_tokenizer::{EncodeFault, Kind, Prompt, Tokenizer};
use kthena_router_tokens::{Checks, Outcome, Pool, PromptHash, TokenCache, Verdict};
use memchr::memmem;
use tokio::time::Instant;

use super::remote;
use super::{Engines, TokenFault, TokensConfig, Wanted};
use crate::error::ProxyError;

/// Bytes of a body beyond which it is not tokenized: it would take about as long as anybody waits for it.
const BODY: usize = 512 << 10;
/// Threads at most.
const THREADS: usize = 4;
/// What an engine's answer to a check may take.
const CHECK: Duration = Duration::from_secs(5);

/// A model whose prompts the router tokenizes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalTokenizer {
    /// The name engines know the model by.
    pub model: String,
    /// Where its `tokenizer.json`, `tokenizer_config.json` and template are.
    pub folder: PathBuf,
}

/// All models that are tokenized here.
#[derive(Debug)]
pub(super) struct Local {
    models: HashMap<String, Arc<Model>>,
    pool: Pool,
    budget: Duration,
}

#[derive(Debug)]
struct Model {
    name: String,
    tokenizer: Tokenizer,
    checks: Arc<Checks>,
}

/// What the pool made of a prompt.
struct Encoded {
    kind: Kind,
    tokens: Arc<[u32]>,
}

impl Local {
    /// Reads the folders; `None` = there are none.
    pub(super) fn load(config: &TokensConfig) -> Result<Option<Self>, ProxyError> {
        if config.local.is_empty() {
            return Ok(None);
        }
        let mut models = HashMap::new();
        for LocalTokenizer { model, folder } in &config.local {
            let tokenizer =
                kthena_router_tokens::load(folder).map_err(|source| ProxyError::Tokenizer {
                    model: model.clone(),
                    source,
                })?;
            if !tokenizer.has_template() {
                tracing::warn!(
                    model, folder = %folder.display(),
                    "the model has no chat template, so its chats go without tokens"
                );
            }
            let loaded = Model {
                name: model.clone(),
                tokenizer,
                checks: Checks::new(config.check),
            };
            models.insert(model.clone(), Arc::new(loaded));
        }
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let pool = Pool::start(threads.div_ceil(2).min(THREADS)).map_err(ProxyError::Worker)?;
        Ok(Some(Self {
            models,
            pool,
            budget: config.budget,
        }))
    }

    /// The tokens of a prompt; `None` = its model is not tokenized here. An adapter's prompts are those of its base.
    pub(super) async fn find(
        &self,
        wanted: &Wanted<'_>,
        cache: &Arc<TokenCache>,
        engines: &Engines,
    ) -> Option<Result<Arc<[u32]>, TokenFault>> {
        let base = wanted.server.model.as_deref();
        let model = self.models.get(wanted.model);
        let model = model.or_else(|| self.models.get(base?))?;
        let begun = Instant::now();
        let encoding = tokio::time::timeout(self.budget, self.encode(model, wanted.body, cache));
        let Ok(Some(encoded)) = encoding.await else {
            model.checks.count(Outcome::Late);
            return Some(Err(TokenFault::Late));
        };
        let encoded = match encoded {
            Ok(encoded) => encoded,
            Err(fault) => return Some(model.refused(&fault)),
        };
        model.checks.count(Outcome::Tokenized);
        model.check(&encoded, wanted, engines);
        if !model.checks.differs(encoded.kind) {
            return Some(Ok(encoded.tokens));
        }
        let left = self.budget.saturating_sub(begun.elapsed());
        Some(ask(wanted, engines, cache, left).await)
    }

    /// `None` = too much waits.
    async fn encode(
        &self,
        model: &Arc<Model>,
        body: &[u8],
        cache: &Arc<TokenCache>,
    ) -> Option<Result<Encoded, EncodeFault>> {
        if body.len() > BODY {
            return Some(Err(EncodeFault::Unsupported("more than half a mebibyte")));
        }
        let (model, body, cache) = (Arc::clone(model), body.to_vec(), Arc::clone(cache));
        let work = move || {
            let prompt = Prompt::read(&body)?;
            // An engine's own clock is taken to be in the same zone.
            let now = Zoned::now().datetime();
            let tokens = model.tokenizer.tokens(&prompt, now, &*cache)?;
            Ok(Encoded {
                kind: prompt.kind(),
                tokens: tokens.into(),
            })
        };
        self.pool.run(work).await
    }

    /// Numbers for metrics, ordered by model.
    pub(super) fn figures(&self) -> Vec<TokenizerFigures> {
        let figures = self.models.values();
        let mut figures: Vec<_> = figures
            .map(|model| model.checks.figures(&model.name))
            .collect();
        figures.sort_by(|one, other| one.model.cmp(&other.model));
        figures
    }
}

impl Model {
    /// What a prompt has that was not tokenized.
    fn refused(&self, fault: &EncodeFault) -> Result<Arc<[u32]>, TokenFault> {
        tracing::debug!(model = self.name, %fault, "a prompt is not tokenized");
        match fault {
            EncodeFault::Template(_) | EncodeFault::Tokenizer(_) => {
                self.checks.count(Outcome::Failed);
                Err(TokenFault::Failed)
            }
            // Nothing is wrong: the tokens of such prompts cannot be known.
            EncodeFault::Malformed(_) | EncodeFault::Unsupported(_) | EncodeFault::NoTemplate => {
                self.checks.count(Outcome::Unsupported);
                Ok(Arc::default())
            }
        }
    }

    /// Compares with an engine's answer in the background, if it is time to.
    fn check(&self, encoded: &Encoded, wanted: &Wanted<'_>, engines: &Engines) {
        let engine = wanted.server.engine;
        // Engines of this kind are not told of tools, and none knows this name unless it is to answer a chat: their
        // answer would be that to another question.
        let untold = encoded.kind == Kind::Tools && engine == InferenceEngine::Sglang
            || memmem::find(wanted.body, b"\"reasoning_content\"").is_some();
        if untold {
            return;
        }
        let checking = self
            .checks
            .begin(encoded.kind, Instant::now(), fastrand::f64());
        let Some(checking) = checking else {
            return;
        };
        let (model, kind) = (self.name.clone(), encoded.kind);
        let ours = Arc::clone(&encoded.tokens);
        let question = remote::whole_question(wanted.body, wanted.model, engine);
        let askable = engines.askable(wanted);
        let remote = Arc::clone(&engines.remote);
        tokio::spawn(async move {
            let Some(question) = question else {
                return;
            };
            let Ok(theirs) = remote.ask_any(&askable, &question, CHECK).await else {
                return;
            };
            let verdict = Verdict::of(&ours, &theirs);
            let change = checking.end(verdict);
            tell((&model, kind), verdict, change, (&ours, &theirs));
        });
    }
}

/// Says once when tokens begin to differ, and when they do no more.
fn tell(
    (model, kind): (&str, Kind),
    verdict: Verdict,
    change: (bool, bool),
    (ours, theirs): (&[u32], &[u32]),
) {
    match (change, verdict) {
        ((false, true), Verdict::Different(position)) => tracing::warn!(
            model, ?kind, position,
            ours = ?ours.get(position), theirs = ?theirs.get(position),
            our_count = ours.len(), their_count = theirs.len(),
            "an engine makes other tokens than the model's folder; its own answers are used until they agree"
        ),
        ((true, false), _) => tracing::info!(
            model,
            ?kind,
            "the engine's tokens are those of the model's folder again"
        ),
        _ => {}
    }
}

/// The engine's own answer to the whole question, within `limit`.
async fn ask(
    wanted: &Wanted<'_>,
    engines: &Engines,
    cache: &TokenCache,
    limit: Duration,
) -> Result<Arc<[u32]>, TokenFault> {
    let Some(question) = remote::whole_question(wanted.body, wanted.model, wanted.server.engine)
    else {
        return Ok(Arc::default());
    };
    let hash = PromptHash::of_question(&question);
    if let Some(tokens) = cache.get(hash) {
        return Ok(tokens);
    }
    let askable = engines.askable(wanted);
    let asking = engines.remote.ask_any(&askable, &question, limit);
    let tokens = tokio::time::timeout(limit, asking)
        .await
        .map_err(|_| TokenFault::Late)??;
    cache.put(hash, &tokens);
    Ok(tokens)
}

#[cfg(test)]
mod tests;
