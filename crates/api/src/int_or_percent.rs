//! A count, or a share of a count: `3` or `25%`.

use serde::{Deserialize, Serialize};

/// An integer or a text that should be a percentage. The text is kept as written; admission judges its form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IntOrPercent {
    /// An absolute count.
    Int(i32),
    /// `NN%`, or whatever else a user wrote.
    Text(String),
}

/// Which way a share that is no whole number is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Towards zero.
    Down,
    /// Away from zero.
    Up,
}

impl IntOrPercent {
    /// The count this stands for out of `total`; `None` if the text is no percentage.
    pub fn scaled(&self, total: i32, rounding: Rounding) -> Option<i32> {
        match self {
            Self::Int(count) => Some(*count),
            Self::Text(text) => {
                let percent: i64 = text.strip_suffix('%')?.parse().ok()?;
                let share = percent.checked_mul(i64::from(total))?;
                let count = match rounding {
                    Rounding::Down => share / 100,
                    Rounding::Up => (share + 99) / 100,
                };
                i32::try_from(count).ok()
            }
        }
    }
}
