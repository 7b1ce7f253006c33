//! Where an endpoint stands among candidates.

use std::cell::{Cell, OnceCell};

use kthena_router_scheduler::Reading;

/// Finds candidates by their endpoint's number. Nothing is built before the first question.
pub(crate) struct Positions<'a> {
    readings: &'a [Reading],
    table: OnceCell<Table>,
}

/// Up to so many candidates are compared one by one.
const FEW: usize = 12;

/// Places by number, with open addressing: at most half of it is taken.
struct Table {
    places: Vec<u32>,
    /// From the hash of a number to its place in the table.
    shift: u32,
}

/// Nobody's place.
const NOBODY: u32 = u32::MAX;

thread_local! {
    /// The memory of the table before.
    static SPARE: Cell<Vec<u32>> = const { Cell::new(Vec::new()) };
}

impl<'a> Positions<'a> {
    pub(crate) fn new(readings: &'a [Reading]) -> Self {
        Self {
            readings,
            table: OnceCell::new(),
        }
    }

    /// The place of the endpoint of this number.
    #[inline]
    pub(crate) fn of(&self, id: u32) -> Option<usize> {
        if self.readings.len() <= FEW {
            return self.readings.iter().position(|own| own.id == id);
        }
        let table = self.table.get_or_init(|| Table::new(self.readings));
        table.find(id, self.readings)
    }
}

impl Table {
    fn new(readings: &[Reading]) -> Self {
        let size = (readings.len() * 2).next_power_of_two();
        let mut places = SPARE.take();
        places.clear();
        places.resize(size, NOBODY);
        let shift = u64::BITS - size.trailing_zeros();
        let mut table = Self { places, shift };
        for (place, reading) in (0_u32..).zip(readings) {
            let mut at = table.first(reading.id);
            while table.places[at] != NOBODY {
                at = table.after(at);
            }
            table.places[at] = place;
        }
        table
    }

    fn find(&self, id: u32, readings: &[Reading]) -> Option<usize> {
        let mut at = self.first(id);
        loop {
            let place = self.places[at];
            if place == NOBODY {
                return None;
            }
            if readings[place as usize].id == id {
                return Some(place as usize);
            }
            at = self.after(at);
        }
    }

    /// Numbers that follow each other are spread over the table.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the shift leaves fewer bits than the table has places"
    )]
    fn first(&self, id: u32) -> usize {
        (u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.places.len() - 1)
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        SPARE.set(std::mem::take(&mut self.places));
    }
}

#[cfg(test)]
mod tests {
    use kthena_router_scheduler::Candidates;
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;
    use crate::fixtures::candidates;

    proptest! {
        #[test]
        fn everybody_is_found_and_nobody_else(
            chosen in proptest::collection::btree_set(0_usize..400, 0..60),
        ) {
            let all = candidates(400);
            let chosen: Vec<usize> = chosen.into_iter().collect();
            let some = Candidates::only(&all, &chosen);
            let positions = Positions::new(some.readings());

            for (at, candidate) in all.iter().enumerate() {
                let found = positions.of(candidate.endpoint.id().get());
                prop_assert_eq!(found, chosen.iter().position(|own| *own == at));
            }
        }
    }
}
