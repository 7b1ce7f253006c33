//! Draws names for `generateName`.

/// Letters and digits that form no words and are not mistaken for each other.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX: usize = 5;
/// Longest prefix that leaves room for the suffix.
const MAX_PREFIX: usize = 63 - SUFFIX;

/// The name for `prefix` at the given attempt; the same seed and attempt give the same name.
pub(super) fn generated(prefix: &str, seed: u64, attempt: u64) -> String {
    let mut cut = prefix.len().min(MAX_PREFIX);
    while !prefix.is_char_boundary(cut) {
        cut -= 1;
    }
    let mut name = prefix[..cut].to_owned();
    let mut state = mixed(seed.wrapping_add(attempt.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
    for _ in 0..SUFFIX {
        let size = ALPHABET.len() as u64;
        let at = usize::try_from(state % size).unwrap_or_default();
        name.push(char::from(ALPHABET[at]));
        state /= size;
    }
    name
}

/// Spreads a seed over all bits (the finisher of `SplitMix64`), so that neighbouring seeds differ everywhere.
fn mixed(seed: u64) -> u64 {
    let mut state = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ (state >> 31)
}
