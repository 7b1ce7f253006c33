//! KV cache, exactly: prefers engines that say they hold the prompt's beginning.
//!
//! The prompt's tokens and the index of what engines hold come with the request. Without either this plugin has
//! nothing to say, and the others decide.

use std::num::NonZeroU32;

use fastrand::Rng;
use kthena_router_scheduler::{
    Candidates, KvBlocks, KvQuery, PluginEvent, RequestFacts, Score, Scorer,
};
use smallvec::SmallVec;

/// The plugin's name.
pub const NAME: &str = "kvcache-aware";

/// Settings of the plugin and of what it is asked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvcacheAwareConfig {
    /// Tokens of a block, unless the index knows the engine's own size.
    pub block_tokens: NonZeroU32,
    /// No more leading blocks than these are looked at.
    pub max_blocks: NonZeroU32,
    /// Whether a last block that is not full counts among the prompt's blocks. No engine ever says that it holds such
    /// a one, so that a prompt which is not a multiple of a block is never held whole.
    pub count_short_block: bool,
    /// Port of vLLM's `/tokenize`; `None` = where requests go.
    pub vllm_tokenizer_port: Option<u16>,
    /// Port of SGLang's `/tokenize`; `None` = where requests go.
    pub sglang_tokenizer_port: Option<u16>,
}

/// The share of the prompt's blocks that the engine holds from the beginning without a gap, in percent.
#[derive(Debug, Clone, Copy)]
pub struct KvcacheAware {
    config: KvcacheAwareConfig,
}

impl Default for KvcacheAwareConfig {
    fn default() -> Self {
        Self {
            block_tokens: NonZeroU32::MIN.saturating_add(15),
            max_blocks: NonZeroU32::MIN.saturating_add(127),
            count_short_block: false,
            vllm_tokenizer_port: None,
            sglang_tokenizer_port: None,
        }
    }
}

impl KvcacheAware {
    /// A scorer with these settings.
    pub fn new(config: KvcacheAwareConfig) -> Self {
        Self { config }
    }

    /// Blocks that a prompt of so many tokens consists of.
    fn blocks(&self, tokens: usize, known: KvBlocks) -> u32 {
        let size = known.tokens.max(1);
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        let all = if self.config.count_short_block {
            tokens.div_ceil(size)
        } else {
            tokens / size
        };
        all.min(self.config.max_blocks.get())
    }
}

impl Scorer for KvcacheAware {
    fn name(&self) -> &'static str {
        NAME
    }

    fn score(
        &self,
        request: &RequestFacts<'_>,
        candidates: &Candidates<'_>,
        scores: &mut [Score],
        _rng: &mut Rng,
    ) {
        let tokens = request.tokens.filter(|tokens| !tokens.is_empty());
        let (Some(tokens), Some(index)) = (tokens, request.kv) else {
            return;
        };
        let query = KvQuery {
            model: request.served_model,
            adapter: request.adapter,
            tokens,
            block_tokens: self.config.block_tokens.get(),
            max_blocks: self.config.max_blocks.get(),
        };
        let mut lengths: SmallVec<[u32; 32]> = SmallVec::from_elem(0, candidates.len());
        let Some(blocks) = index.lookup(&query, candidates, &mut lengths) else {
            return;
        };
        let count = self.blocks(tokens.len(), blocks);
        if count == 0 {
            return;
        }
        let total = f64::from(count);
        let share = |length: u32| f64::from(length.min(count)) / total;
        for (score, length) in scores.iter_mut().zip(&lengths) {
            *score = Score::truncated(share(*length) * 100.0);
        }
        let best = lengths.iter().copied().max().unwrap_or_default();
        request.notes.tell(PluginEvent::KvMatch(share(best)));
    }
}

#[cfg(test)]
mod tests;
