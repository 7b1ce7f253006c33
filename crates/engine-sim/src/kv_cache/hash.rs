//! Names of blocks by content: each hash covers the block's tokens, everything before them and the
//! adapter they were computed with.

/// The hash of a full block and of all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockHash(pub u64);

/// Appends to `hashes` the hashes of the full blocks of `tokens` it does not cover yet.
///
/// `hashes` holds those of the leading blocks of the same sequence, so a sequence that grows is
/// hashed only once.
pub fn chain(hashes: &mut Vec<BlockHash>, tokens: &[u32], block_size: u32, adapter: Option<&str>) {
    let size = block_size.max(1) as usize;
    let mut parent = match hashes.last() {
        Some(last) => last.0,
        None => start(adapter),
    };
    for block in tokens.chunks_exact(size).skip(hashes.len()) {
        parent = block
            .iter()
            .fold(parent, |hash, &token| mix(hash ^ u64::from(token), SPREAD));
        // Separates `[1][2]` from `[1, 2]` at another block size.
        parent = mix(parent ^ block.len() as u64, FINISH);
        hashes.push(BlockHash(parent));
    }
}

// Odd constants with about half their bits set; any such pair would do.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
const FINISH: u64 = 0xd6e8_feb8_6659_fd93;

fn start(adapter: Option<&str>) -> u64 {
    let bytes = adapter.unwrap_or_default().bytes();
    bytes.fold(FINISH, |hash, byte| mix(hash ^ u64::from(byte), SPREAD))
}

/// Multiplies to 128 bits and folds the halves, so that every input bit reaches every output bit.
/// The added constant keeps zero from being a fixed point.
fn mix(value: u64, factor: u64) -> u64 {
    let product = u128::from(value.wrapping_add(SPREAD)) * u128::from(factor);
    (product as u64) ^ ((product >> 64) as u64)
}
