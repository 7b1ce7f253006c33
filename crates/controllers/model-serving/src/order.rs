//! Which of several groups or role instances go first when there are too many.

use std::collections::BTreeMap;

/// What the order looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rank {
    pub(crate) is_running: bool,
    /// Already chosen by an earlier pass.
    pub(crate) is_leaving: bool,
    /// Sum of the deletion costs of its pods.
    pub(crate) cost: i64,
}

/// The ordinals that must go, those that go already included.
///
/// What is not running goes before what is, then what costs less, then the higher ordinal. The first
/// `protected` of the list go only if the others do not suffice.
pub(crate) fn victims(records: &BTreeMap<i32, Rank>, surplus: usize, protected: usize) -> Vec<i32> {
    let mut order: Vec<_> = records
        .iter()
        .enumerate()
        .map(|(index, (ordinal, rank))| {
            let key = (
                !rank.is_leaving,
                index < protected,
                rank.is_running,
                rank.cost,
                std::cmp::Reverse(*ordinal),
            );
            (key, *ordinal)
        })
        .collect();
    order.sort_unstable();
    order
        .into_iter()
        .take(surplus)
        .map(|(_, ordinal)| ordinal)
        .collect()
}

/// The lowest ordinals below `wanted` that nothing occupies, as many as are missing.
///
/// Lazy, so that memory does not grow with `wanted`.
pub(crate) fn vacancies<T>(records: &BTreeMap<i32, T>, wanted: i32) -> impl Iterator<Item = i32> {
    let missing = usize::try_from(wanted)
        .unwrap_or(0)
        .saturating_sub(records.len());
    (0..wanted)
        .filter(|ordinal| !records.contains_key(ordinal))
        .take(missing)
}

#[cfg(test)]
mod tests;
