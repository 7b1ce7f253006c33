//! Prompts that were sent and are still to be computed.
//!
//! Engines tell of blocks when they compute them. A request that follows another with the same beginning before that
//! would find nothing, and have it computed elsewhere once more.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

/// Of each prompt the hashes at a few lengths: 1, 2, 3, 4, 6, 8, 12, 16, … blocks, and its whole length. A common
/// beginning is found to two thirds of its length at least.
#[derive(Debug, Default)]
pub(super) struct Pending(Mutex<HashMap<u64, Holders>>);

/// Endpoints, and how many prompts each.
type Holders = SmallVec<[(u32, u32); 2]>;

/// What one prompt put there.
#[derive(Debug, Default)]
pub(super) struct Marks(SmallVec<[u64; 20]>);

impl Pending {
    /// A prompt with these hashes is on its way to `endpoint`.
    pub(super) fn add(&self, chain: &[u64], endpoint: u32) -> Marks {
        let marks: SmallVec<[u64; 20]> = lengths(chain.len()).map(|at| chain[at - 1]).collect();
        let mut table = self.lock();
        for hash in &marks {
            let holders = table.entry(*hash).or_default();
            match holders.iter_mut().find(|(known, _)| *known == endpoint) {
                Some((_, prompts)) => *prompts += 1,
                None => holders.push((endpoint, 1)),
            }
        }
        Marks(marks)
    }

    /// It is computed, or never will be. Marks are empty afterwards.
    pub(super) fn remove(&self, marks: &mut Marks, endpoint: u32) {
        let mut table = self.lock();
        for hash in marks.0.drain(..) {
            let Entry::Occupied(mut entry) = table.entry(hash) else {
                continue;
            };
            let holders = entry.get_mut();
            if let Some(at) = holders.iter().position(|(known, _)| *known == endpoint) {
                holders[at].1 -= 1;
                if holders[at].1 == 0 {
                    holders.swap_remove(at);
                }
            }
            if holders.is_empty() {
                entry.remove();
            }
        }
    }

    /// Sets how many blocks of a prompt are on their way to each endpoint that `position` knows.
    pub(super) fn find(
        &self,
        chain: &[u64],
        position: impl Fn(u32) -> Option<usize>,
        found: &mut [u32],
    ) {
        let table = self.lock();
        if table.is_empty() {
            return;
        }
        for length in lengths(chain.len()) {
            let Some(holders) = table.get(&chain[length - 1]) else {
                // A chain's hash stands for all blocks before it.
                return;
            };
            for (endpoint, _) in holders {
                if let Some(at) = position(*endpoint) {
                    found[at] = u32::try_from(length).unwrap_or(u32::MAX);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Holders>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

/// Lengths at which a prompt of `whole` blocks is marked, ascending.
fn lengths(whole: usize) -> impl Iterator<Item = usize> {
    let steps = (0..usize::BITS - 1).flat_map(|power| [1 << power, 3 << power >> 1]);
    let inner = steps.skip(2).take_while(move |length| *length < whole);
    let first = (whole > 1).then_some(1);
    let last = (whole > 0).then_some(whole);
    first.into_iter().chain(inner).chain(last)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nothing(0, &[])]
    #[case::one(1, &[1])]
    #[case::two(2, &[1, 2])]
    #[case::between(7, &[1, 2, 3, 4, 6, 7])]
    #[case::on_a_step(12, &[1, 2, 3, 4, 6, 8, 12])]
    fn marks(#[case] whole: usize, #[case] expected: &[usize]) {
        assert_eq!(lengths(whole).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn long_prompts_have_few_marks() {
        assert!(lengths(512).count() <= 20);
    }

    fn find(pending: &Pending, chain: &[u64]) -> [u32; 2] {
        let mut found = [0; 2];
        pending.find(chain, |id| usize::try_from(id).ok(), &mut found);
        found
    }

    #[test]
    fn a_common_beginning_is_found_until_both_are_computed() {
        let pending = Pending::default();
        let (one, two) = ([1, 2, 3, 4, 50], [1, 2, 3, 4, 60, 70]);
        let mut first = pending.add(&one, 0);
        let mut second = pending.add(&two, 0);
        assert_eq!(find(&pending, &[1, 2, 3, 4, 99]), [4, 0]);
        assert_eq!(find(&pending, &two), [6, 0]);
        pending.remove(&mut first, 0);
        assert_eq!(find(&pending, &one), [4, 0]);
        pending.remove(&mut second, 0);
        assert_eq!(find(&pending, &one), [0, 0]);
        assert!(pending.is_empty());
    }

    #[test]
    fn endpoints_are_told_apart() {
        let pending = Pending::default();
        pending.add(&[1, 2, 3], 0);
        pending.add(&[1, 9], 1);
        assert_eq!(find(&pending, &[1, 2, 3, 4]), [3, 1]);
    }
}
