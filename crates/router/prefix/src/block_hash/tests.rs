use proptest::prelude::{any, prop, prop_assert_eq, proptest};
use rstest::rstest;

use super::*;

fn size(size: usize) -> NonZeroUsize {
    NonZeroUsize::new(size).unwrap()
}

fn chain(model: &str, prompt: &[u8], block: usize, max: usize) -> Vec<u64> {
    let mut hasher = BlockHasher::new(root(model), size(block), size(max));
    let _ = hasher.push(prompt);
    hasher.finish().to_vec()
}

#[test]
fn the_hash_of_a_model() {
    assert_eq!(root("test-model"), 3_725_054_772_343_846_052);
}

#[rstest]
#[case::one_short_block("test-model", "Hello World", 64, &[1_993_528_491_812_861_608])]
#[case::three_blocks(
    "demo",
    "abcdefghij",
    4,
    &[12_682_858_810_828_489_842, 4_282_271_158_388_086_350, 15_438_771_040_709_480_162]
)]
#[case::nothing("demo", "", 4, &[])]
fn known_chains(
    #[case] model: &str,
    #[case] prompt: &str,
    #[case] block: usize,
    #[case] wanted: &[u64],
) {
    assert_eq!(chain(model, prompt.as_bytes(), block, 128), wanted);
}

#[test]
fn the_tail_beyond_the_last_block_is_ignored() {
    let long = chain("m", b"aaaabbbbcccc", 4, 2);
    assert_eq!(long, chain("m", b"aaaabbbb", 4, 128));
    assert_eq!(long, chain("m", b"aaaabbbbx", 4, 2));
}

#[test]
fn a_hasher_says_when_it_has_enough() {
    let mut hasher = BlockHasher::new(root("m"), size(2), size(2));
    assert_eq!(hasher.push(b"abc"), ControlFlow::Continue(()));
    assert_eq!(hasher.push(b"d"), ControlFlow::Continue(()));
    assert_eq!(hasher.push(b"e"), ControlFlow::Break(()));
    assert_eq!(hasher.finish().len(), 2);
}

/// The definition, written down: digits of the hash before, then the block.
fn by_definition(model: &str, prompt: &[u8], block: usize, max: usize) -> Vec<u64> {
    let mut before = xxh64(model.as_bytes(), 0);
    prompt
        .chunks(block)
        .take(max)
        .map(|block| {
            let mut bytes = before.to_string().into_bytes();
            bytes.extend_from_slice(block);
            before = xxh64(&bytes, 0);
            before
        })
        .collect()
}

fn in_pieces(pieces: &[Vec<u8>], block: usize, max: usize) -> Vec<u64> {
    let mut hasher = BlockHasher::new(root("m"), size(block), size(max));
    for piece in pieces {
        if hasher.push(piece).is_break() {
            break;
        }
    }
    hasher.finish().to_vec()
}

/// Beginnings that were hashed before, in other pieces, behind another hash, or in blocks of another size.
#[test]
fn what_is_remembered_is_of_the_same_beginning() {
    let prompt: Vec<u8> = (0..4096_u32).map(|at| (at * at % 251) as u8).collect();
    for _ in 0..3 {
        for block in [8, 16, 64] {
            let wanted = by_definition("m", &prompt, block, 128);
            assert_eq!(chain("m", &prompt, block, 128), wanted);
            let halves = [prompt[..1000].to_vec(), prompt[1000..].to_vec()];
            assert_eq!(in_pieces(&halves, block, 128), wanted);
            let other = by_definition("other", &prompt, block, 40);
            assert_eq!(chain("other", &prompt, block, 40), other);
            let later = by_definition("m", &prompt[512..], block, 128);
            assert_eq!(chain("m", &prompt[512..], block, 128), later);
        }
    }
}

proptest! {
    #[test]
    fn any_pieces_give_the_hashes_of_the_definition(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8),
        block in 1_usize..20,
        max in 1_usize..60,
        same in any::<bool>(),
    ) {
        let mut pieces = pieces;
        if same {
            pieces.insert(0, vec![b'a'; 400]);
        }
        let prompt = pieces.concat();
        let wanted = by_definition("m", &prompt, block, max);
        prop_assert_eq!(in_pieces(&pieces, block, max), wanted.clone());
        prop_assert_eq!(in_pieces(&pieces, block, max), wanted);
    }
}
