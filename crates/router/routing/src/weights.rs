//! The draw between the targets of a rule.

use kthena_api::model_route::TargetModel;

/// Shares of the targets of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Weights {
    /// No target has a weight: all are alike. Holds their number.
    Equal(u32),
    /// Each target has one: the running sums, the last of which is the total and greater than zero.
    Proportional(Vec<u32>),
    /// No target, a mix of weighted and weightless ones, or a total of zero: nothing can be drawn.
    Undrawable,
}

impl Weights {
    /// Reads the weights of `targets`. A negative weight, which admission refuses, counts as zero.
    pub fn of(targets: &[TargetModel]) -> Self {
        let weighted = targets
            .iter()
            .filter(|target| target.weight.is_some())
            .count();
        if weighted == 0 {
            return match u32::try_from(targets.len()) {
                Ok(count) if count > 0 => Self::Equal(count),
                _ => Self::Undrawable,
            };
        }
        if weighted != targets.len() {
            return Self::Undrawable;
        }
        let mut total = 0_u32;
        let sums: Vec<u32> = targets
            .iter()
            .map(|target| {
                let weight = target
                    .weight
                    .and_then(|weight| u32::try_from(weight).ok())
                    .unwrap_or(0);
                total = total.saturating_add(weight);
                total
            })
            .collect();
        if total == 0 {
            Self::Undrawable
        } else {
            Self::Proportional(sums)
        }
    }

    /// Index of the target that `draw`, uniform over all 64 bits, falls on. A target of weight zero is never drawn.
    pub fn pick(&self, draw: u64) -> Option<usize> {
        match self {
            Self::Equal(count) => Some(scaled(draw, *count) as usize),
            Self::Proportional(sums) => {
                let point = scaled(draw, *sums.last()?);
                Some(sums.partition_point(|sum| *sum <= point))
            }
            Self::Undrawable => None,
        }
    }
}

/// Maps a 64-bit draw onto `0..bound` without the bias of a remainder.
fn scaled(draw: u64, bound: u32) -> u32 {
    let wide = (u128::from(draw) * u128::from(bound)) >> 64;
    u32::try_from(wide).unwrap_or(bound.saturating_sub(1))
}
