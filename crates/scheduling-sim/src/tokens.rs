//! Tokens nobody has to store: each is a function of where it stands.

use std::ops::ControlFlow;

use kthena_router_scheduler::PromptText;

/// Distinct tokens, as many as a usual vocabulary has.
const VOCABULARY: u64 = 150_000;

/// Appends `count` tokens of the text named `stream`.
pub(crate) fn append(tokens: &mut Vec<u32>, stream: u64, count: u32) {
    let token = |at: u32| {
        let value = mix(stream ^ mix(u64::from(at)));
        (value % VOCABULARY) as u32
    };
    tokens.extend((0..count).map(token));
}

/// The first `count` tokens of a text that has such a name.
pub fn words(name: (u64, u64, u64), count: u32) -> Vec<u64> {
    let mut tokens = Vec::new();
    append(&mut tokens, stream(name.0, name.1, name.2), count);
    tokens.into_iter().map(u64::from).collect()
}

/// The name of a text: of what kind it is, whose, and which.
pub(crate) fn stream(kind: u64, owner: u64, number: u64) -> u64 {
    mix(mix(mix(kind) ^ owner) ^ number)
}

/// Spreads a number over all 64 bits.
fn mix(value: u64) -> u64 {
    let mut value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Tokens as the text a router sees: four bytes each, which is about what English needs.
pub(crate) struct AsText<'a>(pub(crate) &'a [u32]);

impl PromptText for AsText<'_> {
    fn pieces(&self, take: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) {
        let mut bytes = [0; 256];
        for tokens in self.0.chunks(bytes.len() / 4) {
            for (place, token) in bytes.chunks_exact_mut(4).zip(tokens) {
                place.copy_from_slice(&token.to_le_bytes());
            }
            if take(&bytes[..tokens.len() * 4]).is_break() {
                return;
            }
        }
    }
}
