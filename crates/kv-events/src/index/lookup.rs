//! How much of a prompt each pod holds.

use std::sync::PoisonError;

use kthena_router_scheduler::{Candidates, KvBlocks, KvIndex, KvQuery};
use smallvec::SmallVec;

use super::{CacheIndex, chained_hash};

/// What is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The prompt's tokens.
    pub tokens: &'a [u32],
    /// The adapter that computes them; `None` = the base model.
    pub adapter: Option<&'a str>,
    /// No more leading blocks than these are looked at.
    pub max_blocks: u32,
}

/// The blocks that a prompt was cut into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Whole blocks of the prompt, at most as many as were asked for.
    pub blocks: u32,
    /// Tokens of one.
    pub block_size: u32,
}

/// An owner that holds all blocks so far.
struct Alive {
    slot: u16,
    /// Position of its pod in the caller's list.
    pod: usize,
}

impl CacheIndex {
    /// Writes for each pod how many leading blocks of the prompt it holds without a gap; of the ranks of a pod the
    /// one that holds most counts. `pods` gives the numbers that owners [joined](CacheIndex::join) with, one per
    /// place of `lengths`. `None` = no engine announced a block yet, or the prompt has no whole block.
    ///
    /// Blocks are those of the engines that hold something of the prompt; if these differ, the smallest, and the others
    /// are counted in them. If nobody holds any, blocks are of the most used size that the prompt has one of.
    pub fn lookup(
        &self,
        asked: &Asked<'_>,
        pods: &(impl Iterator<Item = u64> + Clone),
        lengths: &mut [u32],
    ) -> Option<Found> {
        let sizes = self.sizes();
        let likely = sizes
            .iter()
            .find(|size| whole_blocks(asked, **size) > 0)
            .copied()?;
        // Tokens first: which blocks they are counted in is known at the end.
        let mut held = None;
        for size in sizes {
            self.walk(asked, size, pods.clone(), |pod, own| {
                if let Some(length) = lengths.get_mut(pod).filter(|_| own > 0) {
                    *length = own.saturating_mul(size).max(*length);
                    held = Some(held.map_or(size, |held: u32| held.min(size)));
                }
            });
        }
        let block_size = held.unwrap_or(likely);
        let blocks = whole_blocks(asked, block_size);
        for length in lengths {
            *length = (*length / block_size).min(blocks);
        }
        Some(Found { blocks, block_size })
    }

    /// Goes through the prompt in blocks of `size` and tells `end` where each owner's part ends.
    fn walk(
        &self,
        asked: &Asked<'_>,
        size: u32,
        pods: impl Iterator<Item = u64>,
        mut end: impl FnMut(usize, u32),
    ) {
        let blocks = whole_blocks(asked, size);
        let mut alive: SmallVec<[Alive; 16]> = SmallVec::new();
        let mut before = self.root(asked.adapter);
        let each = asked
            .tokens
            .chunks_exact(usize::try_from(size).unwrap_or(usize::MAX));
        let mut pods = Some(pods);
        for (at, tokens) in (0..blocks).zip(each) {
            before = chained_hash(before, tokens);
            if let Some(pods) = pods.take() {
                alive = self.first_owners(before, pods);
            } else {
                let known = self.shards.look(before, |owners| {
                    alive.retain(|owner| {
                        let holds = owners.contains(owner.slot);
                        if !holds {
                            end(owner.pod, at);
                        }
                        holds
                    });
                });
                if known.is_none() {
                    alive.drain(..).for_each(|owner| end(owner.pod, at));
                }
            }
            if alive.is_empty() {
                return;
            }
        }
        alive.iter().for_each(|owner| end(owner.pod, blocks));
    }

    /// Owners of a prompt's first block that belong to one of `pods`.
    fn first_owners(&self, block: u64, pods: impl Iterator<Item = u64>) -> SmallVec<[Alive; 16]> {
        let mut owners: SmallVec<[(u64, u16); 16]> = SmallVec::new();
        self.shards
            .look(block, |all| all.each(|slot| owners.push((0, slot))));
        if owners.is_empty() {
            return SmallVec::new();
        }
        {
            let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
            owners.retain(|(pod, slot)| {
                let known = slots.get(usize::from(*slot) - 1).copied().flatten();
                *pod = known.unwrap_or(0);
                known.is_some()
            });
        }
        owners.sort_unstable();
        let mut alive = SmallVec::new();
        for (at, pod) in pods.enumerate() {
            let from = owners.partition_point(|(other, _)| *other < pod);
            let own = owners[from..].iter().take_while(|(other, _)| *other == pod);
            alive.extend(own.map(|(_, slot)| Alive {
                slot: *slot,
                pod: at,
            }));
        }
        alive
    }
}

/// Policies ask the index by the numbers of the candidates' endpoints.
impl KvIndex for CacheIndex {
    fn lookup(
        &self,
        query: &KvQuery<'_>,
        candidates: &Candidates<'_>,
        lengths: &mut [u32],
    ) -> Option<KvBlocks> {
        let asked = Asked {
            tokens: query.tokens,
            adapter: query.adapter.then_some(query.model),
            max_blocks: query.max_blocks,
        };
        let readings = candidates.readings().iter();
        let pods = readings.map(|reading| u64::from(reading.id));
        let found = CacheIndex::lookup(self, &asked, &pods, lengths)?;
        Some(KvBlocks {
            count: found.blocks,
            tokens: found.block_size,
        })
    }
}

fn whole_blocks(asked: &Asked<'_>, size: u32) -> u32 {
    let tokens = u32::try_from(asked.tokens.len()).unwrap_or(u32::MAX);
    tokens.checked_div(size).unwrap_or(0).min(asked.max_blocks)
}
