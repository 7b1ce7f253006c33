//! What engines hold in their caches, for the policies that want to know.
//!
//! There are two ways to know it: the router listens to the engines itself and keeps an index in memory, or it reads
//! what sidecars wrote to Redis. Either way a request's tokens are found out once, before it is first placed, and
//! serve all its placements.
//!
//! # Invariants
//!
//! - No request fails because of what happens here; it goes on without.
//! - What is added to a request's time is at most the budget for tokens and, with Redis, that for reading.
//!
//! # Where to go next
//!
//! [`KvAware::learn`] for a request, [`KvAware::keep_up`] for what runs beside them; the index itself is in the crate
//! of cache events.

mod known;
mod listen;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use kthena_api::model_server::InferenceEngine;
use kthena_kv_events::index::CacheIndex;
use kthena_kv_events::redis::RedisAddress;
use kthena_kv_events::shared_index::{ReaderConfig, SharedIndex};
use kthena_kv_events::subscriber::Heard;
use kthena_router_observability::figures::{IndexFigures, MemoryIndex, TokenizerFigures};
use kthena_router_observability::{KvStage, SchedulingCell};
use kthena_router_pipeline::{BodyFacts, Matched, Prior, PromptFacts, PromptReader};
use kthena_router_plugins::kvcache_aware::KvcacheAwareConfig;
use kthena_router_view::{ServerView, Snapshot};
use tokio::sync::watch;

use crate::error::ProxyError;
use crate::scrape::{EngineFigures, Pod};
use crate::tls::EngineTls;
use crate::tokens::{TokenFault, Tokens, TokensConfig, Wanted};
use known::FromRedis;

/// How it is found out what engines hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvConfig {
    /// Where the knowledge comes from.
    pub source: KvSource,
    /// How prompts become tokens.
    pub tokens: TokensConfig,
}

/// Where the knowledge comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvSource {
    /// The engines' own events, heard by the router and kept in memory.
    Events(EventSource),
    /// What sidecars wrote to Redis.
    Redis {
        /// Where Redis is.
        address: RedisAddress,
        /// What a request may wait for it.
        budget: Duration,
    },
}

/// Where engines publish, if annotations of their server do not say otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSource {
    /// Where the first rank of an engine publishes; further ranks do on the ports after it.
    pub port: u16,
    /// Ranks per engine, at least one.
    pub ranks: u16,
    /// The topic of vLLM's events; empty = whatever they have. That of `SGLang` does not matter.
    pub topic: String,
    /// Where missed events can be asked for again, per rank as `port`; `None` = nowhere.
    pub replay_port: Option<u16>,
    /// Bytes the index may use.
    pub budget: usize,
}

/// What was found out about one request.
#[derive(Clone, Default)]
pub(crate) struct Learned {
    /// The prompt's tokens, and who holds them.
    pub(crate) prior: Prior,
    /// How long tokens took; `None` = they were not asked for.
    pub(crate) tokenizing: Option<Duration>,
    /// How long Redis took; `None` = it was not asked.
    pub(crate) reading: Option<Duration>,
    /// What went wrong.
    pub(crate) failed: Option<KvStage>,
    /// The engines do not tokenize; what their server calls them.
    pub(crate) unsupported: Option<&'static str>,
}

impl Learned {
    /// Counts what it took to find this out.
    pub(crate) fn count(&self, cell: &SchedulingCell) {
        if let Some(engine) = self.unsupported {
            cell.tokenizer_unsupported(engine);
        }
        let stages = [
            (KvStage::Tokenize, self.tokenizing),
            (KvStage::Redis, self.reading),
        ];
        for (stage, took) in stages {
            match took {
                _ if self.failed == Some(stage) => cell.kv_failed(stage),
                Some(took) => cell.kv_took(stage, took),
                None => {}
            }
        }
    }
}

/// Finds out what engines hold of prompts.
pub(crate) struct KvAware {
    tokens: Tokens,
    engines: Arc<EngineFigures>,
    index: Index,
    /// Somebody was told that engines have other blocks than were configured.
    told: AtomicBool,
}

enum Index {
    Memory {
        source: EventSource,
        index: Arc<CacheIndex>,
        heard: Arc<Heard>,
    },
    Redis(Box<SharedIndex>),
}

/// The member of a body that keeps its cache from others. Inside texts the quotes would be escaped.
const CACHE_SALT: &[u8] = b"\"cache_salt\"";

/// A request that is about to be placed.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) prompt: PromptReader<'a>,
    pub(crate) facts: &'a PromptFacts,
    /// The whole request.
    pub(crate) body: &'a [u8],
    /// The name engines know the model or adapter by.
    pub(crate) model: &'a str,
    pub(crate) adapter: bool,
    pub(crate) server: &'a ServerView,
    /// Says which engine is asked first.
    pub(crate) chance: u64,
}

impl<'a> Asking<'a> {
    /// What is asked for a request whose route was found; `None` = it does not go to engines, has no prompt,
    /// or a cache of its own.
    pub(crate) fn of(
        matched: &Matched<'_>,
        body: &'a [u8],
        facts: &'a BodyFacts,
        snapshot: &'a Snapshot,
        rng: &mut Rng,
    ) -> Option<Self> {
        let server = matched.server(snapshot)?;
        let prompt = facts.prompt.as_ref()?;
        // What is cached under a salt is of use to requests with the same one only, and the index does not know whose is whose.
        memchr::memmem::find(body, CACHE_SALT)
            .is_none()
            .then_some(())?;
        let adapter = matched.is_adapter();
        let base = server.model.as_deref().filter(|_| !adapter);
        Some(Self {
            prompt: PromptReader::new(body, prompt),
            facts: prompt,
            body,
            model: base.unwrap_or(&facts.model),
            adapter,
            server,
            chance: rng.u64(..),
        })
    }

    fn wanted(&self, plugin: &KvcacheAwareConfig) -> Wanted<'a> {
        let port = match self.server.engine {
            InferenceEngine::Vllm => plugin.vllm_tokenizer_port,
            InferenceEngine::Sglang => plugin.sglang_tokenizer_port,
        };
        Wanted {
            port,
            prompt: self.prompt,
            facts: self.facts,
            body: self.body,
            model: self.model,
            server: self.server,
            chance: self.chance,
        }
    }
}

impl KvAware {
    /// `None` if there is no config.
    pub(crate) fn new(
        config: Option<&KvConfig>,
        engines: Arc<EngineFigures>,
        tls: Arc<EngineTls>,
    ) -> Result<Option<Self>, ProxyError> {
        let Some(config) = config else {
            return Ok(None);
        };
        let index = match &config.source {
            KvSource::Events(source) => Index::Memory {
                index: Arc::new(CacheIndex::new(source.budget, fastrand::u64(..))),
                heard: Arc::default(),
                source: source.clone(),
            },
            KvSource::Redis { address, budget } => {
                let reader = ReaderConfig {
                    budget: *budget,
                    ..ReaderConfig::default()
                };
                let index = SharedIndex::new(address, reader).map_err(ProxyError::Redis)?;
                Index::Redis(Box::new(index))
            }
        };
        Ok(Some(Self {
            tokens: Tokens::new(&config.tokens, tls)?,
            engines,
            index,
            told: AtomicBool::new(false),
        }))
    }

    /// Follows engines, while it is `wanted`, or Redis. Never ends.
    pub(crate) async fn keep_up(
        &self,
        pods: watch::Receiver<Option<Arc<[Pod]>>>,
        wanted: watch::Receiver<bool>,
    ) {
        match &self.index {
            Index::Redis(index) => index.keep_up().await,
            Index::Memory {
                source,
                index,
                heard,
            } => listen::listen(source, index, heard, pods, wanted).await,
        }
    }

    /// Finds out a request's tokens and who holds them, by the settings of `kvcache-aware`.
    pub(crate) async fn learn(&self, asking: Asking<'_>, plugin: &KvcacheAwareConfig) -> Learned {
        let mut learned = Learned::default();
        // Tokens nobody is asked about need not be known.
        match &self.index {
            // Sidecars do not tell adapters apart.
            Index::Redis(index) if asking.adapter || !index.is_up() => {
                learned.failed = (!asking.adapter).then_some(KvStage::Redis);
                return learned;
            }
            Index::Memory { index, .. } if index.is_empty() => return learned,
            _ => {}
        }
        let begun = Instant::now();
        let tokens = self.tokens.find(asking.wanted(plugin)).await;
        learned.tokenizing = Some(begun.elapsed());
        let tokens = match tokens {
            Ok(tokens) if tokens.is_empty() => return learned,
            Ok(tokens) => tokens,
            Err(fault) => {
                tracing::debug!(%fault, model = asking.model, "a prompt's tokens are not known");
                learned.failed = Some(KvStage::Tokenize);
                if fault == TokenFault::Unsupported {
                    learned.unsupported = Some(match asking.server.engine {
                        InferenceEngine::Vllm => "vLLM",
                        InferenceEngine::Sglang => "SGLang",
                    });
                }
                return learned;
            }
        };
        match &self.index {
            Index::Memory { index, .. } => {
                let index: Arc<CacheIndex> = Arc::clone(index);
                learned.prior.kv = Some(index);
            }
            Index::Redis(index) => {
                self.read(index, asking, plugin, &tokens, &mut learned)
                    .await;
            }
        }
        learned.prior.tokens = Some(tokens);
        learned
    }

    async fn read(
        &self,
        index: &SharedIndex,
        asking: Asking<'_>,
        plugin: &KvcacheAwareConfig,
        tokens: &[u32],
        learned: &mut Learned,
    ) {
        let size = self.block_size(asking.server, plugin);
        let begun = Instant::now();
        let owned = index
            .owners(asking.model, tokens, size, plugin.max_blocks.get())
            .await;
        learned.reading = Some(begun.elapsed());
        match owned {
            Ok(owned) => learned.prior.kv = Some(Arc::new(FromRedis::new(owned, size))),
            Err(fault) => {
                tracing::debug!(%fault, "the shared cache index is not read");
                learned.failed = Some(KvStage::Redis);
            }
        }
    }

    /// Tokens of a block in this server's engines: what one of them says, else what was configured.
    fn block_size(&self, server: &ServerView, plugin: &KvcacheAwareConfig) -> u32 {
        let configured = plugin.block_tokens.get();
        let said = server
            .pods()
            .find_map(|pod| self.engines.block_size(pod.endpoint.id()));
        match said {
            Some(said) if said != configured && !self.told.swap(true, Ordering::Relaxed) => {
                tracing::warn!(
                    server = %server.key, configured, said,
                    "engines have other block sizes than configured; theirs is used"
                );
                said
            }
            Some(said) => said,
            None => configured,
        }
    }

    /// Numbers of the router's own tokenizers.
    pub(crate) fn tokenizers(&self) -> Vec<TokenizerFigures> {
        self.tokens.figures()
    }

    /// Numbers for metrics.
    pub(crate) fn figures(&self) -> IndexFigures {
        match &self.index {
            Index::Memory { index, heard, .. } => {
                let held = index.figures();
                IndexFigures::Memory(MemoryIndex {
                    bytes: held.bytes,
                    blocks: held.blocks,
                    engines: held.owners,
                    refused: held.refused,
                    orphans: held.orphans,
                    resets: held.resets,
                    batches: heard.batches(),
                    faulty: heard.faulty(),
                    gaps: heard.gaps(),
                    connects: heard.connects(),
                })
            }
            Index::Redis(index) => IndexFigures::Redis {
                up: index.is_up(),
                swept: index.swept(),
            },
        }
    }
}
