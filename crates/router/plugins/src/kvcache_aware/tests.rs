use kthena_router_scheduler::{KvBlocks, KvIndex, Notes};
use rstest::rstest;

use super::*;
use crate::fixtures::{candidates, marks_for};

/// Knows the same of every prompt.
struct Known {
    blocks: u32,
    lengths: Vec<u32>,
}

impl KvIndex for Known {
    fn lookup(
        &self,
        query: &KvQuery<'_>,
        _candidates: &Candidates<'_>,
        lengths: &mut [u32],
    ) -> Option<KvBlocks> {
        assert_eq!((query.block_tokens, query.max_blocks), (16, 128));
        lengths.copy_from_slice(&self.lengths);
        Some(KvBlocks {
            count: self.blocks,
            tokens: query.block_tokens,
        })
    }
}

struct Unknown;

impl KvIndex for Unknown {
    fn lookup(&self, _: &KvQuery<'_>, _: &Candidates<'_>, lengths: &mut [u32]) -> Option<KvBlocks> {
        lengths.fill(3);
        None
    }
}

fn scorer() -> KvcacheAware {
    KvcacheAware::new(KvcacheAwareConfig::default())
}

#[rstest]
#[case::whole(4, &[4, 0], &[100, 0], 1.0)]
#[case::fractions(3, &[1, 2], &[33, 66], 2.0 / 3.0)]
#[case::miss(8, &[0, 0], &[0, 0], 0.0)]
#[case::more_than_there_is(2, &[5, 1], &[100, 50], 1.0)]
fn scores(
    #[case] blocks: u32,
    #[case] lengths: &[u32],
    #[case] wanted: &[i64],
    #[case] ratio: f64,
) {
    let notes = Notes::default();
    let index = Known {
        blocks,
        lengths: lengths.to_vec(),
    };
    let tokens = vec![0; blocks as usize * 16];
    let request = RequestFacts {
        tokens: Some(&tokens),
        kv: Some(&index),
        ..RequestFacts::new("m", &notes)
    };

    assert_eq!(marks_for(&scorer(), &request, &candidates(2)), wanted);
    assert_eq!(
        notes.take_events().as_slice(),
        [PluginEvent::KvMatch(ratio)]
    );
}

#[rstest]
#[case::no_tokens(None, true)]
#[case::empty_prompt(Some(&[][..]), true)]
#[case::no_index(Some(&[1][..]), false)]
#[case::index_without_answer(Some(&[1][..]), true)]
fn without_knowledge_everyone_is_alike(#[case] tokens: Option<&[u32]>, #[case] index: bool) {
    let notes = Notes::default();
    let request = RequestFacts {
        tokens,
        kv: index.then_some(&Unknown as &dyn KvIndex),
        ..RequestFacts::new("m", &notes)
    };

    assert_eq!(marks_for(&scorer(), &request, &candidates(2)), [0, 0]);
    assert!(notes.take_events().is_empty());
}

#[rstest]
#[case::a_short_block_does_not_count(false, 40, 100, 1.0)]
#[case::a_short_block_counts(true, 40, 66, 2.0 / 3.0)]
#[case::there_is_none(true, 32, 100, 1.0)]
#[case::beyond_the_most(true, 128 * 16 + 1, 1, 2.0 / 128.0)]
fn short_blocks(
    #[case] count_short_block: bool,
    #[case] tokens: usize,
    #[case] wanted: i64,
    #[case] ratio: f64,
) {
    let scorer = KvcacheAware::new(KvcacheAwareConfig {
        count_short_block,
        ..KvcacheAwareConfig::default()
    });
    let notes = Notes::default();
    let index = Known {
        blocks: 2,
        lengths: vec![2, 0],
    };
    let tokens = vec![0; tokens];
    let request = RequestFacts {
        tokens: Some(&tokens),
        kv: Some(&index),
        ..RequestFacts::new("m", &notes)
    };
    assert_eq!(marks_for(&scorer, &request, &candidates(2)), [wanted, 0]);
    assert_eq!(
        notes.take_events().as_slice(),
        [PluginEvent::KvMatch(ratio)]
    );
}

#[test]
fn no_blocks_are_no_attempt() {
    let notes = Notes::default();
    let index = Known {
        blocks: 0,
        lengths: vec![0],
    };
    let request = RequestFacts {
        tokens: Some(&[1]),
        kv: Some(&index),
        ..RequestFacts::new("m", &notes)
    };
    assert_eq!(marks_for(&scorer(), &request, &candidates(1)), [0]);
    assert!(notes.take_events().is_empty());
}
