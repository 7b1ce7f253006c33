//! How marks become an order: filters one after another, weighted sums, the best five, ties by chance.

use std::cell::RefCell;
use std::sync::Arc;

use fastrand::Rng;
use smallvec::SmallVec;

use crate::candidates::Candidates;
use crate::dispatch::Dispatch;
use crate::endpoint::{Candidate, Endpoint};
use crate::facts::RequestFacts;
use crate::highest::highest;
use crate::plugin::{Figure, Filter, Recorder, Score, Scorer};
use crate::watch::{Seen, Step, StepKind, Watch};

/// How many candidates are kept, which bounds the attempts of a request.
pub const KEPT: usize = 5;

/// The chosen candidates, best first, at most [`KEPT`].
pub type Placement<'c> = SmallVec<[Pick<'c>; KEPT]>;

/// A chosen candidate.
#[derive(Debug, Clone, Copy)]
pub struct Pick<'c> {
    /// The candidate.
    pub candidate: &'c Candidate,
    /// Its place in the list that the candidates are from.
    pub position: u32,
    /// The weighted sum of its marks.
    pub total: Score,
}

/// Why nobody was chosen although there were candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// A filter left nobody.
    #[error("pods have all been filtered out by \"{by}\"")]
    Filtered {
        /// Name of the filter.
        by: &'static str,
    },
}

/// The policies of a router with their weights. A request is dispatched by the profile it was placed by.
#[derive(Default)]
pub struct Profile {
    filters: Vec<Arc<dyn Filter>>,
    scorers: Vec<(Arc<dyn Scorer>, i64)>,
    recorders: Vec<Arc<dyn Recorder>>,
}

thread_local! {
    /// Lists of one decision; kept so that a decision over a thousand candidates allocates little.
    static LISTS: RefCell<Lists> = RefCell::default();
}

#[derive(Default)]
struct Lists {
    keep: Vec<bool>,
    dropped: Vec<u32>,
    own: Vec<Score>,
    total: Vec<Score>,
}

/// Candidates that are still in.
struct Field<'c>(Candidates<'c>);

impl Profile {
    /// A profile of these filters, in order, and these scorers and weights. Without scorers, placement is random.
    pub fn new(
        filters: Vec<Arc<dyn Filter>>,
        scorers: Vec<(Arc<dyn Scorer>, i64)>,
        recorders: Vec<Arc<dyn Recorder>>,
    ) -> Self {
        Self {
            filters,
            scorers,
            recorders,
        }
    }

    /// The best of `candidates` in order; none if there were none.
    pub fn place<'c>(
        &self,
        request: &RequestFacts<'_>,
        candidates: &'c [Candidate],
        rng: &mut Rng,
    ) -> Result<Placement<'c>, PlaceError> {
        self.place_watched(request, Candidates::all(candidates), rng, &mut ())
    }

    /// The same while `watch` looks on.
    pub fn place_watched<'c>(
        &self,
        request: &RequestFacts<'_>,
        candidates: Candidates<'c>,
        rng: &mut Rng,
        watch: &mut dyn Watch,
    ) -> Result<Placement<'c>, PlaceError> {
        if candidates.is_empty() {
            return Ok(Placement::new());
        }
        let mut field = Field(candidates);
        LISTS.with_borrow_mut(|lists| {
            for filter in &self.filters {
                field.pass(&**filter, request, lists, watch)?;
            }
            lists.total.clear();
            lists.total.resize(field.0.len(), Score::default());
            for (scorer, weight) in &self.scorers {
                field.add_marks(&**scorer, *weight, request, rng, lists, watch);
            }
            Ok(field.best(&lists.total, rng))
        })
    }

    /// Tells every recorder that the request goes to `endpoint` now.
    pub fn dispatch(&self, request: &RequestFacts<'_>, endpoint: &Arc<Endpoint>) -> Dispatch {
        let receipts = self
            .recorders
            .iter()
            .filter_map(|recorder| recorder.dispatched(request, endpoint));
        Dispatch::new(receipts.collect())
    }

    /// Frees what is remembered about endpoints that left the table. To be called now and then.
    pub fn sweep(&self) {
        for recorder in &self.recorders {
            recorder.sweep();
        }
    }

    /// What the plugins hold and did, for gauges and counters.
    pub fn figures(&self, tell: &mut dyn FnMut(Figure<'_>)) {
        for recorder in &self.recorders {
            recorder.figures(tell);
        }
    }

    /// Whether a plugin of this name takes part, as filter or as scorer.
    pub fn uses(&self, name: &str) -> bool {
        self.filters.iter().any(|filter| filter.name() == name)
            || self.scorers.iter().any(|(scorer, _)| scorer.name() == name)
    }
}

impl<'c> Field<'c> {
    fn pass(
        &mut self,
        filter: &dyn Filter,
        request: &RequestFacts<'_>,
        lists: &mut Lists,
        watch: &mut dyn Watch,
    ) -> Result<(), PlaceError> {
        let step = Step {
            plugin: filter.name(),
            kind: StepKind::Filter,
        };
        let Lists { keep, dropped, .. } = lists;
        keep.clear();
        keep.resize(self.0.len(), true);
        watch.begins(step);
        filter.filter(request, &self.0, keep);
        dropped.clear();
        let marked = self.0.positions().iter().zip(&*keep);
        dropped.extend(marked.filter(|(_, keep)| !**keep).map(|(at, _)| *at));
        watch.ended(step, Seen::Dropped(dropped));
        if dropped.len() == self.0.len() {
            return Err(PlaceError::Filtered { by: filter.name() });
        }
        if !dropped.is_empty() {
            self.0.retain(keep);
        }
        Ok(())
    }

    fn add_marks(
        &self,
        scorer: &dyn Scorer,
        weight: i64,
        request: &RequestFacts<'_>,
        rng: &mut Rng,
        lists: &mut Lists,
        watch: &mut dyn Watch,
    ) {
        let step = Step {
            plugin: scorer.name(),
            kind: StepKind::Score,
        };
        let Lists { own, total, .. } = lists;
        own.clear();
        own.resize(self.0.len(), Score::default());
        watch.begins(step);
        scorer.score(request, &self.0, own, rng);
        let seen = Seen::Marks {
            positions: self.0.positions(),
            marks: own,
            weight,
        };
        watch.ended(step, seen);
        for (total, own) in total.iter_mut().zip(&*own) {
            total.0 = total.0.saturating_add(own.0.saturating_mul(weight));
        }
    }

    /// The [`KEPT`] highest totals, equals in an order drawn by lot.
    fn best(&self, totals: &[Score], rng: &mut Rng) -> Placement<'c> {
        highest(totals.iter().copied().zip(0..), KEPT, rng)
            .into_iter()
            .map(|(total, at)| {
                let (candidate, position) = self.0.at(at);
                Pick {
                    candidate,
                    position,
                    total,
                }
            })
            .collect()
    }
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let filters: Vec<_> = self.filters.iter().map(|filter| filter.name()).collect();
        let scorers: Vec<_> = self
            .scorers
            .iter()
            .map(|(scorer, weight)| (scorer.name(), weight))
            .collect();
        f.debug_struct("Profile")
            .field("filters", &filters)
            .field("scorers", &scorers)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
