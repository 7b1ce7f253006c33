//! A set of owners of one block: mostly one to four.

/// Slots counted from 1; 0 = empty place.
const FEW: usize = 4;

/// Who holds a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owners {
    Few([u16; FEW]),
    /// A bit per slot.
    Many(Box<[u64]>),
}

impl Owners {
    pub(super) fn one(slot: u16) -> Self {
        Self::Few([slot, 0, 0, 0])
    }

    /// Adds an owner; `false` = it was one.
    pub(super) fn insert(&mut self, slot: u16) -> bool {
        match self {
            Self::Few(slots) => {
                if slots.contains(&slot) {
                    return false;
                }
                if let Some(free) = slots.iter_mut().find(|place| **place == 0) {
                    *free = slot;
                    return true;
                }
                let largest = slots.iter().copied().fold(slot, u16::max);
                let mut bits = vec![0; place(largest).0 + 1];
                for slot in slots.iter().copied().chain([slot]) {
                    set(&mut bits, slot);
                }
                *self = Self::Many(bits.into());
                true
            }
            Self::Many(bits) => {
                let (word, _) = place(slot);
                if word >= bits.len() {
                    let mut longer = vec![0; word + 1];
                    longer[..bits.len()].copy_from_slice(bits);
                    *bits = longer.into();
                }
                set(bits, slot)
            }
        }
    }

    /// Bytes that adding this owner, who is none yet, takes beside the value itself.
    pub(super) fn growth(&self, slot: u16) -> usize {
        let words = match self {
            Self::Few(slots) if slots.contains(&0) => 0,
            Self::Few(slots) => place(slots.iter().copied().fold(slot, u16::max)).0 + 1,
            Self::Many(bits) => (place(slot).0 + 1).saturating_sub(bits.len()),
        };
        words * size_of::<u64>()
    }

    /// Takes an owner out; `false` = it was none.
    pub(super) fn remove(&mut self, slot: u16) -> bool {
        match self {
            Self::Few(slots) => match slots.iter_mut().find(|place| **place == slot) {
                Some(place) => {
                    *place = 0;
                    true
                }
                None => false,
            },
            Self::Many(bits) => {
                let (word, bit) = place(slot);
                let Some(word) = bits.get_mut(word) else {
                    return false;
                };
                let was = *word & bit != 0;
                *word &= !bit;
                self.shrink();
                was
            }
        }
    }

    pub(super) fn contains(&self, slot: u16) -> bool {
        match self {
            Self::Few(slots) => slots.contains(&slot),
            Self::Many(bits) => {
                let (word, bit) = place(slot);
                bits.get(word).is_some_and(|word| word & bit != 0)
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Few(slots) => slots.iter().all(|slot| *slot == 0),
            Self::Many(bits) => bits.iter().all(|word| *word == 0),
        }
    }

    /// Bytes beside the value itself.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Few(_) => 0,
            Self::Many(bits) => size_of_val(&**bits),
        }
    }

    pub(super) fn each(&self, mut take: impl FnMut(u16)) {
        match self {
            Self::Few(slots) => slots
                .iter()
                .filter(|slot| **slot != 0)
                .for_each(|slot| take(*slot)),
            Self::Many(bits) => {
                for (at, word) in (0_u16..).zip(bits.iter()) {
                    let mut left = *word;
                    while left != 0 {
                        // At most 63.
                        let bit = u16::try_from(left.trailing_zeros()).unwrap_or(0);
                        take(at * 64 + bit);
                        left &= left - 1;
                    }
                }
            }
        }
    }

    /// Goes back to the small form when few are left.
    fn shrink(&mut self) {
        let Self::Many(bits) = self else { return };
        let count: u32 = bits.iter().map(|word| word.count_ones()).sum();
        if count > 2 {
            return;
        }
        let mut few = [0; FEW];
        let mut next = 0;
        self.each(|slot| {
            few[next] = slot;
            next += 1;
        });
        *self = Self::Few(few);
    }
}

fn place(slot: u16) -> (usize, u64) {
    (usize::from(slot / 64), 1 << (slot % 64))
}

fn set(bits: &mut [u64], slot: u16) -> bool {
    let (word, bit) = place(slot);
    let fresh = bits[word] & bit == 0;
    bits[word] |= bit;
    fresh
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::Owners;

    proptest! {
        #[test]
        fn is_a_set(steps in proptest::collection::vec((any::<bool>(), 1_u16..300), 1..100)) {
            let mut naive = BTreeSet::new();
            let mut owners = Owners::Few([0; 4]);
            for (add, slot) in steps {
                if add {
                    let growth = if owners.contains(slot) { 0 } else { owners.growth(slot) };
                    let before = owners.heap_bytes();
                    prop_assert_eq!(owners.insert(slot), naive.insert(slot));
                    prop_assert_eq!(owners.heap_bytes(), before + growth);
                } else {
                    prop_assert_eq!(owners.remove(slot), naive.remove(&slot));
                }
                let mut all = BTreeSet::new();
                owners.each(|slot| {
                    all.insert(slot);
                });
                prop_assert_eq!(&all, &naive);
                prop_assert_eq!(owners.is_empty(), naive.is_empty());
                prop_assert!(owners.heap_bytes() == 0 || !owners.is_empty());
                prop_assert!((1..300).all(|slot| owners.contains(slot) == naive.contains(&slot)));
            }
        }
    }
}
