use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use rstest::rstest;

use super::{Asked, CacheIndex, DEFAULT_BUDGET, Found, Owner};
use crate::events::{Adapter, Batch, EngineHash, KvEvent, Message, Removed, Stored, decode};

const SIZE: u32 = 4;

fn index() -> Arc<CacheIndex> {
    Arc::new(CacheIndex::new(DEFAULT_BUDGET, 7))
}

fn batch(event: KvEvent) -> Batch {
    Batch {
        events: vec![event],
        ..Batch::default()
    }
}

fn hashes(names: &[u64]) -> Vec<EngineHash> {
    names.iter().copied().map(EngineHash::from).collect()
}

fn stored(names: &[u64], parent: Option<u64>, tokens: &[u32]) -> Stored {
    Stored {
        hashes: hashes(names),
        parent: parent.map(EngineHash::from),
        tokens: tokens.to_vec(),
        block_size: SIZE,
        ..Stored::default()
    }
}

fn store(names: &[u64], parent: Option<u64>, tokens: &[u32]) -> Batch {
    batch(KvEvent::Stored(stored(names, parent, tokens)))
}

fn remove(names: &[u64]) -> Batch {
    batch(KvEvent::Removed(Removed {
        hashes: hashes(names),
        ..Removed::default()
    }))
}

fn tokens(count: u32) -> Vec<u32> {
    (0..count).collect()
}

fn asked(tokens: &[u32]) -> Asked<'_> {
    Asked {
        tokens,
        adapter: None,
        max_blocks: 128,
    }
}

/// Blocks that pods 1, 2, … hold; empty if nothing can be said.
fn lengths<const N: usize>(index: &CacheIndex, asked: &Asked<'_>) -> Option<[u32; N]> {
    let mut lengths = [0; N];
    index
        .lookup(asked, &(1..=N as u64), &mut lengths)
        .map(|_| lengths)
}

fn held(index: &CacheIndex, tokens: &[u32]) -> u32 {
    lengths::<1>(index, &asked(tokens)).map_or(0, |[length]| length)
}

#[test]
fn blocks_are_found_where_they_were_announced() {
    let index = index();
    let mut one = index.join(1).unwrap();
    let mut two = index.join(2).unwrap();
    one.apply(&store(&[10, 11, 12], None, &tokens(12)));
    two.apply(&store(&[20], None, &tokens(4)));
    assert_eq!(lengths(&index, &asked(&tokens(12))), Some([3, 1, 0]));
    assert_eq!(lengths(&index, &asked(&tokens(8))), Some([2, 1, 0]));
    two.apply(&store(&[21], Some(20), &[4, 5, 6, 7]));
    assert_eq!(lengths(&index, &asked(&tokens(12))), Some([3, 2, 0]));
}

#[test]
fn a_prompt_is_cut_into_whole_blocks() {
    let index = index();
    let mut owner = index.join(1).unwrap();
    owner.apply(&store(&[10, 11], None, &tokens(8)));
    let count = |tokens: &[u32], max_blocks| {
        let asked = Asked {
            max_blocks,
            ..asked(tokens)
        };
        index.lookup(&asked, &(1..=1), &mut [0])
    };
    let found = |blocks| {
        Some(Found {
            blocks,
            block_size: SIZE,
        })
    };
    assert_eq!(count(&tokens(3), 128), None);
    assert_eq!(count(&tokens(11), 128), found(2));
    assert_eq!(count(&tokens(100), 3), found(3));
    assert_eq!(count(&tokens(100), 0), None);
}

#[test]
fn nothing_can_be_said_before_the_first_event() {
    assert_eq!(index().lookup(&asked(&tokens(8)), &(1..=1), &mut [0]), None);
}

#[test]
fn a_gap_ends_the_match() {
    let index = index();
    let mut owner = index.join(1).unwrap();
    owner.apply(&store(&[10, 11, 12], None, &tokens(12)));
    owner.apply(&remove(&[11]));
    assert_eq!(held(&index, &tokens(12)), 1);
    owner.apply(&store(&[11], Some(10), &[4, 5, 6, 7]));
    assert_eq!(held(&index, &tokens(12)), 3);
}

#[test]
fn equal_tokens_elsewhere_are_another_block() {
    let index = index();
    let mut owner = index.join(1).unwrap();
    owner.apply(&store(&[10, 11], None, &[1, 1, 1, 1, 2, 2, 2, 2]));
    assert_eq!(held(&index, &[2, 2, 2, 2]), 0);
    assert_eq!(held(&index, &[1, 1, 1, 1, 1, 1, 1, 1]), 1);
}

#[test]
fn a_block_that_was_computed_twice_is_held_until_both_are_gone() {
    let index = index();
    let mut owner = index.join(1).unwrap();
    owner.apply(&store(&[10], None, &tokens(4)));
    owner.apply(&store(&[10], None, &tokens(4)));
    owner.apply(&remove(&[10]));
    assert_eq!(held(&index, &tokens(4)), 1);
    owner.apply(&remove(&[10]));
    assert_eq!(held(&index, &tokens(4)), 0);
}

#[test]
fn a_block_with_two_names_is_held_until_both_are_gone() {
    let index = index();
    let mut owner = index.join(1).unwrap();
    owner.apply(&store(&[10], None, &tokens(4)));
    owner.apply(&store(&[11], None, &tokens(4)));
    owner.apply(&remove(&[10]));
    assert_eq!(held(&index, &tokens(4)), 1);
    owner.apply(&remove(&[11]));
    assert_eq!(held(&index, &tokens(4)), 0);
    assert_eq!(index.figures().blocks, 0);
}

#[test]
fn a_removal_that_cannot_be_read_makes_the_engine_unknown() {
    let index = index();
    let mut owner = index.join(1).unwrap();
    owner.apply(&store(&[10], None, &tokens(4)));
    owner.apply(&Batch {
        faulty: 1,
        ..Batch::default()
    });
    assert_eq!(held(&index, &tokens(4)), 1, "a store that was missed");

    owner.apply(&Batch {
        missed_removals: 1,
        ..store(&[11], Some(10), &[4, 5, 6, 7])
    });
    assert_eq!((held(&index, &tokens(8)), index.figures().blocks), (0, 0));
    assert_eq!(index.figures().resets, 1);

    owner.apply(&store(&[10], None, &tokens(4)));
    assert_eq!(held(&index, &tokens(4)), 1);
}

#[rstest]
#[case::with_its_tokens(&tokens(4))]
#[case::by_name_only(&[])]
fn a_block_that_moved_to_a_slower_tier_is_still_held(#[case] told: &[u32]) {
    let index = index();
    let mut owner = index.join(1).unwrap();
    let on = |medium: &str| Stored {
        medium: Some(medium.into()),
        ..stored(
            &[10],
            None,
            if medium == "GPU" { &[0, 1, 2, 3] } else { told },
        )
    };
    let off = |medium: &str| {
        batch(KvEvent::Removed(Removed {
            hashes: hashes(&[10]),
            medium: Some(medium.into()),
            group: 0,
        }))
    };
    owner.apply(&batch(KvEvent::Stored(on("GPU"))));
    owner.apply(&batch(KvEvent::Stored(on("CPU"))));
    owner.apply(&off("GPU"));
    assert_eq!(held(&index, &tokens(4)), 1);
    owner.apply(&off("CPU"));
    assert_eq!(held(&index, &tokens(4)), 0);
}

#[test]
fn an_adapter_has_blocks_of_its_own() {
    let index = index();
    let mut owner = index.join(1).unwrap();
    let with = |name: &str| Stored {
        adapter: Some(Adapter {
            id: Some(1),
            name: Some(name.into()),
        }),
        ..stored(&[10, 11], None, &tokens(8))
    };
    owner.apply(&batch(KvEvent::Stored(with("sql"))));
    owner.apply(&store(&[12], None, &tokens(4)));
    let of = |adapter| {
        let asked = Asked {
            adapter,
            ..asked(&[0, 1, 2, 3, 4, 5, 6, 7])
        };
        lengths::<1>(&index, &asked)
    };
    assert_eq!(of(Some("sql")), Some([2]));
    assert_eq!(of(Some("law")), Some([0]));
    assert_eq!(of(None), Some([1]));
}

#[rstest]
#[case::an_image(Stored { keyed: true, ..stored(&[10, 11], None, &tokens(8)) })]
#[case::another_group_of_layers(Stored { group: 1, ..stored(&[10, 11], None, &tokens(8)) })]
#[case::an_adapter_without_a_name(Stored {
    adapter: Some(Adapter { id: Some(1), name: None }),
    ..stored(&[10, 11], None, &tokens(8))
})]
#[case::an_unknown_block_before(stored(&[10, 11], Some(9), &tokens(8)))]
#[case::uneven_blocks(stored(&[10, 11], None, &tokens(7)))]
#[case::no_tokens(stored(&[10, 11], None, &[]))]
#[case::no_names(stored(&[], None, &tokens(8)))]
fn what_cannot_be_asked_for_is_left_out(#[case] stored: Stored) {
    let index = index();
    let mut owner = index.join(1).unwrap();
    owner.apply(&batch(KvEvent::Stored(stored)));
    // Nor is anything that comes after it.
    owner.apply(&store(&[12], Some(11), &[8, 9, 10, 11]));
    assert_eq!(index.figures().blocks, 0);
}

#[test]
fn of_two_ranks_the_one_that_holds_most_counts() {
    let index = index();
    let mut ranks = [index.join(1).unwrap(), index.join(1).unwrap()];
    ranks[0].apply(&store(&[10, 11], None, &tokens(8)));
    ranks[1].apply(&store(&[10, 11, 12], None, &tokens(12)));
    ranks[1].apply(&remove(&[10]));
    // Together they would have three; no request runs on both.
    assert_eq!(held(&index, &tokens(12)), 2);
}

#[test]
fn clearing_and_leaving_forget() {
    let index = index();
    let mut one = index.join(1).unwrap();
    let mut two = index.join(2).unwrap();
    for owner in [&mut one, &mut two] {
        owner.apply(&store(&[10, 11], None, &tokens(8)));
    }
    one.apply(&batch(KvEvent::Cleared));
    assert_eq!(lengths(&index, &asked(&tokens(8))), Some([0, 2]));
    drop(two);
    assert_eq!(lengths::<2>(&index, &asked(&tokens(8))), None);
    let figures = index.figures();
    assert_eq!((figures.blocks, figures.owners), (0, 1));
}

#[test]
fn a_pod_that_takes_a_free_slot_inherits_nothing() {
    let index = index();
    let mut one = index.join(1).unwrap();
    let mut other = index.join(9).unwrap();
    one.apply(&store(&[10], None, &tokens(4)));
    other.apply(&store(&[10], None, &tokens(4)));
    drop(one);
    let _two = index.join(2).unwrap();
    assert_eq!(lengths(&index, &asked(&tokens(4))), Some([0, 0]));
}

#[test]
fn the_blocks_of_another_models_engines_do_not_matter() {
    let index = index();
    let mut others = [2, 3].map(|pod| index.join(pod).unwrap());
    for other in &mut others {
        other.apply(&store(&[1], None, &(100..164).collect::<Vec<_>>()));
    }
    let mut own = index.join(1).unwrap();
    own.apply(&store(&[10, 11], None, &tokens(8)));
    assert_eq!(index.block_size(), Some(64));
    let mut lengths = [0];
    let found = index.lookup(&asked(&tokens(9)), &(1..=1), &mut lengths);
    let blocks = Found {
        blocks: 2,
        block_size: SIZE,
    };
    assert_eq!((found, lengths), (Some(blocks), [2]));
}

#[test]
fn engines_with_other_block_sizes_are_counted_in_the_smallest() {
    let index = index();
    let mut most = [index.join(1).unwrap(), index.join(2).unwrap()];
    most[0].apply(&store(&[10, 11, 12], None, &tokens(12)));
    most[1].apply(&store(&[10], None, &tokens(4)));
    let mut other = index.join(3).unwrap();
    other.apply(&store(&[1, 2], None, &tokens(12)));
    assert_eq!(other.block_size(), 6);
    assert_eq!(lengths(&index, &asked(&tokens(12))), Some([3, 1, 3]));
    other.apply(&remove(&[2]));
    assert_eq!(lengths(&index, &asked(&tokens(12))), Some([3, 1, 1]));
}

#[test]
fn memory_stays_within_the_budget() {
    const BUDGET: usize = 64 << 10;
    let index = Arc::new(CacheIndex::new(BUDGET, 7));
    let mut owners: Vec<Owner> = (1..=6).map(|pod| index.join(pod).unwrap()).collect();
    for round in 0..2000 {
        for owner in &mut owners {
            owner.apply(&store(&[round], None, &[u32::try_from(round).unwrap(); 4]));
        }
        assert!(index.figures().bytes <= BUDGET as u64);
    }
    let full = index.figures();
    assert!(full.refused > 0 && full.blocks > 0, "{full:?}");
    // What was taken in before is still there.
    assert_eq!(held(&index, &[0; 4]), 1);
    // Room that engines make is used again.
    for owner in &mut owners {
        for round in 0..1000 {
            owner.apply(&remove(&[round]));
        }
    }
    owners[0].apply(&store(&[9_000_000], None, &tokens(4)));
    assert_eq!(held(&index, &tokens(4)), 1);
    drop(owners);
    let empty = index.figures();
    assert_eq!((empty.blocks, empty.owners), (0, 0));
    assert!(empty.bytes < BUDGET as u64 / 2, "{empty:?}");
}

#[test]
fn readers_and_writers_meet() {
    let index = index();
    let prompt = tokens(64);
    std::thread::scope(|scope| {
        for pod in 1..=4 {
            let (index, prompt) = (&index, &prompt);
            scope.spawn(move || {
                let names: Vec<u64> = (0..16).collect();
                for _ in 0..200 {
                    let mut owner = index.join(pod).unwrap();
                    owner.apply(&store(&names, None, prompt));
                    owner.apply(&remove(&names[8..]));
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let found = lengths::<4>(&index, &asked(&prompt));
                    assert!(found.is_none_or(|all| all.iter().all(|length| *length <= 16)));
                }
            });
        }
    });
    assert_eq!(index.figures().blocks, 0);
}

#[test]
fn a_vllm_is_followed() {
    let frames: Vec<Vec<String>> =
        serde_json::from_str(include_str!("../../fixtures/vllm-0.32-events.json")).unwrap();
    let index = index();
    let mut owner = index.join(1).unwrap();
    let mut first: Option<Stored> = None;
    for frames in frames {
        let frames: Vec<Vec<u8>> = frames.iter().map(|frame| bytes(frame)).collect();
        let batch = decode(Message::from_frames(&frames).unwrap().payload).unwrap();
        if let (None, Some(KvEvent::Stored(stored))) = (&first, batch.events.first()) {
            first = Some(stored.clone());
        }
        owner.apply(&batch);
    }
    let prompt = first.unwrap().tokens;
    let found = index.lookup(&asked(&prompt), &(1..=1), &mut [0]).unwrap();
    assert_eq!((found.blocks, found.block_size), (8, 32));
    assert_eq!(held(&index, &prompt), 8);
    assert_eq!(index.figures().orphans, 0);
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
        .collect()
}

/// A step of a made-up engine: prompts are paths in a small tree, so that they share beginnings.
#[derive(Debug, Clone)]
enum Step {
    Store { owner: usize, path: Vec<u32> },
    Remove { owner: usize, path: Vec<u32> },
    Clear { owner: usize },
}

fn path() -> impl Strategy<Value = Vec<u32>> {
    proptest::collection::vec(0_u32..2, 1..5)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_usize, path()).prop_map(|(owner, path)| Step::Store { owner, path }),
        4 => (0..3_usize, path()).prop_map(|(owner, path)| Step::Remove { owner, path }),
        1 => (0..3_usize).prop_map(|owner| Step::Clear { owner }),
    ]
}

/// The engine's name of the last block of a path.
fn name_of(path: &[u32]) -> u64 {
    path.iter()
        .fold(1, |name, step| name * 2 + u64::from(*step))
}

fn tokens_of(path: &[u32]) -> Vec<u32> {
    path.iter()
        .flat_map(|step| [*step; SIZE as usize])
        .collect()
}

proptest! {
    #[test]
    fn agrees_with_a_naive_model(steps in proptest::collection::vec(step(), 0..60), prompt in path()) {
        let index = index();
        let mut owners: Vec<Owner> = (1..=3).map(|pod| index.join(pod).unwrap()).collect();
        // By owner and name: how many copies.
        let mut naive: BTreeMap<(usize, u64), u32> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Store { owner, path } => {
                    // An engine holds what a block comes after, or computes it now.
                    for end in 1..=path.len() {
                        let (whole, last) = (&path[..end], end == path.len());
                        if !last && naive.contains_key(&(owner, name_of(whole))) {
                            continue;
                        }
                        let parent = (end > 1).then(|| name_of(&path[..end - 1]));
                        owners[owner].apply(&store(&[name_of(whole)], parent, &tokens_of(&path[end - 1..end])));
                        *naive.entry((owner, name_of(whole))).or_default() += 1;
                    }
                }
                Step::Remove { owner, path } => {
                    owners[owner].apply(&remove(&[name_of(&path)]));
                    if let Some(copies) = naive.get_mut(&(owner, name_of(&path))) {
                        *copies -= 1;
                    }
                    naive.retain(|_, copies| *copies > 0);
                }
                Step::Clear { owner } => {
                    owners[owner].apply(&batch(KvEvent::Cleared));
                    naive.retain(|(other, _), _| *other != owner);
                }
            }
        }
        prop_assert_eq!(index.figures().blocks, naive.len() as u64);
        let expected: Vec<u32> = (0..3)
            .map(|owner| {
                let holds = |end: &usize| naive.contains_key(&(owner, name_of(&prompt[..*end])));
                u32::try_from((1..=prompt.len()).take_while(holds).count()).unwrap()
            })
            .collect();
        let mut found = [0; 3];
        index.lookup(&asked(&tokens_of(&prompt)), &(1..=3), &mut found);
        prop_assert_eq!(found.to_vec(), expected);
        drop(owners);
        prop_assert_eq!(index.figures().blocks, 0);
    }
}
