use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

const SIZE: u32 = 4;

fn cache(blocks: u32) -> KvCache {
    KvCache::new(CacheConfig {
        blocks,
        block_size: SIZE,
        prefix_caching: true,
        record_events: true,
    })
}

fn hashes(tokens: &[u32], adapter: Option<&str>) -> Vec<BlockHash> {
    let mut out = Vec::new();
    chain(&mut out, tokens, SIZE, adapter);
    out
}

/// Computes a sequence as an engine would: takes what is cached, fills the rest, publishes.
fn compute(cache: &mut KvCache, tokens: &[u32]) -> Option<(usize, Vec<BlockId>)> {
    let hashes = hashes(tokens, None);
    let hit = cache.cached_prefix(&hashes);
    let fresh = tokens.len().div_ceil(SIZE as usize) - hit;
    let table = cache.acquire(&hashes[..hit], fresh as u32)?;
    for (at, hash) in hashes.iter().enumerate().skip(hit) {
        cache.publish(Filled {
            block: table[at],
            hash: *hash,
            parent: at.checked_sub(1).map(|before| hashes[before]),
            tokens: &tokens[at * SIZE as usize..(at + 1) * SIZE as usize],
            adapter: None,
        });
    }
    Some((hit, table))
}

#[test]
fn equal_prefixes_share_blocks() {
    let mut cache = cache(10);
    let (_, first) = compute(&mut cache, &[1, 2, 3, 4, 5, 6, 7, 8, 9]).unwrap();
    let (hit, second) = compute(&mut cache, &[1, 2, 3, 4, 5, 6, 7, 8, 0]).unwrap();
    assert_eq!(hit, 2);
    assert_eq!(first[..2], second[..2]);
    assert_ne!(first[2], second[2]);
    assert_eq!(cache.free_blocks(), 6);
}

#[test]
fn free_blocks_keep_their_content_until_needed_and_tails_go_first() {
    let mut cache = cache(3);
    let (_, table) = compute(&mut cache, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]).unwrap();
    cache.release(&table);
    assert_eq!(cache.free_blocks(), 3);
    cache.acquire(&[], 1).unwrap();
    let left = cache.cached_prefix(&hashes(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], None));
    assert_eq!(left, 2);
}

#[test]
fn all_or_nothing() {
    let mut cache = cache(3);
    let (_, table) = compute(&mut cache, &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
    assert_eq!(cache.acquire(&[], 2), None);
    assert_eq!(cache.free_blocks(), 1);
    cache.release(&table);
    // Two idle blocks of the prefix and two fresh ones are four, of three.
    let prefix = hashes(&[1, 2, 3, 4, 5, 6, 7, 8], None);
    assert_eq!(cache.acquire(&prefix, 2), None);
    assert_eq!(cache.acquire(&prefix, 1).unwrap().len(), 3);
}

#[test]
fn adapters_do_not_share() {
    let tokens = [1, 2, 3, 4];
    assert_ne!(hashes(&tokens, None), hashes(&tokens, Some("a")));
    assert_ne!(hashes(&tokens, Some("b")), hashes(&tokens, Some("a")));
}

#[test]
fn a_growing_sequence_is_hashed_as_a_whole_one() {
    let tokens: Vec<u32> = (0..23).collect();
    let mut grown = Vec::new();
    for end in 0..=tokens.len() {
        chain(&mut grown, &tokens[..end], SIZE, None);
    }
    assert_eq!(grown, hashes(&tokens, None));
    assert_eq!(grown.len(), 5);
}

#[test]
fn reset_waits_for_requests() {
    let mut cache = cache(4);
    let (_, table) = compute(&mut cache, &[1, 2, 3, 4]).unwrap();
    assert!(!cache.reset());
    cache.release(&table);
    assert!(cache.reset());
    assert_eq!(cache.cached_prefix(&hashes(&[1, 2, 3, 4], None)), 0);
    assert_eq!(cache.take_events().last(), Some(&KvEvent::AllBlocksCleared));
}

#[test]
fn events_tell_a_run_of_blocks_at_once() {
    let mut cache = cache(2);
    let (_, table) = compute(&mut cache, &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
    let hashes = hashes(&[1, 2, 3, 4, 5, 6, 7, 8], None);
    let stored = KvEvent::BlockStored {
        hashes: hashes.clone(),
        parent: None,
        tokens: (1..=8).collect(),
        block_size: SIZE,
        adapter: None,
    };
    assert_eq!(cache.take_events(), [stored]);
    cache.release(&table);
    cache.acquire(&[], 2).unwrap();
    let evicted = vec![hashes[1], hashes[0]];
    assert_eq!(
        cache.take_events(),
        [KvEvent::BlockRemoved { hashes: evicted }]
    );
}

#[test]
fn without_caching_nothing_is_found() {
    let mut cache = KvCache::new(CacheConfig {
        blocks: 4,
        block_size: SIZE,
        prefix_caching: false,
        record_events: false,
    });
    compute(&mut cache, &[1, 2, 3, 4]).unwrap();
    assert_eq!(compute(&mut cache, &[1, 2, 3, 4]).unwrap().0, 0);
}

#[derive(Debug, Clone)]
enum Op {
    Compute(Vec<u32>),
    Release(prop::sample::Index),
    Reset,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => prop::collection::vec(0_u32..2, 1..24).prop_map(Op::Compute),
        5 => any::<prop::sample::Index>().prop_map(Op::Release),
        1 => Just(Op::Reset),
    ]
}

proptest! {
    #[test]
    fn books_always_balance(blocks in 1_u32..12, ops in prop::collection::vec(op(), 1..60)) {
        let mut cache = cache(blocks);
        let mut live: Vec<Vec<BlockId>> = Vec::new();
        let mut announced: HashSet<BlockHash> = HashSet::new();
        for op in ops {
            match op {
                Op::Compute(tokens) => {
                    if let Some((_, table)) = compute(&mut cache, &tokens) {
                        // While in use, a prefix is found again.
                        let full = hashes(&tokens, None);
                        prop_assert_eq!(cache.cached_prefix(&full), full.len());
                        live.push(table);
                    }
                }
                Op::Release(which) if !live.is_empty() => {
                    let at = which.index(live.len());
                    cache.release(&live.swap_remove(at));
                }
                Op::Release(_) => {}
                Op::Reset => prop_assert_eq!(cache.reset(), live.is_empty()),
            }
            let used: HashSet<BlockId> = live.iter().flatten().copied().collect();
            prop_assert!(used.len() as u32 <= blocks);
            prop_assert_eq!(cache.free_blocks(), blocks - used.len() as u32);
            for event in cache.take_events() {
                match event {
                    KvEvent::BlockStored { hashes, .. } => announced.extend(hashes),
                    KvEvent::BlockRemoved { hashes } => {
                        for hash in hashes {
                            prop_assert!(announced.remove(&hash));
                        }
                    }
                    KvEvent::AllBlocksCleared => announced.clear(),
                }
            }
            let known: HashSet<BlockHash> = cache.by_hash.keys().copied().collect();
            prop_assert_eq!(&announced, &known);
        }
        for table in live {
            cache.release(&table);
        }
        prop_assert_eq!(cache.free_blocks(), blocks);
    }
}
