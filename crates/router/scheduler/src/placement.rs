//! How marks become an order: weighted sums, the best five, ties by chance.

use std::cell::RefCell;

use fastrand::Rng;
use smallvec::SmallVec;

use crate::endpoint::Candidate;
use crate::plugin::{RequestFacts, Score, Scorer};

/// How many candidates are kept, which bounds the attempts of a request.
pub const KEPT: usize = 5;

/// Positions of the chosen candidates, best first, at most [`KEPT`].
pub type Placement = SmallVec<[u32; KEPT]>;

/// The policies of a router with their weights.
pub struct Profile {
    scorers: Vec<(Box<dyn Scorer>, i64)>,
}

thread_local! {
    /// Marks of one decision; kept so that a decision over a thousand candidates allocates nothing.
    static MARKS: RefCell<Marks> = RefCell::default();
}

#[derive(Default)]
struct Marks {
    own: Vec<Score>,
    total: Vec<Score>,
}

impl Profile {
    /// A profile of these scorers and weights. Without any, placement is random.
    pub fn new(scorers: Vec<(Box<dyn Scorer>, i64)>) -> Self {
        Self { scorers }
    }

    /// The best candidates in order.
    pub fn place(
        &self,
        request: &RequestFacts<'_>,
        candidates: &[Candidate],
        rng: &mut Rng,
    ) -> Placement {
        MARKS.with_borrow_mut(|marks| {
            marks.total.clear();
            marks.total.resize(candidates.len(), Score::default());
            for (scorer, weight) in &self.scorers {
                marks.own.clear();
                marks.own.resize(candidates.len(), Score::default());
                scorer.score(request, candidates, &mut marks.own);
                for (total, own) in marks.total.iter_mut().zip(&marks.own) {
                    total.0 = total.0.saturating_add(own.0.saturating_mul(*weight));
                }
            }
            best(&marks.total, rng)
        })
    }
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(
                self.scorers
                    .iter()
                    .map(|(scorer, weight)| (scorer.name(), weight)),
            )
            .finish()
    }
}

/// Positions of the [`KEPT`] highest totals. Each candidate draws a tie-breaker, so that every order of equals is
/// equally likely.
fn best(totals: &[Score], rng: &mut Rng) -> Placement {
    let mut kept: SmallVec<[(Score, u32, u32); KEPT]> = SmallVec::new();
    for (position, total) in (0_u32..).zip(totals) {
        let full = kept.len() == KEPT;
        let worst = kept.last().copied().filter(|_| full);
        if worst.is_some_and(|(worst, _, _)| *total < worst) {
            continue;
        }
        let draw = rng.u32(..);
        // Among a thousand idle endpoints nearly every draw loses here.
        if worst.is_some_and(|(worst, drawn, _)| (*total, draw) <= (worst, drawn)) {
            continue;
        }
        let at = kept.partition_point(|other| (other.0, other.1) >= (*total, draw));
        kept.truncate(KEPT - 1);
        kept.insert(at, (*total, draw, position));
    }
    kept.into_iter().map(|(_, _, position)| position).collect()
}

#[cfg(test)]
mod tests;
