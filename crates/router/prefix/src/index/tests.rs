use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::AtomicBool;

use proptest::prelude::{Strategy, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;

const MIB: usize = 1 << 20;

#[derive(Clone, Default)]
struct Switch(Arc<AtomicBool>);

impl Life for Switch {
    fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

fn index(per_pod: usize, budget_bytes: usize) -> PrefixIndex {
    PrefixIndex::new(IndexConfig {
        per_pod: NonZeroUsize::new(per_pod).unwrap(),
        budget_bytes,
        seed: 0x9e37_79b9_7f4a_7c15,
    })
}

fn forever() -> Box<dyn Life> {
    Box::new(Switch::default())
}

fn record(index: &PrefixIndex, model: &str, chain: &[u64], pod: u32) -> Option<Recorded> {
    index.record(model, crate::root(model), chain, pod, forever)
}

/// Match lengths of pods 0, 1, … `pods - 1`.
fn find(index: &PrefixIndex, model: &str, chain: &[u64], pods: u32) -> Vec<u32> {
    let mut lengths = vec![0; pods as usize];
    index.find(
        crate::root(model),
        chain,
        |pod| (pod < pods).then_some(pod as usize),
        &mut lengths,
    );
    lengths
}

#[test]
fn each_candidate_gets_its_longest_match() {
    let index = index(100, MIB);
    record(&index, "m", &[1, 2, 3, 4], 0);
    record(&index, "m", &[1, 2, 9], 1);
    record(&index, "m", &[1], 2);

    assert_eq!(find(&index, "m", &[1, 2, 3, 4, 5], 4), [4, 2, 1, 0]);
    assert_eq!(find(&index, "m", &[1, 2, 3], 4), [3, 2, 1, 0]);
    assert_eq!(find(&index, "m", &[8, 1, 2], 4), [0, 0, 0, 0]);
    assert_eq!(find(&index, "m", &[], 1), [0]);
}

#[test]
fn pods_outside_the_candidates_do_not_matter() {
    let index = index(100, MIB);
    record(&index, "m", &[1, 2, 3, 4], 7);
    record(&index, "m", &[1, 2], 0);

    assert_eq!(find(&index, "m", &[1, 2, 3, 4], 1), [2]);
    assert_eq!(find(&index, "m", &[1, 2, 3, 4], 0), [0; 0]);
}

#[test]
fn equal_hashes_of_two_models_are_apart() {
    let index = index(100, MIB);
    record(&index, "a", &[1, 2], 0);
    record(&index, "b", &[1], 1);

    assert_eq!(find(&index, "a", &[1, 2], 2), [2, 0]);
    assert_eq!(find(&index, "b", &[1, 2], 2), [0, 1]);
    assert_eq!(index.entries(), 3);
}

#[test]
fn of_a_prompt_the_end_is_evicted_first() {
    let index = index(3, MIB);
    record(&index, "m", &[1, 2, 3, 4, 5], 0);

    assert_eq!(find(&index, "m", &[1, 2, 3, 4, 5], 1), [3]);
    assert_eq!(index.entries(), 3);
    let evicted = ModelEvictions {
        model: "m".into(),
        count: 2,
    };
    assert_eq!(index.evictions(), [evicted]);
}

#[test]
fn models_share_the_room_of_a_pod_and_are_counted_apart() {
    let index = index(3, MIB);
    record(&index, "a", &[1, 2, 3], 0);
    record(&index, "b", &[4, 5], 0);

    assert_eq!(find(&index, "a", &[1, 2, 3], 1), [1]);
    assert_eq!(find(&index, "b", &[4, 5], 1), [2]);
    let counts: Vec<_> = index
        .evictions()
        .into_iter()
        .map(|model| (model.model.to_string(), model.count))
        .collect();
    assert_eq!(counts, [("a".to_owned(), 2)]);
}

#[test]
fn a_query_does_not_change_the_order_of_use() {
    let index = index(2, MIB);
    record(&index, "m", &[1], 0);
    record(&index, "m", &[2], 0);
    find(&index, "m", &[1], 1);
    record(&index, "m", &[3], 0);

    assert_eq!(find(&index, "m", &[1], 1), [0]);
    assert_eq!(find(&index, "m", &[2], 1), [1]);
}

#[test]
fn a_pod_whose_life_is_over_is_forgotten_whole_and_that_is_no_eviction() {
    let index = index(100, MIB);
    let life = Switch::default();
    for model in ["a", "b"] {
        let own = life.clone();
        index.record(model, crate::root(model), &[1, 2], 0, || Box::new(own));
    }
    record(&index, "a", &[1, 2], 1);

    life.0.store(true, Ordering::Relaxed);
    index.sweep();

    assert_eq!(find(&index, "a", &[1, 2], 2), [0, 2]);
    assert_eq!(find(&index, "b", &[1, 2], 2), [0, 0]);
    assert_eq!((index.entries(), index.owners.keys()), (2, 2));
    assert_eq!(index.evictions(), []);
}

#[test]
fn nothing_is_recorded_for_a_pod_whose_life_is_over() {
    let index = index(100, MIB);
    let life = Switch::default();
    life.0.store(true, Ordering::Relaxed);
    let own = life.clone();

    let recorded = index.record("m", crate::root("m"), &[1], 0, || Box::new(own));

    assert!(recorded.is_none());
    index.sweep();
    assert_eq!((index.entries(), index.owners.keys()), (0, 0));
    assert!(index.pods.read().unwrap().is_empty());
}

#[test]
fn what_failed_is_taken_back_except_for_what_others_used() {
    let index = index(100, MIB);
    record(&index, "m", &[1], 0);
    let failed = record(&index, "m", &[1, 2, 3, 4], 0).unwrap();
    record(&index, "m", &[1, 2], 0);

    index.undo(&failed);

    assert_eq!(find(&index, "m", &[1, 2, 3, 4], 1), [2]);
    assert_eq!(index.entries(), 2);
    index.undo(&failed);
    assert_eq!(index.entries(), 2);
}

#[test]
fn an_undo_after_the_pod_was_forgotten_does_nothing() {
    let index = index(100, MIB);
    let life = Switch::default();
    let own = life.clone();
    let recorded = index
        .record("m", crate::root("m"), &[1, 2], 0, || Box::new(own))
        .unwrap();
    life.0.store(true, Ordering::Relaxed);
    index.sweep();

    index.undo(&recorded);

    assert_eq!(index.entries(), 0);
}

#[test]
fn the_budget_holds_with_more_pods_than_it_was_filled_by() {
    let index = index(usize::MAX, 100 * ENTRY_BYTES);
    let chain: Vec<u64> = (0..100).collect();
    record(&index, "m", &chain, 0);
    assert_eq!(index.entries(), 100);

    for pod in 1..5 {
        record(&index, "m", &chain, pod);
        assert!(index.bytes() <= 100 * ENTRY_BYTES);
    }

    assert_eq!(find(&index, "m", &chain, 5), [20; 5]);
}

#[test]
fn entries_cost_no_more_than_they_are_charged() {
    let index = index(usize::MAX, 1 << 40);
    let mut next = 0_u64;
    for round in 0..40_u32 {
        for pod in 0..5 {
            let chain: Vec<u64> = (0..u64::from(round) * 10)
                .map(|_| {
                    next += 1;
                    xxhash_rust::xxh64::xxh64(&next.to_le_bytes(), 0)
                })
                .collect();
            record(&index, "m", &chain, pod);
        }
        if index.entries() < 5000 {
            continue;
        }
        let pods = index.pods.read().unwrap();
        let lists: usize = pods.values().map(|pod| pod.lock().lru.bytes()).sum();
        let real = lists + index.owners.bytes();
        assert!(real <= index.bytes(), "{real} > {}", index.bytes());
    }
}

#[test]
fn threads_do_not_lose_count() {
    let index = index(500, 20_000 * ENTRY_BYTES);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let index = &index;
            scope.spawn(move || {
                for round in 0..500_u64 {
                    let chain: Vec<u64> =
                        (0..20).map(|at| (thread * round) % 97 * 100 + at).collect();
                    let pod = u32::try_from(round % 7).unwrap();
                    let recorded = record(index, "m", &chain, pod);
                    find(index, "m", &chain, 7);
                    if let Some(recorded) = recorded.filter(|_| round % 3 == 0) {
                        index.undo(&recorded);
                    }
                }
            });
        }
    });
    let held: usize = {
        let pods = index.pods.read().unwrap();
        pods.values().map(|pod| pod.lock().lru.len()).sum()
    };
    assert_eq!(index.entries(), held);
}

#[derive(Debug, Clone)]
enum Act {
    Record(u32, Vec<u64>),
    RecordAndUndo(u32, Vec<u64>),
    End(u32),
}

/// A prompt of few possible blocks whose hashes chain: the same block after another beginning is another hash.
fn chains() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(0_u64..3, 0..8).prop_map(|blocks| {
        let mut before = 1_u64;
        blocks
            .into_iter()
            .map(|block| {
                before = xxhash_rust::xxh64::xxh64(&(before ^ block).to_le_bytes(), before);
                before
            })
            .collect()
    })
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0_u32..4, chains()).prop_map(|(pod, chain)| Act::Record(pod, chain)),
        2 => (0_u32..4, chains()).prop_map(|(pod, chain)| Act::RecordAndUndo(pod, chain)),
        1 => (0_u32..4).prop_map(Act::End),
    ]
}

proptest! {
    #[test]
    fn agrees_with_plain_sets(
        acts in prop::collection::vec(acts(), 0..40),
        asked in prop::collection::vec(chains(), 1..6),
    ) {
        let index = index(1_000, MIB);
        let mut lives: HashMap<u32, Switch> = HashMap::new();
        let mut plain: BTreeMap<u32, HashSet<u64>> = BTreeMap::new();
        for act in acts {
            match act {
                Act::Record(pod, chain) => {
                    let life = lives.entry(pod).or_default().clone();
                    index.record("m", crate::root("m"), &chain, pod, || Box::new(life));
                    plain.entry(pod).or_default().extend(chain);
                }
                Act::RecordAndUndo(pod, chain) => {
                    let life = lives.entry(pod).or_default().clone();
                    let recorded =
                        index.record("m", crate::root("m"), &chain, pod, || Box::new(life));
                    if let Some(recorded) = recorded {
                        index.undo(&recorded);
                    }
                }
                Act::End(pod) => {
                    if let Some(life) = lives.remove(&pod) {
                        life.0.store(true, Ordering::Relaxed);
                    }
                    index.sweep();
                    plain.remove(&pod);
                }
            }
        }
        for chain in asked {
            let lengths = find(&index, "m", &chain, 4);
            for (pod, length) in (0_u32..).zip(lengths) {
                let own = plain.get(&pod).cloned().unwrap_or_default();
                let wanted = chain.iter().take_while(|hash| own.contains(hash)).count();
                prop_assert_eq!(length as usize, wanted);
            }
        }
        prop_assert_eq!(index.entries(), plain.values().map(HashSet::len).sum::<usize>());
    }

    #[test]
    fn evictions_leave_no_holes(
        prompts in prop::collection::vec((0_u32..3, chains()), 0..60),
        room in 1_usize..12,
    ) {
        let index = index(room, MIB);
        for (pod, chain) in &prompts {
            record(&index, "m", chain, *pod);
            let pods = index.pods.read().unwrap();
            prop_assert!(pods.values().all(|pod| pod.lock().lru.len() <= room));
        }
        for (_, chain) in &prompts {
            for end in 1..chain.len() {
                let (shorter, longer) = (&chain[..end], chain);
                let shorter = find(&index, "m", shorter, 3);
                let longer = find(&index, "m", longer, 3);
                for (short, long) in shorter.iter().zip(longer) {
                    prop_assert_eq!(*short as usize, (long as usize).min(end));
                }
            }
        }
    }
}
