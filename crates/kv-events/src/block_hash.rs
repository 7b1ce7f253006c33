//! Names for blocks of tokens that do not depend on the engine.

use sha2::{Digest, Sha256};
use xxhash_rust::xxh64::Xxh64;

/// Tokens whose bytes are put side by side at a time.
const STRIDE: usize = 64;

/// The name of a block in the layout that Redis holds: the first eight bytes of SHA-256 over the tokens, each as four
/// big-endian bytes, without the top bit. It knows nothing of what stands before the block. No tokens give 0.
pub fn lone_hash(tokens: &[u32]) -> u64 {
    if tokens.is_empty() {
        return 0;
    }
    let mut digest = Sha256::new();
    for tokens in tokens.chunks(STRIDE) {
        let mut bytes = [0; STRIDE * 4];
        for (place, token) in bytes.chunks_exact_mut(4).zip(tokens) {
            place.copy_from_slice(&token.to_be_bytes());
        }
        digest.update(&bytes[..tokens.len() * 4]);
    }
    let digest = digest.finalize();
    let mut head = [0; 8];
    head.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(head) & (u64::MAX >> 1)
}

/// The name of a block that comes after `before` and holds `tokens`: equal tokens behind other tokens are another
/// block. Names only mean something within one process.
pub fn chained_hash(before: u64, tokens: &[u32]) -> u64 {
    let mut hash = Xxh64::new(before);
    for tokens in tokens.chunks(STRIDE) {
        let mut bytes = [0; STRIDE * 4];
        for (place, token) in bytes.chunks_exact_mut(4).zip(tokens) {
            place.copy_from_slice(&token.to_le_bytes());
        }
        hash.update(&bytes[..tokens.len() * 4]);
    }
    hash.digest()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::{chained_hash, lone_hash};

    #[rstest]
    #[case::nothing(&[], 0)]
    #[case::zero(&[0], 6_863_311_662_677_045_211)]
    #[case::one(&[1], 3_748_984_630_417_570_165)]
    #[case::several(&[1, 2, 3], 8_866_284_349_863_400_844)]
    #[case::a_block(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], 6_473_494_984_593_326_032)]
    #[case::another_block(&[16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31], 3_036_027_678_049_585_822)]
    #[case::largest(&[u32::MAX], 3_284_552_513_154_947_520)]
    fn lone_hashes(#[case] tokens: &[u32], #[case] expected: u64) {
        assert_eq!(lone_hash(tokens), expected);
    }

    proptest! {
        #[test]
        fn the_top_bit_is_clear(tokens in proptest::collection::vec(any::<u32>(), 0..200)) {
            prop_assert_eq!(lone_hash(&tokens) >> 63, 0);
        }

        #[test]
        fn order_matters(mut tokens in proptest::collection::vec(any::<u32>(), 2..200)) {
            let (lone, chained) = (lone_hash(&tokens), chained_hash(1, &tokens));
            tokens.rotate_left(1);
            prop_assume!(tokens.iter().any(|token| *token != tokens[0]));
            prop_assert_ne!(lone, lone_hash(&tokens));
            prop_assert_ne!(chained, chained_hash(1, &tokens));
        }

        #[test]
        fn what_stands_before_matters(tokens in proptest::collection::vec(any::<u32>(), 1..200), before: u64) {
            prop_assert_ne!(chained_hash(before, &tokens), chained_hash(before ^ 1, &tokens));
        }
    }
}
