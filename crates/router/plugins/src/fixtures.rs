//! Endpoints and decisions for tests.

use std::net::SocketAddr;
use std::sync::Arc;

use fastrand::Rng;
use kthena_router_scheduler::{
    Candidate, Candidates, Endpoint, Filter, InFlight, Notes, PodIdentity, RequestFacts, Sample,
    Score, Scorer,
};

/// A candidate whose pod is `name` in `ns`.
pub(crate) fn candidate(name: &str) -> Candidate {
    let pod = PodIdentity {
        namespace: "ns".into(),
        name: name.into(),
        uid: name.into(),
    };
    Candidate {
        endpoint: Arc::new(Endpoint::new(pod)),
        address: SocketAddr::from(([127, 0, 0, 1], 8000)),
    }
}

/// As many candidates, named by numbers.
pub(crate) fn candidates(count: usize) -> Vec<Candidate> {
    (0..count).map(|at| candidate(&at.to_string())).collect()
}

/// A candidate for each sample.
pub(crate) fn sampled(samples: impl IntoIterator<Item = Sample>) -> Vec<Candidate> {
    let made = samples.into_iter().enumerate().map(|(at, sample)| {
        let candidate = candidate(&at.to_string());
        candidate.endpoint.set_sample(sample);
        candidate
    });
    made.collect()
}

/// Raises the count of `candidate` by `requests` for as long as the guards live.
pub(crate) fn load(candidate: &Candidate, requests: u32) -> Vec<InFlight> {
    (0..requests).map(|_| candidate.endpoint.begin()).collect()
}

/// The marks of a request of no interest.
pub(crate) fn marks(scorer: &dyn Scorer, candidates: &[Candidate]) -> Vec<i64> {
    let notes = Notes::default();
    marks_for(scorer, &RequestFacts::new("m", &notes), candidates)
}

/// The marks of `request`.
pub(crate) fn marks_for(
    scorer: &dyn Scorer,
    request: &RequestFacts<'_>,
    candidates: &[Candidate],
) -> Vec<i64> {
    let candidates = Candidates::all(candidates);
    let mut marks = vec![Score::default(); candidates.len()];
    scorer.score(request, &candidates, &mut marks, &mut Rng::with_seed(1));
    marks.into_iter().map(|mark| mark.0).collect()
}

/// Who is left for `request`.
pub(crate) fn kept(
    filter: &dyn Filter,
    request: &RequestFacts<'_>,
    candidates: &[Candidate],
) -> Vec<bool> {
    let all = Candidates::all(candidates);
    let mut marks = vec![true; all.len()];
    filter.filter(request, &all, &mut marks);
    marks
}
