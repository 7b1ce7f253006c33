use std::net::SocketAddr;
use std::sync::Arc;

use fastrand::Rng;
use proptest::prelude::{prop_assert_eq, proptest};
use rstest::rstest;

use super::*;
use crate::endpoint::{Endpoint, InFlight, PodIdentity};
use crate::notes::Notes;
use crate::watch::Trace;

/// Positions in order, for a request of no interest.
fn place(profile: &Profile, candidates: &[Candidate], rng: &mut Rng) -> Vec<u32> {
    let notes = Notes::default();
    let request = RequestFacts::new("m", &notes);
    let placed = profile.place(&request, candidates, rng).unwrap();
    placed.iter().map(|pick| pick.position).collect()
}

fn candidates(loads: &[u32]) -> (Vec<Candidate>, Vec<InFlight>) {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let candidates: Vec<Candidate> = (0..loads.len())
        .map(|number| {
            let name = number.to_string();
            let pod = PodIdentity {
                namespace: "ns".into(),
                name: name.as_str().into(),
                uid: name.as_str().into(),
            };
            Candidate {
                endpoint: Arc::new(Endpoint::new(pod)),
                address,
            }
        })
        .collect();
    let busy = candidates
        .iter()
        .zip(loads)
        .flat_map(|(candidate, load)| (0..*load).map(|_| candidate.endpoint.begin()));
    let busy = busy.collect();
    (candidates, busy)
}

fn least_requests() -> Profile {
    Profile::new(vec![], vec![(Arc::new(LeastRequests), 1)], vec![])
}

/// The fewer requests in flight, the higher the mark.
struct LeastRequests;

impl Scorer for LeastRequests {
    fn name(&self) -> &'static str {
        "least-requests"
    }

    fn score(
        &self,
        _request: &RequestFacts<'_>,
        candidates: &Candidates<'_>,
        scores: &mut [Score],
        _rng: &mut Rng,
    ) {
        for (score, candidate) in scores.iter_mut().zip(candidates.iter()) {
            *score = Score(-i64::from(candidate.endpoint.in_flight()));
        }
    }
}

/// Marks each candidate with the number in its name.
struct ByName(i64);

impl Scorer for ByName {
    fn name(&self) -> &'static str {
        "by-name"
    }

    fn score(
        &self,
        _request: &RequestFacts<'_>,
        candidates: &Candidates<'_>,
        scores: &mut [Score],
        _rng: &mut Rng,
    ) {
        for (score, candidate) in scores.iter_mut().zip(candidates.iter()) {
            *score = Score(candidate.endpoint.pod().name.parse::<i64>().unwrap() * self.0);
        }
    }
}

#[test]
fn nothing_is_placed_on_nothing() {
    assert!(place(&least_requests(), &[], &mut Rng::with_seed(1)).is_empty());
}

#[test]
fn a_seed_repeats_a_decision() {
    let (candidates, _busy) = candidates(&[0; 20]);
    let place = |seed| place(&least_requests(), &candidates, &mut Rng::with_seed(seed));

    assert_eq!(place(7), place(7));
    assert_ne!(place(7), place(8));
}

#[test]
fn equals_are_chosen_equally_often_at_every_place() {
    let (candidates, _busy) = candidates(&[0; 8]);
    let mut rng = Rng::with_seed(3);
    let mut hits = [[0_u32; 8]; KEPT];
    for _ in 0..8000 {
        let placed = place(&least_requests(), &candidates, &mut rng);
        for (place, position) in placed.into_iter().enumerate() {
            hits[place][position as usize] += 1;
        }
    }

    assert!(
        hits.iter().flatten().all(|hits| (850..1150).contains(hits)),
        "{hits:?}"
    );
}

#[test]
fn weights_decide_between_scorers() {
    let (candidates, _busy) = candidates(&[0; 3]);
    let place = |up, down| {
        let scorers: Vec<(Arc<dyn Scorer>, i64)> =
            vec![(Arc::new(ByName(1)), up), (Arc::new(ByName(-1)), down)];
        place(
            &Profile::new(vec![], scorers, vec![]),
            &candidates,
            &mut Rng::with_seed(1),
        )
    };

    assert_eq!(place(2, 1), [2, 1, 0]);
    assert_eq!(place(1, 2), [0, 1, 2]);
}

/// Takes out candidates whose number is not below its own.
struct Below(i64, &'static str);

impl Filter for Below {
    fn name(&self) -> &'static str {
        self.1
    }

    fn filter(&self, _request: &RequestFacts<'_>, candidates: &Candidates<'_>, keep: &mut [bool]) {
        assert!(keep.iter().all(|keep| *keep));
        for (keep, candidate) in keep.iter_mut().zip(candidates.iter()) {
            *keep = candidate.endpoint.pod().name.parse::<i64>().unwrap() < self.0;
        }
    }
}

/// Knows nobody.
struct Silent;

impl Scorer for Silent {
    fn name(&self) -> &'static str {
        "silent"
    }

    fn score(&self, _: &RequestFacts<'_>, _: &Candidates<'_>, _: &mut [Score], _: &mut Rng) {}
}

#[rstest]
#[case::none(0, 0)]
#[case::one(1, 1)]
#[case::as_many_as_are_kept(5, 5)]
#[case::more(9, 5)]
fn no_more_than_five_are_kept(#[case] count: usize, #[case] wanted: usize) {
    let (candidates, _busy) = candidates(&vec![0; count]);
    for profile in [least_requests(), Profile::default()] {
        let placed = place(&profile, &candidates, &mut Rng::with_seed(1));
        assert_eq!(placed.len(), wanted);
    }
}

#[test]
fn a_candidate_without_marks_stays_selectable() {
    let (candidates, _busy) = candidates(&[0; 3]);
    let profile = Profile::new(vec![], vec![(Arc::new(Silent), 1)], vec![]);
    let mut first = [0_u32; 3];
    let mut rng = Rng::with_seed(1);
    for _ in 0..300 {
        first[place(&profile, &candidates, &mut rng)[0] as usize] += 1;
    }
    assert!(first.iter().all(|hits| *hits > 60), "{first:?}");
}

#[test]
fn filters_follow_each_other_and_scorers_see_who_is_left() {
    let (candidates, _busy) = candidates(&[0; 9]);
    let filters: Vec<Arc<dyn Filter>> =
        vec![Arc::new(Below(7, "first")), Arc::new(Below(3, "second"))];
    let profile = Profile::new(filters, vec![(Arc::new(ByName(-1)), 2)], vec![]);
    let notes = Notes::default();
    let mut trace = Trace::default();
    // Backwards, so that a place among those that are left is not a position.
    let backwards: Vec<usize> = (0..9).rev().collect();
    let placed = profile
        .place_watched(
            &RequestFacts::new("m", &notes),
            Candidates::only(&candidates, &backwards),
            &mut Rng::with_seed(1),
            &mut trace,
        )
        .unwrap();

    let picks: Vec<_> = placed
        .iter()
        .map(|pick| {
            (
                &*pick.candidate.endpoint.pod().name,
                pick.position,
                pick.total.0,
            )
        })
        .collect();
    assert_eq!(picks, [("0", 0, 0), ("1", 1, -2), ("2", 2, -4)]);
    assert_eq!(
        trace.dropped,
        [
            (8, "first"),
            (7, "first"),
            (6, "second"),
            (5, "second"),
            (4, "second"),
            (3, "second")
        ]
    );
    let marks: Vec<_> = trace.marks_of(1).collect();
    assert_eq!(marks, [("by-name", -1, 2)]);
    assert_eq!(trace.marks_of(8).count(), 0);
}

#[test]
fn a_filter_that_leaves_nobody_is_named() {
    let (candidates, _busy) = candidates(&[0; 3]);
    let filters: Vec<Arc<dyn Filter>> = vec![
        Arc::new(Below(9, "first")),
        Arc::new(Below(0, "second")),
        Arc::new(Below(9, "third")),
    ];
    let profile = Profile::new(filters, vec![], vec![]);
    let notes = Notes::default();
    let placed = profile.place(
        &RequestFacts::new("m", &notes),
        &candidates,
        &mut Rng::with_seed(1),
    );

    let error = placed.unwrap_err();
    assert_eq!(error, PlaceError::Filtered { by: "second" });
    assert_eq!(
        error.to_string(),
        "pods have all been filtered out by \"second\""
    );
}

#[test]
fn totals_saturate() {
    let (candidates, _busy) = candidates(&[0; 3]);
    let scorers: Vec<(Arc<dyn Scorer>, i64)> = vec![
        (Arc::new(ByName(1)), i64::MAX),
        (Arc::new(ByName(1)), i64::MAX),
    ];
    let placed = place(
        &Profile::new(vec![], scorers, vec![]),
        &candidates,
        &mut Rng::with_seed(1),
    );
    assert_eq!(placed[2], 0);
}

proptest! {
    #[test]
    fn the_least_busy_come_first(loads in proptest::collection::vec(0_u32..6, 1..40), seed: u64) {
        let (candidates, _busy) = candidates(&loads);

        let placed = place(&least_requests(), &candidates, &mut Rng::with_seed(seed));

        let mut sorted = loads.clone();
        sorted.sort_unstable();
        let chosen: Vec<u32> = placed.iter().map(|position| loads[*position as usize]).collect();
        prop_assert_eq!(&chosen[..], &sorted[..loads.len().min(KEPT)]);
        let mut distinct = placed.clone();
        distinct.sort_unstable();
        distinct.dedup();
        prop_assert_eq!(distinct.len(), placed.len());
    }
}
