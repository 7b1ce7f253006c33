//! Names made from content.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// Letters and digits that form no words and are not mistaken for each other.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// `length` characters that depend on nothing but `content`. At most 32.
pub(crate) fn short_hash(content: &impl Serialize, length: usize) -> String {
    // The types hashed here have text keys only, which JSON always takes.
    let bytes = serde_json::to_vec(content).unwrap_or_default();
    let digest = Sha256::digest(&bytes);
    let letters = digest
        .iter()
        .take(length)
        .map(|byte| ALPHABET[usize::from(*byte) % ALPHABET.len()]);
    letters.map(char::from).collect()
}

/// Joins a name and a suffix so that the result is a legal object name, shortening the name if need be.
pub(crate) fn joined(name: &str, suffix: &str) -> String {
    const LONGEST: usize = 253;
    let room = LONGEST.saturating_sub(suffix.len() + 1);
    let end = name
        .char_indices()
        .map(|(at, _)| at)
        .chain([name.len()])
        .take_while(|at| *at <= room)
        .last();
    format!("{}-{suffix}", &name[..end.unwrap_or(0)])
}
