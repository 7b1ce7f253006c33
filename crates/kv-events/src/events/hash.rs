//! An engine's name for a block.

use std::fmt;

/// An engine's own name for a block: a number of up to 64 bits, signed or not, or bytes.
///
/// Equal names of one engine mean equal blocks; names of different engines, or of two runs of the
/// same one, mean nothing to each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EngineHash {
    /// Zero or above.
    Unsigned(u64),
    /// Below zero.
    Negative(i64),
    /// A digest.
    Bytes(Box<[u8]>),
}

impl From<u64> for EngineHash {
    fn from(hash: u64) -> Self {
        Self::Unsigned(hash)
    }
}

impl From<i64> for EngineHash {
    fn from(hash: i64) -> Self {
        u64::try_from(hash).map_or(Self::Negative(hash), Self::Unsigned)
    }
}

/// Decimal for numbers, hexadecimal for bytes: the form that Redis keys hold.
impl fmt::Display for EngineHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(hash) => write!(out, "{hash}"),
            Self::Negative(hash) => write!(out, "{hash}"),
            Self::Bytes(bytes) => bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}")),
        }
    }
}
