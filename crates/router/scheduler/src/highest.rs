//! The highest of a list, equals by lot.

use fastrand::Rng;
use smallvec::SmallVec;

use crate::placement::KEPT;

/// The `most` highest of `values`, each with its place, highest first. Every order of equals is equally likely, and so is
/// which of them are among those that are kept.
pub fn highest<T: Ord + Copy>(
    values: impl IntoIterator<Item = (T, u32)>,
    most: usize,
    rng: &mut Rng,
) -> SmallVec<[(T, u32); KEPT]> {
    let mut kept: SmallVec<[(T, u32, u32); KEPT]> = SmallVec::new();
    // The last that is kept, once no more can be.
    let mut last = None;
    for (value, at) in values {
        if last.is_some_and(|(last, _)| value < last) {
            continue;
        }
        let draw = rng.u32(..);
        // Among a thousand equals nearly every draw loses here.
        if last.is_some_and(|last| (value, draw) <= last) {
            continue;
        }
        let place = kept.partition_point(|(other, drawn, _)| (*other, *drawn) >= (value, draw));
        kept.truncate(most.saturating_sub(1));
        kept.insert(place, (value, draw, at));
        last = kept
            .last()
            .map(|(value, draw, _)| (*value, *draw))
            .filter(|_| kept.len() >= most);
    }
    kept.into_iter()
        .take(most)
        .map(|(value, _, at)| (value, at))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn which_equals_are_kept_is_drawn_by_lot() {
        let mut rng = Rng::with_seed(1);
        let mut hits: HashMap<u32, u32> = HashMap::new();
        for _ in 0..9_000 {
            let found = highest([1, 2, 1, 1].into_iter().zip(0..), 3, &mut rng);
            assert_eq!(found[0], (2, 1));
            for (_, at) in &found[1..] {
                *hits.entry(*at).or_default() += 1;
            }
        }
        assert!(
            [0, 2, 3]
                .iter()
                .all(|at| (5_700..6_300).contains(&hits[at])),
            "{hits:?}"
        );
    }

    proptest! {
        #[test]
        fn they_are_those_that_sorting_finds(
            values in proptest::collection::vec(0_u8..9, 0..40),
            most in 0_usize..9,
            seed: u64,
        ) {
            let found = highest(values.iter().copied().zip(0..), most, &mut Rng::with_seed(seed));

            let mut sorted = values.clone();
            sorted.sort_unstable_by(|a, b| b.cmp(a));
            sorted.truncate(most);
            let own: Vec<u8> = found.iter().map(|(value, _)| *value).collect();
            prop_assert_eq!(own, sorted);
            let mut places: Vec<u32> = found.iter().map(|(_, at)| *at).collect();
            for (value, at) in &found {
                prop_assert_eq!(*value, values[*at as usize]);
            }
            places.sort_unstable();
            places.dedup();
            prop_assert_eq!(places.len(), found.len());
        }
    }
}
