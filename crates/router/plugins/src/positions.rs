//! Where an endpoint stands in a list of candidates.

use std::cell::OnceCell;
use std::collections::HashMap;

use kthena_router_scheduler::Candidate;

/// Finds candidates by their endpoint's number. Nothing is built before the first question.
pub(crate) struct Positions<'a> {
    candidates: &'a [&'a Candidate],
    by_id: OnceCell<HashMap<u32, usize, ById>>,
}

/// Up to so many candidates are compared one by one.
const FEW: usize = 12;

type ById = std::hash::BuildHasherDefault<Spread>;

/// Spreads numbers that follow each other over the table.
#[derive(Default)]
struct Spread(u64);

impl std::hash::Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl<'a> Positions<'a> {
    pub(crate) fn new(candidates: &'a [&'a Candidate]) -> Self {
        Self {
            candidates,
            by_id: OnceCell::new(),
        }
    }

    /// The place of the endpoint of this number.
    pub(crate) fn of(&self, id: u32) -> Option<usize> {
        let number = |candidate: &&&Candidate| candidate.endpoint.id().get();
        if self.candidates.len() <= FEW {
            return self.candidates.iter().position(|own| number(&own) == id);
        }
        let by_id = self.by_id.get_or_init(|| {
            let numbers = self.candidates.iter().map(|own| number(&own));
            numbers.zip(0..).collect()
        });
        by_id.get(&id).copied()
    }
}
