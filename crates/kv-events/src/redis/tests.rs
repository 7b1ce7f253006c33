use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rstest::rstest;

use super::ledger::ANY_RANK;
use super::*;
use crate::block_hash::lone_hash;
use crate::events::{Adapter, Batch, EngineHash, KvEvent, Progress, Removed, Stored};

fn ledger() -> Ledger {
    Ledger::new(1000)
}

fn stored(blocks: &[(u64, u32)]) -> Stored {
    Stored {
        hashes: blocks.iter().map(|(hash, _)| (*hash).into()).collect(),
        tokens: blocks.iter().flat_map(|(_, token)| [*token; 2]).collect(),
        block_size: 2,
        ..Stored::default()
    }
}

fn store(blocks: &[(u64, u32)]) -> Batch {
    batch(KvEvent::Stored(stored(blocks)))
}

fn remove(hashes: &[u64]) -> Batch {
    batch(KvEvent::Removed(Removed {
        hashes: hashes.iter().map(|hash| (*hash).into()).collect(),
        ..Removed::default()
    }))
}

fn batch(event: KvEvent) -> Batch {
    Batch {
        events: vec![event],
        ..Batch::default()
    }
}

/// The standard hash of a block of two equal tokens.
fn standard(token: u32) -> u64 {
    lone_hash(&[token; 2])
}

/// What changes leave of the copy: names with their standard hashes, and standard hashes owned.
#[derive(Debug, Default, PartialEq, Eq)]
struct Copy {
    names: BTreeMap<EngineHash, u64>,
    owned: BTreeSet<u64>,
}

impl Copy {
    fn change(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Map { hash, standard } => drop(self.names.insert(hash, standard)),
                Change::Unmap { hash } => drop(self.names.remove(&hash)),
                Change::Own { standard } => drop(self.owned.insert(standard)),
                Change::Disown { standard } => drop(self.owned.remove(&standard)),
            }
        }
    }
}

#[test]
fn equal_blocks_are_owned_until_the_last_is_gone() {
    let (mut ledger, mut copy) = (ledger(), Copy::default());
    copy.change(ledger.apply(0, &store(&[(1, 7), (2, 8)])));
    copy.change(ledger.apply(0, &store(&[(3, 7)])));
    copy.change(ledger.apply(0, &remove(&[1])));
    assert_eq!(copy.owned, BTreeSet::from([standard(7), standard(8)]));
    copy.change(ledger.apply(0, &remove(&[3])));
    assert_eq!(copy.owned, BTreeSet::from([standard(8)]));
    assert_eq!(copy.names.len(), 1);
}

#[test]
fn ranks_hold_blocks_of_the_same_name_apart() {
    let (mut ledger, mut copy) = (ledger(), Copy::default());
    copy.change(ledger.apply(0, &store(&[(1, 7)])));
    copy.change(ledger.apply(1, &store(&[(1, 7)])));
    copy.change(ledger.apply(0, &batch(KvEvent::Cleared)));
    assert_eq!(copy.owned.len(), 1);
    copy.change(ledger.apply(1, &remove(&[1])));
    assert_eq!(copy, Copy::default());
}

#[test]
fn a_removal_that_cannot_be_read_gives_up_what_its_rank_holds() {
    let (mut ledger, mut copy) = (ledger(), Copy::default());
    copy.change(ledger.apply(0, &store(&[(1, 7)])));
    copy.change(ledger.apply(1, &store(&[(2, 8)])));
    let missed = Batch {
        missed_removals: 1,
        ..Batch::default()
    };
    copy.change(ledger.apply(0, &missed));
    assert_eq!(copy.owned, BTreeSet::from([standard(8)]));
}

#[test]
fn a_name_used_for_other_tokens_leaves_its_old_ones() {
    let (mut ledger, mut copy) = (ledger(), Copy::default());
    copy.change(ledger.apply(0, &store(&[(1, 7)])));
    copy.change(ledger.apply(0, &store(&[(1, 9)])));
    assert_eq!(copy.owned, BTreeSet::from([standard(9)]));
}

#[rstest]
#[case::of_an_adapter(Stored { adapter: Some(Adapter { id: Some(1), name: None }), ..stored(&[(1, 7)]) })]
#[case::with_a_salt(Stored { keyed: true, ..stored(&[(1, 7)]) })]
#[case::on_a_slower_tier(Stored { medium: Some("CPU".into()), ..stored(&[(1, 7)]) })]
#[case::of_another_group(Stored { group: 1, ..stored(&[(1, 7)]) })]
#[case::cut_unevenly(Stored { tokens: vec![1, 2, 3], ..stored(&[(1, 7), (2, 8)]) })]
#[case::without_tokens(Stored { tokens: vec![], ..stored(&[(1, 7)]) })]
fn blocks_that_others_cannot_use_are_not_written(#[case] block: Stored) {
    let mut ledger = ledger();
    assert_eq!(ledger.apply(0, &batch(KvEvent::Stored(block))), []);
    assert_eq!(ledger.apply(0, &remove(&[1])), []);
    assert!(ledger.is_empty());
}

#[rstest]
#[case::next(&[0, 1], true)]
#[case::gap(&[0, 2], false)]
#[case::restart(&[0, 1, 0], false)]
fn what_was_missed_is_not_claimed(#[case] numbers: &[u64], #[case] kept: bool) {
    let (mut ledger, mut copy) = (ledger(), Copy::default());
    copy.change(ledger.observe(1, Some(0)).1);
    copy.change(ledger.apply(1, &store(&[(5, 5)])));
    for (at, number) in numbers.iter().enumerate() {
        copy.change(ledger.observe(0, Some(*number)).1);
        if at == 0 {
            copy.change(ledger.apply(0, &store(&[(1, 7)])));
        }
    }
    assert_eq!(copy.owned.contains(&standard(7)), kept);
    assert!(
        copy.owned.contains(&standard(5)),
        "another rank's blocks stay"
    );
}

#[test]
fn a_new_sidecar_goes_on_where_the_last_one_was() {
    let mut next = ledger();
    next.restore(1_u64.into(), standard(7), &[0]);
    next.resume(0, 12);
    assert_eq!(next.observe(0, Some(12)).0, Progress::Next);
    assert_eq!(next.len(), 1);
    let (progress, changes) = next.observe(0, Some(3));
    assert_eq!(progress, Progress::Restart { missed: 3 });
    assert_eq!(changes.len(), 2);
}

#[test]
fn blocks_of_unknown_rank_are_removed_by_any() {
    let mut ledger = ledger();
    ledger.restore(1_u64.into(), standard(7), &[]);
    assert_eq!(ledger.ranks(&1_u64.into()), [ANY_RANK]);
    assert_eq!(ledger.apply(3, &remove(&[1])).len(), 2);
}

#[test]
fn the_ledger_is_bounded() {
    let mut ledger = Ledger::new(10);
    let mut copy = Copy::default();
    for hash in 0..35 {
        copy.change(ledger.apply(0, &store(&[(hash, 7)])));
        assert!(ledger.len() <= 10);
        assert_eq!(copy.names.len(), ledger.len());
    }
}

#[test]
fn keys_keep_their_form() {
    let keys = Keys::new("vllm", "org/model", "pod-0.default");
    assert_eq!(keys.block(42), "matrix:kv:block:org/model@42");
    let hash = EngineHash::from(-7_i64);
    assert_eq!(keys.mapping(&hash), "vllm:kv:block:pod-0.default@-7");
    assert_eq!(
        keys.hash_in_mapping("vllm:kv:block:pod-0.default@-7"),
        Some(hash)
    );
    assert_eq!(keys.hash_in_mapping("vllm:kv:block:pod-1.default@-7"), None);
    let odd = Keys::new("vllm", "m", "p*[x]");
    assert_eq!(odd.mapping_pattern(), "vllm:kv:block:p\\*\\[x\\]@*");
}

#[rstest]
#[case::unsigned("18446744073709551615", Some(u64::MAX.into()))]
#[case::negative("-5", Some((-5_i64).into()))]
#[case::bytes("00ff", Some(EngineHash::Bytes([0, 255].into())))]
#[case::neither("xyz", None)]
#[case::half_a_byte("abc", None)]
#[case::nothing("", None)]
fn names_are_read_from_keys(#[case] text: &str, #[case] expected: Option<EngineHash>) {
    assert_eq!(text.parse().ok(), expected);
}

#[derive(Debug, Clone)]
enum Step {
    Store(u32, u64, u32),
    Remove(u32, u64),
    Clear(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u32..3, 0_u64..12).prop_map(|(rank, hash)| {
            // As with engines, a name says what the tokens are; several names share them.
            Step::Store(rank, hash, (hash % 5) as u32)
        }),
        4 => (0_u32..3, 0_u64..12).prop_map(|(rank, hash)| Step::Remove(rank, hash)),
        1 => (0_u32..3).prop_map(Step::Clear),
    ]
}

proptest! {
    #[test]
    fn the_copy_says_what_the_ranks_hold(steps in prop::collection::vec(step(), 0..80)) {
        let (mut ledger, mut copy) = (ledger(), Copy::default());
        // The naive model: who holds which name, and what its tokens are.
        let mut held: BTreeSet<(u32, u64, u32)> = BTreeSet::new();
        for step in steps {
            match step {
                Step::Store(rank, hash, token) => {
                    held.insert((rank, hash, token));
                    copy.change(ledger.apply(rank, &store(&[(hash, token)])));
                }
                Step::Remove(rank, hash) => {
                    held.retain(|held| (held.0, held.1) != (rank, hash));
                    copy.change(ledger.apply(rank, &remove(&[hash])));
                }
                Step::Clear(rank) => {
                    held.retain(|held| held.0 != rank);
                    copy.change(ledger.apply(rank, &batch(KvEvent::Cleared)));
                }
            }
            let names = held.iter().map(|(_, hash, token)| ((*hash).into(), standard(*token)));
            let owned = held.iter().map(|(_, _, token)| standard(*token));
            prop_assert_eq!(&copy, &Copy { names: names.collect(), owned: owned.collect() });
        }
    }
}
